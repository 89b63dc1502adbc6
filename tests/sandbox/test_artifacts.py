"""Artifacts: where they are, what they are, who gets them, and how the download goes wrong."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_buildpixel.sandbox.tarball import Tarball

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
    """Return where the artifact is."""
    answer: dict[str, Any] = api.get(f"/builds/{build}/download")
    return answer


@pytest.fixture
def fetch(download: dict[str, Any]) -> Iterator[Callable[..., requests.Response]]:
    """Fetch the artifact without any token."""
    with requests.Session() as session:
        session.trust_env = False

        def get(url: str = download["url"], **headers: str) -> requests.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return session.get(url, headers=named, timeout=5)

        yield get


@pytest.fixture
def whole(fetch: Callable[..., requests.Response]) -> bytes:
    """Return the artifact."""
    return fetch().content


@pytest.mark.parametrize("size", [0, 3_000, 5_000, 262_144, 1_000_003, 3_333_333])
def test_tarball(size: int) -> None:
    """A tarball is a real one, of exactly the size asked for unless that is too small."""
    tarball = Tarball("0" * 24, size)
    content = b"".join(tarball.pieces())
    assert len(content) == tarball.size == max(size, 2588)
    assert hashlib.md5(content, usedforsecurity=False).digest() == tarball.md5
    with tarfile.open(fileobj=io.BytesIO(content), mode="r|gz") as archive:
        entries = {entry.name: entry.size for entry in archive}
    assert set(entries) == {"Game/Content/Paks/pakchunk0.pak", "Build.json"}
    assert content == b"".join(Tarball("0" * 24, size).pieces())


def test_any_piece() -> None:
    """Any span of a tarball is the same as that span of the whole."""
    tarball = Tarball("0" * 24, SIZE)
    content = b"".join(tarball.pieces())
    for start in (0, 1, 534, 535, 536, 262_700, 263_000, 525_000, SIZE - 1):
        assert b"".join(tarball.pieces(start, start + 1000)) == content[start : start + 1000]


def test_own_content() -> None:
    """Artifacts of two builds differ, and so do their parts."""
    one, other = (Tarball(each * 24, SIZE) for each in "ab")
    assert one.md5 != other.md5
    content = b"".join(one.pieces())
    middle = 262_144 + 5 * 5
    start = len(content) % middle
    assert content[start : start + middle] != content[start + middle : start + 2 * middle]


def test_huge_without_memory() -> None:
    """A tarball of a hundred gigabytes costs nothing until it is read."""
    tarball = Tarball("0" * 24, 100 * 2**30)
    assert tarball.size == 100 * 2**30
    assert len(next(tarball.pieces(50 * 2**30))) > 0


def test_download(download: dict[str, Any], sandbox: Sandbox, whole: bytes) -> None:
    """The artifact is on another origin, with the size and checksum promised."""
    assert set(download) == {"url", "expiresAt", "sizeBytes", "checksumMd5"}
    assert not download["url"].startswith(sandbox.url)
    assert ".tar.gz?" in download["url"]
    assert len(whole) == download["sizeBytes"] == SIZE
    assert hashlib.md5(whole, usedforsecurity=False).hexdigest() == download["checksumMd5"]


def test_build_inside(build: str, whole: bytes) -> None:
    """The artifact says of which build it is."""
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:gz") as archive:
        about = archive.extractfile("Build.json")
        assert about is not None
        assert build.encode() in about.read()


@pytest.mark.parametrize("value", ["Bearer bp_x", ""])
def test_no_token(fetch: Callable[..., requests.Response], value: str) -> None:
    """A request with any Authorization header is refused with 400."""
    assert fetch(Authorization=value).status_code == 400


def test_signature(download: dict[str, Any], fetch: Callable[..., requests.Response]) -> None:
    """An address that was tampered with is refused."""
    url = download["url"]
    for changed in (url[:-1] + "x", url.replace("Expires=1", "Expires=2"), url.partition("?")[0]):
        assert fetch(changed).status_code == 403


def test_expiry(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A signed address is good for a day of the sandbox's time."""
    sandbox.advance(86_300)
    assert fetch().status_code == 200
    sandbox.advance(200)
    assert fetch().status_code == 403


def test_retention(
    sandbox: Sandbox, api: Any, build: str, fetch: Callable[..., requests.Response]
) -> None:
    """What retention removed is neither signed nor served any more."""
    sandbox.remove_artifact(build)
    answer = api("GET", f"/builds/{build}/download")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert fetch().status_code == 404


@pytest.mark.parametrize(
    ("outcome", "size"), [("failed", 5000), ("complete", None), ("hangs", 5000)]
)
def test_no_artifact(sandbox: Sandbox, api: Any, outcome: str, size: int | None) -> None:
    """A build that made no artifact has none to download."""
    sandbox.plan(outcome=outcome, artifact_bytes=size)
    build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    sandbox.advance(100)
    assert api("GET", f"/builds/{build_id}/download").status_code == 404


def test_viewer_downloads(sandbox: Sandbox, build: str, make_api: Callable[..., Any]) -> None:
    """A viewer may download."""
    assert make_api(sandbox, sandbox.viewer_token).get(f"/builds/{build}/download")["url"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
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
    fetch: Callable[..., requests.Response], whole: bytes, asked: str, start: int, stop: int
) -> None:
    """A range is answered with 206, exactly its bytes, and where they belong."""
    answer = fetch(Range=asked)
    assert answer.status_code == 206
    assert answer.content == whole[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "chars=0-1", "bytes=-", "bytes=9-2", "x"])
def test_no_range(fetch: Callable[..., requests.Response], asked: str) -> None:
    """What is no single range is answered with the whole."""
    answer = fetch(Range=asked)
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0"])
def test_beyond(fetch: Callable[..., requests.Response], asked: str) -> None:
    """A range beyond the end is answered with 416 and the true size."""
    answer = fetch(Range=asked)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


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
    """A download breaks off, or stalls and then breaks off; a second one succeeds."""
    sandbox.fault(name, times=1, **params)
    with pytest.raises(requests.RequestException):
        fetch()
    assert len(fetch().content) == SIZE


def test_resumed(sandbox: Sandbox, download: dict[str, Any], whole: bytes) -> None:
    """What came before the break is right, and the rest can be asked for."""
    sandbox.fault("artifact-breaks", times=1, at=300_000)
    with requests.get(download["url"], stream=True, timeout=5) as answer:
        got = answer.raw.read(300_000)
    with requests.get(download["url"], headers={"Range": "bytes=300000-"}, timeout=5) as rest:
        assert got + rest.content == whole


def test_slow(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A download can be slow."""
    sandbox.fault("artifact-slow", times=1, rate=2_000_000)
    started = time.monotonic()
    assert len(fetch().content) == SIZE
    assert 0.3 < time.monotonic() - started < 2


def test_ignored_range(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """A range is ignored: 200 and the whole."""
    sandbox.fault("artifact-ignores-range")
    answer = fetch(Range="bytes=100-")
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


def test_wrong_range(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes
) -> None:
    """Another range than that asked for is sent, and said so."""
    sandbox.fault("artifact-wrong-range", shift=5, times=1)
    answer = fetch(Range="bytes=100-199")
    assert answer.headers["Content-Range"] == f"bytes 105-204/{SIZE}"
    assert answer.content == whole[105:205]


@pytest.mark.parametrize("at", [0, 5000, 262_200, SIZE - 1])
def test_corrupt(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes, at: int
) -> None:
    """One byte is wrong, and nothing else."""
    sandbox.fault("artifact-corrupt", at=at, times=1)
    wrong = fetch().content
    assert [n for n in range(SIZE) if wrong[n] != whole[n]] == [at]


def test_short(sandbox: Sandbox, fetch: Callable[..., requests.Response], whole: bytes) -> None:
    """An answer in good order lacks its end."""
    sandbox.fault("artifact-short", by=10, times=1)
    assert fetch().content == whole[:-10]


@pytest.mark.parametrize(
    ("name", "status"), [("artifact-expired", 403), ("artifact-gone", 404), ("500", 500)]
)
def test_refused(
    sandbox: Sandbox, fetch: Callable[..., requests.Response], name: str, status: int
) -> None:
    """The store refuses for reasons of its own, once."""
    sandbox.fault(name, "GET artifact", times=1)
    assert [fetch().status_code, fetch().status_code] == [status, 200]


def test_reset(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """The store resets the connection when its route is named, and not for faults of the API."""
    sandbox.fault("500")
    assert fetch().status_code == 200
    sandbox.fault("reset", "GET artifact", times=1)
    with pytest.raises(requests.ConnectionError):
        fetch()


def test_noted(sandbox: Sandbox, fetch: Callable[..., requests.Response]) -> None:
    """Requests to the store are noted with their route."""
    fetch(Range="bytes=0-1")
    (request,) = sandbox.requests_to("GET artifact")
    assert (request.status, request.headers["range"]) == (206, "bytes=0-1")
