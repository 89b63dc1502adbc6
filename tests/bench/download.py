"""Measures downloads against ``curl`` followed by ``md5sum``: ``python -m tests.bench.download``.

A server in another process gives a file of random bytes over loopback. The ways take turns, so
that whatever else the machine does falls on all of them. Only one can be measured at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
BASELINE = "curl, then md5sum"


@dataclass(frozen=True)
class Run:
    """One download: seconds, processor seconds, and bytes of memory beyond the start's."""

    wall: float
    cpu: float
    memory: float


def curl_then_md5sum(url: str, destination: Path) -> Run:
    """Download and check with two well-known programs."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in (["curl", "-sS", "-o", str(destination), url], ["md5sum", str(destination)]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Run(wall, cpu, 0.0)


def one_of_ours(way: str, base: str, destination: str, connections: int) -> Run:
    """Run one of the ways in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.download_ways"]
    done = subprocess.run(
        [*command, way, base, destination, str(connections)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return Run(found["wall"], found["cpu"], found["grown"])


@contextmanager
def served(file: Path, md5: str, rate: float = 0.0) -> Iterator[str]:
    """Start the server; give its base URL."""
    command = [sys.executable, "-m", "tests.bench.download_server", str(file), md5, str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


@contextmanager
def object_store() -> Iterator[None]:
    """Start moto's S3 in a process, with a bucket, as the Airflow connection ``bench_s3``."""
    import requests

    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        url = next(line.split("Running on ")[1].strip() for line in lines if "Running on " in line)
        server.stderr.close()
        requests.put(f"{url}/bench", timeout=30).raise_for_status()
        extra = {"endpoint_url": url, "region_name": "us-east-1"}
        os.environ["AIRFLOW_CONN_BENCH_S3"] = json.dumps(
            {"conn_type": "aws", "login": "made", "password": "up", "extra": extra}
        )
        yield
        server.terminate()


def random_file(directory: Path, size: int) -> tuple[Path, str]:
    """Write random bytes; give the file and its MD5."""
    file, digest = directory / "artifact", hashlib.md5(usedforsecurity=False)
    block = os.urandom(MIB)
    with file.open("wb") as out:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            out.write(piece)
            digest.update(piece)
    return file, digest.hexdigest()


def in_turn(ways: dict[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Run all ways one after the other, and all that again."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            runs[name].append(way())
            sys.stderr.write(f"  {name}: {runs[name][-1]}\n")
    return runs


def table(runs: dict[str, list[Run]], size: int) -> str:
    """Give medians, with their ratio to the first way's."""
    lines = [
        f"| {size // MIB} MiB | wall s | CPU s | MiB/s | wall ratio | CPU ratio | memory MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    first = next(iter(runs.values()))
    base = _median(first)
    for name, several in runs.items():
        run = _median(several)
        lines.append(
            f"| {name} | {run.wall:.2f} | {run.cpu:.2f} | {size / MIB / run.wall:.0f} | "
            f"{run.wall / base.wall:.2f} | {run.cpu / base.cpu:.2f} | {run.memory / MIB:.0f} |"
        )
    return "\n".join(lines)


def _median(runs: list[Run]) -> Run:
    return Run(
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        max(run.memory for run in runs),
    )


def against_curl(directory: Path, size: int, rounds: int) -> str:
    """Compare with curl and md5sum, and with the usual loop."""
    file, md5 = random_file(directory, size)
    out = directory / "out"

    def cleared(way: Callable[[], Run]) -> Callable[[], Run]:
        def run() -> Run:
            for left in directory.glob("out*"):
                left.unlink()
            os.sync()
            return way()

        return run

    with served(file, md5) as base:
        ways: dict[str, Callable[[], Run]] = {
            BASELINE: lambda: curl_then_md5sum(f"{base}/artifact.tar.gz", out),
            "requests loop, 1 MiB chunks": lambda: one_of_ours("requests", base, str(out), 1),
            "hook to a path": lambda: one_of_ours("hook", base, str(out), 4),
            "operator to file://": lambda: one_of_ours("operator", base, f"file://{out}", 4),
        }
        runs = in_turn({name: cleared(way) for name, way in ways.items()}, rounds)
    file.unlink()
    return table(runs, size)


def to_s3(directory: Path, size: int, rounds: int) -> str:
    """Upload through the operator to moto's S3."""
    file, md5 = random_file(directory, size)
    where = "s3://bench_s3@bench/out"
    with served(file, md5) as base, object_store():
        runs = in_turn(
            {"operator to s3://": lambda: one_of_ours("operator", base, where, 4)}, rounds
        )
    file.unlink()
    return table(runs, size)


def lanes(directory: Path, size: int, rate: float, rounds: int) -> str:
    """Compare one connection with up to four, where the store limits each and where it does not."""
    file, md5 = random_file(directory, size)
    out = str(directory / "out")
    with ExitStack() as stack:
        fast = stack.enter_context(served(file, md5))
        slow = stack.enter_context(served(file, md5, rate))
        ways: dict[str, Callable[[], Run]] = {
            f"{rate:.0f} MiB/s each, one": lambda: one_of_ours("hook", slow, out, 1),
            f"{rate:.0f} MiB/s each, up to four": lambda: one_of_ours("hook", slow, out, 4),
            "no limit, one": lambda: one_of_ours("hook", fast, out, 1),
            "no limit, up to four": lambda: one_of_ours("hook", fast, out, 4),
        }
        runs = in_turn(ways, rounds)
    file.unlink()
    return table(runs, size)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(prog="tests.bench.download", description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the artifact")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where to download to")
    parser.add_argument("--only", choices=["curl", "s3", "lanes"])
    parser.add_argument("--write", type=Path, help="page for the tables")
    given = parser.parse_args()
    size, tables = given.size * MIB, list[str]()
    with tempfile.TemporaryDirectory(dir=given.dir) as place:
        os.environ.setdefault("AIRFLOW_HOME", f"{place}/airflow")
        directory = Path(place)
        if given.only in (None, "curl"):
            tables.append(_said(against_curl(directory, size, given.rounds)))
        if given.only in (None, "s3"):
            tables.append(_said(to_s3(directory, min(size, 512 * MIB), 1)))
        if given.only in (None, "lanes"):
            tables.append(_said(lanes(directory, min(size, 1024 * MIB), 50.0, 1)))
    if given.write:
        pages.write(given.write, "\n\n".join(tables))


def _said(text: str) -> str:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()
    return text


if __name__ == "__main__":
    main()
