"""The seeds of fuzzing: valid inputs of each form, which the fuzzer mutates."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import tarfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"

BUILD: dict[str, Any] = {
    "id": "a" * 24,
    "status": "complete",
    "projectId": "p",
    "buildSettingId": "s",
    "platform": "Win64",
    "branch": "main",
    "durationMs": 5000,
    "createdAt": "2026-05-10T14:23:45.123Z",
    "triggeredBy": "push:abc",
    "changelist": 5,
    "logs": [{"timestamp": "2026-05-10T14:23:45.123Z", "level": "warn", "message": "x: Error: y"}],
}
ARTIFACT: dict[str, Any] = {
    "url": "https://x/y?sig=z",
    "expiresAt": "2026-05-10T14:23:45.123Z",
    "sizeBytes": 5,
}
REFUSAL: dict[str, Any] = {"error": "not_found", "message": "why", "requestId": "req_1"}
HEADERS = b"5\nWed, 21 Oct 2026 07:28:00 GMT\nreq_1\napplication/json\n"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _responses() -> list[bytes]:
    bodies: list[Any] = [
        BUILD,
        {"items": [BUILD], "nextCursor": "c"},
        {"user": {"id": "u"}},
        ARTIFACT,
    ]
    bodies += [{"buildId": "b"}, REFUSAL, [{"id": "s", "platform": "Win64"}], {"logs": "a b\nc d"}]
    prefixes = [bytes([call, status]) for call in range(9) for status in (0, 9, 12)]
    return [
        prefix + HEADERS + _json(body) for prefix in prefixes for body in bodies[:: len(prefix)]
    ]


def _webhooks() -> list[bytes]:
    data = {"build": {"id": "b", "status": "failed"}, "project": {"id": "p"}}
    body = _json({"type": "build.failed", "createdAt": "", "organizationId": "o", "data": data})
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    return [f"sha256={signature}\n".encode() + body, b"sha256=00\n{}"]


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mtime = kind, link, 5
    return entry


def _archive(*entries: tarfile.TarInfo, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=tar_format) as tar:
            for entry in entries:
                tar.addfile(entry)
        return file.getvalue()


def archives() -> list[bytes]:
    """Return tarballs in each format."""
    pax = _entry("p")
    pax.pax_headers = {"mtime": "1.5", "path": "q", "size": "0", "GNU.sparse.major": "1"}
    shared = (_entry("d", tarfile.DIRTYPE), _entry("d/f"), _entry("d/" + "x" * 120))
    links = (_entry("l", tarfile.SYMTYPE, "d/f"), _entry("h", tarfile.LNKTYPE, "d/f"))
    tar_formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
    return [
        *(_archive(*shared, *links, tar_format=tar_format) for tar_format in tar_formats),
        _archive(pax),
        b"",
    ]


EVENTS = [
    b'2["build:status",{"buildId":"b","status":"running"}]',
    b'2["build:log",{"buildId":"b","timestamp":"t","level":"info","message":"m"}]',
    b'0{"sid":"x"}',
    b"1",
    b'4{"message":"invalid_token"}',
    b'51-["a",{"_placeholder":true,"num":0}]',
]
LINES = [
    b"[2026-05-10T14:23:45.123Z] error: \x1b[31mbp_abcdefgh\x1b[0m https://u:p@h/x?sig=1",
    _json({"message": "m", "level": "fatal", "timestamp": 5}),
    b"LogCook: Error: Failed to cook /Game/Maps/Level3",
]
RANGE_RESPONSES = [
    b"ab" + b"bytes 5-9/100\n5\ne\n7\nidentity",
    b"\xffb" + b"bytes */100\n0\n\n\ngzip",
]


def seeds() -> dict[str, list[bytes]]:
    """Return the seeds of each target."""
    tars = archives()
    return {
        "response": _responses(),
        "range_response": RANGE_RESPONSES,
        "compressed_body": [b"\x00" + gzip.compress(_json(BUILD)), b"\x01{}", b"\x02x"],
        "event": EVENTS,
        "log": LINES,
        "webhook": _webhooks(),
        "stored_json": [path.read_bytes() for path in sorted(GOLDEN.rglob("*.json"))],
        "archive": tars,
        "unpack": [gzip.compress(tar) for tar in tars],
    }
