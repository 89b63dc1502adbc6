"""One download as a value: which artifact, where it goes, and how it is transferred."""

from __future__ import annotations

import random
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Protocol

from airflow_provider_buildpixel.api.text import KIB
from airflow_provider_buildpixel.downloads.cancel import CancelToken
from airflow_provider_buildpixel.downloads.throughput import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.model import Artifact
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


class Destination(Protocol):
    """What a download needs from the file, directory or object that it writes."""

    name: str
    etag: str | None

    def existing_size(self) -> int | None:
        """Return the size of what already exists in bytes, None if nothing does."""

    def read_existing(self) -> Iterator[memoryview]:
        """Yield the bytes of what already exists."""

    def open(self, expected: ExpectedArtifact) -> int:
        """Prepare for writing; return the number of bytes that an earlier try has stored."""

    def check_free_space(self, needed: int) -> None:
        """Raise if there is no room for ``needed`` more bytes."""

    def read_partial(self) -> Iterator[memoryview]:
        """Yield the bytes that an earlier try has stored."""

    def save_progress(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Store which artifact is being downloaded, so that a later try can continue it."""

    def write(self, views: Iterator[memoryview]) -> None:
        """Write all further bytes."""

    def commit(self) -> None:
        """Make the complete artifact appear at the destination."""

    def discard(self) -> None:
        """Delete what was written."""

    def close(self) -> None:
        """Release resources; what a later try can continue stays."""


@dataclass
class DownloadJob:
    """One download.

    :param get_artifact: requests the artifact's signed URL, size and MD5 from BuildPixel.
    :param report: receives each log line about the progress.
    :param cancel_token: cancels the download.
    :param overwrite: replace what is at the destination.
    :param verify: compare the checksum.
    :param connections: the most parallel connections to try; 1 always uses a single one.
    :param min_rate: bytes per second below which a connection counts as stalled.
    :param stall_window: seconds over which that rate is measured; also the longest wait for a byte.
    :param probe_seconds: how long one connection, and then several, are measured.
    """

    build_id: str
    get_artifact: Callable[[], Artifact]
    destination: Destination
    settings: Settings
    report: Callable[[str], None]
    cancel_token: CancelToken = field(default_factory=CancelToken)
    jitter: Callable[[], float] = random.random
    _: KW_ONLY
    overwrite: bool = False
    verify: bool = True
    connections: int = 4
    min_rate: float = 16 * KIB
    stall_window: float = 30.0
    probe_seconds: float = PROBE_SECONDS
