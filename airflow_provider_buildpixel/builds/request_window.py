"""The time in which a trigger request whose answer is not known can have started a build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.builds.list_order import Since

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build


LATE_START = 600.0
"""Seconds after a request that timed out in which a build of its token counts as its build."""

AFTER_ERROR = 20.0
"""Seconds after an error such as a reset in which the build of the request can still appear."""

MAX_KNOWN_IDS = 300
"""Builds from before a request that are stored."""


@dataclass(frozen=True)
class RequestWindow:
    """The time in which a trigger request whose answer is not known can have started a build.

    All times are seconds since the epoch on the server's clock.

    :param since: when it was sent.
    :param until: when it has surely ended, if ``may_run_later`` is False.
    :param may_run_later: it timed out, so it can start a build at any later time.
    :param tolerance: seconds by which ``since`` and ``until`` may be wrong.
    :param known_ids: builds of that time that existed before the request.
    """

    since: float = 0.0
    until: float = 0.0
    may_run_later: bool = False
    tolerance: float = 0.0
    known_ids: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> RequestWindow:
        """Parse what ``asdict`` returned."""
        known = data if isinstance(data, dict) else {}
        ids = known.get("known_ids")
        return cls(
            since=fields.number(known.get("since")) or 0.0,
            until=fields.number(known.get("until")) or 0.0,
            may_run_later=fields.boolean(known.get("may_run_later")),
            tolerance=fields.number(known.get("tolerance")) or 0.0,
            known_ids=tuple(filter(None, map(fields.text, ids if isinstance(ids, list) else ()))),
        )

    @classmethod
    def of_request(
        cls, sent_at: float, lifetime: float, tolerance: float, listed: Iterable[Build]
    ) -> RequestWindow:
        """Return the window of a request that is sent now.

        :param lifetime: seconds after which a request has surely ended, unless it timed out.
        :param listed: the builds that exist, oldest first.
        """
        since = Since(sent_at - 2 * tolerance)
        ids = [build.id for build in listed if not since.is_after(build)]
        return cls(
            since=sent_at,
            until=sent_at + lifetime,
            tolerance=tolerance,
            known_ids=tuple(ids[-MAX_KNOWN_IDS:]),
        )

    @property
    def starts_at(self) -> float:
        """The earliest time of creation of its build."""
        return self.since - self.tolerance

    def after_error(self, now: float, *, is_over: bool) -> RequestWindow:
        """Return the window of a request that has failed now and may have run.

        :param is_over: it surely cannot start a build any more but for a short while.
        """
        if is_over:
            return replace(self, until=min(self.until, now + AFTER_ERROR))
        return replace(self, may_run_later=True)

    def includes(self, build: Build, *, is_own_token: bool = False) -> bool:
        """Return whether a build was created while the request can have run.

        :param is_own_token: our token has surely started the build. Of other builds, those that
            were created long after a request that timed out are only candidates.
        """
        until = self.until
        if self.may_run_later and is_own_token:
            until = max(until, self.since + LATE_START)
        created = build.created_at
        return (
            build.id not in self.known_ids
            and created is not None
            and self.starts_at <= created.timestamp() <= until + self.tolerance
        )

    def may_include(self, build: Build) -> bool:
        """Return whether the request may have started a build, as far as its age tells."""
        if build.created_at is None or not self.may_run_later:
            return build.id not in self.known_ids and (
                build.created_at is None or self.includes(build)
            )
        return build.id not in self.known_ids and build.created_at.timestamp() >= self.starts_at
