"""Every point that the documentation leaves open, with the answers that are reasonable.

The first value of each is what the sandbox does when nothing else is asked for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def _choice(first: Any, *others: Any, means: str) -> Any:
    return field(default=first, metadata={"values": (first, *others), "means": means})


@dataclass(frozen=True)
class Variants:
    """One reading of the documentation: a value for each unspecified point."""

    settings_list: str = _choice(
        "page", "list", means="GET …/build-settings answers a page, or a bare list"
    )
    project_settings: str = _choice(
        "buildSettings",
        "settings",
        "configurations",
        "page",
        "none",
        means="field of a project's detail that holds its build settings; page: as a page",
    )
    project_uproject: str = _choice(
        "uproject",
        "detectedUproject",
        "uprojectPath",
        "uprojects",
        "none",
        means="field of a project's detail that tells of the .uproject; uprojects: a list",
    )
    trigger_answer: str = _choice(
        "long", "short", "build", means="what a trigger answers: four fields, two, or a build"
    )
    trigger_status: int = _choice(202, 200, 201, means="HTTP status of a successful trigger")
    strict_bodies: str = _choice("no", "yes", means="whether unknown fields of a body are refused")
    plan_limit: str = _choice(
        "402 plan_limit_reached",
        "403 build_minutes_exceeded",
        "429 plan_limit_exceeded",
        "400 quota_exceeded",
        means="the answer to a manual trigger when the month's build minutes are used up",
    )
    setup_refusal: int = _choice(
        400, 403, 422, means="HTTP status of repo_not_accessible and perforce_auth_failed"
    )
    builds_order: str = _choice(
        "newest",
        "oldest",
        "random",
        "ended-first",
        means="order of GET /builds; ended-first: then, among these and the others, newest first",
    )
    last_page: str = _choice(
        "exact", "empty", means="a full last page has no cursor, or one that leads to an empty page"
    )
    list_items: str = _choice("full", "brief", means="list items with or without optional fields")
    log_field: str = _choice(
        "logs",
        "recentLogs",
        "log",
        "logLines",
        "none",
        means="field of GET /builds/:id with the recent log lines; none: it has none",
    )
    log_shape: str = _choice(
        "objects",
        "strings",
        "string",
        "page",
        "lines",
        "newest-first",
        means="shape of those lines; page and lines are nested in an object",
    )
    open_fields: str = _choice(
        "null", "absent", means="finishedAt and durationMs of a build that has not ended"
    )
    commit_echo: str = _choice("full", "given", means="an abbreviated commit is completed, or not")
    changelist_field: str = _choice(
        "changelist",
        "perforceChangelist",
        "changelistNumber",
        "commit",
        means="field of a Perforce build that holds its changelist",
    )
    changelist_type: str = _choice("int", "str", means="type of that field")
    stream_field: str = _choice(
        "branch", "streamPath", "both", means="field of a Perforce build that holds its stream"
    )
    triggered_by: str = _choice(
        "api_token", "user", means="triggeredBy of a build triggered with a token"
    )
    duration: str = _choice("running", "whole", means="durationMs with or without the queue")
    checksum: str = _choice("hex", "HEX", "base64", means="spelling of checksumMd5")
    error_body: str = _choice(
        "full",
        "no-request-id",
        "code-only",
        "nested",
        "empty",
        "html",
        means="body of an error; it should be full, but gateways answer too",
    )
    patch_answer: str = _choice(
        "object", "nothing", means="a PATCH answers the object, or 204 without a body"
    )
    extra_fields: str = _choice("none", "some", means="objects have fields nobody heard of")
    ids: str = _choice("letters", "punctuated", means="ids of letters, or with - and _ as well")
    join_answer: str = _choice(
        "none",
        "true",
        "ok",
        "object",
        "build",
        "empty",
        means="acknowledgement of join:build",
    )
    join_refusal: str = _choice(
        "silence",
        "ack",
        "ack-false",
        "error",
        "build:error",
        "exception",
        "disconnect",
        means="what a refused join gets",
    )
    join_status: str = _choice("none", "sent", means="whether a join is followed by the status")
    status_payload: str = _choice(
        "minimal", "full", "nested", means="fields of build:status besides buildId and status"
    )
    revoked_sockets: str = _choice(
        "kept", "disconnected", means="what becomes of the connections of a token that is revoked"
    )
    markers: str = _choice(
        "filled", "literal", means="phase markers in the log with details, or as documented"
    )
    signed_head: str = _choice(
        "allowed", "refused", means="a signed address is good for HEAD too, or for GET only"
    )

    @classmethod
    def points(cls) -> dict[str, tuple[Any, ...]]:
        """Return all unspecified points with their possible values, the usual one first."""
        return {point.name: point.metadata["values"] for point in fields(cls)}

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Return a sentence for each unspecified point."""
        return {point.name: point.metadata["means"] for point in fields(cls)}

    @classmethod
    def every(cls) -> Iterator[Variants]:
        """Yield one reading for each single deviation from the usual one."""
        for name, values in cls.points().items():
            for value in values[1:]:
                yield replace(cls(), **{name: value})

    @classmethod
    def random(cls, seed: int) -> Variants:
        """Return a reading in which every point is drawn by lot."""
        chance = random.Random(seed)
        return cls(**{name: chance.choice(values) for name, values in cls.points().items()})

    def __post_init__(self) -> None:
        """Refuse values that no one has thought of."""
        for name, values in self.points().items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is one of {values}, not {getattr(self, name)!r}")

    def __str__(self) -> str:
        """Name the deviations from the usual reading, for the ids of tests."""
        usual = Variants()
        odd = [
            f"{name}={getattr(self, name)}"
            for name in self.points()
            if getattr(self, name) != getattr(usual, name)
        ]
        return ",".join(odd) or "usual"
