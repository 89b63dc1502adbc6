"""The lifecycle of builds in a sandbox without a server, driven by its clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.world.clock import Clock
from airflow_provider_buildpixel.sandbox.world.scripted_log import (
    FAILURES,
    PHASES,
    LogContext,
    scripted_log,
)

CONTEXT = LogContext("MyGame", "Win64", "Shipping", "0" * 40, "5.4", "github")


@pytest.fixture
def sandbox() -> Sandbox:
    """Return a sandbox whose server is not started."""
    return Sandbox()


@pytest.fixture
def setting(sandbox: Sandbox) -> str:
    """Return the id of a build setting."""
    return str(sandbox.setting("MyGame", platform="Win64", buildType="Shipping")["id"])


def lines(sandbox: Sandbox, build_id: str) -> list[str]:
    """Return the messages in the log of a build."""
    return [line.message for line in sandbox.world.builds[build_id].logs]


def status(sandbox: Sandbox, build_id: str) -> str:
    """Return the status of a build."""
    return str(sandbox.build(build_id)["status"])


def test_phases_in_the_log(sandbox: Sandbox, setting: str) -> None:
    """The log of a successful build has the markers of all phases in order, and the end."""
    build = sandbox.push(setting)
    sandbox.advance(100)
    log = lines(sandbox, build)
    markers = ("Syncing", "*** COMPILING", "LogCook: Cooking maps", "LogStaging:", "Uploading")
    positions = [next(n for n, line in enumerate(log) if line.startswith(m)) for m in markers]
    assert positions == sorted(positions)
    assert log[-1] == "BUILD SUCCESSFUL"


@pytest.mark.parametrize("name", FAILURES)
def test_failures(sandbox: Sandbox, setting: str, name: str) -> None:
    """A failing build stops in the phase of its failure, with its error lines."""
    sandbox.plan(outcome="failed", failure=name)
    build = sandbox.push(setting)
    sandbox.advance(100)
    log = lines(sandbox, build)
    assert status(sandbox, build) == "failed"
    assert log[-2:] == [*FAILURES[name].errors, "BUILD FAILED"]
    names = [phase.name for phase in PHASES]
    after = PHASES[names.index(FAILURES[name].phase) + 1 :]
    assert not any(line.startswith(phase.first_line[:14]) for phase in after for line in log)


def test_own_errors_and_lines(sandbox: Sandbox, setting: str) -> None:
    """A plan can have its own log lines and errors."""
    sandbox.plan(outcome="failed", errors=("E1", "E2"), lines=("one", "warning: two"))
    build = sandbox.push(setting)
    sandbox.advance(100)
    assert lines(sandbox, build) == ["one", "warning: two", "E1", "E2", "BUILD FAILED"]
    assert [line.level for line in sandbox.world.builds[build].logs][:2] == ["info", "warn"]


def test_silent_death(sandbox: Sandbox, setting: str) -> None:
    """A build that dies writes no more log lines, and fails within about thirty seconds."""
    sandbox.plan(outcome="dies", queue=0, run=10)
    build = sandbox.push(setting)
    sandbox.advance(11)
    last = lines(sandbox, build)
    assert status(sandbox, build) == "running"
    sandbox.advance(30)
    assert status(sandbox, build) == "failed"
    assert lines(sandbox, build) == last
    assert "BUILD FAILED" not in last


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("hangs", "running"), ("stays_pending", "pending"), ("archived", "archived")],
)
def test_other_outcomes(sandbox: Sandbox, setting: str, outcome: str, expected: str) -> None:
    """A build can run forever, stay pending forever, or end in an unknown status."""
    sandbox.plan(outcome=outcome)
    build = sandbox.push(setting)
    sandbox.advance(10**6)
    assert status(sandbox, build) == expected


def test_extra_statuses(sandbox: Sandbox, setting: str) -> None:
    """A plan can have unknown statuses between pending and running."""
    sandbox.plan(through=("provisioning",))
    build = sandbox.push(setting)
    sandbox.advance(100)
    history = [status for _, status in sandbox.world.builds[build].history]
    assert history == ["pending", "provisioning", "running", "complete"]


def test_supersession(sandbox: Sandbox, setting: str) -> None:
    """A newer build supersedes only live ones of the same project, branch, platform and type."""
    linux = str(sandbox.setting("MyGame", platform="Linux")["id"])
    older, other_branch, other = (
        sandbox.push(setting),
        sandbox.push(setting, branch="x"),
        sandbox.push(linux),
    )
    newer = sandbox.push(setting)
    assert [status(sandbox, b) for b in (older, other_branch, other, newer)] == [
        "superseded",
        "pending",
        "pending",
        "pending",
    ]
    sandbox.advance(100)
    assert status(sandbox, older) == "superseded"
    last = sandbox.push(setting)
    assert (status(sandbox, newer), status(sandbox, last)) == ("complete", "pending")


def test_terminal_status_is_final(sandbox: Sandbox, setting: str) -> None:
    """A terminal status never changes, not even by hand."""
    build = sandbox.push(setting)
    sandbox.set_status(build, "failed")
    with pytest.raises(ValueError, match="never changes"):
        sandbox.set_status(build, "running")


def test_by_hand(sandbox: Sandbox, setting: str) -> None:
    """A build whose status was set by hand no longer follows its plan."""
    build = sandbox.push(setting)
    sandbox.set_status(build, "weird")
    sandbox.advance(1000)
    assert status(sandbox, build) == "weird"
    sandbox.set_status(build, "complete")
    assert sandbox.build(build)["durationMs"] == 0


def test_plans_in_order(sandbox: Sandbox, setting: str) -> None:
    """Plans are used in order, each as often as ordered, for its setting; then the default."""
    linux = str(sandbox.setting("MyGame", platform="Linux")["id"])
    sandbox.plan(outcome="failed", setting_id=linux)
    sandbox.plan(outcome="hangs", times=2)
    order = [setting, linux, setting, setting]
    builds = [sandbox.push(each, branch=f"b{n}") for n, each in enumerate(order)]
    sandbox.advance(1000)
    assert [status(sandbox, b) for b in builds] == ["running", "failed", "running", "complete"]


def test_unknown_plan(sandbox: Sandbox) -> None:
    """A plan with a field that does not exist is rejected."""
    with pytest.raises(TypeError):
        sandbox.plan(outcom="failed")


def test_slot_of_a_superseded_build(setting: str) -> None:
    """The slot of a superseded build goes to the build that has waited longest."""
    sandbox = Sandbox(concurrency=1)
    shipping, linux, development = (each["id"] for each in sandbox.settings("MyGame"))
    sandbox.plan(outcome="hangs", times=9)
    running, waiting = sandbox.push(shipping), sandbox.push(linux)
    sandbox.advance(10)
    assert (status(sandbox, running), status(sandbox, waiting)) == ("running", "pending")
    sandbox.push(shipping), sandbox.push(development)
    assert (status(sandbox, running), status(sandbox, waiting)) == ("superseded", "running")


def test_times_are_exact(sandbox: Sandbox, setting: str) -> None:
    """Changes have the time at which they were due, however late the sandbox is read."""
    sandbox.plan(queue=2, run=30)
    build = sandbox.push(setting)
    created = sandbox.world.builds[build].created_at
    sandbox.advance(10_000)
    times = [round(at - created, 6) for at, _ in sandbox.world.builds[build].history]
    assert times == [0, 2, 32]


def test_schedule_is_small(sandbox: Sandbox, setting: str) -> None:
    """A build has at most one entry in the schedule, and none if it stays pending."""
    sandbox.plan(times=100, outcome="stays_pending")
    for number in range(100):
        sandbox.push(setting, branch=f"b{number}")
    assert sandbox.world.schedule.next_due is None
    sandbox.push(setting)
    sandbox.advance(10)
    assert len(sandbox.world.schedule._heap) == 1


@pytest.mark.parametrize("count", [1, 24, 1000])
def test_number_of_lines(count: int) -> None:
    """A build writes about as many log lines as planned, in order of time, within the run."""
    lines = list(scripted_log(Plan(lines=count, run=60), CONTEXT))
    assert count <= len(lines) <= count + 6
    assert [line.after for line in lines] == sorted(line.after for line in lines)
    assert lines[-1].after == 60


def test_clock() -> None:
    """The clock runs at its speed, and can be moved forward, but not back."""
    before = time.monotonic()
    clock = Clock(speed=1000, start=0)
    after = time.monotonic()
    clock.advance(50)
    time.sleep(0.05)
    elapsed = time.monotonic() - after
    now = clock.now()
    assert 50 + 1000 * elapsed <= now <= 50 + 1000 * (time.monotonic() - before)
    assert clock.real(1000) == 1
    with pytest.raises(ValueError, match="cannot be moved back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="positive"):
        Clock(speed=0)


def test_skewed_clock() -> None:
    """A clock can be ahead."""
    assert 130 <= Clock(start=100, skew=30).now() < 160


@pytest.mark.parametrize("wrong", [{"role": "king"}])
def test_unknown_role(sandbox: Sandbox, wrong: Any) -> None:
    """A token with a role that does not exist is not issued."""
    with pytest.raises(ValueError, match="role"):
        sandbox.issue_token(**wrong)


def test_lookups(sandbox: Sandbox) -> None:
    """Projects and build settings that do not exist or are ambiguous are not found."""
    with pytest.raises(LookupError, match="2 build settings"):
        sandbox.setting("MyGame", buildType="Shipping")
    with pytest.raises(LookupError):
        sandbox.settings("Nothing")
    with pytest.raises(LookupError):
        sandbox.push("nothing")
