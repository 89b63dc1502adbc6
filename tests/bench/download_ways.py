"""The ways to download that the benchmark compares, each run in a process of its own.

Run as ``python -m tests.bench.download_ways WAY BASE_URL DESTINATION CONNECTIONS``; prints JSON:
the seconds and the memory of the download alone, without what the interpreter and Airflow cost
before.
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
    """Do it as it is usually written: requests, chunks of one MiB, MD5 in between."""
    import requests

    facts = requests.get(f"{base}/builds/bench/download", timeout=30).json()
    digest = hashlib.md5(usedforsecurity=False)
    with (
        requests.get(facts["url"], stream=True, timeout=30) as answer,
        Path(destination).open("wb") as file,
    ):
        for chunk in answer.iter_content(MIB):
            digest.update(chunk)
            file.write(chunk)
    assert digest.hexdigest() == facts["checksumMd5"]


def hook(base: str, destination: str, connections: int) -> None:
    """Do it with the hook."""
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

    os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] = _connection(base)
    BuildPixelHook().download_artifact(
        "bench", destination, overwrite=True, connections=connections
    )


def operator(base: str, destination: str, connections: int) -> None:
    """Do it with the operator."""
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


WAYS = {"requests": plain_loop, "hook": hook, "operator": operator}


class Memory:
    """The most memory that was resident beyond what was there before, looked at often."""

    def __init__(self) -> None:
        self._before = self.most = self._resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._resident())

    def grown(self) -> int:
        """Give it, and stop looking."""
        self._over.set()
        self._thread.join()
        return self.most - self._before


def warm(destination: str) -> None:
    """Load all libraries before anything is measured."""
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
    """Run one way."""
    way, base, destination, connections = sys.argv[1:5]
    logging.disable(logging.INFO)
    warm(destination)
    memory, began = Memory(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    WAYS[way](base, destination, int(connections))
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    found = {"wall": wall, "cpu": cpu, "grown": memory.grown(), "peak": after.ru_maxrss * 1024}
    print(json.dumps(found))  # the benchmark reads this


if __name__ == "__main__":
    main()
