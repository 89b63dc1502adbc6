"""Downloads into object stores: S3, run by moto and used by Airflow's provider, and others."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_buildpixel.api.text import MIB
from airflow_provider_buildpixel.downloads.cancel import CancelToken, DownloadCancelledError
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    ChecksumMismatch,
    InvalidRequest,
)
from airflow_provider_buildpixel.hooks.downloads import parse_destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.downloads.integration.stores import FakeStore

pytest.importorskip("s3fs")
boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries used
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # s3fs does not close its session
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # as above
]
ROUTE = "GET artifact"
CONN = "AIRFLOW_CONN_BUCKETS"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Run an S3 server with a bucket, as the Airflow connection ``buckets``."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    os.environ[CONN] = json.dumps(
        {"conn_type": "aws", "login": "made", "password": "up", "extra": extra}
    )
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="made",
        aws_secret_access_key="up",
    )
    client.create_bucket(Bucket="games")
    yield client
    del os.environ[CONN]
    client.close()
    server.stop()


@pytest.fixture
def bucket(s3: Any) -> Iterator[Any]:
    """Check that the test leaves no upload behind, and empty the bucket."""
    yield s3
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="games")
    for entry in s3.list_objects_v2(Bucket="games").get("Contents", []):
        s3.delete_object(Bucket="games", Key=entry["Key"])


def _keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="games").get("Contents", [])]


@pytest.mark.parametrize("size", [100_000, 20 * MIB], ids=["one-put", "multipart"])
def test_object_is_complete(
    bucket: Any, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path, size: int
) -> None:
    """The object has the artifact's bytes, and is recognised if it already exists."""
    build_id, url = built(size), "s3://buckets@games/releases/game.tar.gz"
    found = hook.download_artifact(build_id, url)
    assert (found.path, found.size_bytes) == (url, size)
    hook.download_artifact(build_id, tmp_path / "game")
    body = bucket.get_object(Bucket="games", Key="releases/game.tar.gz")["Body"]
    with body:
        assert body.read() == (tmp_path / "game").read_bytes()
    assert hook.download_artifact(build_id, ObjectStoragePath(url)) == found
    with pytest.raises(InvalidRequest, match="overwrite=True"):
        hook.download_artifact(built(size + 1), url)


def test_upload_continues_over_interruptions(
    bucket: Any,
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
) -> None:
    """An upload continues when the download is interrupted, in order and with nothing twice."""
    build_id = built(12 * MIB)
    buildpixel_sandbox.fault("artifact-breaks", at=5_000_000, times=2)
    hook.download_artifact(build_id, "s3://buckets@games/game")
    assert bucket.head_object(Bucket="games", Key="game")["ContentLength"] == 12 * MIB


def test_mismatch_aborts_the_upload(
    bucket: Any,
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
) -> None:
    """A wrong byte leaves no object and no upload, and an existing object unchanged."""
    build_id = built(20 * MIB)
    bucket.put_object(Bucket="games", Key="game", Body=b"old")
    buildpixel_sandbox.fault("artifact-corrupt", at=15_000_000)
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, "s3://buckets@games/new")
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, "s3://buckets@games/game", overwrite=True)
    assert _keys(bucket) == ["game"]
    assert bucket.head_object(Bucket="games", Key="game")["ContentLength"] == 3


def test_failure_aborts_the_upload(
    bucket: Any,
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
) -> None:
    """An artifact that is removed during the download leaves no object and no upload."""
    build_id = built(20 * MIB)
    buildpixel_sandbox.fault("artifact-gone", after=1)
    buildpixel_sandbox.fault("artifact-breaks", at=15_000_000, times=1)
    with pytest.raises(ArtifactUnavailable):
        hook.download_artifact(build_id, "s3://buckets@games/game")
    assert _keys(bucket) == []


def test_kill_aborts_the_upload(bucket: Any, store: FakeStore) -> None:
    """A task that is killed leaves no object and no upload."""
    store.content, store.cut_at = os.urandom(20 * MIB), 15_000_000
    cancel_token, cancelled = CancelToken(), threading.Event()

    def cancel(store: FakeStore) -> None:
        if len(store.requests) == 2:
            cancel_token.cancel()
            cancelled.wait(5)

    store.on_request = cancel
    destination = parse_destination(
        "s3://buckets@games/game", extract=False, max_expansion=50, verify=True
    )
    with pytest.raises(DownloadCancelledError):
        run_download(store.job(destination, cancel_token))
    cancelled.set()
    assert _keys(bucket) == []


def test_error_of_the_object_store_is_raised(
    s3: Any, buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str]
) -> None:
    """An error of the object store ends the download, and is raised unchanged."""
    assert s3
    build_id = built(20 * MIB)
    with pytest.raises(OSError, match="bucket"):
        hook.download_artifact(build_id, "s3://buckets@no-such-bucket/game")
    assert len(buildpixel_sandbox.requests_to(ROUTE)) <= 1


def test_store_that_shows_unfinished_files(
    hook: BuildPixelHook,
    built: Callable[..., str],
    buildpixel_sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    """Where half-written files are visible, another path is written and then moved."""
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    class Mounted:
        fs, path = DirFileSystem(str(tmp_path), LocalFileSystem()), "game"

        def __str__(self) -> str:
            return "mounted://games/game"

    build_id = built()
    assert hook.download_artifact(build_id, Mounted()).path == "mounted://games/game"
    assert [path.name for path in tmp_path.iterdir()] == ["game"]
    buildpixel_sandbox.fault("artifact-corrupt", at=5)
    (tmp_path / "game").unlink()
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, Mounted())
    assert not list(tmp_path.iterdir())


def test_unpacking_to_an_object_store(hook: BuildPixelHook) -> None:
    """Unpacking into an object store is refused before any request."""
    for url, extract in (("s3://buckets@games/game", True), ("s3://buckets@games/game/", False)):
        with pytest.raises(InvalidRequest, match="local directory"):
            hook.download_artifact("b1", url, extract=extract)


@pytest.mark.parametrize("spelling", ["file://{}", "file:///{}", "file://any@{}", "{}"])
def test_file_urls_are_local_files(
    hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path, spelling: str
) -> None:
    """A ``file://`` URL is treated like the local path in it."""
    path = tmp_path / "game.tar.gz"
    found = hook.download_artifact(built(), spelling.format(path))
    assert found.path == str(path)
    assert path.stat().st_size == found.size_bytes


@pytest.mark.parametrize("url", ["file://game.tar.gz", "file://host/game.tar.gz", ""])
def test_invalid_destinations(hook: BuildPixelHook, url: str) -> None:
    """A destination without a usable path is refused before any request."""
    with pytest.raises(InvalidRequest):
        hook.download_artifact("b1", url)
