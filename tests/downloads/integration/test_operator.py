"""The operator: templates, result, retry and kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.downloads.job import DownloadJob
from airflow_provider_buildpixel.downloads.transfer import CHUNK
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable
from airflow_provider_buildpixel.operators.download import BuildPixelDownloadArtifactOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox

CONTEXT: Any = {}


def _operator(build_id: str, destination: Path, **more: Any) -> BuildPixelDownloadArtifactOperator:
    return BuildPixelDownloadArtifactOperator(
        task_id="download", build_id=build_id, destination=str(destination), **more
    )


def test_returns_plain_json(
    buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path
) -> None:
    """The XCom holds path, size and checksum as plain JSON, and no signed URL."""
    assert buildpixel_sandbox.url
    result = _operator(built(), tmp_path / "game").execute(CONTEXT)
    assert set(result) == {"path", "size_bytes", "checksum_md5"}
    assert json.loads(json.dumps(result)) == result
    assert result["path"] == str(tmp_path / "game")


def test_templates() -> None:
    """Build, destination and connection may be templates."""
    fields = set(BuildPixelDownloadArtifactOperator.template_fields)
    assert fields == {"build_id", "destination", "buildpixel_conn_id"}
    task = _operator("{{ id }}", "/builds/{{ id }}.tar.gz")  # type: ignore[arg-type]  # a template
    task.render_template_fields({"id": "b7"})  # type: ignore[typeddict-unknown-key]  # no more is needed
    assert (task.build_id, task.destination) == ("b7", "/builds/b7.tar.gz")


def test_parameters_reach_the_download(
    buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path
) -> None:
    """Parameters of the operator apply: here unpacking without the checksum."""
    assert buildpixel_sandbox.url
    build_id = built()
    result = _operator(build_id, tmp_path / "game", extract=True, verify=False).execute(CONTEXT)
    assert result["checksum_md5"] is None
    assert (tmp_path / "game/Build.json").exists()


def test_retry_resumes(
    buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path
) -> None:
    """A second try of the task, in practice another process, requests only the missing bytes."""
    build_id = built()
    gone = buildpixel_sandbox.fault("artifact-gone", after=1)
    buildpixel_sandbox.fault("artifact-breaks", at=2_000_000, times=1)
    with pytest.raises(ArtifactUnavailable):
        _operator(build_id, tmp_path / "game").execute(CONTEXT)
    gone.remove()
    _operator(build_id, tmp_path / "game").execute(CONTEXT)
    assert buildpixel_sandbox.requests_to("GET artifact")[-1].headers["Range"] == "bytes=2000000-"


def test_kill_before_anything_runs() -> None:
    """Killing a task before it runs is not an error."""
    _operator("b1", "/nowhere").on_kill()  # type: ignore[arg-type]  # never used


KILLED_TASK = """\
import os, signal, sys, time
from airflow_provider_buildpixel.operators.buildpixel import BuildPixelDownloadArtifactOperator
task = BuildPixelDownloadArtifactOperator(
    task_id="download", build_id=sys.argv[1], destination=sys.argv[2]
)
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
print("started", flush=True)
try:
    task.execute({})
finally:
    print("ended at", time.monotonic(), flush=True)
"""


def test_sigterm_cancels_at_once(
    buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path
) -> None:
    """Called from a signal handler, as by Airflow, on_kill ends the download; the part stays."""
    build_id, path = built(), tmp_path / "game"
    part = path.with_name("game.part")
    stalled = buildpixel_sandbox.fault("artifact-stalls", at=2_500_000)
    command = [sys.executable, "-W", "ignore", "-c", KILLED_TASK, build_id, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as task:
        end = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= CHUNK):
            assert time.monotonic() < end
            assert task.poll() is None
            time.sleep(0.02)
        killed_at = time.monotonic()
        task.send_signal(signal.SIGTERM)
        output, _ = task.communicate(timeout=60)
    ended_at = float(output.partition("ended at ")[2].split()[0])  # before the interpreter ends
    assert ended_at - killed_at < DownloadJob.stall_window / 2
    assert task.returncode != 0
    assert "DownloadCancelledError" in output
    assert "Signature" not in output
    size = part.stat().st_size
    assert CHUNK <= size <= 2_500_000
    # The bytes of the part are right: with the missing ones, the file passes verification.
    stalled.remove()
    _operator(build_id, path).execute(CONTEXT)
    assert buildpixel_sandbox.requests_to("GET artifact")[-1].headers["Range"] == f"bytes={size}-"
