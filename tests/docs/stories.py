"""What happens around a block of code while it runs, by the words of its mark."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.tasks.stage import dispatched, meanwhile, reads, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox

Facts = dict[str, Any]
PATIENCE = 120.0
"""Seconds until a task must have begun: the first one in a process waits for all of Airflow."""


def _nothing(_: Sandbox) -> AbstractContextManager[Facts]:
    return nullcontext({})


@contextmanager
def _push(sandbox: Sandbox) -> Iterator[Facts]:
    """A push has started a build; it ends once the task has seen it, and stays the only one."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Development")
    sandbox.plan(outcome="hangs", queue=0.1)
    build_id = sandbox.push(setting["id"])

    def end() -> None:
        until(lambda: reads(sandbox, build_id), PATIENCE)
        sandbox.set_status(build_id, "complete")

    with meanwhile(end):
        yield {}
    assert [build["id"] for build in sandbox.builds()] == [build_id]


@contextmanager
def _push_meanwhile(sandbox: Sandbox) -> Iterator[Facts]:
    """The task's build hangs until a push supersedes it."""
    sandbox.plan(outcome="hangs", queue=0.1)
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")

    def push() -> None:
        until(lambda: dispatched(sandbox), PATIENCE)
        sandbox.push(setting["id"])

    with meanwhile(push):
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
    """Load a Dag file as Airflow does, run its Dags, and give how the runs ended."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    file = folder / "documented.py"
    file.write_text(text.replace("/tmp/", f"{folder}/"))  # it is taken out
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
            task.retry_delay = timedelta(0)  # nobody wants to wait for that
    return [str(dag.test().state) for dag in bag.dags.values()]
