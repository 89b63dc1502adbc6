"""Measures downloads against ``curl`` followed by ``md5sum``: ``python -m tests.bench.download``.

A server in another process sends a file of random bytes over loopback. The variants take turns, so
that other load on the machine affects all of them. Run only one measurement at a time.
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
    """One download: seconds, processor seconds, and bytes of memory above those at the start."""

    wall: float
    cpu: float
    memory: float


def curl_then_md5sum(url: str, destination: Path) -> Run:
    """Download and verify with two common programs."""
    before, started_at = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in (["curl", "-sS", "-o", str(destination), url], ["md5sum", str(destination)]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - started_at, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Run(wall, cpu, 0.0)


def python_run(variant: str, base: str, destination: str, connections: int) -> Run:
    """Run a variant of :mod:`tests.bench.download_variants` in a separate process."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.download_variants"]
    process = subprocess.run(
        [*command, variant, base, destination, str(connections)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    measured = json.loads(process.stdout.splitlines()[-1])
    return Run(measured["wall"], measured["cpu"], measured["memory"])


@contextmanager
def served(file: Path, md5: str, rate: float = 0.0) -> Iterator[str]:
    """Run the server; yield its base URL."""
    command = [sys.executable, "-m", "tests.bench.download_server", str(file), md5, str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


@contextmanager
def object_store() -> Iterator[None]:
    """Run moto's S3 in a process, with a bucket, as the Airflow connection ``bench_s3``."""
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
    """Write random bytes; return the file and its MD5."""
    file, digest = directory / "artifact", hashlib.md5(usedforsecurity=False)
    block = os.urandom(MIB)
    with file.open("wb") as out:
        for number in range(size // MIB):
            chunk = number.to_bytes(8, "big") + block[8:]
            out.write(chunk)
            digest.update(chunk)
    return file, digest.hexdigest()


def run_in_turn(variants: dict[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Run all variants one after the other, in several rounds."""
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            runs[name].append(variant())
            sys.stderr.write(f"  {name}: {runs[name][-1]}\n")
    return runs


def table(runs: dict[str, list[Run]], size: int) -> str:
    """Return a table of medians, with their ratio to the first variant."""
    lines = [
        f"| {size // MIB} MiB | wall s | CPU s | MiB/s | wall ratio | CPU ratio | memory MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    base = _median(next(iter(runs.values())))
    for name, repeated in runs.items():
        run = _median(repeated)
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
    """Compare with curl and md5sum, and with a plain requests loop."""
    file, md5 = random_file(directory, size)
    out = directory / "out"

    def from_clean_directory(variant: Callable[[], Run]) -> Callable[[], Run]:
        def run() -> Run:
            for leftover in directory.glob("out*"):
                leftover.unlink()
            os.sync()
            return variant()

        return run

    with served(file, md5) as base:
        variants: dict[str, Callable[[], Run]] = {
            BASELINE: lambda: curl_then_md5sum(f"{base}/artifact.tar.gz", out),
            "requests loop, 1 MiB chunks": lambda: python_run("requests", base, str(out), 1),
            "hook to a path": lambda: python_run("hook", base, str(out), 4),
            "operator to file://": lambda: python_run("operator", base, f"file://{out}", 4),
        }
        runs = run_in_turn(
            {name: from_clean_directory(variant) for name, variant in variants.items()}, rounds
        )
    file.unlink()
    return table(runs, size)


def to_s3(directory: Path, size: int, rounds: int) -> str:
    """Upload to moto's S3 with the operator."""
    file, md5 = random_file(directory, size)
    url = "s3://bench_s3@bench/out"
    with served(file, md5) as base, object_store():
        runs = run_in_turn(
            {"operator to s3://": lambda: python_run("operator", base, url, 4)}, rounds
        )
    file.unlink()
    return table(runs, size)


def parallel_connections(directory: Path, size: int, rate: float, rounds: int) -> str:
    """Compare one connection with up to four, from a store that limits each or does not."""
    file, md5 = random_file(directory, size)
    out = str(directory / "out")
    with ExitStack() as stack:
        fast = stack.enter_context(served(file, md5))
        slow = stack.enter_context(served(file, md5, rate))
        variants: dict[str, Callable[[], Run]] = {
            f"{rate:.0f} MiB/s each, one": lambda: python_run("hook", slow, out, 1),
            f"{rate:.0f} MiB/s each, up to four": lambda: python_run("hook", slow, out, 4),
            "no limit, one": lambda: python_run("hook", fast, out, 1),
            "no limit, up to four": lambda: python_run("hook", fast, out, 4),
        }
        runs = run_in_turn(variants, rounds)
    file.unlink()
    return table(runs, size)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(prog="tests.bench.download", description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the artifact")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where to download to")
    parser.add_argument("--only", choices=["curl", "s3", "connections"])
    parser.add_argument("--write", type=Path, help="page to write the tables to")
    arguments = parser.parse_args()
    size, tables = arguments.size * MIB, list[str]()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        os.environ.setdefault("AIRFLOW_HOME", f"{name}/airflow")
        directory = Path(name)
        if arguments.only in (None, "curl"):
            tables.append(_print(against_curl(directory, size, arguments.rounds)))
        if arguments.only in (None, "s3"):
            tables.append(_print(to_s3(directory, min(size, 512 * MIB), 1)))
        if arguments.only in (None, "connections"):
            tables.append(_print(parallel_connections(directory, min(size, 1024 * MIB), 50.0, 1)))
    if arguments.write:
        pages.write(arguments.write, "\n\n".join(tables))


def _print(text: str) -> str:
    """Print a table, and return it."""
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()
    return text


if __name__ == "__main__":
    main()
