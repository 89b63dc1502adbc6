"""The variants of a download that the benchmark compares, each run in a separate process.

Run as ``python -m tests.bench.download_variants VARIANT BASE_URL DESTINATION CONNECTIONS``. Prints
the time and memory of the download as JSON, without those of the interpreter and Airflow's start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")


def plain_loop(base: str, destination: str, _: int) -> None:
    """Download as it is usually written: requests, chunks of 1 MiB, each hashed in between."""
    import requests

    artifact = requests.get(f"{base}/builds/bench/download", timeout=30).json()
    digest = hashlib.md5(usedforsecurity=False)
    with (
        requests.get(artifact["url"], stream=True, timeout=30) as response,
        Path(destination).open("wb") as file,
    ):
        for chunk in response.iter_content(MIB):
            digest.update(chunk)
            file.write(chunk)
    assert digest.hexdigest() == artifact["checksumMd5"]


def hook(base: str, destination: str, connections: int) -> None:
    """Download with the hook."""
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

    os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] = _connection(base)
    BuildPixelHook().download_artifact(
        "bench", destination, overwrite=True, connections=connections
    )


def operator(base: str, destination: str, connections: int) -> None:
    """Download with the operator."""
    from airflow_provider_buildpixel.operators.download import (
        BuildPixelDownloadArtifactOperator,
    )

    os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] = _connection(base)
    task = BuildPixelDownloadArtifactOperator(
        task_id="download",
        build_id="bench",
        destination=destination,
        overwrite=True,
        connections=connections,
    )
    context: Any = {}
    task.execute(context)


def _connection(base: str) -> str:
    return json.dumps({"conn_type": "buildpixel", "host": base, "password": "bp_bench"})


VARIANTS = {"requests": plain_loop, "hook": hook, "operator": operator}


class MemorySampler:
    """Samples the resident memory in a thread, for the peak above that at the start."""

    def __init__(self) -> None:
        self._initial = self._peak = self._resident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def _sample(self) -> None:
        while not self._stopped.wait(0.02):
            self._peak = max(self._peak, self._resident())

    def stop(self) -> int:
        """Stop sampling; return the peak in bytes above the memory at the start."""
        self._stopped.set()
        self._thread.join()
        return self._peak - self._initial


def load_libraries(destination: str) -> None:
    """Load all libraries before the measurement."""
    import requests
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_buildpixel.downloads import download
    from airflow_provider_buildpixel.downloads.destinations import archive
    from airflow_provider_buildpixel.hooks import downloads
    from airflow_provider_buildpixel.operators import buildpixel

    for module in (requests, download, archive, downloads, buildpixel):
        logging.getLogger(module.__name__)
    get_hook_lineage_collector()  # type: ignore[no-untyped-call]  # loads plugins, as each task does
    if destination.startswith("s3:"):
        path = ObjectStoragePath(destination)
        path.fs.ls(path.bucket)


def main() -> None:
    """Run one variant."""
    variant, base, destination, connections = sys.argv[1:5]
    logging.disable(logging.INFO)
    load_libraries(destination)
    memory, started_at = MemorySampler(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    VARIANTS[variant](base, destination, int(connections))
    wall, after = time.monotonic() - started_at, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    measured = {"wall": wall, "cpu": cpu, "memory": memory.stop()}
    print(json.dumps(measured))  # noqa: T201  # the benchmark reads this


if __name__ == "__main__":
    main()
