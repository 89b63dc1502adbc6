"""A webhook delivery: whether it is genuine, what it says, and which answer fits which end.

The envelope is a hint to read the build over REST, never the truth: it lacks the build setting,
and whoever once learnt the secret could put anything into it.
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
"""Bytes of the longest delivery that is read; a documented one has some six hundred."""

BODY_TIMEOUT = 10.0
"""Seconds that a sender may take for a body."""

WORK_TIMEOUT = 5.0
"""Seconds after which the sender is told to come back, while the work goes on."""

REFUSAL_STEP = 0.1
"""Seconds: refusals are answered on a multiple of it, so that their time tells nothing."""

REREAD_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses in seconds before looking again at a build that REST does not yet show as finished."""

MAX_AGE = timedelta(days=365)
"""How long after its end a build is news: an older delivery is a replay.

Younger ones are told from replays by what they have made; that is in the database so long.
"""

NOT_FOUND_GRACE = timedelta(minutes=1)
"""How long after a delivery REST may not know its build yet."""

MAX_NOT_FOUND_READS = 3
"""Times that a build which REST does not know is read again, while the sender waits."""

_PREFIX = "build."
_SIGNED = re.compile(rb"sha256=([0-9a-f]{64})", re.IGNORECASE)
_DECOYS = ("one secret", "another, while it rotates", "a third", "a fourth")
"""Compared in place of secrets that are not there, which so costs the same."""


@dataclass(frozen=True)
class WebhookAnswer:
    """What BuildPixel gets back.

    :param retry_after: seconds after which sending it again helps.
    """

    status: int
    outcome: str
    retry_after: int | None = None


ACCEPTED = WebhookAnswer(200, "taken")
DUPLICATE = WebhookAnswer(200, "taken before")
IGNORED = WebhookAnswer(200, "ignored")
UNREADABLE = WebhookAnswer(400, "not a delivery")
REFUSED = WebhookAnswer(401, "refused")
TOO_SLOW = WebhookAnswer(408, "too slow")
TOO_LARGE = WebhookAnswer(413, "too large")
NOT_JSON = WebhookAnswer(415, "send application/json")
LATER = WebhookAnswer(503, "come again", retry_after=10)


def is_json(content_type: str | None) -> bool:
    """Tell whether a request says that its body is JSON, or says nothing of it."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in {"", "application/json"} or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def is_too_long(content_length: str | None) -> bool:
    """Tell whether a request announces more than is read; what it does not say is counted."""
    length = fields.whole(content_length)
    return length is not None and length > MAX_BODY


def verify_signature(body: bytes, signature: str | None, secrets: Sequence[str]) -> bool:
    """Tell whether one of the secrets made the signature of these very bytes.

    Every secret is tried, and at least four are, also when there is none: neither the time nor the
    answer tells how many there are, or which one fitted.
    """
    signed = _SIGNED.fullmatch((signature or "").strip().encode(errors="replace"))
    claimed = signed[1].lower() if signed else b"?" * 64
    made = [(_hexdigest(secret, body), True) for secret in secrets]
    made += [(_hexdigest(decoy, body), False) for decoy in _DECOYS[len(secrets) :]]
    fitting = [hmac.compare_digest(digest, claimed) and real for digest, real in made]
    return any(fitting)


def _hexdigest(secret: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def refusal_pause(elapsed: float) -> float:
    """Give the seconds until a refusal may be answered."""
    return max(1, ceil(elapsed / REFUSAL_STEP)) * REFUSAL_STEP - elapsed


@dataclass(frozen=True)
class Delivery:
    """What an envelope says."""

    type: str
    build_id: str
    status: Status
    created_at: datetime | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Delivery:
        """Read a body; only its type is indispensable, and the build's id where it names a build.

        :raises UnexpectedAnswer: it is no delivery.
        """
        envelope = fields.mapping(_json(body), "a delivery")
        kind = fields.required(envelope, "type", "a delivery")
        build = _part(_part(envelope, "data"), "build")
        status = Status(fields.text(build.get("status")) or "")
        created_at = fields.instant(envelope.get("createdAt"))
        found = cls(kind, fields.reference(build.get("id")) or "", status, created_at)
        if found.finished and not found.build_id:
            raise UnexpectedAnswer("a delivery of a finished build has no usable build id")
        return found

    @property
    def finished(self) -> bool:
        """Whether it says, by its type or its status, that a build has ended."""
        told = Status(self.type.removeprefix(_PREFIX)) if self.type.startswith(_PREFIX) else None
        return self.status.terminal or (told is not None and told.terminal)

    @property
    def key(self) -> tuple[str, str]:
        """What a retried delivery has in common with the first."""
        return (self.build_id, self.type)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer("a delivery is not JSON") from None


def _part(whole: dict[str, Any], key: str) -> dict[str, Any]:
    part = whole.get(key)
    return part if isinstance(part, dict) else {}


def rejection(build: Build, now: datetime) -> WebhookAnswer | None:
    """Say what speaks against taking a build as REST shows it; None if nothing does."""
    if not build.status.terminal:
        return LATER
    if build.finished_at is not None and now - build.finished_at > MAX_AGE:
        return IGNORED
    return None


def answer_to(error: BuildPixelError, delivery: Delivery, now: datetime) -> WebhookAnswer:
    """Choose the answer when the build cannot be read: whether sending it again helps."""
    if isinstance(error, NotFound):
        # Forged, or of an organization that the token does not see; or REST lags behind.
        sent = delivery.created_at
        return LATER if sent is not None and now - sent < NOT_FOUND_GRACE else IGNORED
    return IGNORED if isinstance(error, InvalidRequest) else LATER


def event_payload(build: Build, url: str | None) -> dict[str, Any]:
    """Give what an event or a run is told of a finished build: facts, no signed address."""
    return {"type": f"{_PREFIX}{build.status}", **build.facts(url)}


def reports_build(extra: Any, build: Build) -> bool:
    """Tell whether the extra of an asset event already reports this end of this build.

    A watcher's events carry it one level deeper, an operator's without the type.
    """
    told = extra if isinstance(extra, dict) else {}
    told = told.get("payload", told)
    if not isinstance(told, dict):
        return False
    return (told.get("build_id"), told.get("status")) == (build.id, str(build.status))


def run_id(build_id: str) -> str:
    """Give the id of the one run of a Dag that is this build's."""
    return f"buildpixel__{build_id}"
