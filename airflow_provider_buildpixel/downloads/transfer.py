"""Fetches a file: one loop that goes on, whatever breaks, until all of it is there."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import (
    ArtifactUnavailable,
    ChecksumMismatch,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.api.text import MIB, size_text
from airflow_provider_buildpixel.downloads import http_range
from airflow_provider_buildpixel.downloads.artifacts import (
    Downloaded,
    ExpectedArtifact,
    checked_artifact_url,
)
from airflow_provider_buildpixel.downloads.buffers import MIN_BUFFERS, BufferPool
from airflow_provider_buildpixel.downloads.http_range import (
    FileInfo,
    RangeBody,
    RangeRequest,
    classify_response,
)
from airflow_provider_buildpixel.downloads.parallel import ParallelDownload, PartError
from airflow_provider_buildpixel.downloads.store import (
    CONNECTION_ERRORS,
    ArtifactStore,
    error_reason,
)
from airflow_provider_buildpixel.downloads.throughput import (
    ConnectionProbe,
    RetryBudget,
    StallDetector,
    TransferProgress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.downloads.buffers import Buffer
    from airflow_provider_buildpixel.downloads.job import DownloadJob
    from airflow_provider_buildpixel.downloads.store import StoreResponse


CHUNK = 2 * MIB
"""Bytes handed on at a time: more would save little, and take more memory."""

MAX_BUFFER_AGE = 0.25
"""Seconds after which a buffer is handed on even if it is not full."""

MAX_PAUSE = 300.0


class ArtifactChangedError(Exception):
    """The file is another one than the one begun with."""


class Transfer:
    """The way of one file; it survives everything but a change of the file."""

    def __init__(self, job: DownloadJob, expected: ExpectedArtifact, url: str) -> None:
        self._job, self._expected = job, expected
        self._url = checked_artifact_url(url, job.settings.base_url)
        self._destination, self._options = job.destination, job.options
        self._report, self._cancel_token = job.report, job.cancel_token
        self._digest = hashlib.md5(usedforsecurity=False)
        self._known = FileInfo(expected.size)
        self._patience = RetryBudget()
        self._done = 0
        self._noted = self._whole = self._complete = False

    def run(self) -> Downloaded:
        """Fetch, verify, and let it appear."""
        try:
            self._resume()
            self._fetch()
            return self._verified()
        except (ArtifactChangedError, ChecksumMismatch):
            self._destination.discard()
            raise

    def _resume(self) -> None:
        """Hash what an earlier try left: the state of a hash cannot be kept over tries."""
        self._done = self._destination.begin(self._expected)
        if self._done:
            self._known = FileInfo(self._expected.size, self._destination.etag)
            self._report(f"Going on with {size_text(self._done)} that an earlier try fetched")
        if self._done and self._options.verify:
            for view in self._destination.left():
                self._cancel_token.check()
                self._digest.update(view)

    def _fetch(self) -> None:
        now = time.monotonic()
        self._progress = TransferProgress(self._known.size, now, self._done)
        self._trial = ConnectionProbe(
            self._options.connections, now, self._done, self._options.trial
        )
        slots = max(MIN_BUFFERS, self._options.connections + 2)
        with ExitStack() as stack:
            self._store = stack.enter_context(closing(self._new_store()))
            self._belt = stack.enter_context(BufferPool(self._consumers(), slots))
            stack.enter_context(self._cancel_token.interrupting(self._belt.wake))
            stack.enter_context(self._cancel_token.interrupting(self._store.interrupt))
            while not self._finished():
                self._go_on()
            self._belt.finish()

    def _new_store(self) -> ArtifactStore:
        return ArtifactStore(self._job.settings, self._options.window)

    def _pace(self) -> StallDetector:
        return StallDetector(self._options.least_rate, self._options.window)

    def _consumers(self) -> list[Callable[[Iterator[memoryview]], None]]:
        return [self._destination.consume, *([self._hash] if self._options.verify else [])]

    def _hash(self, views: Iterator[memoryview]) -> None:
        for view in views:
            self._digest.update(view)

    def _finished(self) -> bool:
        return self._complete or self._known.size == self._done

    def _left(self) -> int | None:
        return None if self._known.size is None else self._known.size - self._done

    def _verified(self) -> Downloaded:
        found = self._digest.hexdigest() if self._options.verify else None
        for error in (self._expected.size_differs(self._done), self._expected.md5_differs(found)):
            if error is not None:
                raise error
        self._destination.commit()
        self._report(self._progress.last(time.monotonic(), self._done))
        return Downloaded(self._destination.name, self._done, found)

    def _go_on(self) -> None:
        """Open a stream at the first byte that lacks, and take what it gives."""
        self._cancel_token.check()
        wish = RangeRequest(0 if self._whole else self._done, ranged=not self._whole)
        try:
            stream = self._store.open(self._url, wish)
        except CONNECTION_ERRORS as error:
            self._miss(error_reason(error))
            return
        several = False
        with closing(stream):
            body = self._begun(stream, wish)
            if body is not None:
                several = self._take(stream, body)
        if several:
            self._take_several()

    def _begun(self, stream: StoreResponse, wish: RangeRequest) -> RangeBody | None:
        """Act on what an answer means."""
        match classify_response(stream.status, stream.headers, wish, self._known):
            case RangeBody() as body:
                self._learn(body)
                return body
            case http_range.FileComplete():
                self._complete = True
            case http_range.UrlExpired(status):
                self._renew(status)
            case http_range.RetryLater(why, wait):
                self._miss(why, wait or 0.0)
            case http_range.BadRange(why):
                self._whole = True
                self._miss(f"the store answered a range wrongly ({why})")
            case http_range.FileChanged(why):
                raise ArtifactChangedError(why)
            case http_range.WrongSize(found):
                raise self._expected.size_differs(found) or ArtifactChangedError(
                    "its size is another one"
                )
            case http_range.FileGone(status):
                raise ArtifactUnavailable("the store does not have it", status_code=status)
            case http_range.RequestRefused(status):
                raise UnexpectedAnswer("the store refuses the download", status_code=status)
        return None

    def _learn(self, body: RangeBody) -> None:
        known, self._known = self._known, self._known.learn(body)
        if known.size is None and self._known.size is not None:
            self._progress.total = self._known.size
            self._destination.reserve(self._known.size - self._done)
        if not self._noted or known.etag != self._known.etag:
            self._noted = True
            self._destination.note(self._expected, self._known.etag)

    def _renew(self, status: int) -> None:
        if not self._patience.renew():
            raise UnexpectedAnswer("the store refuses fresh signed URLs", status_code=status)
        self._report(f"The store refuses the signed URL (HTTP {status}): asking for a fresh one")
        artifact = self._job.get_artifact()
        if ExpectedArtifact.of(self._expected.build_id, artifact) != self._expected:
            raise ArtifactChangedError("BuildPixel announces another one")
        self._url = checked_artifact_url(artifact.url, self._job.settings.base_url)

    def _miss(self, why: str, wait: float = 0.0) -> None:
        """Pause before the next try.

        :raises Unreachable: there were too many.
        """
        self._cancel_token.check()
        pause = self._patience.miss(self._job.jitter())
        if pause is None:
            raise Unreachable(
                f"the download of {self._destination.name} broke off again and again, at last at "
                f"{size_text(self._done)}: {why}"
            )
        pause = max(pause, min(wait, MAX_PAUSE))
        self._report(f"Broken off: {why}. Going on at {size_text(self._done)} in {pause:.1f} s")
        self._cancel_token.pause(pause)

    def _take(self, stream: StoreResponse, body: RangeBody) -> bool:
        """Hand on what a stream gives; say whether several connections should be tried."""
        stream.expect(body.length)
        skip = self._done - body.start
        pace = self._pace()
        while not self._finished():
            self._cancel_token.check()
            slot = self._acquire()
            began = time.monotonic()
            count, trouble = _fill(stream, slot.memory[: self._wanted(skip)])
            waited = time.monotonic() - began
            self._send(slot, 0 if skip else count)
            skip -= min(skip, count)
            if trouble is not None or pace.too_slow(count, waited):
                self._break_off(body, trouble or "it has become too slow")
                break
            if self._trial.several(began + waited, self._done, waited, self._left()):
                return body.ranged
        return False

    def _wanted(self, skip: int) -> int:
        """Say how much to read next: never beyond the announced size."""
        left = self._left()
        return min(CHUNK, skip or CHUNK, CHUNK if left is None else left + skip)

    def _break_off(self, body: RangeBody, trouble: str) -> None:
        """Tell the end of an answer from one that broke off."""
        if trouble == ENDED and self._known.size is None:
            # Without a length the end of the answer is the end; of a range, a 416 will tell.
            self._complete = not body.ranged
        elif not self._finished():
            self._miss(trouble)

    def _acquire(self) -> Buffer:
        while (slot := self._belt.acquire()) is None:
            self._cancel_token.check()
        return slot

    def _send(self, slot: Buffer, count: int) -> None:
        self._belt.send(slot, count)
        self._done += count
        self._patience.progressed(count)
        if line := self._progress.line(time.monotonic(), self._done):
            self._report(line)

    def _take_several(self) -> None:
        """Go on over several connections for as long as that is faster."""
        self._report(f"Trying {self._trial.lanes} connections at once")
        lanes = ParallelDownload(
            self._new_store,
            self._url,
            (self._done, self._known.size or self._done),
            self._known,
            self._belt,
            self._trial.lanes,
            self._pace,
        )
        with lanes, self._cancel_token.interrupting(lanes.interrupt):
            try:
                self._take_blocks(lanes)
            except PartError as error:
                self._trial.failed()
                self._report(f"One of several connections broke: {error}. Going on with one")
        self._cancel_token.check()
        self._trial.begin(time.monotonic(), self._done)

    def _take_blocks(self, lanes: ParallelDownload) -> None:
        for number, (slot, count) in enumerate(lanes.blocks(), 1):
            self._send(slot, count)
            if not self._trial.stay(time.monotonic(), self._done, number):
                self._report("Several connections are not faster here: going on with one")
                return


ENDED = "the connection ended early"


def _fill(stream: StoreResponse, view: memoryview) -> tuple[int, str | None]:
    """Read until a buffer is full or no longer fresh; say how much, and what broke."""
    began, count = time.monotonic(), 0
    try:
        while count < len(view):
            came = stream.read_into(view[count:])
            if came == 0:
                return count, ENDED
            count += came
            if time.monotonic() - began > MAX_BUFFER_AGE:
                break
    except CONNECTION_ERRORS as error:
        return count, error_reason(error)
    return count, None
