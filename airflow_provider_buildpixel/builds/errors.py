"""Errors about a build, defined without Airflow; users import them from ``exceptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import BuildPixelError

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build


class BuildFailed(BuildPixelError):
    """The build ended without success.

    :param build: the build as last read.
    :param phase: the phase that failed (``compile``, ``cook``, …), None if it is unknown.
    :param errors: the first error lines of its log.
    :param cause: the cause that the log shows: ``compile``, ``cook``, ``repository``,
        ``perforce_ticket`` or ``no_word``; None if it is unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        build: Build,
        phase: str | None = None,
        errors: tuple[str, ...] = (),
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.build = build
        self.phase = phase
        self.errors = errors
        self.cause = cause


class BuildSuperseded(BuildPixelError):
    """A newer build of the same project, branch, platform and build type replaced the build.

    :param build: the build that was cancelled.
    :param newer: the build that replaced it, None if it could not be identified.
    """

    def __init__(self, message: str, *, build: Build, newer: Build | None = None) -> None:
        super().__init__(message)
        self.build = build
        self.newer = newer


class BuildTimeout(BuildPixelError):
    """The build did not end in time. It continues: BuildPixel has no API to cancel a build.

    :param build: the build as last read, None if no matching build had appeared.
    """

    def __init__(self, message: str, *, build: Build | None = None) -> None:
        super().__init__(message)
        self.build = build


class BuildInFlight(BuildPixelError):
    """A new build would supersede a live one, and ``on_in_flight="fail"`` forbids that.

    :param build: the live build.
    """

    def __init__(self, message: str, *, build: Build) -> None:
        super().__init__(message)
        self.build = build


class DispatchUncertain(BuildPixelError):
    """A trigger request may have started a build that cannot be identified.

    :param candidates: the builds that the request may have started.
    """

    def __init__(self, message: str, *, candidates: tuple[Build, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates
