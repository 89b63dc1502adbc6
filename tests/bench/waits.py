"""Measures many waits in one loop, beside two floors and dbt Cloud's trigger: ``make bench``.

    python -m tests.bench.waits [--n 100,1000,10000] [--quick] [--write docs/benchmarks/waits.md]

Each configuration runs in a fresh process, against one server in another.
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

Found = dict[str, Any]
ROOT = Path(__file__).parent.parent.parent
PATIENCE = 900.0
"""Seconds that one configuration may take."""

DBT_CLOUD = importlib.util.find_spec("airflow.providers.dbt") is not None
"""Whether the group ``bench`` is installed."""


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run the server; give the environment of those who use it."""
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
        ours = {"conn_type": "buildpixel", "host": f"http://{host}", "password": "bp_bench"}
        dbt = {"conn_type": "dbt_cloud", "host": host, "login": "1", "password": "bench"}
        try:
            yield {
                **os.environ,
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_BENCH": json.dumps(ours),
                "AIRFLOW_CONN_DBT_BENCH": json.dumps(dbt),
                "BENCH_URL": f"http://{host}",
            }
        finally:
            process.stdin.close()


def run(name: str, n: int, **plan: Any) -> Found:
    """Run one configuration in a process of its own."""
    sys.stderr.write(f"{name}, {n} waits\n")
    with server() as environment:
        command = [sys.executable, "-m", "tests.bench.child"]
        done = subprocess.run(
            [*command, json.dumps({"name": name, "n": n, **plan})],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=PATIENCE,
            stdout=subprocess.PIPE,
            text=True,
        )
    found: Found = json.loads(done.stdout.rpartition("RESULT ")[2])
    return found


@dataclass(frozen=True)
class Size:
    """All that was measured with N waits."""

    n: int
    event: Found
    bare: Found
    reading: Found
    ours: Found
    polling: Found
    dbt: Found | None


def measure(n: int, *, quick: bool) -> Size:
    """Measure everything with N waits."""
    rest = 20 if quick else 60
    idle = {"idle": rest, "settle": 35 if quick else 40}
    return Size(
        n,
        event=run("event", n),
        bare=run("bare", n, **idle),
        reading=run("reading", n),
        ours=run("ours", n, **idle),
        polling=run("polling", n, idle=rest),
        dbt=compared(n, rest) if DBT_CLOUD else None,
    )


def compared(n: int, rest: int) -> Found | None:
    """Measure dbt Cloud's trigger; on a busy machine it does not get through with 10 000 waits."""
    try:
        return run("dbt", n, idle=rest)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"dbt Cloud's trigger was given up: {error}\n")
        return None


# The lines of the tables.


def requests_in(found: Found, phase: str) -> int:
    """Give the number of requests of a phase."""
    return sum(found[f"{phase} server"]["requests"].values())


def per_minute(found: Found, value: float) -> float:
    """Give a value of the idle phase for a minute."""
    return value * 60 / float(found["idle wall"])


def idle_cpu(found: Found, n: int) -> float:
    """Give CPU seconds per 1 000 waits and minute."""
    return per_minute(found, found["idle cpu"]) * 1000 / n


Row = tuple[str, Callable[[Found, Size], str]]

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
    ("cut: all that ended known after, s", lambda f, _: f"{f['cut wall']:.2f}"),
    ("cut: requests", lambda f, _: f"{requests_in(f, 'cut')} ({f['cut changed']} ended)"),
    ("20 end: requests in 15 s", lambda f, _: f"{requests_in(f, 'some')}"),
    ("all end at once: last event, s", lambda f, _: f"{f['storm last']:.2f}"),
    (
        "all end at once: CPU per wait, ms",
        lambda f, _: f"{f['storm cpu'] / f['storm waits'] * 1000:.3f}",
    ),
    ("all end at once: requests", lambda f, _: f"{requests_in(f, 'storm')}"),
    *(
        (f"longest hold of the loop, {phase}: CPU ms, of it the collector", lag)
        for phase in ("first", "start", "cut", "storm")
        for lag in (
            lambda f, _, key=f"{phase} lag": (
                f"{f[key]['cpu'] * 1000:.0f}, {f[key]['collector'] * 1000:.0f}"
            ),
        )
    ),
)
NAMES = ("event", "bare", "reading", "ours", "polling", "dbt")
HEADS = {
    "event": "an `asyncio.Event`",
    "bare": "bare client",
    "reading": "bare client and one read",
    "ours": "**ours, socket**",
    "polling": "**ours, polling 10 s**",
    "dbt": "dbt Cloud, polling 10 s",
}


def table(size: Size) -> str:
    """Give the table of one N."""
    count = f"{size.n:,}".replace(",", " ")
    lines = [f"| {count} waits | {' | '.join(HEADS[name] for name in NAMES)} |"]
    lines.append("|---" * (len(NAMES) + 1) + "|")
    for title, show in ROWS:
        cells = [cell(show, getattr(size, name), size) for name in NAMES]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(show: Callable[[Found, Size], str], found: Found | None, size: Size) -> str:
    """Give a cell, empty where a contender does not have the phase."""
    if found is None:
        return ""
    try:
        return show(found, size)
    except KeyError:
        return ""


@dataclass(frozen=True)
class Goal:
    """One target and what was measured."""

    what: str
    target: float
    value: float
    unit: str = ""

    @property
    def line(self) -> str:
        """Its line of the table."""
        met = "met" if self.value <= self.target else "**not met**"
        target, value = f"{self.target:g}{self.unit}", f"{self.value:.4g}{self.unit}"
        return f"| {self.what} | at most {target} | {value} | {met} |"


def goals(size: Size) -> Iterator[Goal]:
    """Hold what was measured against the targets."""
    ours, polling, n = size.ours, size.polling, size.n
    yield Goal("websockets", 1, ours["start server"]["sockets"])
    connections = max(v["connections"] for k, v in ours.items() if k.endswith("server"))
    yield Goal("HTTP connections", 8, connections)
    if size.dbt is not None:
        ratio = idle_cpu(ours, n) / idle_cpu(size.dbt, n)
        yield Goal("idle CPU over dbt Cloud's trigger", 1 / 40, ratio)
        ratio = idle_cpu(polling, n) / idle_cpu(size.dbt, n)
        yield Goal("polling CPU over dbt Cloud's trigger", 1 / 20, ratio)
    yield Goal("idle CPU over the bare client", 1.5, ours["idle cpu"] / size.bare["idle cpu"])
    ratio = ours["start cpu"] / size.reading["start cpu"]
    yield Goal("CPU to start over the bare client that reads once", 2, ratio)
    yield Goal(
        "RSS per wait over the Event floor", 6, (ours["rss"] - size.event["rss"]) / n / 1024, " KiB"
    )
    yield Goal("requests to start", 300, requests_in(ours, "start"))
    yield Goal("requests per minute, idle", 10, per_minute(ours, requests_in(ours, "idle")))
    yield Goal("requests after a cut", n / 50 + ours["cut changed"] + 10, requests_in(ours, "cut"))
    interval = requests_in(polling, "idle") / polling["idle wall"] * 10
    yield Goal("polling: requests per interval", max(n / 50, 2), interval)
    yield Goal("change to event, one at a time, p50", 5, ours["one p50"] * 1000, " ms")
    yield Goal(
        "all end at once: over the bare client's time",
        3,
        ours["storm last"] / size.bare["storm last"],
    )
    yield Goal("all end at once: requests", 300, requests_in(ours, "storm"))
    for phase in ("first", "start", "cut", "storm"):
        yield Goal(f"hold of the loop, {phase}", 100, ours[f"{phase} lag"]["cpu"] * 1000, " ms")
        own = ours[f"{phase} lag"]["own"] * 1000
        yield Goal(
            f"hold of the loop, {phase}, without Python's garbage collector", 100, own, " ms"
        )


def flooded(found: Found, seconds: float) -> str:
    """Say how a flood of log lines went."""
    lines = int(10_000 * seconds)
    middle, end = (value / 2**20 for value in found["flood rss"])
    return "\n".join(
        (
            "| 10 000 lines a second on one of 1 000 builds | |",
            "|---|---|",
            f"| seconds | {seconds:g} |",
            f"| lines written to the task's log | {found['flood lines']} |",
            f"| CPU per line that came, us | {found['flood cpu'] / lines * 1e6:.0f} |",
            f"| other builds' ends: p99, ms (target 100) | {found['flood p99'] * 1000:.1f} |",
            f"| RSS grown after a third of the time, MiB | {middle:.1f} |",
            f"| RSS grown in the end, MiB | {end:.1f} |",
        )
    )


def shown(part: str) -> str:
    """Print a part as soon as it is known."""
    sys.stdout.write(f"{part}\n\n")
    sys.stdout.flush()
    return part


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measures many waits in one loop.")
    parser.add_argument("--n", default="100,1000,10000", help="numbers of waits")
    parser.add_argument("--quick", action="store_true", help="short phases for the last, too")
    parser.add_argument("--write", type=Path, help="file for the tables")
    given = parser.parse_args()
    *smaller, largest = map(int, given.n.split(","))
    parts = [shown(table(measure(n, quick=True))) for n in smaller]
    last = measure(largest, quick=given.quick)
    parts.append(shown(table(last)))
    lines = "\n".join(goal.line for goal in goals(last))
    head = f"| target, {f'{last.n:,}'.replace(',', ' ')} waits | | measured | |"
    parts.append(shown(f"{head}\n|---|---|---|---|\n{lines}"))
    seconds = 10.0 if given.quick else 60.0
    parts.append(shown(flooded(run("ours", 1000, flood=seconds), seconds)))
    parts.append(shown(f"Python {platform.python_version()}, {os.cpu_count()} cores."))
    text = "\n\n".join(parts)
    if given.write:
        pages.write(given.write, text)


if __name__ == "__main__":
    main()
