"""Measures many waits in one event loop, and compares with dbt Cloud's trigger: ``make bench``.

    python -m tests.bench.waits [--n 100,1000,10000] [--quick] [--write docs/benchmarks/waits.md]

Each configuration runs in a new process, against a server in another process. Two implementations
are lower limits: an ``asyncio.Event`` for each wait, and a bare Socket.IO client.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

Measured = dict[str, Any]
ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 900.0
"""Seconds that one configuration may take."""

DBT_CLOUD = importlib.util.find_spec("airflow.providers.dbt") is not None
"""Whether the group ``bench`` is installed."""


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run the server; yield the environment of the measured process."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        host = f"127.0.0.1:{process.stdout.readline().strip()}"
        buildpixel = {"conn_type": "buildpixel", "host": f"http://{host}", "password": "bp_bench"}
        dbt = {"conn_type": "dbt_cloud", "host": host, "login": "1", "password": "bench"}
        try:
            yield {
                **os.environ,
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_BENCH": json.dumps(buildpixel),
                "AIRFLOW_CONN_DBT_BENCH": json.dumps(dbt),
                "BENCH_URL": f"http://{host}",
            }
        finally:
            process.stdin.close()


def run(name: str, n: int, **plan: Any) -> Measured:
    """Run one configuration in a separate process."""
    sys.stderr.write(f"{name}, {n} waits\n")
    with server() as environment:
        command = [sys.executable, "-m", "tests.bench.measure_process"]
        done = subprocess.run(
            [*command, json.dumps({"name": name, "n": n, **plan})],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=TIMEOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
    measured: Measured = json.loads(done.stdout.rpartition("RESULT ")[2])
    return measured


@dataclass(frozen=True)
class Size:
    """All measurements with N waits."""

    n: int
    event: Measured
    bare: Measured
    reading: Measured
    socket: Measured
    polling: Measured
    dbt: Measured | None


def measure(n: int, *, quick: bool) -> Size:
    """Measure all implementations with N waits."""
    idle_seconds = 20 if quick else 60
    idle = {"idle": idle_seconds, "settle": 35 if quick else 40}
    return Size(
        n,
        event=run("event", n),
        bare=run("bare", n, **idle),
        reading=run("reading", n),
        socket=run("socket", n, **idle),
        polling=run("polling", n, idle=idle_seconds),
        dbt=measure_dbt(n, idle_seconds) if DBT_CLOUD else None,
    )


def measure_dbt(n: int, idle_seconds: int) -> Measured | None:
    """Measure dbt Cloud's trigger; with 10 000 waits on a busy machine it does not finish."""
    try:
        return run("dbt", n, idle=idle_seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"dbt Cloud's trigger did not finish: {error}\n")
        return None


# The rows of the tables.


def requests_in(measured: Measured, phase: str) -> int:
    """Return the number of requests of a phase."""
    return sum(measured[f"{phase} server"]["requests"].values())


def per_minute(measured: Measured, value: float) -> float:
    """Return a value of the idle phase per minute."""
    return value * 60 / float(measured["idle elapsed"])


def idle_cpu(measured: Measured, n: int) -> float:
    """Return the CPU seconds per 1 000 waits and minute."""
    return per_minute(measured, measured["idle cpu"]) * 1000 / n


PHASES = ("first", "start", "disconnect", "all end at once")
Row = tuple[str, Callable[[Measured, Size], str]]

ROWS: tuple[Row, ...] = (
    ("CPU to start a wait, ms", lambda f, s: f"{f['start cpu'] / s.n * 1000:.3f}"),
    ("RSS per wait, KiB", lambda f, s: f"{f['rss'] / s.n / 1024:.1f}"),
    ("requests to start all", lambda f, _: f"{requests_in(f, 'start')}"),
    ("HTTP connections", lambda f, _: f"{f['start server']['connections']}"),
    ("websockets", lambda f, _: f"{f['start server']['sockets']}"),
    ("idle: CPU s per 1 000 waits and min", lambda f, s: f"{idle_cpu(f, s.n):.4f}"),
    ("idle: requests per minute", lambda f, _: f"{per_minute(f, requests_in(f, 'idle')):.0f}"),
    ("one ends: p50, ms", lambda f, _: f"{f['one p50'] * 1000:.2f}"),
    ("one ends: p99, ms", lambda f, _: f"{f['one p99'] * 1000:.2f}"),
    ("disconnect: all ended builds known after, s", lambda f, _: f"{f['disconnect elapsed']:.2f}"),
    (
        "disconnect: requests",
        lambda f, _: f"{requests_in(f, 'disconnect')} ({f['disconnect changed']} ended)",
    ),
    ("20 end: requests in 15 s", lambda f, _: f"{requests_in(f, 'some')}"),
    ("all end at once: last event, s", lambda f, _: f"{f['all end at once last']:.2f}"),
    (
        "all end at once: CPU per wait, ms",
        lambda f, _: f"{f['all end at once cpu'] / f['all end at once waits'] * 1000:.3f}",
    ),
    ("all end at once: requests", lambda f, _: f"{requests_in(f, 'all end at once')}"),
    *(
        (f"event-loop lag, {phase}: CPU ms, of that garbage collector", lag)
        for phase in PHASES
        for lag in (
            lambda f, _, key=f"{phase} lag": (
                f"{f[key]['cpu'] * 1000:.0f}, {f[key]['collector'] * 1000:.0f}"
            ),
        )
    ),
)
NAMES = ("event", "bare", "reading", "socket", "polling", "dbt")
COLUMNS = {
    "event": "an `asyncio.Event`",
    "bare": "bare client",
    "reading": "bare client and one read",
    "socket": "**this provider, socket**",
    "polling": "**this provider, polling 10 s**",
    "dbt": "dbt Cloud, polling 10 s",
}


def table(size: Size) -> str:
    """Return the table of one N."""
    count = f"{size.n:,}".replace(",", " ")
    lines = [f"| {count} waits | {' | '.join(COLUMNS[name] for name in NAMES)} |"]
    lines.append("|---" * (len(NAMES) + 1) + "|")
    for title, show in ROWS:
        cells = [cell(show, getattr(size, name), size) for name in NAMES]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(show: Callable[[Measured, Size], str], measured: Measured | None, size: Size) -> str:
    """Return a cell, empty if an implementation does not have the phase."""
    if measured is None:
        return ""
    try:
        return show(measured, size)
    except KeyError:
        return ""


@dataclass(frozen=True)
class Target:
    """One target and the measured value."""

    name: str
    limit: float
    value: float
    unit: str = ""

    @property
    def line(self) -> str:
        """Its row of the table."""
        met = "met" if self.value <= self.limit else "**not met**"
        limit, value = f"{self.limit:g}{self.unit}", f"{self.value:.4g}{self.unit}"
        return f"| {self.name} | at most {limit} | {value} | {met} |"


def targets(size: Size) -> Iterator[Target]:
    """Yield the targets with the measured values."""
    socket, polling, n = size.socket, size.polling, size.n
    yield Target("websockets", 1, socket["start server"]["sockets"])
    connections = max(v["connections"] for k, v in socket.items() if k.endswith("server"))
    yield Target("HTTP connections", 8, connections)
    if size.dbt is not None:
        ratio = idle_cpu(socket, n) / idle_cpu(size.dbt, n)
        yield Target("idle CPU over dbt Cloud's trigger", 1 / 40, ratio)
        ratio = idle_cpu(polling, n) / idle_cpu(size.dbt, n)
        yield Target("polling CPU over dbt Cloud's trigger", 1 / 20, ratio)
    yield Target("idle CPU over the bare client", 1.5, socket["idle cpu"] / size.bare["idle cpu"])
    ratio = socket["start cpu"] / size.reading["start cpu"]
    yield Target("CPU to start over the bare client with one read", 2, ratio)
    yield Target(
        "RSS per wait over an `asyncio.Event`",
        6,
        (socket["rss"] - size.event["rss"]) / n / 1024,
        " KiB",
    )
    yield Target("requests to start", 300, requests_in(socket, "start"))
    yield Target("requests per minute, idle", 10, per_minute(socket, requests_in(socket, "idle")))
    yield Target(
        "requests after a disconnect",
        n / 50 + socket["disconnect changed"] + 10,
        requests_in(socket, "disconnect"),
    )
    interval = requests_in(polling, "idle") / polling["idle elapsed"] * 10
    yield Target("polling: requests per interval", max(n / 50, 2), interval)
    yield Target("change to event, one at a time, p50", 5, socket["one p50"] * 1000, " ms")
    yield Target(
        "all end at once: time over the bare client's",
        3,
        socket["all end at once last"] / size.bare["all end at once last"],
    )
    yield Target("all end at once: requests", 300, requests_in(socket, "all end at once"))
    for phase in PHASES:
        yield Target(f"event-loop lag, {phase}", 100, socket[f"{phase} lag"]["cpu"] * 1000, " ms")
        without_collector = socket[f"{phase} lag"]["without_collector"] * 1000
        yield Target(
            f"event-loop lag, {phase}, without Python's garbage collector",
            100,
            without_collector,
            " ms",
        )


def flood_table(measured: Measured, seconds: float) -> str:
    """Return the table of the flood of log lines."""
    lines = int(10_000 * seconds)
    middle, end = (value / 2**20 for value in measured["flood rss"])
    return "\n".join(
        (
            "| 10 000 lines a second on one of 1 000 builds | |",
            "|---|---|",
            f"| seconds | {seconds:g} |",
            f"| lines written to the task's log | {measured['flood lines']} |",
            f"| CPU per received line, us | {measured['flood cpu'] / lines * 1e6:.0f} |",
            f"| other builds' ends: p99, ms (target 100) | {measured['flood p99'] * 1000:.1f} |",
            f"| RSS growth after a third of the time, MiB | {middle:.1f} |",
            f"| RSS growth at the end, MiB | {end:.1f} |",
        )
    )


def print_part(part: str) -> str:
    """Print a part of the page; return it."""
    sys.stdout.write(f"{part}\n\n")
    sys.stdout.flush()
    return part


def main() -> None:
    """Measure, print the tables, and write them to the page."""
    parser = argparse.ArgumentParser(description="Measures many waits in one event loop.")
    parser.add_argument("--n", default="100,1000,10000", help="numbers of waits")
    parser.add_argument(
        "--quick", action="store_true", help="short phases for the largest number, too"
    )
    parser.add_argument("--write", type=Path, help="file for the tables")
    arguments = parser.parse_args()
    *smaller, largest = map(int, arguments.n.split(","))
    parts = [print_part(table(measure(n, quick=True))) for n in smaller]
    last = measure(largest, quick=arguments.quick)
    parts.append(print_part(table(last)))
    lines = "\n".join(target.line for target in targets(last))
    head = f"| target, {f'{last.n:,}'.replace(',', ' ')} waits | | measured | |"
    parts.append(print_part(f"{head}\n|---|---|---|---|\n{lines}"))
    seconds = 10.0 if arguments.quick else 60.0
    parts.append(print_part(flood_table(run("socket", 1000, flood=seconds), seconds)))
    parts.append(print_part(f"Python {platform.python_version()}, {os.cpu_count()} cores."))
    text = "\n\n".join(parts)
    if arguments.write:
        pages.write(arguments.write, text)


if __name__ == "__main__":
    main()
