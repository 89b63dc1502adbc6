from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Dispatch, Identity, Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.builds.request import pending_build
from airflow_provider_buildpixel.channel.events import Joined, LinesDropped, StatusHint
from airflow_provider_buildpixel.downloads.artifacts import artifact_unavailable
from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    BuildTimeout,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
)
from airflow_provider_buildpixel.hooks.connections import connection_message
from airflow_provider_buildpixel.tasks.deadlines import (
    EXECUTION_TIMEOUT,
    QUEUE_TIMEOUT,
    TIMEOUT,
    Deadlines,
)
from airflow_provider_buildpixel.waits.actions import Expired, Listen, Read
from airflow_provider_buildpixel.waits.parameters import (
    check_choice,
    check_limits,
    check_rendered,
    check_wait,
)
from airflow_provider_buildpixel.waits.reporter import LogMessage
from airflow_provider_buildpixel.waits.tracker import BuildTracker
from airflow_provider_buildpixel.waits.wait import (
    Wait,
    ended_or_timeout,
    hook_wait,
    log_line_callback,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )


@pytest.mark.parametrize(
    ("channel", "joined", "expected"),
    [
        pytest.param("polling", False, Read(), id="polling-reads-at-once"),
        pytest.param("auto", False, Listen(3.0), id="a-channel-is-given-a-moment"),
        pytest.param("socketio", True, Read(), id="a-join-is-read"),
    ],
)
def test_a_wait_begins(channel: str, *, joined: bool, expected: object) -> None:
    """A wait by its parameters reads at once, or gives its channel a moment first."""
    watch = Wait("b", channel=channel).tracker(10.0, 1_000_000.0, lambda: 0.5)
    if joined:
        watch.on_event(Joined(), 10.0)
    assert watch.next_action(10.0) == expected
    assert watch.status is None


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (Wait("b", deadline=1_000_060.0), Expired()),
        (Wait("b", queue_deadline=1_000_060.0), Expired(queue=True)),
        (Wait("b", deadline=1_000_070.0), Read()),
    ],
)
def test_deadlines_are_wall_time(wait: Wait, expected: object) -> None:
    """Deadlines that crossed a process mean the same instant on the monotonic clock."""
    assert wait.tracker(10.0, 1_000_000.0, lambda: 0.5).next_action(70.0) == expected


def test_a_wait_has_a_narrator() -> None:
    """What is told of a wait is told under its build's id."""
    reporter = Wait("b", stream=None).reporter(0.0)
    (record,) = reporter.on_read_failed(ValueError("x"), 0.0)
    assert record.text == "could not read build b: x"


def test_a_read_that_is_under_way_is_not_wanted_again() -> None:
    """A read that was asked for is waited for, but not for ever."""
    watch = BuildTracker(0.0, live=False)
    assert watch.next_action(0.0) == Read()
    watch.read_requested(0.0)
    assert watch.next_action(1.0) == Listen(899.0)
    assert watch.next_action(900.0) == Read()


def test_a_listen_is_never_too_long_for_a_clock() -> None:
    """However rare the reads, one Listen lasts an hour at most."""
    watch = Wait("b", poll_interval=1e12).tracker(0.0, 0.0, lambda: 0.5)
    watch.on_read(Build("b", Status("running")), 5.0)
    assert watch.next_action(5.0) == Listen(3_600.0)


def test_a_429_beyond_patience_ends_the_wait() -> None:
    """A server that asks for more than the wait's patience is not waited for."""
    watch = BuildTracker(0.0, live=False)
    watch.on_read_failed(RateLimited("slow", wait=3_600.0), 0.0)
    with pytest.raises(RateLimited):
        watch.on_read_failed(RateLimited("slow", wait=3_601.0), 1.0)


def test_a_rumour_of_what_is_known_is_no_news() -> None:
    """A status that REST has reported already is not read again."""
    watch = BuildTracker(0.0, live=False)
    watch.on_read(Build("b", Status("running")), 0.0)
    before = watch.next_action(1.0)
    watch.on_event(StatusHint("b", Status("running")), 1.0)
    watch.on_event(LinesDropped(3), 1.0)
    assert watch.next_action(1.0) == before


@pytest.mark.parametrize(
    ("channel", "poll_interval", "stream", "said"),
    [
        ("pigeon", 30.0, "all", "channel 'pigeon'"),
        (None, 0.0, "all", "poll_interval"),
        (None, -1.0, None, "poll_interval"),
        (None, float("nan"), None, "poll_interval"),
        ("auto", 1.0, "loud", "stream_logs"),
        ("pigeon", 0.0, "loud", "channel .*; poll_interval .*; stream_logs"),
    ],
)
def test_parameters_that_make_no_sense(
    channel: str | None, poll_interval: float, stream: str | None, said: str
) -> None:
    """Every parameter that makes no sense is named, before anything is dispatched."""
    with pytest.raises(InvalidRequest, match=said):
        check_wait(channel, poll_interval, stream)


def test_parameters_that_make_sense() -> None:
    """Good parameters pass."""
    check_wait(None, 0.5, None)
    check_wait("socketio", 30, "warn")
    check_choice("policy", "fail", ("fail", "skip"))
    with pytest.raises(InvalidRequest, match="policy must be one of"):
        check_choice("policy", "x", ("fail", "skip"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {
                "user": {"email": "me@x"},
                "organization": {"name": "Org", "plan": "pro"},
                "membership": {"role": "owner"},
            },
            "Connected as me@x, organization Org, plan pro, role owner",
        ),
        ({"user": {"name": "Me"}, "membership": {"role": "viewer"}}, "Warning: a viewer"),
        ({}, "Connected as an unnamed user, organization unknown"),
    ],
)
def test_a_greeting(raw: dict[str, object], expected: str) -> None:
    """A greeting says who it is, and warns a viewer."""
    assert expected in connection_message(Identity.from_json(raw))


@pytest.mark.parametrize("error", [Forbidden, InvalidRequest])
def test_refusals_of_a_gateway(error: type[BuildPixelError]) -> None:
    """A refusal without BuildPixel's code is put up with for a minute, with it not at all."""
    watch = BuildTracker(0.0, live=False)
    watch.on_read_failed(error("no", status_code=403), 0.0)
    watch.on_read_failed(error("no", status_code=403), 59.0)
    assert isinstance(watch.next_action(59.0), Listen)
    with pytest.raises(error):
        watch.on_read_failed(error("no", status_code=403), 60.0)
    with pytest.raises(error):
        BuildTracker(0.0).on_read_failed(
            error("no", status_code=403, code="insufficient_scope"), 0.0
        )


def test_what_comes_of_a_wait() -> None:
    """The end of a wait is its build, or a timeout that says that the build goes on."""
    build = Build("b", Status("failed"))
    assert ended_or_timeout("b", build, 5.0) is build
    with pytest.raises(BuildTimeout, match=r"b is running and did not end within 5 s; it goes on"):
        ended_or_timeout("b", Build("b", Status("running")), 5.0)
    with pytest.raises(BuildTimeout, match=r"build b did not end within 5 s") as caught:
        ended_or_timeout("b", None, 5.0)
    assert caught.value.build == Build("b", Status(""))


@pytest.mark.parametrize(
    "wrong", [{"channel": "bogus"}, {"poll_interval": 0}, {"timeout": -1}, {"timeout": "5"}]
)
def test_a_wait_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    """What a hook is to wait with is checked before it waits; no time at all is a look."""
    right: dict[str, Any] = {
        "channel": "auto",
        "poll_interval": 30.0,
        "timeout": 0,
        "now": 100.0,
        "stream": None,
    }
    assert hook_wait("b", **right) == Wait("b", stream=None, deadline=100.0)
    assert hook_wait("b", **right | {"timeout": None}).deadline is None
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        hook_wait("b", **right | wrong)


def test_what_a_template_made_of_nothing() -> None:
    """The text None is what Jinja writes for a value that is not there; nothing is a value."""
    check_rendered(branch=None, commit="", changelist=5)
    with pytest.raises(InvalidRequest, match="branch is None"):
        check_rendered(branch=" None ")


def test_what_is_known_without_asking() -> None:
    """A dispatched build is pending, and a missing artifact keeps its request id."""
    assert pending_build(Dispatch("b"), "p", "s").status.queued
    error = artifact_unavailable("b", NotFound("x", status_code=404, request_id="r"))
    assert isinstance(error, ArtifactUnavailable)
    assert error.request_id == "r"


def test_only_the_builds_own_lines_are_passed_on() -> None:
    """A listener for log lines hears those and nothing else."""
    heard: list[LogLine] = []
    tell = log_line_callback(heard.append)
    own = LogLine("x")
    tell(LogMessage("| x", "info", own))
    tell(LogMessage("phase: cook"))
    log_line_callback(None)(LogMessage("| x", "info", own))
    assert heard == [own]


@pytest.mark.parametrize(
    ("deadlines", "now", "queued_", "passed"),
    [
        (Deadlines(), 1e12, True, None),
        (Deadlines.of(dispatched_at=0, started_at=50, timeout=100), 99, False, None),
        (Deadlines.of(dispatched_at=0, started_at=50, timeout=100), 100, False, TIMEOUT),
        (
            Deadlines.of(dispatched_at=0, started_at=50, timeout=100, execution_timeout=20),
            70,
            False,
            EXECUTION_TIMEOUT,
        ),
        (Deadlines.of(dispatched_at=0, started_at=50, queue_timeout=10), 10, True, QUEUE_TIMEOUT),
        (Deadlines.of(dispatched_at=0, started_at=50, queue_timeout=10), 10, False, None),
        (Deadlines.of(dispatched_at=0, started_at=50, queue_timeout=10), 9, True, None),
    ],
)
def test_deadlines(deadlines: Deadlines, now: float, *, queued_: bool, passed: str | None) -> None:
    """The first deadline that passed is named by its parameter."""
    assert deadlines.passed(now, queued=queued_) == passed


def test_time_left() -> None:
    """What is left is never negative, and None without a limit."""
    assert Deadlines().left(5.0) is None
    assert Deadlines(until=7.0).left(5.0) == 2.0
    assert Deadlines(until=7.0).left(9.0) == 0.0


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "60", [1]])
def test_limits_that_are_none(value: object) -> None:
    """A time limit that is no number of seconds is refused, by its name."""
    check_limits(timeout=None, queue_timeout=0.5)
    with pytest.raises(InvalidRequest, match="queue_timeout must be seconds above 0 or None"):
        check_limits(timeout=60, queue_timeout=value)
