"""Artifacts: their URLs and content, access to them, and faults of the download."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_buildpixel.sandbox.artifacts.tarball import Tarball

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

SIZE = 700_000


@pytest.fixture
def build(sandbox: Sandbox) -> str:
    """Return the id of a build with an artifact."""
    sandbox.plan(queue=0, run=0, artifact_bytes=SIZE)
    build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    sandbox.advance(1)
    return build_id


@pytest.fixture
def download(api: Any, build: str) -> dict[str, Any]:
    """Return the body of the download endpoint."""
    body: dict[str, Any] = api.get(f"/builds/{build}/download")
    return body


@pytest.fixture
def fetch(download: dict[str, Any]) -> Iterator[Callable[..., requests.Response]]:
    """Download the artifact without a token."""
    with requests.Session() as session:
        session.trust_env = False

        def get(url: str = download["url"], **headers: str) -> requests.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return session.get(url, headers=named, timeout=5)

        yield get


@pytest.fixture
def whole(fetch: Callable[..., requests.Response]) -> bytes:
    """Return the whole artifact."""
    return fetch().content


@pytest.mark.parametrize("size", [0, 3_000, 5_000, 262_144, 1_000_003, 3_333_333])
def test_tarball(size: int) -> None:
    """A tarball is valid, and has exactly the requested size unless that is too small."""
    tarball = Tarball("0" * 24, size)
    content = b"".join(tarball.chunks())
    assert len(content) == tarball.size == max(size, 2588)
    assert hashlib.md5(content, usedforsecurity=False).digest() == tarball.md5
    with tarfile.open(fileobj=io.BytesIO(content), mode="r|gz") as archive:
        entries = {entry.name: entry.size for entry in archive}
    assert set(entries) == {"Game/Content/Paks/pakchunk0.pak", "Build.json"}
    assert content == b"".join(Tarball("0" * 24, size).chunks())


def test_any_range() -> None:
    """Any range of a tarball equals that range of the whole tarball."""
    tarball = Tarball("0" * 24, SIZE)
    content = b"".join(tarball.chunks())
    for start in (0, 1, 534, 535, 536, 262_700, 263_000, 525_000, SIZE - 1):
        assert b"".join(tarball.chunks(start, start + 1000)) == content[start : start + 1000]


def test_own_content() -> None:
    """Artifacts of two builds differ, and so do their parts."""
    one, other = (Tarball(each * 24, SIZE) for each in "ab")
    assert one.md5 != other.md5
    content = b"".join(one.chunks())
    block = 262_144 + 5 * 5
    start = len(content) % block
    assert content[start : start + block] != content[start + block : start + 2 * block]


def test_huge_without_memory() -> None:
    """A tarball of a hundred gigabytes needs no memory or time until it is read."""
    tarball = Tarball("0" * 24, 100 * 2**30)
    assert tarball.size == 100 * 2**30
    assert len(next(tarball.chunks(50 * 2**30))) > 0


def test_download(download: dict[str, Any], sandbox: Sandbox, whole: bytes) -> None:
    """The artifact is on another origin, and has the size and checksum of the response."""
    assert set(download) == {"url", "expiresAt", "sizeBytes", "checksumMd5"}
    assert not download["url"].startswith(sandbox.url)
    assert ".tar.gz?" in download["url"]
    assert len(whole) == download["sizeBytes"] == SIZE
    assert hashlib.md5(whole, usedforsecurity=False).hexdigest() == download["checksumMd5"]


def test_build_id_in_the_artifact(build: str, whole: bytes) -> None:
    """The artifact contains the id of its build."""
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:gz") as archive:
        build_file = archive.extractfile("Build.json")
        assert build_file is not None
        assert build.encode() in build_file.read()


@pytest.mark.parametrize("value", ["Bearer bp_x", ""])
def test_no_token(fetch: Callable[..., requests.Response], value: str) -> None:
    """A request with any Authorization header is rejected with 400."""
    assert fetch(Authorization=value).status_code == 400


def test_signature(download: dict[str, Any], fetch: Callable[..., requests.Response]) -> None:
    """A URL that was modified is rejected."""
    url = download["url"]
    for changed in (url[:-1] + "x", url.replace("Expires=1", "Expires=2"), url.partition("?")[0]):
        assert fetch(changed).status_code == 403


def test_expiry(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A signed URL is valid for one day of sandbox time."""
    sandbox.advance(86_300)
    assert fetch().status_code == 200
    sandbox.advance(200)
    assert fetch().status_code == 403


def test_retention(
    sandbox: Sandbox, api: Any, build: str, fetch: Callable[..., requests.Response]
) -> None:
    """An artifact that retention removed has no URL and is not served."""
    sandbox.remove_artifact(build)
    response = api("GET", f"/builds/{build}/download")
    assert (response.status_code, response.json()["error"]) == (404, "not_found")
    assert fetch().status_code == 404


@pytest.mark.parametrize(
    ("outcome", "size"), [("failed", 5000), ("complete", None), ("hangs", 5000)]
)
def test_no_artifact(sandbox: Sandbox, api: Any, outcome: str, size: int | None) -> None:
    """A build without an artifact has nothing to download."""
    sandbox.plan(outcome=outcome, artifact_bytes=size)
    build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    sandbox.advance(100)
    assert api("GET", f"/builds/{build_id}/download").status_code == 404


def test_viewer_downloads(sandbox: Sandbox, build: str, make_api: Callable[..., Any]) -> None:
    """A viewer can download."""
    assert make_api(sandbox, sandbox.viewer_token).get(f"/builds/{build}/download")["url"]


@pytest.mark.parametrize(
    ("requested", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=5-99999999", 5, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=-99999999", 0, SIZE),
    ],
)
def test_range(
    fetch: Callable[..., requests.Response], whole: bytes, requested: str, start: int, stop: int
) -> None:
    """A range request results in 206 with exactly these bytes and their position."""
    response = fetch(Range=requested)
    assert response.status_code == 206
    assert response.content == whole[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize("requested", ["bytes=0-1,5-6", "chars=0-1", "bytes=-", "bytes=9-2", "x"])
def test_unsupported_range(fetch: Callable[..., requests.Response], requested: str) -> None:
    """A header that is not a single range results in the whole artifact."""
    response = fetch(Range=requested)
    assert (response.status_code, len(response.content)) == (200, SIZE)


@pytest.mark.parametrize("requested", [f"bytes={SIZE}-", "bytes=-0"])
def test_range_beyond_the_end(fetch: Callable[..., requests.Response], requested: str) -> None:
    """A range beyond the end results in 416 with the size."""
    response = fetch(Range=requested)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"


def test_conditions(fetch: Callable[..., requests.Response]) -> None:
    """The ETag works with If-Range, If-None-Match and If-Match, Last-Modified with If-Range."""
    first = fetch()
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    assert fetch(Range="bytes=0-1", If_Range=etag).status_code == 206
    assert fetch(Range="bytes=0-1", If_Range=modified).status_code == 206
    assert fetch(Range="bytes=0-1", If_Range='"other"').status_code == 200
    assert fetch(If_None_Match=etag).status_code == 304
    assert fetch(If_Match='"other"').status_code == 412


@pytest.mark.parametrize(
    ("name", "params"), [("artifact-breaks", {"at": 300_000}), ("artifact-stalls", {"hold": 0.1})]
)
def test_interrupted(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], name: str, params: dict[str, Any]
) -> None:
    """A download is interrupted, at once or after a stall; a second one succeeds."""
    sandbox.fault(name, times=1, **params)
    with pytest.raises(requests.RequestException):
        fetch()
    assert len(fetch().content) == SIZE


def test_resumed(sandbox: Sandbox, download: dict[str, Any], whole: bytes) -> None:
    """The bytes before the interruption are correct, and the rest can be requested."""
    sandbox.fault("artifact-breaks", times=1, at=300_000)
    with requests.get(download["url"], stream=True, timeout=5) as response:
        first = response.raw.read(300_000)
    with requests.get(download["url"], headers={"Range": "bytes=300000-"}, timeout=5) as rest:
        assert first + rest.content == whole


def test_slow(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A download has the rate of the fault."""
    sandbox.fault("artifact-slow", times=1, rate=2_000_000)
    started = time.monotonic()
    assert len(fetch().content) == SIZE
    assert 0.3 < time.monotonic() - started < 2


def test_ignored_range(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A range is ignored: 200 with the whole artifact."""
    sandbox.fault("artifact-ignores-range")
    response = fetch(Range="bytes=100-")
    assert (response.status_code, len(response.content)) == (200, SIZE)


def test_wrong_range(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes
) -> None:
    """A different range is sent, with the matching Content-Range."""
    sandbox.fault("artifact-wrong-range", shift=5, times=1)
    response = fetch(Range="bytes=100-199")
    assert response.headers["Content-Range"] == f"bytes 105-204/{SIZE}"
    assert response.content == whole[105:205]


@pytest.mark.parametrize("at", [0, 5000, 262_200, SIZE - 1])
def test_corrupt(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes, at: int
) -> None:
    """Exactly one byte is wrong."""
    sandbox.fault("artifact-corrupt", at=at, times=1)
    wrong = fetch().content
    assert [n for n in range(SIZE) if wrong[n] != whole[n]] == [at]


def test_short(sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes) -> None:
    """A valid response lacks its last bytes."""
    sandbox.fault("artifact-short", by=10, times=1)
    assert fetch().content == whole[:-10]


@pytest.mark.parametrize(
    ("name", "status"), [("artifact-expired", 403), ("artifact-gone", 404), ("500", 500)]
)
def test_refused(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], name: str, status: int
) -> None:
    """The store responds with an error once."""
    sandbox.fault(name, "GET artifact", times=1)
    assert [fetch().status_code, fetch().status_code] == [status, 200]


def test_reset(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """HTTP faults apply to the store only if its route is given."""
    sandbox.fault("500")
    assert fetch().status_code == 200
    sandbox.fault("reset", "GET artifact", times=1)
    with pytest.raises(requests.ConnectionError):
        fetch()


def test_log(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """Requests to the store are logged with their route."""
    fetch(Range="bytes=0-1")
    (request,) = sandbox.requests_to("GET artifact")
    assert (request.status, request.headers["range"]) == (206, "bytes=0-1")
