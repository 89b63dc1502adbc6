"""How a build task ends: one table, which is the test's parameters and a page of the docs.

``python -m tests.tasks.behaviours > docs/behaviours.md`` writes the page.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.connection import connection_uri
from tests.tasks.stage import reads, until, waited_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

POLICIES = ("fail", "skip", "follow")
BOTH_CHANNELS = ("polling", "auto")


@dataclass(frozen=True)
class End:
    """How a task ends.

    :param words: how the docs put it.
    :param error: what is raised; None if the task succeeds.
    :param newer: the facts are those of the build that superseded ours.
    :param says: what the error names.
    """

    words: str
    error: str | None = None
    newer: bool = False
    says: tuple[str, ...] = ()


SUCCESS = End("success")
SUCCESS_OF_NEWER = End("success, with the newer build's facts", newer=True)
SKIPPED = End("skipped", "AirflowSkipException", says=("superseded",))
COMPILE = End("`BuildFailed`: compile error", "BuildFailed", says=("compile", "error C2065"))
COOK = End("`BuildFailed`: cook error", "BuildFailed", says=("cook", "Failed to cook"))
COOK_OF_NEWER = End("`BuildFailed` of the newer build", "BuildFailed", newer=True, says=("cook",))
DIED = End("`BuildFailed`: died without a word", "BuildFailed", says=("without",))
SUPERSEDED = End(
    "`BuildSuperseded`", "BuildSuperseded", says=("superseded", "on_superseded to 'follow'")
)
SUPERSEDED_BY = End(
    "`BuildSuperseded`, naming the newer build",
    "BuildSuperseded",
    says=("superseded by build ", "push:"),
)
GONE = End("`NotFound`", "NotFound", says=("404",))
REFUSED = End("`Unauthorized`, no retry", "Unauthorized", says=("401",))


def _timeout(name: str) -> End:
    return End(f"`BuildTimeout`, naming `{name}`", "BuildTimeout", says=(name, "goes on"))


@dataclass(frozen=True)
class Outcome:
    """What becomes of a build, and how its task ends.

    :param what: how the docs put it.
    :param ends: for ``on_superseded`` fail, skip and follow.
    :param course: how the sandbox's builds go.
    :param story: what happens meanwhile.
    :param task: more parameters of the operator.
    :param lasts: how long the test may take, where that is more than usual.
    """

    name: str
    what: str
    ends: tuple[End, End, End]
    course: dict[str, Any] = field(default_factory=dict)
    story: Callable[[Sandbox], object] | None = None
    task: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ("polling",)


@dataclass(frozen=True)
class Behaviour:
    """One row: an outcome under a policy, in a mode, over a channel."""

    outcome: Outcome
    on_superseded: str
    mode: str
    channel: str

    @property
    def end(self) -> End:
        """How it must end, whatever the mode and the channel."""
        return self.outcome.ends[POLICIES.index(self.on_superseded)]

    def __str__(self) -> str:
        return f"{self.outcome.name}-{self.on_superseded}-{self.mode}-{self.channel}"


def _always(end: End) -> tuple[End, End, End]:
    return (end, end, end)


def _superseded_by_hand(sandbox: Sandbox) -> None:
    sandbox.set_status(waited_for(sandbox), "superseded")


def _newer(outcome: str) -> Callable[[Sandbox], None]:
    def push(sandbox: Sandbox) -> None:
        setting = sandbox.build(waited_for(sandbox))["buildSettingId"]
        sandbox.plan(outcome=outcome, failure="cook", queue=0.1, run=0.2)
        sandbox.push(setting)

    return push


def _gone(sandbox: Sandbox) -> None:
    waited_for(sandbox)
    sandbox.fault("404", "GET /builds/:id")


def _unknown(sandbox: Sandbox) -> None:
    build_id = waited_for(sandbox)
    sandbox.set_status(build_id, "quarantined")
    seen = reads(sandbox, build_id)
    until(lambda: reads(sandbox, build_id) >= seen + 2)
    sandbox.set_status(build_id, "complete")


def _revoked(sandbox: Sandbox) -> None:
    waited_for(sandbox)
    sandbox.revoke(sandbox.token)


def connect(sandbox: Sandbox, token: str) -> None:
    """Put another token into the connection."""
    os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] = connection_uri(sandbox.url, token)


def _replaced(sandbox: Sandbox) -> None:
    build_id = waited_for(sandbox)
    token = sandbox.issue_token()
    connect(sandbox, token)
    sandbox.revoke(sandbox.token)
    bearer = f"Bearer {token}"
    until(lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests))
    sandbox.set_status(build_id, "complete")


HANGS = {"outcome": "hangs"}
GOES_404 = Outcome(
    "gone",
    "it cannot be found any more (404 for a minute)",
    _always(GONE),
    HANGS,
    _gone,
)
OUTCOMES = (
    Outcome("complete", "it completes", _always(SUCCESS), channels=BOTH_CHANNELS),
    Outcome(
        "failed-compile",
        "it fails to compile",
        _always(COMPILE),
        {"outcome": "failed", "failure": "compile"},
    ),
    Outcome(
        "failed-cook",
        "it fails to cook",
        _always(COOK),
        {"outcome": "failed", "failure": "cook"},
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "superseded",
        "it is superseded, and no newer build can be seen",
        (SUPERSEDED, SKIPPED, SUPERSEDED),
        HANGS,
        _superseded_by_hand,
    ),
    Outcome(
        "superseded-complete",
        "it is superseded, and the newer build completes",
        (SUPERSEDED_BY, SKIPPED, SUCCESS_OF_NEWER),
        HANGS,
        _newer("complete"),
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "superseded-failed",
        "it is superseded, and the newer build fails",
        (SUPERSEDED_BY, SKIPPED, COOK_OF_NEWER),
        HANGS,
        _newer("failed"),
    ),
    GOES_404,
    Outcome(
        "died",
        "it dies without a word",
        _always(DIED),
        {"outcome": "dies", "run": 0.1, "death": 0.2},
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "never-started",
        "it stays queued for longer than `queue_timeout`",
        _always(_timeout("queue_timeout")),
        {"outcome": "stays_pending"},
        task={"queue_timeout": 0.4},
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "too-slow",
        "it takes longer than `timeout`",
        _always(_timeout("timeout")),
        HANGS,
        task={"timeout": 0.4},
    ),
    Outcome(
        "too-slow-for-airflow",
        "it takes longer than `execution_timeout`",
        _always(_timeout("execution_timeout")),
        HANGS,
        task={"execution_timeout": timedelta(seconds=0.5), "timeout": 600},
    ),
    Outcome(
        "revoked",
        "the token is revoked during the wait",
        _always(REFUSED),
        HANGS,
        _revoked,
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "replaced",
        "the token is revoked during the wait, and the connection has a new one",
        _always(SUCCESS),
        HANGS,
        _replaced,
        channels=BOTH_CHANNELS,
    ),
    Outcome(
        "unknown",
        "it gets a status that nobody has heard of, and then completes",
        _always(SUCCESS),
        HANGS,
        _unknown,
    ),
)
BEHAVIOURS = tuple(
    Behaviour(outcome, policy, mode, channel)
    for outcome in OUTCOMES
    for policy in POLICIES
    for mode in ("blocking", "deferrable")
    for channel in outcome.channels
)


def page() -> str:
    """Render the table as a page of the docs."""
    header = "| the build | " + " | ".join(f'`on_superseded="{p}"`' for p in POLICIES) + " |"
    rows = [header, "|---" * (len(POLICIES) + 1) + "|"]
    for outcome in OUTCOMES:
        ends = " | ".join(end.words for end in outcome.ends)
        rows.append(f"| {outcome.what} | {ends} |")
    return "\n".join([INTRODUCTION, *rows, "", CLOSING])


INTRODUCTION = """\
# How a build task ends

`BuildPixelTriggerBuildOperator` ends as follows, with `deferrable=True` and without, over Socket.IO
and over polling, on Airflow 2.11 and on 3.x. Each cell is a test, in each mode
(`tests/tasks/test_behaviours.py`). In every case exactly one build was started.
"""

CLOSING = """\
A task that raises is retried by Airflow as its `retries` say, except for `Unauthorized` (and
`Forbidden` and `InvalidRequest`), which fail it at once. A `BuildTimeout` ends the task, not the
build: BuildPixel has no way to cancel one over the API. What a retry does about the build of the
try before:

| the build of the earlier try is | a retry (3.3, `durable=True`) |
|---|---|
| live | goes on with it |
| complete | takes its result |
| superseded | ends as above, and starts none: that would cancel the newer build |
| failed, or gone | starts a new build |
| of another setting, branch, commit or changelist than is asked for now | starts a new build |

A Clear of a running task goes on with its build; a Clear after success starts a new one.
"""

if __name__ == "__main__":
    sys.stdout.write(page())
