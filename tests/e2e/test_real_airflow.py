"""The provider in a real Airflow: scheduler, triggerer, Dag processor and API server."""

from __future__ import annotations

import hashlib
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
    from tests.e2e.conftest import Run

    Start = Callable[..., Run]


RESUME_DELAY = 10.0
"""Seconds from a trigger's start until its event: the heartbeat interval plus 5 s."""


def _win64(sandbox: Sandbox) -> str:
    return str(sandbox.setting("MyGame", platform="Win64", buildType="Shipping")["id"])


def test_release_pipeline(run: Start, shared_sandbox: Sandbox, tmp_path: Path) -> None:
    """The example builds both platforms, and downloads both artifacts after the gate."""
    shared_sandbox.plan(times=2, queue=1.0, run=9.0)
    release = run("buildpixel_release_pipeline", {"releases": str(tmp_path)})
    assert release.end() == "success"
    facts = [release.xcom("build", index=index) for index in range(2)]
    assert {fact["status"] for fact in facts} == {"complete"}
    assert {fact["platform"] for fact in facts} == {"Win64", "Linux"}
    for index, fact in enumerate(facts):
        artifact = tmp_path / f"MyGame-{fact['platform']}.tar.gz"
        with tarfile.open(artifact) as tar:
            (named,) = [tar.extractfile(one) for one in tar if one.name.endswith("Build.json")]
            assert named is not None
            assert fact["build_id"] in named.read().decode()
        fetched = release.xcom("fetch", index=index)
        md5 = hashlib.md5(artifact.read_bytes()).hexdigest()  # noqa: S324  # BuildPixel's
        assert fetched["checksum_md5"] == md5
        assert str(artifact) in release.xcom("release")


def test_gate_that_does_not_open(run: Start, shared_sandbox: Sandbox, tmp_path: Path) -> None:
    """If one platform fails, no artifact is downloaded or released, not even the other one's."""
    linux = shared_sandbox.setting("MyGame", platform="Linux", buildType="Shipping")["id"]
    shared_sandbox.plan(setting_id=linux, outcome="failed", failure="compile", queue=0.0, run=9.0)
    shared_sandbox.plan(setting_id=_win64(shared_sandbox), queue=0.0, run=9.0)
    release = run("buildpixel_release_pipeline", {"releases": str(tmp_path)})
    release.wait_for("build", "success", "up_for_retry")
    assert release.fail() == "failed"
    assert [task["state"] for task in release.tasks("build")].count("success") == 1
    assert not release.started_tasks("gate", "fetch", "release")
    assert not list(tmp_path.iterdir())


def test_gate_on_push(run: Start, shared_sandbox: Sandbox) -> None:
    """The example waits for a build started by a push, and starts none itself."""
    setting = shared_sandbox.setting("MyGame", platform="Win64", buildType="Development")
    shared_sandbox.plan(setting_id=setting["id"], queue=1.0, run=15.0)
    pushed = shared_sandbox.push(setting["id"])
    before = len(shared_sandbox.builds())
    gate = run("buildpixel_gate_on_push")
    assert gate.end() == "success"
    assert pushed in gate.xcom("smoke_test")
    assert len(shared_sandbox.builds()) == before


def test_id_is_known_while_the_build_runs(run: Start, shared_sandbox: Sandbox) -> None:
    """A deferred task has pushed its build's id, and its log contains the build's log."""
    shared_sandbox.plan(queue=0.0, run=600.0)
    going = run("one_deferred_build")
    going.wait_for("build", "deferred")
    build_id = going.xcom("build", "build_id")
    assert shared_sandbox.build(build_id)["status"] in {"pending", "running"}
    shared_sandbox.advance(600)
    assert going.end() == "success"
    assert "*** COMPILING" in going.log("build")


def test_failed_build_fails_the_task(run: Start, shared_sandbox: Sandbox) -> None:
    """A failed build fails its task; the log shows the phase and the compiler error."""
    shared_sandbox.plan(outcome="failed", queue=0.0, run=9.0)
    failing = run("one_deferred_build")
    assert failing.end() == "failed"
    log = failing.log("build")
    assert "compile" in log
    assert "error C2065" in log


def test_sensor_without_a_worker(run: Start, shared_sandbox: Sandbox) -> None:
    """A sensor started in the triggerer needs a worker only for its end, and times out."""
    shared_sandbox.plan(queue=0.0, run=12.0)
    build_id = shared_sandbox.push(_win64(shared_sandbox))
    sensing = run("started_in_the_triggerer", {"build_id": build_id})
    assert sensing.end() == "failed"
    [in_time], [too_late] = sensing.tasks("in_time"), sensing.tasks("too_late")
    assert (in_time["state"], too_late["state"]) == ("success", "failed")
    assert sensing.xcom("in_time")["build_id"] == build_id
    assert too_late["try_number"] == 1  # a sensor's timeout is never retried
    assert sensing.event_count("running") == 2  # once each, for the end


def test_tasks_that_wait_for_the_same_build(run: Start, shared_sandbox: Sandbox) -> None:
    """Two tasks that have waited for the same build do not cancel each other's builds."""
    shared_sandbox.plan(outcome="hangs", queue=0.0)
    live = shared_sandbox.push(_win64(shared_sandbox))
    shared_sandbox.plan(times=2, queue=0.0, run=9.0)
    waiting = run("waits_for_a_live_build")
    waiting.wait_for("build", "deferred")
    shared_sandbox.set_status(live, "complete")
    assert waiting.end() == "success"
    builds = [waiting.xcom("build", index=index) for index in range(2)]
    assert {fact["status"] for fact in builds} == {"complete"}
    assert len({fact["build_id"] for fact in builds}) == 2
    assert not any("without a lock" in waiting.log("build", index=index) for index in range(2))


def test_killed_triggerer(run: Start, shared_sandbox: Sandbox, airflow: Airflow) -> None:
    """A triggerer killed during a wait loses nothing: the next one continues the wait."""
    shared_sandbox.plan(outcome="hangs", queue=0.0)
    before = len(shared_sandbox.builds())
    waiting = run("one_deferred_build")
    waiting.wait_for("build", "deferred")
    build_id = waiting.xcom("build", "build_id")

    def joined() -> bool:
        return shared_sandbox.joined(build_id) > 0

    airflow.wait_until(joined, 120.0, "a wait follows the build")
    airflow.components["triggerer"].kill()
    airflow.wait_until(lambda: not joined(), 60.0, "no wait follows it")
    airflow.components["triggerer"].start()
    airflow.wait_until(joined, 120.0, "a wait follows it again")
    shared_sandbox.set_status(build_id, "complete")
    assert waiting.end() == "success"
    assert len(shared_sandbox.builds()) == before + 1


def test_killed_worker(run: Start, shared_sandbox: Sandbox, airflow: Airflow) -> None:
    """A worker killed during a wait costs a try, not a build: the retry follows the same build."""
    shared_sandbox.plan(outcome="hangs", queue=0.0)
    before = {build["id"] for build in shared_sandbox.builds()}
    waiting = run("one_blocking_build_with_retries")

    def joined() -> bool:
        return bool(_followed_builds(shared_sandbox, before))

    airflow.wait_until(joined, 120.0, "a build was started, and a wait follows it")
    airflow.components["scheduler"].kill()  # with the workers, which are its children
    airflow.wait_until(lambda: not joined(), 60.0, "no wait follows it")
    airflow.components["scheduler"].start()
    airflow.wait_until(joined, 120.0, "a wait follows it again")
    shared_sandbox.set_status(_followed_builds(shared_sandbox, before)[0], "complete")
    assert waiting.end() == "success"
    assert waiting.tasks("build")[0]["try_number"] > 1
    assert len(shared_sandbox.builds()) == len(before) + 1


def _followed_builds(sandbox: Sandbox, but: set[str]) -> list[str]:
    """Return the new builds that a wait follows."""
    new = {build["id"] for build in sandbox.builds()} - but
    return [build_id for build_id in new if sandbox.joined(build_id)]


def _restarted_orphans(airflow: Airflow, dag_id: str) -> bool:
    """Return whether a blocked scheduler logged that it reset tasks of a Dag."""
    lines = airflow.home.log("scheduler").read_text(errors="replace").splitlines()
    return any("orphaned TaskInstances" in line and f"{dag_id}." in line for line in lines)


def _longest_stall(log: str) -> float:
    """Return the seconds of the longest loop in a scheduler's log."""
    rounds = re.findall(r"Ran scheduling loop in ([0-9.]+) ms", log)
    assert rounds
    return max(map(float, rounds)) / 1000


@pytest.mark.timeout(900)
def test_many_short_builds(run: Start, shared_sandbox: Sandbox, airflow: Airflow) -> None:
    """Forty builds of one to eight seconds all succeed, on their first try.

    This is at Airflow's default heartbeat interval, with which deferrals this short can fail. Two
    cases are accepted: a further try that the scheduler itself logged as a reset (it starts no
    other build), and a failure while the scheduler was blocked for longer than triggers delay
    their events.
    """
    log, offset = airflow.home.log("scheduler"), airflow.home.log("scheduler").stat().st_size
    before = len(shared_sandbox.builds())
    for number in range(40):
        shared_sandbox.plan(setting_id=_win64(shared_sandbox), queue=0.0, run=1.0 + number % 8)
    many = run("many_short_builds")
    many.end(500.0)
    mismatched = many.indexes_of("state mismatch")
    stall = _longest_stall(log.read_bytes()[offset:].decode(errors="replace"))
    assert not mismatched or stall > RESUME_DELAY, (mismatched, stall)
    tasks = many.tasks("build")
    assert len(tasks) == 40
    assert {task["map_index"] for task in tasks if task["state"] != "success"} <= mismatched
    tries = {task["try_number"] for task in tasks}
    assert tries == {1} or _restarted_orphans(airflow, "many_short_builds"), tries
    assert len(shared_sandbox.builds()) == before + 40
    assert many.event_count("deferred") >= 10  # else the test proves nothing
