from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Identity, Status
from airflow_provider_buildpixel.builds.logs import LogLine
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
        pytest.param("auto", False, Listen(3.0), id="a-channel-is-given-some-seconds"),
        pytest.param("socketio", True, Read(), id="a-join-is-read"),
    ],
)
def test_the_first_action_of_a_wait(channel: str, *, joined: bool, expected: object) -> None:
    """A wait reads at once, or first gives its channel some seconds to join."""
    tracker = Wait("b", channel=channel).tracker(10.0, 1_000_000.0, lambda: 0.5)
    if joined:
        tracker.on_event(Joined(), 10.0)
    assert tracker.next_action(10.0) == expected
    assert tracker.status is None
    assert tracker.uses_channel is (channel != "polling")


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (Wait("b", deadline=1_000_060.0), Expired()),
        (Wait("b", queue_deadline=1_000_060.0), Expired(queue=True)),
        (Wait("b", deadline=1_000_070.0), Read()),
    ],
)
def test_deadlines_are_wall_time(wait: Wait, expected: object) -> None:
    """Deadlines in seconds since the epoch hold on the monotonic clock of any process."""
    assert wait.tracker(10.0, 1_000_000.0, lambda: 0.5).next_action(70.0) == expected


def test_the_messages_of_a_wait_name_its_build() -> None:
    """Log messages of a wait contain the id of its build."""
    reporter = Wait("b", stream_logs=None).reporter(0.0)
    (message,) = reporter.on_read_failed(ValueError("x"), 0.0)
    assert message.text == "could not read build b: x"


def test_a_requested_read_is_not_due_again() -> None:
    """A requested read is not requested again, unless its answer never comes."""
    tracker = BuildTracker(0.0, uses_channel=False)
    assert tracker.next_action(0.0) == Read()
    tracker.read_requested(0.0)
    assert tracker.next_action(1.0) == Listen(899.0)
    assert tracker.next_action(900.0) == Read()


def test_a_listen_is_never_too_long_for_a_clock() -> None:
    """However rare the reads are, one Listen lasts an hour at most."""
    tracker = Wait("b", poll_interval=1e12).tracker(0.0, 0.0, lambda: 0.5)
    tracker.on_read(Build("b", Status("running")), 5.0)
    assert tracker.next_action(5.0) == Listen(3_600.0)


def test_a_429_with_too_long_a_pause_ends_the_wait() -> None:
    """A 429 that asks for a longer pause than a wait tolerates ends it."""
    tracker = BuildTracker(0.0, uses_channel=False)
    tracker.on_read_failed(RateLimited("slow", wait=3_600.0), 0.0)
    with pytest.raises(RateLimited):
        tracker.on_read_failed(RateLimited("slow", wait=3_601.0), 1.0)


def test_a_hint_with_the_known_status_has_no_effect() -> None:
    """A hint with the status that REST has returned already causes no read."""
    tracker = BuildTracker(0.0, uses_channel=False)
    tracker.on_read(Build("b", Status("running")), 0.0)
    before = tracker.next_action(1.0)
    tracker.on_event(StatusHint("b", Status("running")), 1.0)
    tracker.on_event(LinesDropped(3), 1.0)
    assert tracker.next_action(1.0) == before


@pytest.mark.parametrize(
    ("channel", "poll_interval", "stream_logs", "message"),
    [
        ("pigeon", 30.0, "all", "channel 'pigeon'"),
        (None, 0.0, "all", "poll_interval"),
        (None, -1.0, None, "poll_interval"),
        (None, float("nan"), None, "poll_interval"),
        ("auto", 1.0, "loud", "stream_logs"),
        ("pigeon", 0.0, "loud", "channel .*; poll_interval .*; stream_logs"),
    ],
)
def test_invalid_parameters_are_named(
    channel: str | None, poll_interval: float, stream_logs: str | None, message: str
) -> None:
    """The error names every invalid parameter."""
    with pytest.raises(InvalidRequest, match=message):
        check_wait(channel, poll_interval, stream_logs)


def test_valid_parameters_pass() -> None:
    """Valid parameters pass; a choice that is not allowed does not."""
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
def test_connection_message(raw: dict[str, object], expected: str) -> None:
    """The message of a connection test names the user, and warns a viewer."""
    assert expected in connection_message(Identity.from_json(raw))


@pytest.mark.parametrize("error", [Forbidden, InvalidRequest])
def test_refusals_of_a_gateway_are_tolerated_for_a_minute(error: type[BuildPixelError]) -> None:
    """A refusal without BuildPixel's error code is tolerated for a minute; one with it is final."""
    tracker = BuildTracker(0.0, uses_channel=False)
    tracker.on_read_failed(error("no", status_code=403), 0.0)
    tracker.on_read_failed(error("no", status_code=403), 59.0)
    assert isinstance(tracker.next_action(59.0), Listen)
    with pytest.raises(error):
        tracker.on_read_failed(error("no", status_code=403), 60.0)
    with pytest.raises(error):
        BuildTracker(0.0).on_read_failed(
            error("no", status_code=403, code="insufficient_scope"), 0.0
        )


def test_the_result_of_a_wait() -> None:
    """A wait returns its build, or raises a timeout which says that the build keeps running."""
    build = Build("b", Status("failed"))
    assert ended_or_timeout("b", build, 5.0) is build
    with pytest.raises(
        BuildTimeout, match=r"b is running and did not end within 5 s; the build keeps running"
    ):
        ended_or_timeout("b", Build("b", Status("running")), 5.0)
    with pytest.raises(BuildTimeout, match=r"build b did not end within 5 s") as caught:
        ended_or_timeout("b", None, 5.0)
    assert caught.value.build == Build("b", Status(""))


@pytest.mark.parametrize(
    "wrong", [{"channel": "bogus"}, {"poll_interval": 0}, {"timeout": -1}, {"timeout": "5"}]
)
def test_a_hook_checks_its_parameters(wrong: dict[str, Any]) -> None:
    """A hook checks its parameters before it waits; a timeout of 0 means a single read."""
    right: dict[str, Any] = {
        "channel": "auto",
        "poll_interval": 30.0,
        "timeout": 0,
        "now": 100.0,
        "stream_logs": None,
    }
    assert hook_wait("b", **right) == Wait("b", stream_logs=None, deadline=100.0)
    assert hook_wait("b", **right | {"timeout": None}).deadline is None
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        hook_wait("b", **right | wrong)


def test_a_rendered_none_is_rejected() -> None:
    """Jinja renders a missing value as the text None, which is rejected; None itself passes."""
    check_rendered(branch=None, commit="", changelist=5)
    with pytest.raises(InvalidRequest, match="branch is None"):
        check_rendered(branch=" None ")


def test_values_without_a_request() -> None:
    """A dispatched build is pending, and a missing artifact keeps its request id."""
    assert Build.pending("b", "p", "s").status.queued
    error = artifact_unavailable("b", NotFound("x", status_code=404, request_id="r"))
    assert isinstance(error, ArtifactUnavailable)
    assert error.request_id == "r"


def test_only_log_lines_of_the_build_reach_the_callback() -> None:
    """The callback for log lines gets these and no other message."""
    lines: list[LogLine] = []
    on_message = log_line_callback(lines.append)
    own = LogLine("x")
    on_message(LogMessage("| x", "info", own))
    on_message(LogMessage("phase: cook"))
    log_line_callback(None)(LogMessage("| x", "info", own))
    assert lines == [own]


@pytest.mark.parametrize(
    ("deadlines", "now", "queued_", "expired"),
    [
        (Deadlines(), 1e12, True, None),
        (Deadlines.from_limits(dispatched_at=0, started_at=50, timeout=100), 99, False, None),
        (Deadlines.from_limits(dispatched_at=0, started_at=50, timeout=100), 100, False, TIMEOUT),
        (
            Deadlines.from_limits(
                dispatched_at=0, started_at=50, timeout=100, execution_timeout=20
            ),
            70,
            False,
            EXECUTION_TIMEOUT,
        ),
        (
            Deadlines.from_limits(dispatched_at=0, started_at=50, queue_timeout=10),
            10,
            True,
            QUEUE_TIMEOUT,
        ),
        (Deadlines.from_limits(dispatched_at=0, started_at=50, queue_timeout=10), 10, False, None),
        (Deadlines.from_limits(dispatched_at=0, started_at=50, queue_timeout=10), 9, True, None),
    ],
)
def test_deadlines(deadlines: Deadlines, now: float, *, queued_: bool, expired: str | None) -> None:
    """The parameter of the first deadline that has passed is returned."""
    assert deadlines.expired_parameter(now, queued=queued_) == expired


def test_time_left() -> None:
    """What is left is never negative, and None without a limit."""
    assert Deadlines().seconds_left(5.0) is None
    assert Deadlines(expires_at=7.0).seconds_left(5.0) == 2.0
    assert Deadlines(expires_at=7.0).seconds_left(9.0) == 0.0


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "60", [1]])
def test_invalid_limits(value: object) -> None:
    """A time limit that is no positive number of seconds is rejected by its name."""
    check_limits(timeout=None, queue_timeout=0.5)
    with pytest.raises(InvalidRequest, match="queue_timeout must be seconds above 0 or None"):
        check_limits(timeout=60, queue_timeout=value)
