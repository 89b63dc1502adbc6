from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    NewBuild,
    Snapshot,
    builds_of_request,
    decide_about_build,
    decide_from_record,
    may_be_from_token,
    possible_builds_of_request,
)
from airflow_provider_buildpixel.builds.request import BuildRequest, same_commit
from tests.strategies import EXAMPLES, JSON, OBJECTS

SETTING = BuildSetting("s", "Win64", "Shipping", "main")
REQUEST = BuildRequest("p", "s")
NAMES = st.text(min_size=1, max_size=12)
OPTIONAL_TEXT = st.none() | st.text(max_size=12)
RECORDS = st.builds(
    DispatchRecord,
    request=st.builds(BuildRequest, NAMES, NAMES, OPTIONAL_TEXT, OPTIONAL_TEXT, OPTIONAL_TEXT),
    build_id=OPTIONAL_TEXT,
    requested_at=st.floats(0, 1e12),
    dispatched_at=st.floats(0, 1e12),
    newest_id=OPTIONAL_TEXT,
    task_finished=st.booleans(),
    clear_count=st.integers(),
    token=OPTIONAL_TEXT,
)


@EXAMPLES
@given(RECORDS)
def test_a_record_survives_its_store(record: DispatchRecord) -> None:
    """A later try reads the same record that an earlier try stored."""
    assert DispatchRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert BuildRequest.from_json(record.request.to_json()) == record.request


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_record_or_none(data: Any) -> None:
    """Any stored value is parsed as a record or as None."""
    assert isinstance(DispatchRecord.from_json(data), DispatchRecord | None)
    assert isinstance(DispatchRecord.from_json({"request": data}), DispatchRecord | None)
    known = DispatchRecord.from_json(
        {"request": REQUEST.to_json(), "clear_count": data, "requested_at": data}
    )
    assert known is not None
    assert known.request == REQUEST


@pytest.mark.parametrize(
    ("requested", "reported", "same"),
    [
        (None, "abc", True),
        ("abc", None, True),
        ("", "abc", True),
        ("ABC", "abcdef", True),
        ("abcdef", "abc", True),
        ("abd", "abcdef", False),
    ],
)
def test_same_commit(requested: str | None, reported: str | None, *, same: bool) -> None:
    """Either commit may be an abbreviation of the other."""
    assert same_commit(requested, reported) is same


@pytest.mark.parametrize(
    ("build_request", "fields", "is_match"),
    [
        ({}, {}, True),
        ({}, {"project_id": "p", "build_setting_id": "s", "branch": "main"}, True),
        ({}, {"build_setting_id": "other"}, False),
        ({}, {"branch": "other"}, False),
        ({"branch": "other"}, {"branch": "other"}, True),
        ({"commit": "abc"}, {"commit": "abcdef"}, True),
        ({"commit": "abc"}, {"commit": "def"}, False),
        ({"changelist": "7"}, {"changelist": "8"}, False),
        ({"changelist": ""}, {"changelist": "8"}, True),
    ],
)
def test_matches(build_request: dict[str, Any], fields: dict[str, Any], *, is_match: bool) -> None:
    """A build matches a request unless a field that both have differs."""
    build = Build("b", Status("pending"), **fields)
    assert BuildRequest("p", "s", **build_request).matches(build, SETTING) is is_match


def at(seconds: float) -> datetime:
    """Return a time, given in seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("snapshot", "build_id", "created_at", "is_after"),
    [
        (Snapshot("b5"), "b6", at(0), True),
        (Snapshot("b5"), "b5", None, False),
        (Snapshot(""), "b1", at(0), True),
        (Snapshot(None, 100.0), "b1", None, True),
        (Snapshot(None, 100.0), "b1", at(98.5), True),
        (Snapshot(None, 100.0), "b1", at(97.5), False),
    ],
)
def test_precedes(
    snapshot: Snapshot, build_id: str, created_at: datetime | None, *, is_after: bool
) -> None:
    """A build is newer by its id where a newest id is known, else by its creation time."""
    build = Build(build_id, Status("pending"), created_at=created_at)
    assert snapshot.precedes(build) is is_after


@pytest.mark.parametrize(
    ("triggered_by", "token", "expected"),
    [
        (None, None, True),
        ("api_token:a", None, True),
        ("user:u", None, True),
        ("push:c", None, False),
        ("cron", None, False),
        ("api_token:a", "api_token:a", True),
        ("api_token:b", "api_token:a", False),
        ("user:u", "user:u", True),
    ],
)
def test_may_be_from_token(triggered_by: str | None, token: str | None, *, expected: bool) -> None:
    """Builds of a push or a schedule are never ours; if the token is known, only its builds are."""
    assert may_be_from_token(triggered_by, token) is expected


def test_builds_of_tokens_take_precedence() -> None:
    """A build in a user's name is a candidate only if there is none of a token."""
    user = Build("b1", Status("pending"), triggered_by="user:u")
    token = Build("b2", Status("pending"), triggered_by="api_token:a")
    old = Build("a0", Status("pending"), triggered_by="api_token:a")
    snapshot = Snapshot("b0")
    assert builds_of_request([user, token, old], REQUEST, SETTING, snapshot) == (token,)
    assert builds_of_request([user, old], REQUEST, SETTING, snapshot) == (user,)


@pytest.mark.parametrize(
    ("build_request", "fields", "possible"),
    [
        ({}, {}, True),
        ({}, {"build_setting_id": "other"}, False),
        ({}, {"project_id": "other"}, False),
        ({"branch": "refs/heads/main"}, {"branch": "main"}, True),
        ({"branch": "main"}, {"branch": "//depot/Main"}, True),
        ({"branch": "main"}, {"branch": "other"}, False),
        ({"commit": "v1.2"}, {"commit": "0123456789abcdef"}, True),
        ({"commit": "0123456"}, {"commit": "0123456789abcdef"}, True),
        ({"commit": "fffffff"}, {"commit": "0123456789abcdef"}, False),
        ({"changelist": "@label"}, {"changelist": "1234"}, True),
        ({"changelist": "1233"}, {"changelist": "1234"}, False),
        ({}, {"triggered_by": "api_token:new"}, True),
        ({}, {"triggered_by": "user:u"}, True),
        ({}, {"triggered_by": "push:c"}, False),
        ({}, {"triggered_by": "cron"}, False),
    ],
)
def test_possible_builds(
    build_request: dict[str, Any], fields: dict[str, Any], *, possible: bool
) -> None:
    """A build whose fields BuildPixel may only have spelt differently may still be ours."""
    build, old = Build("b1", Status("pending"), **fields), Build("b0", Status("pending"), **fields)
    found = possible_builds_of_request(
        [build, old], BuildRequest("p", "s", **build_request), SETTING, Snapshot("b0", 5.0)
    )
    assert found == ((build,) if possible else ())


@pytest.mark.parametrize(
    ("triggered_by", "token", "possible"),
    [
        ("api_token:new", "api_token:old", True),
        ("user:them", "api_token:old", False),
        (None, "api_token:old", True),
        ("user:them", "user:us", True),
    ],
)
def test_possible_builds_after_a_token_was_replaced(
    triggered_by: str | None, token: str, *, possible: bool
) -> None:
    """A build of another token may be ours, as the connection may have got a new token."""
    build = Build("b1", Status("pending"), triggered_by=triggered_by)
    found = possible_builds_of_request([build], REQUEST, SETTING, Snapshot("b0"), token)
    assert bool(found) is possible


STORED = DispatchRecord(REQUEST, build_id="b", clear_count=1)
UNANSWERED = DispatchRecord(REQUEST)
FINISHED = DispatchRecord(REQUEST, "b", task_finished=True)


@pytest.mark.parametrize(
    ("record", "clear_count", "expected"),
    [
        pytest.param(None, 1, NewBuild(), id="first-try"),
        pytest.param(STORED, 1, STORED, id="retry"),
        pytest.param(STORED, 2, STORED, id="cleared-while-running"),
        pytest.param(UNANSWERED, 0, UNANSWERED, id="answer-unknown"),
        pytest.param(FINISHED, 0, FINISHED, id="retry-after-the-end"),
    ],
)
def test_decide_from_record(
    record: DispatchRecord | None, clear_count: int, expected: object
) -> None:
    """A later try continues with the build of an earlier one."""
    assert decide_from_record(record, REQUEST, clear_count) == expected


@pytest.mark.parametrize(
    ("record", "build_request"),
    [
        (STORED, BuildRequest("p", "s", branch="other")),
        (DispatchRecord(REQUEST, "b", task_finished=True, clear_count=0), REQUEST),
        (DispatchRecord(REQUEST, None, task_finished=True, clear_count=0), REQUEST),
    ],
)
def test_decide_from_an_outdated_record(
    record: DispatchRecord, build_request: BuildRequest
) -> None:
    """A changed request, or a Clear after the task had finished, starts a new build."""
    found = decide_from_record(record, build_request, 1)
    assert isinstance(found, NewBuild)
    assert found.reason


@pytest.mark.parametrize(
    ("status", "clear_count", "adopted"),
    [
        ("pending", 1, True),
        ("made-up", 2, True),
        ("complete", 1, True),
        ("superseded", 1, True),
        ("superseded", 2, False),
        ("failed", 1, False),
        (None, 1, False),
    ],
)
def test_decide_about_build(status: str | None, clear_count: int, *, adopted: bool) -> None:
    """A stored build is used unless it failed, was deleted, or was superseded and cleared."""
    build = Build("b", Status(status)) if status else None
    found = decide_about_build(build, STORED, clear_count)
    assert isinstance(found, Adopt) is adopted


def test_snapshot_and_build_of_a_record() -> None:
    """A record returns its snapshot, and with a new build the task is not finished."""
    record = DispatchRecord(REQUEST, requested_at=5.0, newest_id="b0", task_finished=True)
    assert record.snapshot == Snapshot("b0", 5.0)
    updated = record.with_build("b", 7.0)
    assert (updated.build_id, updated.dispatched_at, updated.task_finished) == ("b", 7.0, False)
