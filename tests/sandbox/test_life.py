"""The course of builds in a world that nobody serves, moved by its clock alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.clock import Clock
from airflow_provider_buildpixel.sandbox.script import FLAVOURS, PHASES, Subject, script

SUBJECT = Subject("MyGame", "Win64", "Shipping", "0" * 40, "5.4", "github")


@pytest.fixture
def world() -> Sandbox:
    """Return a sandbox that is not served."""
    return Sandbox()


@pytest.fixture
def setting(world: Sandbox) -> str:
    """Return the id of a build setting."""
    return str(world.setting("MyGame", platform="Win64", buildType="Shipping")["id"])


def lines(world: Sandbox, build_id: str) -> list[str]:
    """Return the messages in the log of a build."""
    return [line.message for line in world.world.builds[build_id].logs]


def status(world: Sandbox, build_id: str) -> str:
    """Return the status of a build."""
    return str(world.build(build_id)["status"])


def test_phases_in_the_log(world: Sandbox, setting: str) -> None:
    """The log of a good build shows all phases in order, and the end."""
    build = world.push(setting)
    world.advance(100)
    log = lines(world, build)
    marks = ("Syncing", "*** COMPILING", "LogCook: Cooking maps", "LogStaging:", "Uploading")
    positions = [next(n for n, line in enumerate(log) if line.startswith(m)) for m in marks]
    assert positions == sorted(positions)
    assert log[-1] == "BUILD SUCCESSFUL"


@pytest.mark.parametrize("name", FLAVOURS)
def test_flavours_of_failure(world: Sandbox, setting: str, name: str) -> None:
    """A failing build stops in the phase of its failure, with the line that tells."""
    world.plan(outcome="failed", failure=name)
    build = world.push(setting)
    world.advance(100)
    log = lines(world, build)
    assert status(world, build) == "failed"
    assert log[-2:] == [*FLAVOURS[name].errors, "BUILD FAILED"]
    names = [phase.name for phase in PHASES]
    after = PHASES[names.index(FLAVOURS[name].phase) + 1 :]
    assert not any(line.startswith(phase.opening[:14]) for phase in after for line in log)


def test_own_errors_and_lines(world: Sandbox, setting: str) -> None:
    """A plan may have its own log lines and errors."""
    world.plan(outcome="failed", errors=("E1", "E2"), lines=("one", "warning: two"))
    build = world.push(setting)
    world.advance(100)
    assert lines(world, build) == ["one", "warning: two", "E1", "E2", "BUILD FAILED"]
    assert [line.level for line in world.world.builds[build].logs][:2] == ["info", "warn"]


def test_silent_death(world: Sandbox, setting: str) -> None:
    """A build that dies says nothing more and is failed within about thirty seconds."""
    world.plan(outcome="dies", queue=0, run=10)
    build = world.push(setting)
    world.advance(11)
    last = lines(world, build)
    assert status(world, build) == "running"
    world.advance(30)
    assert status(world, build) == "failed"
    assert lines(world, build) == last
    assert "BUILD FAILED" not in last


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("hangs", "running"), ("stays_pending", "pending"), ("archived", "archived")],
)
def test_other_outcomes(world: Sandbox, setting: str, outcome: str, expected: str) -> None:
    """A build may run for ever, wait for ever, or end in a status nobody knows."""
    world.plan(outcome=outcome)
    build = world.push(setting)
    world.advance(10**6)
    assert status(world, build) == expected


def test_statuses_on_the_way(world: Sandbox, setting: str) -> None:
    """A plan may put statuses nobody knows between pending and running."""
    world.plan(through=("provisioning",))
    build = world.push(setting)
    world.advance(100)
    history = [status for _, status in world.world.builds[build].history]
    assert history == ["pending", "provisioning", "running", "complete"]


def test_supersession(world: Sandbox, setting: str) -> None:
    """A newer build supersedes live ones of the same project, branch, platform and type only."""
    linux = str(world.setting("MyGame", platform="Linux")["id"])
    older, other_branch, other = (
        world.push(setting),
        world.push(setting, branch="x"),
        world.push(linux),
    )
    newer = world.push(setting)
    assert [status(world, b) for b in (older, other_branch, other, newer)] == [
        "superseded",
        "pending",
        "pending",
        "pending",
    ]
    world.advance(100)
    assert status(world, older) == "superseded"
    last = world.push(setting)
    assert (status(world, newer), status(world, last)) == ("complete", "pending")


def test_terminal_for_good(world: Sandbox, setting: str) -> None:
    """A terminal status never changes, not even by hand."""
    build = world.push(setting)
    world.set_status(build, "failed")
    with pytest.raises(ValueError, match="never changes"):
        world.set_status(build, "running")


def test_by_hand(world: Sandbox, setting: str) -> None:
    """A build whose status was set by hand no longer follows its plan."""
    build = world.push(setting)
    world.set_status(build, "weird")
    world.advance(1000)
    assert status(world, build) == "weird"
    world.set_status(build, "complete")
    assert world.build(build)["durationMs"] == 0


def test_plans_in_order(world: Sandbox, setting: str) -> None:
    """Plans are used in order, each so often, one for its setting only, then the default."""
    linux = str(world.setting("MyGame", platform="Linux")["id"])
    world.plan(outcome="failed", setting_id=linux)
    world.plan(outcome="hangs", times=2)
    order = [setting, linux, setting, setting]
    builds = [world.push(each, branch=f"b{n}") for n, each in enumerate(order)]
    world.advance(1000)
    assert [status(world, b) for b in builds] == ["running", "failed", "running", "complete"]


def test_unknown_plan(world: Sandbox) -> None:
    """A plan with a field that does not exist is refused."""
    with pytest.raises(TypeError):
        world.plan(outcom="failed")


def test_concurrency_passes_on(setting: str) -> None:
    """A slot that a superseded build held goes to the one that waits longest."""
    world = Sandbox(concurrency=1)
    shipping, linux, development = (each["id"] for each in world.settings("MyGame"))
    world.plan(outcome="hangs", times=9)
    running, waiting = world.push(shipping), world.push(linux)
    world.advance(10)
    assert (status(world, running), status(world, waiting)) == ("running", "pending")
    world.push(shipping), world.push(development)
    assert (status(world, running), status(world, waiting)) == ("superseded", "running")


def test_times_are_exact(world: Sandbox, setting: str) -> None:
    """However late the world is looked at, things happened when they were due."""
    world.plan(queue=2, run=30)
    build = world.push(setting)
    created = world.world.builds[build].created_at
    world.advance(10_000)
    times = [round(at - created, 6) for at, _ in world.world.builds[build].history]
    assert times == [0, 2, 32]


def test_agenda_is_small(world: Sandbox, setting: str) -> None:
    """A build that waits has no more than one entry on the agenda, and one by hand none."""
    world.plan(times=100, outcome="stays_pending")
    for number in range(100):
        world.push(setting, branch=f"b{number}")
    assert world.world.agenda.next_due is None
    world.push(setting)
    world.advance(10)
    assert len(world.world.agenda._heap) == 1


@pytest.mark.parametrize("count", [1, 24, 1000])
def test_number_of_lines(count: int) -> None:
    """A plan has about as many lines as it says, in order of time, within the run."""
    made = list(script(Plan(lines=count, run=60), SUBJECT))
    assert count <= len(made) <= count + 6
    assert [line.after for line in made] == sorted(line.after for line in made)
    assert made[-1].after == 60


def test_clock() -> None:
    """The clock runs as fast as told, is put forward, and never back."""
    before = time.monotonic()
    clock = Clock(speed=1000, start=0)
    after = time.monotonic()
    clock.advance(50)
    time.sleep(0.05)
    least = time.monotonic() - after
    now = clock.now()
    assert 50 + 1000 * least <= now <= 50 + 1000 * (time.monotonic() - before)
    assert clock.real(1000) == 1
    with pytest.raises(ValueError, match="never put back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="positive"):
        Clock(speed=0)


@pytest.mark.parametrize("wrong", [{"role": "king"}])
def test_roles_are_known(world: Sandbox, wrong: Any) -> None:
    """A token of a role that does not exist is not issued."""
    with pytest.raises(ValueError, match="role"):
        world.issue_token(**wrong)


def test_lookups(world: Sandbox) -> None:
    """Projects and build settings that do not exist, or are not the only ones, are not found."""
    with pytest.raises(LookupError, match="2 build settings"):
        world.setting("MyGame", buildType="Shipping")
    with pytest.raises(LookupError):
        world.settings("Nothing")
    with pytest.raises(LookupError):
        world.push("nothing")
