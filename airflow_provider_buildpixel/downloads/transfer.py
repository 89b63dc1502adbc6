"""Transfers a file: one loop that resumes after failures until the file is complete."""

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
from airflow_provider_buildpixel.downloads.artifacts import (
    Downloaded,
    ExpectedArtifact,
    checked_artifact_url,
)
from airflow_provider_buildpixel.downloads.buffers import MIN_BUFFERS, BufferPool
from airflow_provider_buildpixel.downloads.http_range import (
    FileInfo,
    NoBytes,
    RangeRequest,
    ResponseMeaning,
    classify_response,
)
from airflow_provider_buildpixel.downloads.parallel import ParallelDownload, PartError
from airflow_provider_buildpixel.downloads.store import (
    CONNECTION_ERRORS,
    ENDED_EARLY,
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
    from airflow_provider_buildpixel.downloads.http_range import RangeBody
    from airflow_provider_buildpixel.downloads.job import DownloadJob
    from airflow_provider_buildpixel.downloads.store import StoreResponse


CHUNK = 2 * MIB
"""Bytes submitted at a time: more would save little, and use more memory."""

MAX_PAUSE = 300.0
"""Longest pause before a retry, in seconds, even if the store asks for a longer one."""


class ArtifactChangedError(Exception):
    """The file is no longer the one that the download began with."""


class Transfer:
    """The transfer of one file; only a changed file or a permanent failure ends it early."""

    def __init__(self, job: DownloadJob, expected: ExpectedArtifact, url: str) -> None:
        self._job, self._expected = job, expected
        self._url = checked_artifact_url(url, job.settings.base_url)
        self._destination, self._report = job.destination, job.report
        self._cancel_token = job.cancel_token
        self._digest = hashlib.md5(usedforsecurity=False)
        self._file = FileInfo(expected.size)
        self._retry_budget = RetryBudget()
        self._done = 0  # bytes of the file that were hashed or submitted
        self._use_ranges = True
        self._progress_saved = self._complete = False

    def run(self) -> Downloaded:
        """Download the file, verify it, and commit it at the destination."""
        try:
            self._resume()
            self._download()
            return self._verify_and_commit()
        except (ArtifactChangedError, ChecksumMismatch):
            self._destination.discard()
            raise

    def _resume(self) -> None:
        """Hash what an earlier try has stored: the state of a hash cannot be stored."""
        self._done = self._destination.open(self._expected)
        if self._done:
            self._file = FileInfo(self._expected.size, self._destination.etag)
            self._report(f"Resuming at {size_text(self._done)}, which an earlier try downloaded")
        if self._done and self._job.verify:
            for view in self._destination.read_partial():
                self._cancel_token.raise_if_cancelled()
                self._digest.update(view)

    def _download(self) -> None:
        now, job = time.monotonic(), self._job
        self._progress = TransferProgress(self._file.size, now, self._done)
        self._probe = ConnectionProbe(job.connections, now, self._done, job.probe_seconds)
        buffers = max(MIN_BUFFERS, job.connections + 2)
        with ExitStack() as stack:
            self._store = stack.enter_context(closing(self._new_store()))
            self._pool = stack.enter_context(BufferPool(self._consumers(), buffers))
            stack.enter_context(self._cancel_token.on_cancel(self._pool.wake))
            stack.enter_context(self._cancel_token.on_cancel(self._store.interrupt))
            while not self._is_finished():
                self._request_rest()
            self._pool.finish()

    def _new_store(self) -> ArtifactStore:
        return ArtifactStore(self._job.settings, self._job.stall_window)

    def _new_stall_detector(self) -> StallDetector:
        return StallDetector(self._job.min_rate, self._job.stall_window)

    def _consumers(self) -> list[Callable[[Iterator[memoryview]], None]]:
        return [self._destination.write, *([self._hash] if self._job.verify else [])]

    def _hash(self, views: Iterator[memoryview]) -> None:
        for view in views:
            self._digest.update(view)

    def _is_finished(self) -> bool:
        return self._complete or self._file.size == self._done

    def _remaining_bytes(self) -> int | None:
        return None if self._file.size is None else self._file.size - self._done

    def _verify_and_commit(self) -> Downloaded:
        md5 = self._digest.hexdigest() if self._job.verify else None
        for error in (self._expected.size_error(self._done), self._expected.md5_error(md5)):
            if error is not None:
                raise error
        self._destination.commit()
        self._report(self._progress.final_line(time.monotonic(), self._done))
        return Downloaded(self._destination.name, self._done, md5)

    def _request_rest(self) -> None:
        """Request everything from the first missing byte on, and receive what comes."""
        self._cancel_token.raise_if_cancelled()
        use_range = self._use_ranges
        request = RangeRequest(self._done if use_range else 0, use_range=use_range)
        try:
            response = self._store.open(self._url, request)
        except CONNECTION_ERRORS as error:
            self._pause_before_retry(error_reason(error))
            return
        try_parallel = False
        with closing(response):
            body = self._handle_response(response, request)
            if body is not None:
                try_parallel = self._receive(response, body)
        if try_parallel:
            self._download_in_parallel()

    def _handle_response(self, response: StoreResponse, request: RangeRequest) -> RangeBody | None:
        """Handle the head of a response; return its body if one is to be received."""
        answer = classify_response(response.status, response.headers, request, self._file)
        if isinstance(answer, NoBytes):
            self._handle_no_bytes(answer, response.status)
            return None
        self._update_file_info(answer)
        return answer

    def _handle_no_bytes(self, answer: NoBytes, status: int) -> None:
        """Prepare the next request, or raise if there can be none."""
        match answer.meaning:
            case ResponseMeaning.FILE_COMPLETE:
                self._complete = True
            case ResponseMeaning.URL_EXPIRED:
                self._refresh_url(status)
            case ResponseMeaning.RETRY_LATER:
                self._pause_before_retry(answer.reason, answer.retry_after or 0.0)
            case ResponseMeaning.BAD_RANGE:
                self._use_ranges = False
                self._pause_before_retry(f"the store answered with a wrong range ({answer.reason})")
            case ResponseMeaning.FILE_CHANGED:
                raise ArtifactChangedError(answer.reason)
            case ResponseMeaning.WRONG_SIZE:
                size_error = self._expected.size_error(answer.size)
                raise size_error or ArtifactChangedError("its size is different")
            case ResponseMeaning.FILE_GONE:
                raise ArtifactUnavailable("the store does not have it", status_code=status)
            case ResponseMeaning.REFUSED:
                raise UnexpectedAnswer("the store refuses the download", status_code=status)

    def _update_file_info(self, body: RangeBody) -> None:
        before, self._file = self._file, self._file.updated_from(body)
        if before.size is None and self._file.size is not None:
            self._progress.total = self._file.size
            self._destination.check_free_space(self._file.size - self._done)
        if not self._progress_saved or before.etag != self._file.etag:
            self._progress_saved = True
            self._destination.save_progress(self._expected, self._file.etag)

    def _refresh_url(self, status: int) -> None:
        if not self._retry_budget.may_refresh_url():
            raise UnexpectedAnswer("the store refuses fresh signed URLs", status_code=status)
        self._report(f"The store refused the signed URL (HTTP {status}): requesting a fresh one")
        artifact = self._job.get_artifact()
        if ExpectedArtifact.from_artifact(self._expected.build_id, artifact) != self._expected:
            raise ArtifactChangedError("BuildPixel announces a different one")
        self._url = checked_artifact_url(artifact.url, self._job.settings.base_url)

    def _pause_before_retry(self, reason: str, retry_after: float = 0.0) -> None:
        """Wait before the next try.

        :raises Unreachable: there were too many failures.
        """
        self._cancel_token.raise_if_cancelled()
        pause = self._retry_budget.pause_after_failure(self._job.jitter())
        if pause is None:
            raise Unreachable(
                f"the download of {self._destination.name} was interrupted too often, the last "
                f"time at {size_text(self._done)}: {reason}"
            )
        pause = max(pause, min(retry_after, MAX_PAUSE))
        at = size_text(self._done)
        self._report(f"Download interrupted: {reason}. Resuming at {at} in {pause:.1f} s")
        self._cancel_token.sleep(pause)

    def _receive(self, response: StoreResponse, body: RangeBody) -> bool:
        """Submit what a response delivers; return whether to try several connections."""
        response.limit(body.length)
        skip = self._done - body.start
        stall_detector = self._new_stall_detector()
        while not self._is_finished():
            self._cancel_token.raise_if_cancelled()
            buffer = self._acquire_buffer()
            view = buffer.memory[: self._next_read_size(skip)]
            started_at = time.monotonic()
            count, failure = response.read_available(view)
            waited = time.monotonic() - started_at
            self._submit(buffer, 0 if skip else count)
            skip -= min(skip, count)
            if failure is not None or stall_detector.is_stalled_after(count, waited):
                self._handle_end(body, failure or "the connection has become too slow")
                break
            now, remaining = started_at + waited, self._remaining_bytes()
            if self._probe.should_try_parallel(now, self._done, waited, remaining):
                return body.supports_ranges
        return False

    def _next_read_size(self, skip: int) -> int:
        """Return how many bytes to read next: never beyond the announced size."""
        remaining = self._remaining_bytes()
        return min(CHUNK, skip or CHUNK, CHUNK if remaining is None else remaining + skip)

    def _handle_end(self, body: RangeBody, failure: str) -> None:
        """Distinguish the end of the file from an interruption."""
        if failure == ENDED_EARLY and self._file.size is None:
            # Without a known size, the end of a full response is the end of the file; after a
            # range, a 416 to the next request confirms it.
            self._complete = not body.supports_ranges
        elif not self._is_finished():
            self._pause_before_retry(failure)

    def _acquire_buffer(self) -> Buffer:
        while (buffer := self._pool.acquire()) is None:
            self._cancel_token.raise_if_cancelled()
        return buffer

    def _submit(self, buffer: Buffer, count: int) -> None:
        self._pool.submit(buffer, count)
        self._done += count
        self._retry_budget.add_progress(count)
        if line := self._progress.line_if_due(time.monotonic(), self._done):
            self._report(line)

    def _download_in_parallel(self) -> None:
        """Continue over several connections for as long as that is faster."""
        self._report(f"Trying {self._probe.connections} connections at once")
        parallel = ParallelDownload(
            self._new_store,
            self._url,
            (self._done, self._file.size or self._done),
            self._file,
            self._pool,
            self._probe.connections,
            self._new_stall_detector,
        )
        with parallel, self._cancel_token.on_cancel(parallel.interrupt):
            try:
                self._receive_blocks(parallel)
            except PartError as error:
                self._probe.on_parallel_failure()
                self._report(f"A parallel connection failed: {error}. Continuing with one")
        self._cancel_token.raise_if_cancelled()
        self._probe.restart(time.monotonic(), self._done)

    def _receive_blocks(self, parallel: ParallelDownload) -> None:
        for number, (buffer, count) in enumerate(parallel.iter_blocks(), 1):
            self._submit(buffer, count)
            if not self._probe.should_stay_parallel(time.monotonic(), self._done, number):
                self._report("Several connections are not faster here: continuing with one")
                return
