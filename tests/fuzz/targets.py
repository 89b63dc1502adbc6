"""Every decoder as a function of bytes: anything but a value or a declared error is a bug."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import tempfile
import unicodedata
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import endpoints, paging
from airflow_provider_buildpixel.api.endpoints import Page
from airflow_provider_buildpixel.api.http_messages import MAX_BODY, BodyReader, Reply, decode
from airflow_provider_buildpixel.api.model import Artifact, Build, Identity
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.api.text import redact, safe_text, storable
from airflow_provider_buildpixel.asset_events import cursor, webhook
from airflow_provider_buildpixel.builds.logs import MAX_MESSAGE, LogLine, LogTail
from airflow_provider_buildpixel.builds.lookup import find_project, find_setting, parse_selector
from airflow_provider_buildpixel.builds.outcome import outcome_of
from airflow_provider_buildpixel.builds.record import DispatchRecord, builds_of_requests
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.channel import events
from airflow_provider_buildpixel.channel.socketio_options import BoundedPacket, ConnectResult
from airflow_provider_buildpixel.downloads import http_range
from airflow_provider_buildpixel.downloads.artifacts import (
    ExpectedArtifact,
    PartialDownload,
    checked_artifact_url,
)
from airflow_provider_buildpixel.downloads.destinations.archive import ExtractedDirectory
from airflow_provider_buildpixel.downloads.http_range import (
    FileInfo,
    RangeRequest,
    classify_response,
)
from airflow_provider_buildpixel.exceptions import BuildPixelError
from airflow_provider_buildpixel.waits.reporter import WaitReporter
from airflow_provider_buildpixel.waits.rows import list_rows
from airflow_provider_buildpixel.waits.tracker import BuildTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CALLS: list[endpoints.Call[Any]] = [
    endpoints.get_build("b"),
    endpoints.list_builds(),
    endpoints.get_identity(),
    endpoints.list_projects(),
    endpoints.list_build_settings("p"),
    endpoints.trigger_build("p", "s"),
    endpoints.get_artifact("b"),
    endpoints.update_project("p", {}),
    list_rows("running"),
]
HEADERS = ("retry-after", "date", "x-request-id", "content-type")
RANGE_HEADERS = ("content-range", "content-length", "etag", "retry-after", "content-encoding")
STATUSES = (200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 416, 429, 500, 503, 599)
CONTROL_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
BIDI_CONTROLS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
NOW = 1_790_000_000.0


def check_printable(text: str) -> None:
    """Check that a text is safe to print in a terminal."""
    bad = [
        char
        for char in text
        if unicodedata.category(char) in CONTROL_CATEGORIES and char not in "\t\n"
    ]
    bad += [char for char in text if unicodedata.bidirectional(char) in BIDI_CONTROLS]
    assert not bad, repr(text)


def _split_headers(data: bytes, names: Iterable[str]) -> tuple[dict[str, str], bytes]:
    """Return the first lines as the values of these headers, and the rest as the body."""
    *lines, body = [*data.split(b"\n", len(tuple(names))), b""][: len(tuple(names)) + 1]
    return dict(zip(names, (line.decode("latin-1") for line in lines), strict=False)), body


def response(data: bytes) -> None:
    """Decode a response of the API, and use its value as the provider does."""
    if len(data) < 2:
        return
    call, status = CALLS[data[0] % len(CALLS)], STATUSES[data[1] % len(STATUSES)]
    headers, body = _split_headers(data[2:], HEADERS)
    reply = Reply(status, headers, body, NOW)
    offset = (reply.server_time or NOW) - NOW
    try:
        value = decode(call, reply)
    except BuildPixelError as error:
        check_printable(str(error))
        pause = Retries().pause(error, call, 0, 0.0, 0.5)
        assert pause is None or 0 <= pause <= Retries().budget
        return
    use_value(value, NOW + offset)


def use_value(value: Any, wall: float) -> None:
    """Use a value as the provider does."""
    match value:
        case Build():
            _use_build(value, wall)
        case Page():
            _use_page(value)
        case Artifact():
            ExpectedArtifact.from_artifact("b", value).unchecked_message(verify=True)
            assert value.url not in repr(value) or len(value.url) < 20
            with suppress(BuildPixelError):
                assert (
                    checked_artifact_url(value.url, "https://x")
                    .strip()
                    .lower()
                    .startswith("https:")
                )
        case Identity():
            assert value.can_trigger in {True, False}


def _use_build(build: Build, wall: float) -> None:
    check_printable(build.title)
    facts = json.dumps(build.facts("u"))
    assert "\\u0000" not in facts
    assert len(facts) < 20_000 * 6
    reporter = WaitReporter(0.0, resumed=len(build.id) % 2 == 0)
    for record in [*reporter.on_read(build, 1.0, wall), *reporter.on_read(build, 700.0, wall)]:
        check_printable(record.text)
    tracker = BuildTracker(0.0)
    tracker.on_read(build, 1.0)
    tracker.next_action(2.0)
    outcome_of(build, "follow")
    wanted = BuildFilter("p", _setting().id, branch="main", commit="abc", changelist="1")
    for loosely in (False, True):
        wanted.compare(build, loosely=loosely)
    window = RequestWindow.of_request(NOW, 60.0, 2.0, [build])
    builds_of_requests([build], DispatchRecord(wanted, window=window), {})
    webhook.rejection(build, datetime.now(UTC))
    webhook.reports_build(build.raw, build)
    cursor.Cursor().with_tracked([build], cursor.Watched(BuildFilter("p"))).to_json()
    path = Path("/there") / f"{build.id}.tar.gz"
    assert path.parent == Path("/there")
    assert ".." not in path.parts


def _setting() -> Any:
    return decode(endpoints.get_build_setting("p", "s"), Reply(200, {}, b'{"id": "s"}'))


def _use_page(page: Page[Any]) -> None:
    pager = paging.Pager(endpoints.list_builds())
    pager.take_page(page)
    titled = [item for item in page.items if hasattr(item, "title")]
    for item in titled:
        check_printable(item.title)
    with suppress(BuildPixelError):
        find_project("x", [item for item in titled if hasattr(item, "repo_link")])
    with suppress(BuildPixelError):
        settings = [item for item in titled if hasattr(item, "uproject_path")]
        find_setting({"platform": "Win64"}, settings)


def range_response(data: bytes) -> None:
    """Classify the headers of a response of the artifact store."""
    headers, _ = _split_headers(data[2:], RANGE_HEADERS)
    request, file = RangeRequest(5, 10), FileInfo(100 if data[:1] > b"\x80" else None, "e")
    status = STATUSES[data[1] % len(STATUSES)] if len(data) > 1 else 206
    for code in (status, 200, 206, 416, 429):
        result = classify_response(code, headers, request, file)
        if isinstance(result, http_range.RangeBody):
            assert result.start in {0, request.start}
            assert result.length is None or result.length >= 0


def compressed_body(data: bytes) -> None:
    """Decompress the body of a response."""
    encoding = ["gzip", "identity", "br", None][data[0] % 4] if data else None
    try:
        body = BodyReader(encoding)
        for at in range(1, len(data), 50):
            body.add(data[at : at + 50])
    except BuildPixelError as error:
        check_printable(str(error))
    except zlib.error:
        return
    else:
        assert len(body.content()) <= MAX_BODY


def event(data: bytes) -> None:
    """Decode a Socket.IO packet, and handle its event."""
    text = data.decode(errors="surrogateescape")
    if not text:
        return
    result: Any = BoundedPacket(encoded_packet=text)
    assert result.attachment_count == 0
    assert result.namespace is None
    if result.packet_type == 4:
        outcome = ConnectResult()
        payload = result.data if isinstance(result.data, list) else [result.data]
        outcome.connect_error(*payload)
        check_printable(outcome.failure(OSError()))
    elif isinstance(result.data, list):
        _handle_events(result.data[1:])


def _handle_events(payload: list[Any]) -> None:
    reporter, tracker = WaitReporter(0.0), BuildTracker(0.0)
    events.is_info_line(*payload)
    for event in (events.parse_status(*payload), events.parse_log(*payload)):
        if event is not None:
            tracker.on_event(event, 1.0)
            for record in reporter.on_event(event, 1.0):
                check_printable(record.text)


def log(data: bytes) -> None:
    """Parse a log line in each of its forms."""
    text = data.decode(errors="replace")
    with suppress(ValueError, RecursionError):
        if line := LogLine.from_json(json.loads(text)):
            _use_line(line)
    line = LogLine.from_json(text)
    assert line is not None
    _use_line(line)
    _use_line(LogLine(text[:MAX_MESSAGE]))
    check_printable(safe_text(text))
    assert redact(redact(text)) == redact(text)
    assert "\x00" not in storable(text)


def _use_line(line: LogLine) -> None:
    check_printable(line.display_text)
    assert len(line.display_text) < 4_500
    assert len(line.message) <= MAX_MESSAGE
    assert line.level in {"info", "warn", "error"}
    tail = LogTail(5)
    assert tail.add_live(line)
    assert tail.add_recent([line]) == []


def webhook_delivery(data: bytes) -> None:
    """Verify and parse a webhook delivery: signature and body."""
    signature, _, body = data.partition(b"\n")
    signature_header = signature.decode("latin-1")
    expected = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    is_valid = webhook.verify_signature(body, signature_header, ["secret"])
    assert is_valid == (signature_header.strip().lower() == f"sha256={expected}")
    webhook.is_too_long(signature_header)
    webhook.is_json(signature_header)
    try:
        delivery = webhook.Delivery.from_body(body)
    except BuildPixelError as error:
        check_printable(str(error))
    else:
        assert not delivery.reports_end or delivery.build_id


def stored_json(data: bytes) -> None:
    """Parse JSON that earlier versions or other programs may have stored."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    for read in (
        DispatchRecord.from_json,
        cursor.Cursor.from_json,
        PartialDownload.from_json,
        BuildFilter.from_json,
    ):
        result: Any = read(value)
        if result is not None:
            assert read(json.loads(json.dumps(result.to_json()))) == result
    with suppress(BuildPixelError):
        assert BuildFilter.of_query(value).title
    with suppress(BuildPixelError):
        parse_selector(value)


def archive(data: bytes) -> None:
    """Extract a tarball that is compressed here: gzip's checksum would reject most inputs."""
    unpack(gzip.compress(data, 1))


def unpack(compressed_body: bytes) -> None:
    """Extract into a directory; no file outside it may change."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder) / "outside"
        outside.write_text("untouched")
        target = Path(folder) / "deep" / "target"
        directory = ExtractedDirectory(target, max_expansion=2.0, checksum_decides=False)
        directory.open(ExpectedArtifact("b", len(compressed_body), "0" * 32))
        try:
            directory.write(iter([memoryview(compressed_body)]))
            directory.commit()
        except BuildPixelError as error:
            check_printable(str(error))
        finally:
            directory.close()
        assert outside.read_text() == "untouched"
        assert {path.name for path in Path(folder).iterdir()} == {"outside", "deep"}
        assert {path.name for path in (Path(folder) / "deep").iterdir()} <= {"target"}
        for path in target.rglob("*"):
            assert path.parent.resolve().is_relative_to(target.resolve())


TARGETS: dict[str, Callable[[bytes], None]] = {
    "response": response,
    "range_response": range_response,
    "compressed_body": compressed_body,
    "event": event,
    "log": log,
    "webhook": webhook_delivery,
    "stored_json": stored_json,
    "archive": archive,
    "unpack": unpack,
}
