"""What a retry or a Clear does with the build of an earlier try: a table that is test and docs.

``python -m tests.tasks.retry_table`` writes it into docs/how-to/retries.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import BuildFailed, DispatchUncertain
from tests.docs.tables import write_table
from tests.tasks.stage import (
    WIN64,
    Killed,
    Store,
    TaskInstance,
    context_of,
    dispatched_builds,
    operator_factory,
    run_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

PAGE = "docs/how-to/retries.md"
TABLE = "retries"
HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}
HOUR = 3600.0

CONTINUES = "continues with it"
RETURNS = "returns its result"
SUPERSEDED = "ends as `on_superseded` says, and starts no build"
STARTS = "starts a new build"
UNCERTAIN = "fails with `DispatchUncertain` again"


@dataclass
class EarlierTry:
    """What a first try of a task leaves behind.

    :param parameters: parameters of the operator in the next try, if they have changed.
    """

    sandbox: Sandbox
    monkeypatch: pytest.MonkeyPatch
    store: Store = field(default_factory=Store)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def setting_id(self) -> str:
        """The id of the build setting."""
        found: str = self.sandbox.setting("MyGame", **WIN64)["id"]
        return found

    def run(self, **kwargs: Any) -> Any:
        """Run the first try."""
        ti = TaskInstance(max_tries=2)
        kwargs = {"retries": 2, "build_setting": self.setting_id, **kwargs}
        return run_task(operator_factory("blocking", **kwargs), context_of(ti, self.store))

    def run_and_kill(self, writes: int) -> None:
        """Run the first try, and kill its worker after so many writes to the state store."""
        self.store.dies_at = writes
        with pytest.raises(Killed):
            self.run()

    def start_build(self, status: str | None = None, **changed: Any) -> None:
        """Start a build, and lose the worker after that.

        :param status: the status of the build by the time of the next try, if it has ended.
        :param changed: fields of the build setting that are edited after that.
        """
        self.sandbox.plan(**HANGS)
        self.run_and_kill(3)
        if status is not None:
            self.sandbox.set_status(dispatched_builds(self.sandbox)[-1], status)
        if changed:
            self.sandbox.update_setting(self.setting_id, **changed)

    def delete_build(self) -> None:
        """Start a build that is deleted an hour later."""
        self.start_build()
        self.sandbox.world.builds.clear()
        self.sandbox.world.build_ids.clear()
        self.store.edit("buildpixel_build", dispatched_at=1.0)

    def fail(self) -> None:
        """Run a try whose build fails."""
        self.sandbox.plan(outcome="failed", queue=0.1, run=0.1)
        with pytest.raises(BuildFailed):
            self.run()

    def lose_the_answer(self) -> None:
        """Kill the worker while it waits for the answer to its request, which has run."""
        self.sandbox.plan(**HANGS)
        self.run_and_kill(2)
        self.store.edit("buildpixel_build", build_id=None)

    def lose_the_request(self) -> None:
        """Kill the worker before its request is sent."""
        self.run_and_kill(1)
        self.sandbox.advance(HOUR)

    def time_out(self) -> None:
        """Run a try whose request times out."""
        uri = f"{self.sandbox.connection_uri}&request_timeout=0.5"
        self.monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", uri)
        self.sandbox.fault("hang", "POST trigger", times=1)
        with pytest.raises(DispatchUncertain):
            self.run()


@dataclass(frozen=True)
class Row:
    """One situation, and what the next try does."""

    situation: str
    prepare: Callable[[EarlierTry], object]
    retry: str
    clear: str


def _edit_the_task(earlier: EarlierTry) -> None:
    earlier.start_build("complete")
    earlier.parameters = {"commit": "4be7a1c"}


ROWS = (
    Row("its build is live", lambda t: t.start_build(), CONTINUES, CONTINUES),
    Row(
        "its build is complete, and the task has not used the result",
        lambda t: t.start_build("complete"),
        RETURNS,
        STARTS,
    ),
    Row(
        "the task has succeeded (a retry: Airflow lost the report)",
        lambda t: t.run(),
        RETURNS,
        STARTS,
    ),
    Row(
        "its build was superseded",
        lambda t: t.start_build("superseded"),
        SUPERSEDED,
        STARTS,
    ),
    Row("its build failed", lambda t: t.fail(), STARTS, STARTS),
    Row("its build does not exist any more", lambda t: t.delete_build(), STARTS, STARTS),
    Row(
        "the worker was lost while it waited for the answer, and a build was started",
        lambda t: t.lose_the_answer(),
        CONTINUES,
        CONTINUES,
    ),
    Row(
        "the worker was lost before it sent the request",
        lambda t: t.lose_the_request(),
        STARTS,
        STARTS,
    ),
    Row(
        "its request timed out: it may run at any later time",
        lambda t: t.time_out(),
        UNCERTAIN,
        STARTS,
    ),
    Row(
        "the branch, platform or build type of the build setting was edited after its build",
        lambda t: t.start_build("complete", branch="release/5.4"),
        STARTS,
        STARTS,
    ),
    Row(
        "the task now asks for another setting, branch, commit or changelist",
        _edit_the_task,
        STARTS,
        STARTS,
    ),
)


def table() -> str:
    """Return the table as Markdown."""
    rows = ["| in the earlier try … | a retry … | a try after a Clear … |", "|---|---|---|"]
    rows += [f"| {row.situation} | {row.retry} | {row.clear} |" for row in ROWS]
    return "\n".join(rows)


if __name__ == "__main__":
    write_table(PAGE, TABLE, table())
