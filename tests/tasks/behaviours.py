"""How a build task ends: one table, which is both a test and a page of the documentation.

``python -m tests.tasks.behaviours > docs/behaviours.md`` writes the page.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.connection import connection_uri
from tests.tasks.stage import count_reads, wait_for_dispatch, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

POLICIES = ("fail", "skip", "follow")
BOTH_CHANNELS = ("polling", "auto")


@dataclass(frozen=True)
class End:
    """How a task ends.

    :param text: the text in the documentation.
    :param error: the class of the error; None if the task succeeds.
    :param newer: the facts are those of the build that superseded the task's build.
    :param in_message: parts of the error's message.
    """

    text: str
    error: str | None = None
    newer: bool = False
    in_message: tuple[str, ...] = ()


SUCCESS = End("success")
SUCCESS_OF_NEWER = End("success, with the newer build's facts", newer=True)
SKIPPED = End("skipped", "AirflowSkipException", in_message=("superseded",))
COMPILE = End("`BuildFailed`: compile error", "BuildFailed", in_message=("compile", "error C2065"))
COOK = End("`BuildFailed`: cook error", "BuildFailed", in_message=("cook", "Failed to cook"))
COOK_OF_NEWER = End(
    "`BuildFailed` of the newer build", "BuildFailed", newer=True, in_message=("cook",)
)
DIED = End("`BuildFailed`: no error line", "BuildFailed", in_message=("without",))
SUPERSEDED = End(
    "`BuildSuperseded`", "BuildSuperseded", in_message=("superseded", "on_superseded to 'follow'")
)
SUPERSEDED_BY = End(
    "`BuildSuperseded`, names the newer build",
    "BuildSuperseded",
    in_message=("superseded by build ", "push:"),
)
DELETED = End("`NotFound`", "NotFound", in_message=("404",))
REFUSED = End("`Unauthorized`, no retry", "Unauthorized", in_message=("401",))


def _timeout(name: str) -> End:
    return End(f"`BuildTimeout`, names `{name}`", "BuildTimeout", in_message=(name, "continues"))


@dataclass(frozen=True)
class Scenario:
    """What happens to a build, and how its task ends.

    :param description: the text in the documentation.
    :param ends: the ends for ``on_superseded`` fail, skip and follow.
    :param plan: the plan of the sandbox's builds.
    :param steps: what happens while the task runs.
    :param task: further parameters of the operator.
    """

    name: str
    description: str
    ends: tuple[End, End, End]
    plan: dict[str, Any] = field(default_factory=dict)
    steps: Callable[[Sandbox], object] | None = None
    task: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ("polling",)


@dataclass(frozen=True)
class Behaviour:
    """One test: a scenario with a policy, in a mode, over a channel."""

    scenario: Scenario
    on_superseded: str
    mode: str
    channel: str

    @property
    def end(self) -> End:
        """How the task must end, in every mode and over every channel."""
        return self.scenario.ends[POLICIES.index(self.on_superseded)]

    def __str__(self) -> str:
        return f"{self.scenario.name}-{self.on_superseded}-{self.mode}-{self.channel}"


def _always(end: End) -> tuple[End, End, End]:
    return (end, end, end)


def _set_superseded(sandbox: Sandbox) -> None:
    sandbox.set_status(wait_for_dispatch(sandbox), "superseded")


def _push_newer(outcome: str) -> Callable[[Sandbox], None]:
    def push(sandbox: Sandbox) -> None:
        setting = sandbox.build(wait_for_dispatch(sandbox))["buildSettingId"]
        sandbox.plan(outcome=outcome, failure="cook", queue=0.1, run=0.2)
        sandbox.push(setting)

    return push


def _answer_404(sandbox: Sandbox) -> None:
    wait_for_dispatch(sandbox)
    sandbox.fault("404", "GET /builds/:id")


def _set_unknown_status(sandbox: Sandbox) -> None:
    build_id = wait_for_dispatch(sandbox)
    sandbox.set_status(build_id, "quarantined")
    reads = count_reads(sandbox, build_id)
    wait_until(lambda: count_reads(sandbox, build_id) >= reads + 2)
    sandbox.set_status(build_id, "complete")


def _revoke_token(sandbox: Sandbox) -> None:
    wait_for_dispatch(sandbox)
    sandbox.revoke(sandbox.token)


def set_connection_token(sandbox: Sandbox, token: str) -> None:
    """Store another token in the connection."""
    os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] = connection_uri(sandbox.url, token)


def _replace_token(sandbox: Sandbox) -> None:
    build_id = wait_for_dispatch(sandbox)
    token = sandbox.issue_token()
    set_connection_token(sandbox, token)
    sandbox.revoke(sandbox.token)
    bearer = f"Bearer {token}"
    wait_until(lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests))
    sandbox.set_status(build_id, "complete")


HANGS = {"outcome": "hangs"}
NOT_FOUND = Scenario(
    "gone",
    "cannot be found any more (404 for one minute)",
    _always(DELETED),
    HANGS,
    _answer_404,
)
SCENARIOS = (
    Scenario("complete", "completes", _always(SUCCESS), channels=BOTH_CHANNELS),
    Scenario(
        "failed-compile",
        "fails to compile",
        _always(COMPILE),
        {"outcome": "failed", "failure": "compile"},
    ),
    Scenario(
        "failed-cook",
        "fails to cook",
        _always(COOK),
        {"outcome": "failed", "failure": "cook"},
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "superseded",
        "is superseded, and no list shows the newer build",
        (SUPERSEDED, SKIPPED, SUPERSEDED),
        HANGS,
        _set_superseded,
    ),
    Scenario(
        "superseded-complete",
        "is superseded, and the newer build completes",
        (SUPERSEDED_BY, SKIPPED, SUCCESS_OF_NEWER),
        HANGS,
        _push_newer("complete"),
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "superseded-failed",
        "is superseded, and the newer build fails",
        (SUPERSEDED_BY, SKIPPED, COOK_OF_NEWER),
        HANGS,
        _push_newer("failed"),
    ),
    NOT_FOUND,
    Scenario(
        "died",
        "fails without an error line in its log",
        _always(DIED),
        {"outcome": "dies", "run": 0.1, "death": 0.2},
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "never-started",
        "stays in the queue for longer than `queue_timeout`",
        _always(_timeout("queue_timeout")),
        {"outcome": "stays_pending"},
        task={"queue_timeout": 0.4},
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "too-slow",
        "takes longer than `timeout`",
        _always(_timeout("timeout")),
        HANGS,
        task={"timeout": 0.4},
    ),
    Scenario(
        "too-slow-for-airflow",
        "takes longer than `execution_timeout`",
        _always(_timeout("execution_timeout")),
        HANGS,
        task={"execution_timeout": timedelta(seconds=0.5), "timeout": 600},
    ),
    Scenario(
        "revoked",
        "is running when the token is revoked",
        _always(REFUSED),
        HANGS,
        _revoke_token,
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "replaced",
        "is running when the token is revoked and replaced in the connection",
        _always(SUCCESS),
        HANGS,
        _replace_token,
        channels=BOTH_CHANNELS,
    ),
    Scenario(
        "unknown",
        "gets a status that the provider does not know, then completes",
        _always(SUCCESS),
        HANGS,
        _set_unknown_status,
    ),
)
BEHAVIOURS = tuple(
    Behaviour(scenario, policy, mode, channel)
    for scenario in SCENARIOS
    for policy in POLICIES
    for mode in ("blocking", "deferrable")
    for channel in scenario.channels
)


def page() -> str:
    """Return the table as a page of the documentation."""
    header = "| the build … | " + " | ".join(f'`on_superseded="{p}"`' for p in POLICIES) + " |"
    rows = [header, "|---" * (len(POLICIES) + 1) + "|"]
    for scenario in SCENARIOS:
        ends = " | ".join(end.text for end in scenario.ends)
        rows.append(f"| {scenario.description} | {ends} |")
    return "\n".join([INTRODUCTION, *rows, "", CLOSING])


INTRODUCTION = """\
# How a build task ends

The table shows how `BuildPixelTriggerBuildOperator` ends. It ends in the same way with
`deferrable=True` and without, over Socket.IO and over polling, on Airflow 2.11 and on 3.x.
`tests/tasks/test_behaviours.py` tests each cell in both modes; in every case exactly one build was
started.
"""

CLOSING = """\
Airflow retries a task that raised an error as often as its `retries` allow. `Unauthorized`,
`Forbidden` and `InvalidRequest` fail the task at once, without a retry. A `BuildTimeout` ends the
task but not the build: BuildPixel's API cannot cancel a build.

A retry depends on the build of the earlier try (on Airflow 3.3, with `durable=True`):

| the build of the earlier try … | a retry … |
|---|---|
| is live | continues with it |
| is complete | returns its result |
| was superseded | ends as above; it starts no build, as that would cancel the newer one |
| failed, or does not exist any more | starts a new build |
| is of another setting, branch, commit or changelist than now requested | starts a new build |

If you clear a running task, it continues with its build. If you clear a task after a success, it
starts a new build.
"""

if __name__ == "__main__":
    sys.stdout.write(page())
