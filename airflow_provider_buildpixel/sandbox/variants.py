"""Every point that BuildPixel's documentation leaves open, with the plausible behaviours.

The first value of each is the default of the sandbox.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def _choice(default: Any, *others: Any, meaning: str) -> Any:
    return field(default=default, metadata={"values": (default, *others), "meaning": meaning})


@dataclass(frozen=True)
class Variants:
    """One interpretation of the documentation: a value for each unspecified point."""

    settings_list: str = _choice(
        "page", "list", meaning="GET …/build-settings returns a page, or a bare list"
    )
    project_settings: str = _choice(
        "buildSettings",
        "settings",
        "configurations",
        "page",
        "none",
        meaning="field of GET /projects/:id with the build settings; page: as a page",
    )
    project_uproject: str = _choice(
        "uproject",
        "detectedUproject",
        "uprojectPath",
        "uprojects",
        "none",
        meaning="field of GET /projects/:id with the .uproject; uprojects: a list",
    )
    trigger_answer: str = _choice(
        "long",
        "short",
        "build",
        meaning="body of a successful trigger: four fields, two, or a build",
    )
    trigger_status: int = _choice(202, 200, 201, meaning="HTTP status of a successful trigger")
    strict_bodies: str = _choice(
        "no", "yes", meaning="whether unknown fields of a request body are rejected"
    )
    plan_limit: str = _choice(
        "402 plan_limit_reached",
        "403 build_minutes_exceeded",
        "429 plan_limit_exceeded",
        "400 quota_exceeded",
        meaning="error of a manual trigger when the month's build minutes are used up",
    )
    setup_refusal: int = _choice(
        400, 403, 422, meaning="HTTP status of repo_not_accessible and perforce_auth_failed"
    )
    builds_order: str = _choice(
        "newest",
        "oldest",
        "random",
        "ended-first",
        "live-first",
        "by-status",
        "by-branch",
        "by-project",
        "by-setting",
        "by-platform",
        "by-build-type",
        meaning="order of GET /builds; in groups, the newest first within each",
    )
    cursor: str = _choice(
        "key",
        "offset",
        meaning="a cursor is the key of a row, or the number of rows before it: then rows shift",
    )
    list_rows: str = _choice(
        "good",
        "no-status",
        "no-id",
        "null",
        meaning="the first row of GET /builds is a build, or an extra row that cannot be read",
    )
    list_lag: int = _choice(
        0, 5, meaning="sandbox seconds by which GET /builds is behind GET /builds/:id"
    )
    last_page: str = _choice(
        "exact",
        "empty",
        meaning="a full last page has no cursor, or one that leads to an empty page",
    )
    list_items: str = _choice(
        "full",
        "brief",
        "minimal",
        meaning="list items with all fields, without optional ones, or with only two",
    )
    log_field: str = _choice(
        "logs",
        "recentLogs",
        "log",
        "logLines",
        "none",
        meaning="field of GET /builds/:id with the recent log lines; none: no such field",
    )
    log_shape: str = _choice(
        "objects",
        "strings",
        "string",
        "page",
        "lines",
        "newest-first",
        meaning="shape of those lines; page and lines are nested in an object",
    )
    open_fields: str = _choice(
        "null", "absent", meaning="finishedAt and durationMs of a build that has not ended"
    )
    commit_echo: str = _choice(
        "full", "given", meaning="an abbreviated commit is returned in full, or as given"
    )
    changelist_field: str = _choice(
        "changelist",
        "perforceChangelist",
        "changelistNumber",
        "commit",
        meaning="field of a Perforce build with its changelist",
    )
    changelist_type: str = _choice("int", "str", meaning="type of that field")
    changelist_body: str = _choice(
        "any", "text", meaning="a trigger accepts a changelist as text or number, or as text only"
    )
    stream_field: str = _choice(
        "branch",
        "streamPath",
        "both",
        "none",
        meaning="field of a Perforce build with its stream; none: it is not shown",
    )
    triggered_by: str = _choice(
        "api_token", "user", meaning="triggeredBy of a build triggered with a token"
    )
    duration: str = _choice(
        "running", "whole", meaning="durationMs without or with the time in the queue"
    )
    checksum: str = _choice("hex", "HEX", "base64", meaning="encoding of checksumMd5")
    error_body: str = _choice(
        "full",
        "no-request-id",
        "code-only",
        "nested",
        "empty",
        "html",
        meaning="body of an error; full as documented, others as from gateways",
    )
    patch_answer: str = _choice(
        "object", "nothing", meaning="a PATCH returns the object, or 204 without a body"
    )
    extra_fields: str = _choice("none", "some", meaning="objects have undocumented fields")
    ids: str = _choice("letters", "punctuated", meaning="ids of letters, or with - and _ as well")
    id_order: str = _choice(
        "created",
        "same-second",
        meaning="ids sort by creation time, or do so only if made in different seconds",
    )
    date_header: str = _choice("sent", "none", meaning="responses with or without a Date header")
    clock_skew: int = _choice(
        0, -3, 30, meaning="seconds by which the server's clock is ahead of the true time"
    )
    join_answer: str = _choice(
        "none",
        "true",
        "ok",
        "object",
        "build",
        "empty",
        meaning="acknowledgement of join:build",
    )
    join_refusal: str = _choice(
        "silence",
        "ack",
        "ack-false",
        "error",
        "build:error",
        "exception",
        "disconnect",
        meaning="response to a rejected join",
    )
    join_status: str = _choice(
        "none", "sent", meaning="whether a join is followed by an event with the status"
    )
    status_payload: str = _choice(
        "minimal",
        "full",
        "nested",
        meaning="extra fields of build:status besides buildId and status",
    )
    revoked_sockets: str = _choice(
        "kept", "disconnected", meaning="connections of a token that is revoked"
    )
    markers: str = _choice(
        "filled",
        "literal",
        meaning="phase markers in the log, with details or exactly as documented",
    )
    signed_head: str = _choice(
        "allowed", "refused", meaning="a signed URL is valid for HEAD and GET, or for GET only"
    )

    @classmethod
    def points(cls) -> dict[str, tuple[Any, ...]]:
        """Return all unspecified points with their possible values, the default first."""
        return {point.name: point.metadata["values"] for point in fields(cls)}

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Return a description of each unspecified point."""
        return {point.name: point.metadata["meaning"] for point in fields(cls)}

    @classmethod
    def every(cls) -> Iterator[Variants]:
        """Yield the variants that differ from the default in exactly one point."""
        for name, values in cls.points().items():
            for value in values[1:]:
                yield replace(cls(), **{name: value})

    @classmethod
    def random(cls, seed: int) -> Variants:
        """Return variants with a random value for every point."""
        rng = random.Random(seed)  # noqa: S311  # for repeatable tests, not for secrets
        return cls(**{name: rng.choice(values) for name, values in cls.points().items()})

    def __post_init__(self) -> None:
        """Raise if a value is not one of the possible ones."""
        for name, values in self.points().items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}, not {getattr(self, name)!r}")

    def __str__(self) -> str:
        """Return the differences from the default, for the ids of parametrized tests."""
        default = Variants()
        changed = [
            f"{name}={getattr(self, name)}"
            for name in self.points()
            if getattr(self, name) != getattr(default, name)
        ]
        return ",".join(changed) or "default"
