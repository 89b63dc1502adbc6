"""What each fault does to a task: how it must end, phase by phase, or why it cannot happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

WAITS = ("joining", "waiting")


@dataclass(frozen=True)
class End:
    """How a task ends.

    :param error: what its first try raises; None if that ends right.
    :param retried: the next try ends right.
    :param slow: seconds that it may well take.
    """

    error: str | None = None
    retried: bool = False
    slow: float = 2.0

    @property
    def words(self) -> str:
        """How the docs put it."""
        if self.error is None:
            return "right"
        return f"`{self.error}`, then right" if self.retried else f"`{self.error}`"


@dataclass(frozen=True)
class Never:
    """It cannot happen.

    :param why: the reason, as the docs put it.
    """

    why: str


Ends = End | Never
RIGHT = End()
LOOKED = End(slow=32.0)
"""Right after half a minute of looking for the build, as the request may have made it."""

UNCERTAIN = End("DispatchUncertain", retried=True, slow=70.0)
ANY = "any"


def again(error: str) -> End:
    """Give an end that takes a retry of the task."""
    return End(error, retried=True)


@dataclass(frozen=True)
class Rule:
    """What a fault does to a task.

    :param ends: by phase, or by ``any``, which is for those that are not named.
    :param order: how it is ordered of the sandbox: its parameters, and ``times``.
    :param lasts: it is not removed before the end of the task.
    """

    ends: Mapping[str, Ends]
    order: Mapping[str, Any] = field(default_factory=dict)
    lasts: bool = False

    def end(self, phase: str) -> Ends:
        """Say how a task ends that is struck in a phase."""
        return self.ends[phase] if phase in self.ends else self.ends[ANY]


TWICE = {"times": 2}
ONCE = {"times": 1}
LASTING = {"times": None}


def _by(dispatching: Ends, reads: Ends = RIGHT, **others: Ends) -> dict[str, Ends]:
    return {ANY: reads, "dispatching": dispatching, **others}


def _passing(dispatching: Ends, **order: Any) -> Rule:
    """Make the rule of trouble that passes: what reads is repeated, what starts a build looks."""
    return Rule(_by(dispatching), ONCE | order)


def _refused(error: str) -> Rule:
    """Make the rule of a refusal, which no waiting cures."""
    return Rule({ANY: End(error)}, LASTING, lasts=True)


NO_LIST = Never("no list is read")
NOT_THERE = Never("its store is asked in another phase")
REST_ONLY = Never("only REST is used")
NOT_JOINED = Never("nothing is sent before the room is joined")
NO_WEBHOOK = Never("no task depends on a webhook")

HTTP = {
    "500": _passing(LOOKED),
    "502-html": _passing(LOOKED),
    "503-empty": _passing(LOOKED),
    "429": _passing(RIGHT, times=2),
    "401": _refused("Unauthorized"),
    "403": _refused("Forbidden"),
    "404": Rule(
        {
            ANY: again("NotFound"),
            "joining": RIGHT,
            "waiting": RIGHT,
            "downloading": again("ArtifactUnavailable"),
        },
        ONCE,
    ),
    "refuse": _refused("InvalidRequest"),
    "reset": _passing(LOOKED),
    "close": _passing(LOOKED),
    "hang": Rule({ANY: End(slow=8.0), "dispatching": UNCERTAIN}, ONCE),
    "slow": _passing(RIGHT, times=2, delay=1.0),
    "held": _passing(RIGHT),
    "lost-answer": _passing(RIGHT),
    "truncated-json": _passing(RIGHT),
    "mistyped-json": _passing(RIGHT),
    "html-200": _passing(UNCERTAIN),
    "empty-200": _passing(UNCERTAIN),
    "redirect": Rule({ANY: End("UnexpectedAnswer")}, LASTING, lasts=True),
    "stale": Rule(
        {
            ANY: RIGHT,
            "concluding": again("NotFound"),
            "downloading": again("ArtifactUnavailable"),
        },
        ONCE,
    ),
    "endless-pages": Rule(
        {
            ANY: NO_LIST,
            "resolving": again("UnexpectedAnswer"),
            "dispatching": again("UnexpectedAnswer"),
        },
        TWICE,
    ),
}


def _store(end: Ends, **order: Any) -> Rule:
    return Rule({ANY: NOT_THERE, "downloading": end}, ONCE | order)


GONE = again("ArtifactUnavailable")
OTHER_SIZE = again("ChecksumMismatch")
NO_STATE = Never("a store has neither lists nor a state that could lag")
STORE = {
    "artifact-breaks": _store(RIGHT, times=2),
    "artifact-stalls": _store(RIGHT, hold=1.0),
    "artifact-slow": _store(End(slow=5.0), rate=200_000),
    "artifact-ignores-range": _store(RIGHT),
    "artifact-wrong-range": _store(RIGHT),
    "artifact-corrupt": _store(again("ChecksumMismatch")),
    "artifact-short": _store(RIGHT),
    "artifact-expired": _store(RIGHT),
    "artifact-gone": _store(GONE),
}
AT_STORE = {
    "404": _store(GONE),
    "hang": _store(End(slow=32.0)),
    "slow": _store(RIGHT, delay=1.0),
    "401": _store(RIGHT, times=2),
    "403": _store(RIGHT, times=2),
    "refuse": _store(RIGHT, times=2),
    "truncated-json": _store(OTHER_SIZE),
    "mistyped-json": _store(OTHER_SIZE),
    "html-200": _store(OTHER_SIZE),
    "empty-200": _store(OTHER_SIZE),
    "redirect": _store(GONE),
    "stale": _store(NO_STATE),
    "endless-pages": _store(NO_STATE),
}
"""The faults of HTTP at the artifact store, where they do not simply pass."""

PASSING_AT_STORE = _store(RIGHT)


def _channel(**order: Any) -> Rule:
    return Rule({ANY: REST_ONLY} | dict.fromkeys(WAITS, RIGHT), TWICE | order)


def _events(**order: Any) -> Rule:
    return Rule({ANY: REST_ONLY, "joining": NOT_JOINED, "waiting": RIGHT}, LASTING | order)


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
    name: Rule({ANY: NO_WEBHOOK}) for name, kind in KINDS.items() if kind.place == "webhook"
}
DOOR = Rule({ANY: RIGHT, "dispatching": LOOKED}, LASTING)
RULES = (
    HTTP
    | STORE
    | CHANNEL
    | WEBHOOKS
    | {"refuse-connections": DOOR, "revoked-token": _refused("Unauthorized")}
)
ONLY_WAITS = Never("only a wait outlasts two tokens")
ACTS = {
    "the build is deleted": Rule(
        {
            ANY: Never("there is no build yet"),
            "joining": End("NotFound", slow=65.0),
            "waiting": End("NotFound", slow=65.0),
            "concluding": End("NotFound"),
            "downloading": End("ArtifactUnavailable"),
        },
        LASTING,
        lasts=True,
    ),
    "the token is replaced": Rule({ANY: RIGHT}, LASTING),
    "the token is replaced twice": Rule({ANY: ONLY_WAITS} | dict.fromkeys(WAITS, RIGHT), LASTING),
    "the service is deployed": Rule({ANY: REST_ONLY, "joining": NOT_JOINED, "waiting": RIGHT}),
}
"""What befalls a task besides the sandbox's faults."""
