"""The errors about a build, without Airflow; users import them from ``exceptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import BuildPixelError

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build


class BuildFailed(BuildPixelError):
    """The build ended without success.

    :param build: the build as last read.
    :param phase: the phase in which it failed (``compile``, ``cook``, …), if the log tells.
    :param errors: its first error lines.
    :param cause: why, as far as its log tells: ``compile``, ``cook``, ``repository``,
        ``perforce_ticket`` or ``no_word``.
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
    """A newer build of the same project, branch, platform and build type took its place.

    :param build: the build that was cancelled.
    :param newer: the one that replaced it, None when it could not be told.
    """

    def __init__(self, message: str, *, build: Build, newer: Build | None = None) -> None:
        super().__init__(message)
        self.build = build
        self.newer = newer


class BuildTimeout(BuildPixelError):
    """The build did not end in time. It goes on: BuildPixel has no way to cancel it.

    :param build: the build as last read, None when none had appeared yet.
    """

    def __init__(self, message: str, *, build: Build | None = None) -> None:
        super().__init__(message)
        self.build = build


class BuildInFlight(BuildPixelError):
    """A live build would be superseded, and ``on_in_flight="fail"`` forbids that.

    :param build: the live build.
    """

    def __init__(self, message: str, *, build: Build) -> None:
        super().__init__(message)
        self.build = build


class DispatchUncertain(BuildPixelError):
    """A trigger request may have started a build, and which one cannot be told.

    :param candidates: the builds that it may have started.
    """

    def __init__(self, message: str, *, candidates: tuple[Build, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates
