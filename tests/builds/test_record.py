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
    CheckBuild,
    DispatchRecord,
    NewBuild,
    SearchBuild,
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
ASKED = BuildRequest("p", "s")
NAMES = st.text(min_size=1, max_size=12)
MAYBE = st.none() | st.text(max_size=12)
INTENTS = st.builds(
    DispatchRecord,
    request=st.builds(BuildRequest, NAMES, NAMES, MAYBE, MAYBE, MAYBE),
    build_id=MAYBE,
    requested_at=st.floats(0, 1e12),
    dispatched_at=st.floats(0, 1e12),
    newest=MAYBE,
    concluded=st.booleans(),
    clear_count=st.integers(),
    token=MAYBE,
)


@EXAMPLES
@given(INTENTS)
def test_an_intent_survives_its_store(record: DispatchRecord) -> None:
    """What a task wrote down is what a later try reads."""
    assert DispatchRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert BuildRequest.from_json(record.request.to_json()) == record.request


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_an_intent_or_none(data: Any) -> None:
    """Whatever the store holds, it is an intent or nothing."""
    assert isinstance(DispatchRecord.from_json(data), DispatchRecord | None)
    assert isinstance(DispatchRecord.from_json({"request": data}), DispatchRecord | None)
    known = DispatchRecord.from_json(
        {"request": ASKED.to_json(), "clear_count": data, "requested_at": data}
    )
    assert known is not None
    assert known.request == ASKED


@pytest.mark.parametrize(
    ("want", "have", "same"),
    [
        (None, "abc", True),
        ("abc", None, True),
        ("", "abc", True),
        ("ABC", "abcdef", True),
        ("abcdef", "abc", True),
        ("abd", "abcdef", False),
    ],
)
def test_same_commit(want: str | None, have: str | None, *, same: bool) -> None:
    """Either commit may be the first characters of the other."""
    assert same_commit(want, have) is same


@pytest.mark.parametrize(
    ("build_request", "fields", "fits"),
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
def test_fits(build_request: dict[str, Any], fields: dict[str, Any], *, fits: bool) -> None:
    """A build fits a request unless a field that both tell differs."""
    build = Build("b", Status("pending"), **fields)
    assert BuildRequest("p", "s", **build_request).matches(build, SETTING) is fits


def at(seconds: float) -> datetime:
    """Give an instant."""
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("before", "build_id", "created_at", "after"),
    [
        (Snapshot("b5"), "b6", at(0), True),
        (Snapshot("b5"), "b5", None, False),
        (Snapshot(""), "b1", at(0), True),
        (Snapshot(None, 100.0), "b1", None, True),
        (Snapshot(None, 100.0), "b1", at(98.5), True),
        (Snapshot(None, 100.0), "b1", at(97.5), False),
    ],
)
def test_after(
    before: Snapshot, build_id: str, created_at: datetime | None, *, after: bool
) -> None:
    """A build is newer by its id where one is known, else by its time."""
    build = Build(build_id, Status("pending"), created_at=created_at)
    assert before.after(build) is after


@pytest.mark.parametrize(
    ("triggered_by", "token", "mine"),
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
def test_ours(triggered_by: str | None, token: str | None, *, mine: bool) -> None:
    """A push or a schedule is never ours, and where the token is known, only its builds are."""
    assert may_be_from_token(triggered_by, token) is mine


def test_made_by_us_prefers_tokens_to_people() -> None:
    """A build in a person's name is ours only if no token's build can be."""
    person = Build("b1", Status("pending"), triggered_by="user:u")
    token = Build("b2", Status("pending"), triggered_by="api_token:a")
    old = Build("a0", Status("pending"), triggered_by="api_token:a")
    before = Snapshot("b0")
    assert builds_of_request([person, token, old], ASKED, SETTING, before) == (token,)
    assert builds_of_request([person, old], ASKED, SETTING, before) == (person,)


@pytest.mark.parametrize(
    ("build_request", "fields", "maybe"),
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
def test_maybe_ours(build_request: dict[str, Any], fields: dict[str, Any], *, maybe: bool) -> None:
    """What BuildPixel may only have spelt in another way is not said to be somebody else's."""
    build, old = Build("b1", Status("pending"), **fields), Build("b0", Status("pending"), **fields)
    found = possible_builds_of_request(
        [build, old], BuildRequest("p", "s", **build_request), SETTING, Snapshot("b0", 5.0)
    )
    assert found == ((build,) if maybe else ())


@pytest.mark.parametrize(
    ("triggered_by", "token", "maybe"),
    [
        ("api_token:new", "api_token:old", True),
        ("user:them", "api_token:old", False),
        (None, "api_token:old", True),
        ("user:them", "user:us", True),
    ],
)
def test_a_token_that_was_replaced(triggered_by: str | None, token: str, *, maybe: bool) -> None:
    """A build of another token may be ours, as the connection's may have been replaced."""
    build = Build("b1", Status("pending"), triggered_by=triggered_by)
    assert bool(possible_builds_of_request([build], ASKED, SETTING, Snapshot("b0"), token)) is maybe


STORED = DispatchRecord(ASKED, build_id="b", clear_count=1)


@pytest.mark.parametrize(
    ("record", "clear_count", "expected"),
    [
        pytest.param(None, 1, NewBuild(), id="first-try"),
        pytest.param(STORED, 1, CheckBuild("b"), id="retry"),
        pytest.param(STORED, 2, CheckBuild("b"), id="cleared-while-it-ran"),
        pytest.param(DispatchRecord(ASKED), 0, SearchBuild(), id="answer-unknown"),
        pytest.param(
            DispatchRecord(ASKED, "b", concluded=True), 0, CheckBuild("b"), id="retry-after-the-end"
        ),
    ],
)
def test_about_intent(record: DispatchRecord | None, clear_count: int, expected: object) -> None:
    """A later try goes on with what an earlier one started."""
    assert decide_from_record(record, ASKED, clear_count) == expected


@pytest.mark.parametrize(
    ("record", "build_request"),
    [
        (STORED, BuildRequest("p", "s", branch="other")),
        (DispatchRecord(ASKED, "b", concluded=True, clear_count=0), ASKED),
        (DispatchRecord(ASKED, None, concluded=True, clear_count=0), ASKED),
    ],
)
def test_about_an_intent_that_is_over(record: DispatchRecord, build_request: BuildRequest) -> None:
    """What was asked differently, or was over when a user cleared it, starts afresh."""
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
def test_about_stored(status: str | None, clear_count: int, *, adopted: bool) -> None:
    """A stored build is gone on with unless it failed, is gone, or was superseded and cleared."""
    build = Build("b", Status(status)) if status else None
    found = decide_about_build(build, STORED, clear_count)
    assert isinstance(found, Adopt) is adopted


def test_an_intent_knows_its_snapshot_and_its_build() -> None:
    """A search looks after the snapshot that was taken, and a new build is not concluded yet."""
    record = DispatchRecord(ASKED, requested_at=5.0, newest="b0", concluded=True)
    assert record.before == Snapshot("b0", 5.0)
    started = record.started("b", 7.0)
    assert (started.build_id, started.dispatched_at, started.concluded) == ("b", 7.0, False)
