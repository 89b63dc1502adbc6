"""An object in an object store as destination."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.errors import InvalidRequest
from airflow_provider_buildpixel.api.text import MIB
from airflow_provider_buildpixel.downloads.destinations.local import read_views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


ATOMIC_PROTOCOLS = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "wasb"}
)
"""Stores in which an object appears when the upload is closed, and not before."""

MAX_PARTS = 9_000
"""Parts of one upload; S3 refuses more than 10,000."""

MIN_PART_SIZE = 8 * MIB
ASSUMED_SIZE = 100 * 1024 * MIB
"""Bytes assumed for an artifact whose size is not announced."""


class ObjectUpload:
    """An object of any store that fsspec supports, uploaded in parts without a local copy.

    :param filesystem: fsspec's, with the store's credentials.
    :param path: as the file system spells it.
    :param name: for messages.
    """

    def __init__(self, filesystem: Any, path: str, name: str) -> None:
        self.name = name
        self.etag: str | None = None
        self._filesystem, self._path = filesystem, path
        protocol = filesystem.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._upload_path = path if protocols & ATOMIC_PROTOCOLS else f"{path}.part"
        self._upload: Any = None
        self._part_size = MIN_PART_SIZE

    def existing_size(self) -> int | None:
        """Return the size of the existing object in bytes, None if there is none."""
        self._filesystem.invalidate_cache()
        try:
            found = self._filesystem.info(self._path)
        except FileNotFoundError:
            return None
        if found.get("type") == "directory":
            raise InvalidRequest(f"{self.name} is a directory: name an object in it")
        return int(found.get("size") or 0)

    def read_existing(self) -> Iterator[memoryview]:
        """Yield the bytes of the existing object."""
        with self._filesystem.open(
            self._path, "rb", block_size=8 * MIB, cache_type="readahead"
        ) as file:
            yield from read_views(file.readinto)

    def open(self, expected: ExpectedArtifact) -> int:
        """Choose parts large enough for the most parts of an upload; return 0."""
        needed = (expected.size or ASSUMED_SIZE) // MAX_PARTS
        self._part_size = max(MIN_PART_SIZE, -(-needed // MIB) * MIB)
        return 0

    def check_free_space(self, needed: int) -> None:
        """Do nothing: an object store has no limit to check."""

    def read_partial(self) -> Iterator[memoryview]:
        """Yield nothing: a later try does not continue an upload."""
        return iter(())

    def save_progress(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Store nothing: a later try does not continue an upload."""

    def write(self, views: Iterator[memoryview]) -> None:
        """Upload in parts; the object appears with the commit."""
        self._upload = self._filesystem.open(self._upload_path, "wb", block_size=self._part_size)
        for view in views:
            self._upload.write(view)

    def commit(self) -> None:
        """Upload the last part, which makes the object appear."""
        self._upload.close()
        if self._upload_path != self._path:
            self._filesystem.mv(self._upload_path, self._path)
        self._upload = None

    def discard(self) -> None:
        """Abort the upload; its parts are deleted."""
        upload, self._upload = self._upload, None
        if upload is None:
            return
        if hasattr(upload, "discard") and self._upload_path == self._path:
            upload.closed = True  # else its finaliser would upload the rest
            upload.discard()
            return
        upload.close()
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(self._upload_path)

    def close(self) -> None:
        """Abort what was not committed."""
        self.discard()
