from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    NewBuild,
    builds_of_requests,
    decide_about_build,
    decide_from_record,
    is_reusable,
    may_be_from_token,
    possible_builds_of_requests,
)
from airflow_provider_buildpixel.builds.request import BuildFilter, Match
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.builds.task_try import TryOfTask
from tests.strategies import EXAMPLES, JSON, OBJECTS

TEXT = st.none() | st.text(max_size=12)
TIMES = st.floats(0, 1e12)
TRIES = st.builds(TryOfTask, *[st.integers(0)] * 4)
WINDOWS = st.builds(
    RequestWindow,
    TIMES,
    TIMES,
    st.booleans(),
    TIMES,
    st.lists(st.text(min_size=1, max_size=12), max_size=3).map(tuple),
)
RECORDS = st.builds(
    DispatchRecord,
    target=st.builds(BuildFilter, *[TEXT] * 7),
    build_id=TEXT,
    window=WINDOWS,
    dispatched_at=TIMES,
    token=TEXT,
    user=TEXT,
    is_reported=st.booleans(),
    is_followed=st.booleans(),
    task_finished=st.booleans(),
    stored_by=TRIES,
)


@EXAMPLES
@given(RECORDS)
def test_a_record_survives_its_store(record: DispatchRecord) -> None:
    """A later try reads the same record that an earlier try stored."""
    assert DispatchRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert DispatchRecord.from_json(record.to_json()) == record


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_record_or_none(data: Any) -> None:
    """Any stored value is parsed as a record or as None."""
    assert DispatchRecord.from_json(data) is None or "target" in data
    known = DispatchRecord.from_json({"target": {}, "window": data, "stored_by": data, "token": 7})
    assert known is not None
    assert isinstance(known.window, RequestWindow)
    assert (known.target, known.token) == (BuildFilter(), "7")


def test_a_record_as_it_is_stored() -> None:
    """A record is stored as plain JSON."""
    record = DispatchRecord(
        BuildFilter("p"),
        build_id="b",
        window=RequestWindow(1.0, 2.0, may_run_later=True, tolerance=3.0, known_ids=("a", "b")),
        dispatched_at=5.0,
        token="api_token:a",
        user="user:u",
        is_reported=True,
        is_followed=True,
        task_finished=True,
        stored_by=TryOfTask(1, 2, 3, 4),
    )
    stored = json.loads(json.dumps(record.to_json()))
    assert stored == record.to_json()
    assert stored["target"] == {"project_id": "p"}
    assert DispatchRecord.from_json(stored) == record


def test_parts_that_are_missing() -> None:
    """What an older version did not store has a value that promises nothing."""
    stored = {"target": {"project_id": "p"}, "build_id": "b", "window": {"known_ids": ["a", None]}}
    assert DispatchRecord.from_json(stored) == DispatchRecord(
        BuildFilter("p"), "b", RequestWindow(known_ids=("a",)), stored_by=TryOfTask(0, 0, 0, 0)
    )
    assert DispatchRecord.from_json({"target": "text"}) is None
    assert DispatchRecord.from_json(None) is None
    assert RequestWindow.from_json({"known_ids": "abc"}).known_ids == ()


TARGET = BuildFilter("p", "s", "Win64", "Shipping", "main")
SENT_AT = 1000.0
WINDOW = RequestWindow(SENT_AT, SENT_AT + 60.0, tolerance=2.0, known_ids=("old",))
LATE = replace(WINDOW, may_run_later=True)


def build(
    identity: str = "b", status: str = "pending", at: float | None = 1005.0, **more: Any
) -> Build:
    """Return a build of the target that was created at some time."""
    created_at = None if at is None else datetime.fromtimestamp(at, UTC)
    fields = {
        "project_id": "p",
        "build_setting_id": "s",
        "platform": "Win64",
        "build_type": "Shipping",
        "branch": "main",
        "triggered_by": "api_token:us",
    }
    return Build(identity, Status(status), created_at=created_at, **{**fields, **more})


@pytest.mark.parametrize(
    ("triggered_by", "token", "user", "expected"),
    [
        (None, None, None, True),
        (None, "api_token:a", "user:u", True),
        ("api_token:a", None, None, True),
        ("api_token:a", "", "", True),
        ("api_token:a", None, "user:u", True),
        ("user:u", None, None, True),
        ("user:u", None, "user:u", True),
        ("user:v", None, "user:u", False),
        ("push:c", None, None, False),
        ("push:c", None, "user:u", False),
        ("cron", None, None, False),
        ("api_token:a", "api_token:a", None, True),
        ("api_token:b", "api_token:a", None, False),
        ("user:u", "user:u", None, True),
        ("user:u", "api_token:a", "user:u", False),
    ],
)
def test_may_be_from_token(
    triggered_by: str | None, token: str | None, user: str | None, *, expected: bool
) -> None:
    """Builds of a push or a schedule are never ours; if the token is known, only its builds are."""
    assert may_be_from_token(triggered_by, token, user) is expected


UNANSWERED = DispatchRecord(TARGET, window=WINDOW)
OURS = replace(UNANSWERED, token="api_token:us")


@pytest.mark.parametrize(
    ("record", "fields", "is_ours", "may_be_ours"),
    [
        (UNANSWERED, {}, True, True),
        (UNANSWERED, {"at": 900.0}, False, False),
        (UNANSWERED, {"at": 2000.0}, False, False),
        (replace(UNANSWERED, window=LATE), {"at": 2000.0}, False, True),
        (replace(UNANSWERED, window=LATE), {"at": 1500.0}, False, True),
        (replace(UNANSWERED, window=LATE), {"at": 1500.0, "triggered_by": None}, False, True),
        (replace(OURS, window=LATE), {"at": 1500.0}, True, True),
        (replace(OURS, window=LATE), {"at": 1500.0, "triggered_by": None}, False, True),
        (replace(UNANSWERED, user="user:us"), {"triggered_by": "user:us"}, True, True),
        (replace(UNANSWERED, user="user:us"), {"triggered_by": "user:them"}, False, True),
        (UNANSWERED, {"at": None}, False, True),
        (UNANSWERED, {"identity": "old"}, False, False),
        (UNANSWERED, {"project_id": "q"}, False, False),
        (UNANSWERED, {"build_setting_id": "t"}, False, False),
        (UNANSWERED, {"platform": "Linux"}, False, False),
        (UNANSWERED, {"branch": "next"}, False, False),
        (UNANSWERED, {"branch": "MAIN"}, False, True),
        (UNANSWERED, {"branch": None}, False, True),
        (UNANSWERED, {"triggered_by": None}, True, True),
        (UNANSWERED, {"triggered_by": "user:them"}, True, True),
        (UNANSWERED, {"triggered_by": "push:c"}, False, False),
        (UNANSWERED, {"triggered_by": "cron"}, False, False),
        (UNANSWERED, {"triggered_by": "api_token:them"}, True, True),
        (OURS, {}, True, True),
        (OURS, {"triggered_by": "api_token:them"}, False, True),
        (OURS, {"triggered_by": "user:them"}, False, False),
        (OURS, {"triggered_by": None}, True, True),
        (replace(UNANSWERED, token="user:us"), {"triggered_by": "user:them"}, False, True),
    ],
)
def test_the_builds_of_a_request(
    record: DispatchRecord, fields: dict[str, Any], *, is_ours: bool, may_be_ours: bool
) -> None:
    """A build is ours by its fields, its time and its token; in another spelling it may be ours."""
    found = build(**fields)
    assert builds_of_requests([found], record, {}) == ((found,) if is_ours else ())
    assert possible_builds_of_requests([found], record, {}) == ((found,) if may_be_ours else ())


def test_a_build_that_does_not_tell_its_branch() -> None:
    """What is not known may be of the request; callers decide whether that is enough."""
    found = build(branch=None)
    assert builds_of_requests([found], UNANSWERED, {}) == ()
    assert builds_of_requests([found], UNANSWERED, {}, at_least=Match.MAYBE) == (found,)
    other = build(branch="next")
    assert builds_of_requests([other], UNANSWERED, {}, at_least=Match.MAYBE) == ()


def test_builds_of_tokens_take_precedence() -> None:
    """A build in a user's name is a candidate only if there is none of a token."""
    user, token = build("b1", triggered_by="user:u"), build("b2", triggered_by="api_token:a")
    unknown = build("b3", triggered_by=None)
    assert builds_of_requests([user, token, unknown], UNANSWERED, {}) == (token,)
    assert builds_of_requests([user, unknown], UNANSWERED, {}) == (user, unknown)


@pytest.mark.parametrize("stream", ["//s/main", "//s/next"])
def test_builds_that_do_not_tell_their_stream(stream: str) -> None:
    """A build without a stream has that of its setting."""
    record = replace(UNANSWERED, target=replace(TARGET, branch="//s/main"))
    found, expected = build(branch=None), stream == "//s/main"
    assert bool(builds_of_requests([found], record, {"s": stream})) is expected
    assert bool(possible_builds_of_requests([found], record, {"s": stream})) is expected
    stored = replace(record, build_id="b")
    decision = decide_about_build(found, stored, stored.stored_by, {"s": stream})
    assert isinstance(decision, Adopt) is expected


FIRST = TryOfTask(1, 2, 2, 0)
RETRY = TryOfTask(2, 2, 2, 0)
CLEARED = TryOfTask(2, 3, 2, 1)
STORED = DispatchRecord(TARGET, build_id="b", stored_by=FIRST)
UNKNOWN = DispatchRecord(TARGET, stored_by=FIRST)


@pytest.mark.parametrize(
    ("record", "current", "expected"),
    [
        pytest.param(None, FIRST, NewBuild(), id="first-try"),
        pytest.param(STORED, RETRY, STORED, id="retry"),
        pytest.param(STORED, CLEARED, STORED, id="cleared-while-running"),
        pytest.param(UNKNOWN, RETRY, UNKNOWN, id="answer-unknown"),
        pytest.param(UNKNOWN, CLEARED, UNKNOWN, id="answer-unknown-and-cleared"),
        pytest.param(
            replace(UNKNOWN, is_reported=True),
            RETRY,
            replace(UNKNOWN, is_reported=True),
            id="retry-after-a-report",
        ),
        pytest.param(
            replace(UNKNOWN, is_reported=True),
            replace(RETRY, clear_number=1, retries=RETRY.retries + 1),
            replace(UNKNOWN, is_reported=True),
            id="another-task-was-cleared-and-retries-edited-after-a-report",
        ),
        pytest.param(
            replace(STORED, is_reported=True),
            CLEARED,
            replace(STORED, is_reported=True),
            id="found-after-a-report",
        ),
        pytest.param(
            replace(STORED, task_finished=True),
            RETRY,
            replace(STORED, task_finished=True),
            id="retry-after-success",
        ),
    ],
)
def test_decide_from_record(
    record: DispatchRecord | None, current: TryOfTask, expected: object
) -> None:
    """A later try continues with what an earlier one has requested."""
    assert decide_from_record(record, TARGET, current) == expected


@pytest.mark.parametrize(
    ("record", "target", "current", "reason"),
    [
        (STORED, replace(TARGET, branch="release"), RETRY, "requests a different build"),
        (UNKNOWN, replace(TARGET, commit="abc"), RETRY, "requests a different build"),
        (replace(STORED, task_finished=True), TARGET, CLEARED, "after it had succeeded"),
        (replace(UNKNOWN, is_reported=True), TARGET, CLEARED, "reported an uncertain request"),
    ],
)
def test_decide_from_an_outdated_record(
    record: DispatchRecord, target: BuildFilter, current: TryOfTask, reason: str
) -> None:
    """Another target, or a Clear after the end of the task, starts a new build."""
    found = decide_from_record(record, target, current)
    assert isinstance(found, NewBuild)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("found", "current", "reason"),
    [
        (build(), RETRY, None),
        (build(), CLEARED, None),
        (build(status="made-up"), CLEARED, None),
        (build(status="complete"), RETRY, None),
        (build(status="complete"), CLEARED, "was cleared after build b"),
        (build(status="superseded"), RETRY, None),
        (build(status="superseded"), CLEARED, "was cleared after build b"),
        (build(status="failed"), RETRY, "is failed"),
        (build(status="failed"), CLEARED, "was cleared"),
        (build(branch="next"), RETRY, "not what the task requests now"),
        (build(platform="Linux"), RETRY, "not what the task requests now"),
        (build(branch="MAIN"), RETRY, None),
        (build(branch=None, platform=None), RETRY, None),
        (None, RETRY, "stored build b does not exist"),
    ],
)
def test_decide_about_build(found: Build | None, current: TryOfTask, reason: str | None) -> None:
    """A stored build is used unless it failed, is gone, does not fit, or ended before a Clear."""
    decision = decide_about_build(found, STORED, current, {})
    if reason is None:
        assert isinstance(decision, Adopt)
        assert decision.build is found
    else:
        assert isinstance(decision, NewBuild)
        assert reason in decision.reason


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_newer_build_that_was_followed(*, is_followed: bool) -> None:
    """A build that superseded the task's may be of another setting, but not of another kind."""
    stored = replace(STORED, is_followed=is_followed)
    decision = decide_about_build(build(build_setting_id="t"), stored, RETRY, {})
    assert isinstance(decision, Adopt) is is_followed
    decision = decide_about_build(build(branch="next"), stored, RETRY, {})
    assert isinstance(decision, NewBuild)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", True),
        ("made-up", True),
        ("complete", True),
        ("superseded", True),
        ("failed", False),
    ],
)
def test_is_reusable(status: str, *, expected: bool) -> None:
    """Only a build that failed is of no use for a later try."""
    assert is_reusable(build(status=status)) is expected


def test_the_build_of_a_record() -> None:
    """The answer to the request is added to a record; nothing else changes."""
    answered = UNANSWERED.with_build("b", 7.0)
    assert answered == replace(UNANSWERED, build_id="b", dispatched_at=7.0)
    assert replace(answered, stored_by=FIRST).is_before_clear(CLEARED)
    assert not replace(answered, stored_by=FIRST).is_before_clear(RETRY)
    only_the_count = replace(RETRY, clear_number=1)
    assert not replace(answered, stored_by=FIRST).is_before_clear(only_the_count)
    assert replace(answered, stored_by=FIRST, task_finished=True).is_before_clear(only_the_count)
