"""An object in a store as the place where an artifact goes."""

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


class ObjectUpload:
    """An object of any store that fsspec knows, uploaded in parts without a copy on this disk.

    :param filesystem: fsspec's, with the store's credentials.
    :param path: as the file system spells it.
    :param name: for people.
    """

    def __init__(self, filesystem: Any, path: str, name: str) -> None:
        self.name = name
        self.etag: str | None = None
        self._filesystem, self._path = filesystem, path
        spelt = filesystem.protocol
        protocols = {spelt} if isinstance(spelt, str) else set(spelt)
        self._written = path if protocols & ATOMIC_PROTOCOLS else f"{path}.part"
        self._handle: Any = None
        self._block = 8 * MIB

    def present(self) -> int | None:
        """Give the size of the object that is there already."""
        self._filesystem.invalidate_cache()
        try:
            found = self._filesystem.info(self._path)
        except FileNotFoundError:
            return None
        if found.get("type") == "directory":
            raise InvalidRequest(f"{self.name} is a directory: name an object in it")
        return int(found.get("size") or 0)

    def content(self) -> Iterator[memoryview]:
        """Give the bytes of the object that is there already."""
        with self._filesystem.open(
            self._path, "rb", block_size=8 * MIB, cache_type="readahead"
        ) as file:
            yield from read_views(file.readinto)

    def begin(self, expected: ExpectedArtifact) -> int:
        """Choose parts so large that their number suffices; nothing can be continued."""
        needed = (expected.size or 100 * 1024 * MIB) // MAX_PARTS
        self._block = max(8 * MIB, -(-needed // MIB) * MIB)
        return 0

    def reserve(self, needed: int) -> None:
        """Trust the store to have room."""

    def left(self) -> Iterator[memoryview]:
        """Give nothing: an upload is not continued."""
        return iter(())

    def note(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Write nothing down: an upload is not continued."""

    def consume(self, views: Iterator[memoryview]) -> None:
        """Upload; the object appears with the commit."""
        self._handle = self._filesystem.open(self._written, "wb", block_size=self._block)
        for view in views:
            self._handle.write(view)

    def commit(self) -> None:
        """Upload the last part and let the object appear."""
        self._handle.close()
        if self._written != self._path:
            self._filesystem.mv(self._written, self._path)
        self._handle = None

    def discard(self) -> None:
        """Abort the upload; its parts are deleted."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if hasattr(handle, "discard") and self._written == self._path:
            handle.closed = True  # else its finaliser would upload the rest
            handle.discard()
            return
        handle.close()
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(self._written)

    def close(self) -> None:
        """Abort what was not committed."""
        self.discard()
