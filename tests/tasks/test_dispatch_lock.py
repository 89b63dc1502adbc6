"""Two tasks of one Airflow do not start builds of the same kind at the same time."""

from __future__ import annotations

import json
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.tasks import build_starter, dispatcher
from airflow_provider_buildpixel.tasks import dispatch_lock as module
from airflow_provider_buildpixel.tasks.dispatch_lock import DispatchLock, dispatch_lock
from tests.tasks.stage import (
    AIRFLOW_3,
    MODES,
    WIN64,
    Store,
    TaskInstance,
    context_of,
    dispatched_builds,
    operator_factory,
    run_task,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

KIND = BuildFilter("p", platform="Win64", build_type="Shipping", branch="main")
log = logging.getLogger(__name__)


class Variables:
    """Airflow's Variables in a dict: the last writer wins.

    :param refused: the names of the methods that raise.
    """

    def __init__(self, *refused: str) -> None:
        self.values: dict[str, str] = {}
        self._refused = refused

    def get(self, key: str, default: Any) -> Any:
        """Return a value."""
        return self.values.get(key, default)

    def set(self, key: str, value: str, description: str) -> None:
        """Store a value."""
        assert description
        if "set" in self._refused:
            raise PermissionError("no access")
        self.values[key] = value

    def delete(self, key: str) -> None:
        """Delete a value."""
        if "delete" in self._refused:
            raise PermissionError("no access")
        del self.values[key]


@pytest.fixture
def variables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Variables:
    """Return Variables, with which locks take a tenth of a second."""
    found = Variables(*getattr(request, "param", ()))
    monkeypatch.setattr(module, "Variable", found)
    monkeypatch.setattr(module, "SETTLE_TIME", 0.1)
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.01)
    return found


def test_one_task_at_a_time(variables: Variables) -> None:
    """Tasks that want the lock at the same moment get it one after the other."""
    inside: list[str] = []
    most: list[int] = []

    def take(owner: str) -> None:
        with dispatch_lock(KIND, owner, log, needed=True):
            inside.append(owner)
            most.append(len(inside))
            time.sleep(0.02)  # as long as a request: without a lock, others would enter now
            inside.remove(owner)

    threads = [threading.Thread(target=take, args=(f"task {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert variables.values == {}


def test_builds_of_other_kinds_do_not_wait(variables: Variables) -> None:
    """Each kind of build has a lock of its own."""
    with (
        dispatch_lock(KIND, "one", log, needed=True),
        dispatch_lock(BuildFilter("p", branch="next"), "two", log, needed=True),
    ):
        assert len(variables.values) == 2


def test_no_lock_is_needed(variables: Variables) -> None:
    """A task that supersedes live builds in any case takes no lock."""
    with dispatch_lock(KIND, "one", log, needed=False):
        assert variables.values == {}


def test_retry_takes_over_its_own_lock(variables: Variables) -> None:
    """A task whose worker was killed while it held the lock does not wait for it."""
    DispatchLock(KIND, "task").acquire()
    with dispatch_lock(KIND, "task", log, needed=True):
        assert len(variables.values) == 1
    assert variables.values == {}


@pytest.mark.parametrize("left_over", ["", "nonsense", "[]", json.dumps({"owner": "x"})])
def test_unreadable_lock(variables: Variables, left_over: str) -> None:
    """A value that is no lock is replaced."""
    lock = DispatchLock(KIND, "task")
    variables.values[lock._key] = left_over
    lock.acquire()
    lock.release()
    assert variables.values == {}


def test_expired_lock(variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a task that was killed is ignored after some minutes, and not deleted by it."""
    monkeypatch.setattr(module, "EXPIRES_AFTER", 0.2)
    dead = DispatchLock(KIND, "dead")
    dead.acquire()
    monkeypatch.setattr(module, "EXPIRES_AFTER", 60.0)
    DispatchLock(KIND, "task").acquire()
    dead.release()
    assert len(variables.values) == 1


def test_lock_that_is_never_free(variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task does not wait for the lock for ever."""
    DispatchLock(KIND, "other").acquire()
    monkeypatch.setattr(module, "MAX_WAIT", 0.1)
    with pytest.raises(TimeoutError):
        DispatchLock(KIND, "task").acquire()
    with dispatch_lock(KIND, "task", log, needed=True):
        assert "other" in next(iter(variables.values.values()))


@pytest.mark.parametrize("variables", [("set",)], indirect=True)
def test_variables_cannot_be_written(
    variables: Variables, caplog: pytest.LogCaptureFixture
) -> None:
    """Where tasks may not write Variables, the build is started without a lock."""
    caplog.set_level(logging.INFO)
    with dispatch_lock(KIND, "task", log, needed=True):
        assert variables.values == {}
    assert "without a lock" in caplog.text


@pytest.mark.parametrize("variables", [("delete",)], indirect=True)
def test_lock_cannot_be_deleted(variables: Variables) -> None:
    """An error while the lock is deleted does not fail the task: the lock expires."""
    with dispatch_lock(KIND, "task", log, needed=True):
        pass
    assert len(variables.values) == 1


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 runs tasks in the main thread only")
@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("mode", MODES)
def test_tasks_that_wait_for_the_same_build(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Tasks that have waited for the same build start their builds one after the other."""
    monkeypatch.setattr(dispatcher, "MAX_DELAY_AFTER_WAIT", 0.0)
    monkeypatch.setattr(build_starter, "LIST_LAG", 0.1)
    sandbox.plan(outcome="hangs", queue=0.1)
    live = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    results: list[Any] = []

    def run(number: int) -> None:
        ti = TaskInstance(map_index=number)
        make = operator_factory(mode, on_in_flight="wait")
        results.append(run_task(make, context_of(ti, Store())))

    threads = [threading.Thread(target=partial(run, number)) for number in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(live in request.path for request in sandbox.requests) >= 6)
    sandbox.set_status(live, "complete")
    for thread in threads:
        thread.join()
    assert sorted(facts["build_id"] for facts in results) == dispatched_builds(sandbox)
    assert {facts["status"] for facts in results} == {"complete"}
    assert len(results) == 3
