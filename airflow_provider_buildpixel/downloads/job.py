"""One download as a value: which artifact, where it goes, and how it is fetched."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from airflow_provider_buildpixel.api.text import KIB
from airflow_provider_buildpixel.downloads.cancel import CancelToken
from airflow_provider_buildpixel.downloads.throughput import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.model import Artifact
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


@dataclass(frozen=True)
class DownloadOptions:
    """How to fetch.

    :param overwrite: replace what is there.
    :param verify: compare the checksum.
    :param connections: how many may be tried at once; 1 is always one stream.
    :param least_rate: bytes in a second below which a connection is given up, over
    :param window: so many seconds.
    :param trial: seconds for which one connection, and then several, are measured.
    """

    overwrite: bool = False
    verify: bool = True
    connections: int = 4
    least_rate: float = 16 * KIB
    window: float = 30.0
    trial: float = PROBE_SECONDS


class Destination(Protocol):
    """What a download needs of the place that it goes to."""

    name: str
    etag: str | None

    def present(self) -> int | None:
        """Give the size of what is there already, None if nothing is."""

    def content(self) -> Iterator[memoryview]:
        """Give the bytes of what is there already."""

    def begin(self, expected: ExpectedArtifact) -> int:
        """Get ready, and give the number of bytes that an earlier try left."""

    def reserve(self, needed: int) -> None:
        """Check the room for so many more bytes."""

    def left(self) -> Iterator[memoryview]:
        """Give the bytes that an earlier try left."""

    def note(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Write down what is being fetched, for a later try."""

    def consume(self, views: Iterator[memoryview]) -> None:
        """Take the rest of the bytes."""

    def commit(self) -> None:
        """Let it appear."""

    def discard(self) -> None:
        """Delete what was written."""

    def close(self) -> None:
        """Let go of it; what can be continued stays."""


@dataclass
class DownloadJob:
    """One download.

    :param get_artifact: requests the artifact's signed URL, size and MD5 from BuildPixel.
    :param report: called with each line about the progress.
    :param cancel_token: stops the download.
    """

    build_id: str
    get_artifact: Callable[[], Artifact]
    destination: Destination
    settings: Settings
    options: DownloadOptions
    report: Callable[[str], None]
    cancel_token: CancelToken = field(default_factory=CancelToken)
    jitter: Callable[[], float] = random.random
