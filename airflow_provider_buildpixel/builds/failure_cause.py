"""Why a build failed, as far as its log shows, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.builds.logs import LogSummary


@dataclass(frozen=True)
class Cause:
    """The cause of a failed build.

    :param name: the value of ``BuildFailed.cause``.
    :param advice: what the user can do.
    :param permanent: whether the same build would fail again.
    """

    name: str
    advice: str
    permanent: bool = True


_CAUSES = (
    (
        re.compile(r"Perforce password \(P4PASSWD\) invalid or unset|Your session has expired"),
        Cause("perforce_ticket", "store a new Perforce ticket in BuildPixel's integrations"),
    ),
    (
        re.compile(r"could not read Username for|Repository not found|Authentication failed for"),
        Cause("repository", "give the BuildPixel GitHub App access to the repository again"),
    ),
    (
        re.compile(r"\): (?:fatal )?error(?: [A-Z]+\d+)?:|: fatal error:|LogPlayLevel: Error:"),
        Cause("compile", "fix the code, starting with the compiler's first error"),
    ),
    (
        re.compile(r"LogCook: Error:|Failed to cook"),
        Cause("cook", "open the named asset in the editor and fix or re-save it"),
    ),
)

NO_ERROR_LINE = Cause(
    "no_word",
    "its log stops without an error line, so the build process may have died; try again",
    permanent=False,
)


def is_permanent_cause(name: str | None) -> bool:
    """Return whether a build that failed for this cause would fail again."""
    return any(cause.name == name and cause.permanent for _, cause in _CAUSES)


def known_cause(error_lines: Iterable[str]) -> Cause | None:
    """Return the cause of the first error line that is recognised, or None."""
    for line in error_lines:
        for pattern, cause in _CAUSES:
            if pattern.search(line[:2_000]):
                return cause
    return None


def failure_cause(summary: LogSummary) -> Cause | None:
    """Return why a failed build with this log failed, or None if its errors are not recognised."""
    if summary.errors:
        return known_cause(summary.errors)
    return None if summary.ended else NO_ERROR_LINE
