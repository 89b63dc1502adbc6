"""What happens in the sandbox while a code block runs, by the words of the block's comment."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.tasks.stage import concurrently, count_reads, dispatched_builds, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox

Facts = dict[str, Any]
START_TIMEOUT = 120.0
"""Seconds within which a task must start: the first one in a process imports all of Airflow."""


def _nothing(_: Sandbox) -> AbstractContextManager[Facts]:
    return nullcontext({})


@contextmanager
def _push(sandbox: Sandbox) -> Iterator[Facts]:
    """A push starts a build; it completes after the task has read it, and stays the only one."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Development")
    sandbox.plan(outcome="hangs", queue=0.1)
    build_id = sandbox.push(setting["id"])

    def end() -> None:
        wait_until(lambda: count_reads(sandbox, build_id), START_TIMEOUT)
        sandbox.set_status(build_id, "complete")

    with concurrently(end):
        yield {}
    assert [build["id"] for build in sandbox.builds()] == [build_id]


@contextmanager
def _push_meanwhile(sandbox: Sandbox) -> Iterator[Facts]:
    """The task's build hangs until a push supersedes it."""
    sandbox.plan(outcome="hangs", queue=0.1)
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")

    def push() -> None:
        wait_until(lambda: dispatched_builds(sandbox), START_TIMEOUT)
        sandbox.push(setting["id"])

    with concurrently(push):
        yield {}
    assert [build["status"] for build in sandbox.builds()] == ["superseded", "complete"]


@contextmanager
def _one_fails(sandbox: Sandbox) -> Iterator[Facts]:
    setting = sandbox.setting("MyGame", platform="Linux", buildType="Shipping")
    sandbox.plan(setting_id=setting["id"], outcome="failed", failure="compile", run=0.2)
    yield {}
    assert sorted(build["status"] for build in sandbox.builds()) == ["complete", "failed"]


@contextmanager
def _dies_once(sandbox: Sandbox) -> Iterator[Facts]:
    sandbox.plan(outcome="dies", queue=0.1, run=0.1, death=0.2)
    yield {}
    assert [build["status"] for build in sandbox.builds()] == ["failed", "complete"]


@contextmanager
def _complete(sandbox: Sandbox) -> Iterator[Facts]:
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    build_id = sandbox.push(setting["id"])
    sandbox.advance(60)
    yield {"BUILD_ID": build_id}


STORIES: dict[str, Callable[[Sandbox], AbstractContextManager[Facts]]] = {
    "": _nothing,
    "push": _push,
    "push meanwhile": _push_meanwhile,
    "one fails": _one_fails,
    "dies once": _dies_once,
    "a build that is complete": _complete,
}


def run_dags(text: str, folder: Path, *, only_load: bool = False) -> list[str]:
    """Load a Dag file as Airflow does, run its Dags, and return the states of the runs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    file = folder / "documented.py"
    file.write_text(text.replace("/tmp/", f"{folder}/"))  # noqa: S108  # redirects the files
    bag = DagBag(file, bundle_path=folder, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert bag.dags
    if only_load:
        return []
    (folder / "dags").mkdir(exist_ok=True)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]  # Airflow's
    sync_bag_to_db(bag, "dags-folder", None)
    for task in (task for dag in bag.dags.values() for task in dag.tasks):
        if hasattr(task, "retry_delay") and not task.is_mapped:
            task.retry_delay = timedelta(0)  # retry at once
    return [str(dag.test().state) for dag in bag.dags.values()]
