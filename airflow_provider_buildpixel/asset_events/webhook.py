"""A webhook delivery: its signature, its content, and the HTTP answer for each outcome.

The envelope is only a hint to read the build over REST, never the truth: it lacks the build
setting, and anyone who once learned the secret can put anything into it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import InvalidRequest, NotFound, UnexpectedAnswer
from airflow_provider_buildpixel.api.model import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build


MAX_BODY = 256 * 1024
"""Size limit of a request body in bytes; a documented delivery has about 600."""

BODY_TIMEOUT = 10.0
"""Seconds within which the sender must have sent the body."""

WORK_TIMEOUT = 5.0
"""Seconds after which the sender is asked to retry while the work continues."""

REFUSAL_STEP = 0.1
"""Seconds; refusals are sent at multiples of it, so that their timing reveals nothing."""

REREAD_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses in seconds before each new read of a build that REST does not report as ended yet."""

MAX_AGE = timedelta(days=365)
"""How long after its end a build is accepted; an older delivery is a replay.

Younger replays are recognised by the asset event or run that the first delivery created. Airflow's
database keeps those for at least this long.
"""

NOT_FOUND_GRACE = timedelta(minutes=1)
"""How long after a delivery its build may still be missing from REST."""

MAX_NOT_FOUND_READS = 3
"""Repeated reads of a build that REST does not find, while the sender waits."""

_TYPE_PREFIX = "build."
_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})", re.IGNORECASE)
_DUMMY_SECRETS = ("one secret", "another, while it rotates", "a third", "a fourth")
"""Compared in place of missing secrets, so that each check takes the same time."""


@dataclass(frozen=True)
class WebhookAnswer:
    """The HTTP answer to a delivery.

    :param retry_after: seconds after which the sender should retry; None if a retry is useless.
    """

    status: int
    outcome: str
    retry_after: int | None = None


ACCEPTED = WebhookAnswer(200, "accepted")
DUPLICATE = WebhookAnswer(200, "already accepted")
IGNORED = WebhookAnswer(200, "ignored")
MALFORMED = WebhookAnswer(400, "not a webhook delivery")
REFUSED = WebhookAnswer(401, "refused")
TOO_SLOW = WebhookAnswer(408, "body not received in time")
TOO_LARGE = WebhookAnswer(413, "body too large")
NOT_JSON = WebhookAnswer(415, "send application/json")
RETRY_LATER = WebhookAnswer(503, "retry later", retry_after=10)


def is_json(content_type: str | None) -> bool:
    """Return whether a Content-Type header names JSON; a missing header is accepted."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in {"", "application/json"} or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def is_too_long(content_length: str | None) -> bool:
    """Return whether Content-Length exceeds the limit; without it the bytes are counted."""
    length = fields.integer(content_length)
    return length is not None and length > MAX_BODY


def verify_signature(body: bytes, signature: str | None, secrets: Sequence[str]) -> bool:
    """Return whether one of the secrets made the signature of exactly these bytes.

    All secrets are compared, and at least four comparisons are made, even without a secret.
    Neither the time nor the answer reveals how many secrets there are or which one matched.
    """
    match = _SIGNATURE.fullmatch((signature or "").strip().encode(errors="replace"))
    received = match[1].lower() if match else b"?" * 64
    digests = [(_hexdigest(secret, body), True) for secret in secrets]
    digests += [(_hexdigest(dummy, body), False) for dummy in _DUMMY_SECRETS[len(secrets) :]]
    matches = [hmac.compare_digest(digest, received) and is_real for digest, is_real in digests]
    return any(matches)


def _hexdigest(secret: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def refusal_delay(elapsed: float) -> float:
    """Return the seconds to wait before a refusal is sent."""
    return max(1, ceil(elapsed / REFUSAL_STEP)) * REFUSAL_STEP - elapsed


@dataclass(frozen=True)
class Delivery:
    """The content of an envelope."""

    type: str
    build_id: str
    status: Status
    created_at: datetime | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Delivery:
        """Parse a body. Required are its type and, if it reports an end, the build's id.

        :raises UnexpectedAnswer: it is not a delivery.
        """
        envelope = fields.json_object(_parse_json(body), "a delivery")
        event_type = fields.required_text(envelope, "type", "a delivery")
        build = fields.optional_object(fields.optional_object(envelope, "data"), "build")
        status = Status(fields.text(build.get("status")) or "")
        created_at = fields.timestamp(envelope.get("createdAt"))
        build_id = fields.optional_id(build.get("id")) or ""
        delivery = cls(event_type, build_id, status, created_at)
        if delivery.reports_end and not delivery.build_id:
            raise UnexpectedAnswer("a delivery of an ended build has no usable build id")
        return delivery

    @property
    def reports_end(self) -> bool:
        """Whether its type or its status says that a build has ended."""
        if self.status.terminal or not self.type.startswith(_TYPE_PREFIX):
            return self.status.terminal
        return Status(self.type.removeprefix(_TYPE_PREFIX)).terminal

    @property
    def key(self) -> tuple[str, str]:
        """Build id and type: the same in a delivery and its retries."""
        return (self.build_id, self.type)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer("a delivery is not JSON") from None


def rejection(build: Build, now: datetime) -> WebhookAnswer | None:
    """Return the answer if the build, as read over REST, cannot be accepted; else None."""
    if not build.status.terminal:
        return RETRY_LATER
    if build.finished_at is not None and now - build.finished_at > MAX_AGE:
        return IGNORED
    return None


def answer_for_error(error: BuildPixelError, delivery: Delivery, now: datetime) -> WebhookAnswer:
    """Return the answer for a build that cannot be read: a retry is requested if it may help."""
    if isinstance(error, NotFound):
        # Forged, or of an organization that the token cannot see; or REST lags behind.
        sent_at = delivery.created_at
        is_recent = sent_at is not None and now - sent_at < NOT_FOUND_GRACE
        return RETRY_LATER if is_recent else IGNORED
    return IGNORED if isinstance(error, InvalidRequest) else RETRY_LATER


def event_payload(build: Build, url: str | None) -> dict[str, Any]:
    """Return the facts of an ended build for an asset event or a run, without a signed URL."""
    return {"type": f"{_TYPE_PREFIX}{build.status}", **build.facts(url)}


def reports_build(extra: Any, build: Build) -> bool:
    """Return whether the extra of an asset event already reports this end of this build.

    The event of a watcher has the facts under ``payload``; that of an operator has no type.
    """
    facts = extra if isinstance(extra, dict) else {}
    facts = facts.get("payload", facts)
    if not isinstance(facts, dict):
        return False
    return (facts.get("build_id"), facts.get("status")) == (build.id, str(build.status))


def run_id(build_id: str) -> str:
    """Return the id of the one Dag run for a build."""
    return f"buildpixel__{build_id}"
