"""How a task must end after each fault, by phase, or why the fault cannot happen there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

WAITS = ("joining", "waiting")


@dataclass(frozen=True)
class End:
    """How a task ends.

    :param error: what its first try raises; None if it succeeds.
    :param retried: the next try succeeds.
    :param slow: seconds that it usually takes at most.
    """

    error: str | None = None
    retried: bool = False
    slow: float = 2.0

    @property
    def text(self) -> str:
        """The text on the page."""
        if self.error is None:
            return "success"
        return f"`{self.error}`, then success" if self.retried else f"`{self.error}`"


@dataclass(frozen=True)
class Impossible:
    """The fault cannot happen in this phase.

    :param reason: the text on the page.
    """

    reason: str


Expected = End | Impossible
SUCCESS = End()
AFTER_SEARCH = End(slow=32.0)
"""Success after half a minute of searches for the build that the request may have started."""

UNCERTAIN = End("DispatchUncertain", retried=True, slow=70.0)
ANY_PHASE = "any"


def with_retry(error: str) -> End:
    """Return an end with an error in the first try and a successful retry."""
    return End(error, retried=True)


@dataclass(frozen=True)
class Rule:
    """How a fault is injected, and how a task then ends.

    :param ends: by phase, or ``any`` for all other phases.
    :param params: parameters of the sandbox's fault, with ``times``.
    :param permanent: the fault is not removed before the end of the task.
    """

    ends: Mapping[str, Expected]
    params: Mapping[str, Any] = field(default_factory=dict)
    permanent: bool = False

    def end(self, phase: str) -> Expected:
        """Return how a task ends if the fault is hit in a phase."""
        return self.ends[phase] if phase in self.ends else self.ends[ANY_PHASE]


TWICE = {"times": 2}
ONCE = {"times": 1}
UNTIL_REMOVED = {"times": None}


def _ends(
    dispatching: Expected, reads: Expected = SUCCESS, **others: Expected
) -> dict[str, Expected]:
    return {ANY_PHASE: reads, "dispatching": dispatching, **others}


def _temporary(dispatching: Expected, **params: Any) -> Rule:
    """Return the rule of a temporary fault: reads are repeated; a dispatch searches its build."""
    return Rule(_ends(dispatching), ONCE | params)


def _permanent(error: str) -> Rule:
    """Return the rule of a refusal, which does not end by itself."""
    return Rule({ANY_PHASE: End(error)}, UNTIL_REMOVED, permanent=True)


NO_LIST = Impossible("no list is read")
OTHER_PHASE = Impossible("the artifact store is used in another phase")
REST_ONLY = Impossible("only REST is used")
NOT_JOINED = Impossible("nothing is sent before the room is joined")
NO_WEBHOOK = Impossible("no task depends on a webhook")

HTTP = {
    "500": _temporary(AFTER_SEARCH),
    "502-html": _temporary(AFTER_SEARCH),
    "503-empty": _temporary(AFTER_SEARCH),
    "429": _temporary(SUCCESS, times=2),
    "401": _permanent("Unauthorized"),
    "403": _permanent("Forbidden"),
    "404": Rule(
        {
            ANY_PHASE: with_retry("NotFound"),
            "joining": SUCCESS,
            "waiting": SUCCESS,
            "downloading": with_retry("ArtifactUnavailable"),
        },
        ONCE,
    ),
    "refuse": _permanent("InvalidRequest"),
    "reset": _temporary(AFTER_SEARCH),
    "close": _temporary(AFTER_SEARCH),
    "hang": Rule({ANY_PHASE: End(slow=8.0), "dispatching": UNCERTAIN}, ONCE),
    "slow": _temporary(SUCCESS, times=2, delay=1.0),
    "held": _temporary(SUCCESS),
    "lost-answer": _temporary(SUCCESS),
    "truncated-json": _temporary(SUCCESS),
    "mistyped-json": _temporary(SUCCESS),
    "html-200": _temporary(UNCERTAIN),
    "empty-200": _temporary(UNCERTAIN),
    "redirect": Rule({ANY_PHASE: End("UnexpectedAnswer")}, UNTIL_REMOVED, permanent=True),
    "stale": Rule(
        {
            ANY_PHASE: SUCCESS,
            "concluding": with_retry("NotFound"),
            "downloading": with_retry("ArtifactUnavailable"),
        },
        ONCE,
    ),
    "endless-pages": Rule(
        {
            ANY_PHASE: NO_LIST,
            "resolving": with_retry("UnexpectedAnswer"),
            "dispatching": with_retry("UnexpectedAnswer"),
        },
        TWICE,
    ),
}


def _store(end: Expected, **params: Any) -> Rule:
    return Rule({ANY_PHASE: OTHER_PHASE, "downloading": end}, ONCE | params)


UNAVAILABLE = with_retry("ArtifactUnavailable")
WRONG_CHECKSUM = with_retry("ChecksumMismatch")
NO_STATE = Impossible("a store has no lists and no state that could be stale")
STORE = {
    "artifact-breaks": _store(SUCCESS, times=2),
    "artifact-stalls": _store(SUCCESS, hold=1.0),
    "artifact-slow": _store(End(slow=5.0), rate=200_000),
    "artifact-ignores-range": _store(SUCCESS),
    "artifact-wrong-range": _store(SUCCESS),
    "artifact-corrupt": _store(with_retry("ChecksumMismatch")),
    "artifact-short": _store(SUCCESS),
    "artifact-expired": _store(SUCCESS),
    "artifact-gone": _store(UNAVAILABLE),
}
AT_STORE = {
    "404": _store(UNAVAILABLE),
    "hang": _store(End(slow=32.0)),
    "slow": _store(SUCCESS, delay=1.0),
    "401": _store(SUCCESS, times=2),
    "403": _store(SUCCESS, times=2),
    "refuse": _store(SUCCESS, times=2),
    "truncated-json": _store(WRONG_CHECKSUM),
    "mistyped-json": _store(WRONG_CHECKSUM),
    "html-200": _store(WRONG_CHECKSUM),
    "empty-200": _store(WRONG_CHECKSUM),
    "redirect": _store(UNAVAILABLE),
    "stale": _store(NO_STATE),
    "endless-pages": _store(NO_STATE),
}
"""HTTP faults at the artifact store that differ from the default."""

DEFAULT_AT_STORE = _store(SUCCESS)


def _channel(**params: Any) -> Rule:
    return Rule({ANY_PHASE: REST_ONLY} | dict.fromkeys(WAITS, SUCCESS), TWICE | params)


def _events(**params: Any) -> Rule:
    return Rule(
        {ANY_PHASE: REST_ONLY, "joining": NOT_JOINED, "waiting": SUCCESS}, UNTIL_REMOVED | params
    )


CHANNEL = {
    "sockets-refused": _channel(),
    "sockets-blocked-polling-ok": _channel(),
    "sockets-dropped": _channel(),
    "sockets-hang": _channel(),
    "sockets-closed": _channel(),
    "sockets-slow": _channel(),
    "joins-lost": _channel(times=1),
    "events-lost": _events(),
    "events-duplicated": _events(),
    "events-late": _events(),
    "events-malformed": _events(),
}
WEBHOOKS = {
    name: Rule({ANY_PHASE: NO_WEBHOOK}) for name, kind in KINDS.items() if kind.layer == "webhook"
}
OUTAGE = Rule({ANY_PHASE: SUCCESS, "dispatching": AFTER_SEARCH}, UNTIL_REMOVED)
RULES = (
    HTTP
    | STORE
    | CHANNEL
    | WEBHOOKS
    | {"refuse-connections": OUTAGE, "revoked-token": _permanent("Unauthorized")}
)
ONLY_WAITS = Impossible("only a wait outlives two tokens")
ACTIONS = {
    "the build is deleted": Rule(
        {
            ANY_PHASE: Impossible("there is no build yet"),
            "joining": End("NotFound", slow=65.0),
            "waiting": End("NotFound", slow=65.0),
            "concluding": End("NotFound"),
            "downloading": End("ArtifactUnavailable"),
        },
        UNTIL_REMOVED,
        permanent=True,
    ),
    "the token is replaced": Rule({ANY_PHASE: SUCCESS}, UNTIL_REMOVED),
    "the token is replaced twice": Rule(
        {ANY_PHASE: ONLY_WAITS} | dict.fromkeys(WAITS, SUCCESS), UNTIL_REMOVED
    ),
    "the service is deployed": Rule(
        {ANY_PHASE: REST_ONLY, "joining": NOT_JOINED, "waiting": SUCCESS}
    ),
}
"""Other events during a task, besides the sandbox's faults."""
