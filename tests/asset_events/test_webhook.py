"""Decisions about a webhook delivery, without a server."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.exceptions import (
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import BuildPixelError

DONE = Status("complete")
NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECRETS = st.lists(st.text(min_size=1, max_size=20), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def signed(body: bytes, secret: str) -> str:
    """Return the signature header as BuildPixel documents it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def envelope(kind: str = "build.complete", **build: Any) -> bytes:
    """Return the body of a delivery."""
    fields = {"id": "b" * 24, "status": kind.removeprefix("build."), **build}
    return json.dumps({"type": kind, "data": {"build": fields}}).encode()


def ended(**fields: Any) -> Build:
    """Return an ended build as parsed from REST."""
    raw = {"id": "b" * 24, "status": "complete", "projectId": "p", "buildSettingId": "s"}
    return Build.from_json(raw | fields)


@given(st.binary(max_size=300), SECRETS, st.data())
def test_any_of_the_secrets_is_valid(body: bytes, secrets: list[str], data: st.DataObject) -> None:
    """A signature made with any of the secrets is valid, however many there are."""
    secret = data.draw(st.text(min_size=1, max_size=20))
    position = data.draw(st.integers(0, len(secrets)))
    known = [*secrets[:position], secret, *secrets[position:]]
    assert webhook.verify_signature(body, signed(body, secret), known)


@given(st.binary(max_size=300), SECRETS, st.text(min_size=1))
def test_no_other_secret_is_valid(body: bytes, secrets: list[str], other: str) -> None:
    """A signature made with any other text, or with an empty secret, is invalid."""
    keys = {secret.rstrip("\0") for secret in secrets}  # HMAC itself pads a key with zeros
    for secret in (other, "", *webhook._DUMMY_SECRETS):
        if secret.rstrip("\0") not in keys:
            assert not webhook.verify_signature(body, signed(body, secret), secrets)


@given(st.binary(max_size=200), st.none() | st.text(max_size=100), SECRETS)
def test_any_header_has_an_answer(body: bytes, header: str | None, secrets: list[str]) -> None:
    """No header raises an error, and none that was made without a secret is valid."""
    valid = {signed(body, secret) for secret in secrets}
    assert webhook.verify_signature(body, header, secrets) <= (
        (header or "").strip().lower() in valid
    )


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_bit_makes_a_signature_invalid(body: bytes, data: st.DataObject) -> None:
    """A signature is valid for exactly the signed bytes."""
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    assert not webhook.verify_signature(bytes(changed), signed(body, "secret"), ["secret"])


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda header: f" {header} ", lambda header: "SHA256=" + header[7:]]
)
def test_spellings_of_a_signature(spelling: Any) -> None:
    """Upper case and surrounding spaces of the header do not matter."""
    header = signed(b"{}", "secret")
    assert webhook.verify_signature(b"{}", spelling(header), ["secret"])


@given(st.binary(max_size=500))
def test_any_bytes_are_a_delivery_or_not(body: bytes) -> None:
    """Any bytes are parsed or refused with the one declared error."""
    _read(body)


@given(JSON)
def test_any_json_is_a_delivery_or_not(data: Any) -> None:
    """Any JSON is parsed or refused with the one declared error."""
    _read(json.dumps(data).encode())


@given(
    st.sampled_from(["build.complete", "build.failed", "build.created", "ping", ""]),
    JSON,
    JSON,
    JSON,
)
def test_any_parts_are_a_delivery_or_not(kind: str, build_id: Any, status: Any, more: Any) -> None:
    """Any values in an envelope are accepted or refused; an ended build's id is safe in a path."""
    build = {"id": build_id, "status": status, "more": more}
    found = _read(json.dumps({"type": kind, "data": {"build": build}}).encode())
    if found is not None and found.reports_end:
        assert set(found.build_id) <= set(string.ascii_letters + string.digits + "-_")


def _read(body: bytes) -> webhook.Delivery | None:
    try:
        return webhook.Delivery.from_body(body)
    except UnexpectedAnswer:
        return None


def test_deep_json_is_refused() -> None:
    """JSON that is nested too deeply for the parser is refused."""
    with pytest.raises(UnexpectedAnswer):
        webhook.Delivery.from_body(b"[" * 200_000)


@pytest.mark.parametrize(
    ("kind", "status", "reports_end"),
    [
        ("build.complete", "complete", True),
        ("build.failed", "failed", True),
        ("build.superseded", "superseded", True),
        ("build.created", "pending", False),
        ("build.running", "running", False),
        ("build.archived", "archived", False),
        ("build.done", "complete", True),
        ("build.complete", None, True),
        ("ping", None, False),
    ],
)
def test_reports_end(kind: str, status: str | None, *, reports_end: bool) -> None:
    """A known type or status reports the end of a build; unknown ones do not."""
    assert webhook.Delivery.from_body(envelope(kind, status=status)).reports_end is reports_end


def test_retries_have_the_same_key() -> None:
    """A retried delivery is recognised by its build and type."""
    first, second = envelope(durationMs=1), envelope(durationMs=2)
    parse = webhook.Delivery.from_body
    assert parse(first).key == parse(second).key != parse(envelope("build.failed")).key


@pytest.mark.parametrize(
    ("build", "answer"),
    [
        (ended(), None),
        (ended(finishedAt="2026-11-23T23:00:00.000Z"), None),
        (ended(finishedAt="2026-05-10T14:23:45.123Z"), None),
        (ended(finishedAt="2025-11-01T00:00:00.000Z"), webhook.IGNORED),
        (ended(status="running"), webhook.RETRY_LATER),
        (ended(status="archived"), webhook.RETRY_LATER),
    ],
    ids=["no-end-known", "recent", "months-old", "replayed", "rest-lags", "unknown-status"],
)
def test_rejection(build: Build, answer: webhook.WebhookAnswer | None) -> None:
    """A build that has not ended is retried later; one that ended long ago is ignored."""
    assert webhook.rejection(build, NOW) == answer


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no"), 200),
        (InvalidRequest("no"), 200),
        (Unauthorized("no"), 503),
        (RateLimited("no"), 503),
        (ServerFault("no"), 503),
        (Unreachable("no"), 503),
        (UnexpectedAnswer("no"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_answer_for_an_error(error: BuildPixelError, status: int) -> None:
    """BuildPixel is asked to retry exactly if that can help."""
    answer = webhook.answer_for_error(error, webhook.Delivery("build.complete", "b", DONE), NOW)
    assert answer.status == status
    assert (answer.retry_after is not None) == (status == 503)


@pytest.mark.parametrize(
    ("age", "answer"),
    [
        (5, webhook.RETRY_LATER),
        (59, webhook.RETRY_LATER),
        (61, webhook.IGNORED),
        (-5, webhook.RETRY_LATER),
    ],
)
def test_a_build_that_is_not_found(age: int, answer: webhook.WebhookAnswer) -> None:
    """REST may lag behind a delivery for a minute; later the delivery is ignored."""
    sent = (NOW - timedelta(seconds=age)).isoformat()
    body = json.dumps({**json.loads(envelope()), "createdAt": sent}).encode()
    delivery = webhook.Delivery.from_body(body)
    assert webhook.answer_for_error(NotFound("no"), delivery, NOW) == answer


@pytest.mark.parametrize("elapsed", [0.0, 0.001, 0.0999, 0.1, 0.25, 3.0])
def test_refusals_are_sent_at_steps(elapsed: float) -> None:
    """A refusal is sent at a multiple of the step, never before the first."""
    at = elapsed + webhook.refusal_delay(elapsed)
    assert at >= webhook.REFUSAL_STEP - 1e-9
    assert at / webhook.REFUSAL_STEP == pytest.approx(round(at / webhook.REFUSAL_STEP))
    assert webhook.refusal_delay(elapsed) <= webhook.REFUSAL_STEP


@pytest.mark.parametrize("extra", [None, [], "payload", {"payload": 1}, {"payload": None}, {}])
def test_other_extras_report_no_build(extra: Any) -> None:
    """The extra of another event reports no build."""
    assert webhook.reports_build(extra, ended()) is False


@given(JSON)
def test_any_extra_is_accepted(extra: Any) -> None:
    """Any extra of an asset event can be checked."""
    assert webhook.reports_build(extra, ended()) is False


@pytest.mark.parametrize("wrap", [lambda facts: facts, lambda facts: {"payload": facts}])
def test_own_extra_reports_its_build(wrap: Any) -> None:
    """The extra of a webhook's or watcher's event reports its build and no other."""
    extra = wrap(webhook.event_payload(ended(), None))
    assert webhook.reports_build(json.loads(json.dumps(extra)), ended())
    assert not webhook.reports_build(extra, ended(status="failed"))
    assert not webhook.reports_build(extra, ended(id="c" * 24))


def test_event_payload() -> None:
    """An event's payload has the type and the facts that an operator returns."""
    payload = webhook.event_payload(ended(), "https://ci.example.com/b")
    assert payload["type"] == "build.complete"
    assert payload.items() >= ended().facts("https://ci.example.com/b").items()


def test_run_id() -> None:
    """The run id depends only on the build id."""
    assert webhook.run_id("abc") == "buildpixel__abc"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/plain", False),
        ("application/vnd.buildpixel+json", True),
        ("application/jsonp", False),
        ("text/x+json", False),
        ("", True),
        (None, True),
    ],
)
def test_content_types(header: str | None, *, accepted: bool) -> None:
    """A body is read if its content type is JSON or missing."""
    assert webhook.is_json(header) is accepted


@pytest.mark.parametrize(
    ("header", "long"),
    [(None, False), ("10", False), ("10485760", True), ("nonsense", False), ("9" * 5000, False)],
)
def test_too_long(header: str | None, *, long: bool) -> None:
    """A too large Content-Length is refused; an invalid one is ignored."""
    assert webhook.is_too_long(header) is long


def test_old_enough() -> None:
    """BuildPixel's own retries, within hours, are never too old."""
    assert timedelta(days=1) <= webhook.MAX_AGE
    assert Status("complete").terminal
