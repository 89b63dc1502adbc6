"""The sandbox's HTTP faults against the triggers of this provider, dbt Cloud and Databricks.

    python -m tests.chaos.peers [--write docs/chaos.md]

Each trigger has the settings that its operator passes by default. For each fault it waits for a
separate run: the fault begins 50 seconds after the first request, affects every request, and ends
after 20 or 90 seconds; the run succeeds 150 seconds after the first request. Each provider has a
separate process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS
from tests.bench import pages
from tests.chaos.isolation import ROOT, isolated
from tests.chaos.providers import BuildPixelWait, OtherProviderWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


FAULT_AT, RUN_ENDS_AT, GIVE_UP_AT = 50.0, 150.0, 290.0
"""Seconds from the first request to the fault, to the end of the run, and to the timeout."""

DURATIONS = (20.0, 90.0)
"""Seconds for which the fault lasts."""

LIST_FAULTS = ("endless-pages",)
FAULTS = (
    "none",
    *(name for name, kind in KINDS.items() if kind.layer == "http" and name not in LIST_FAULTS),
    "refuse-connections",
)
PROVIDERS = {
    "socket": "BuildPixel, socket",
    "polling": "BuildPixel, polling",
    "dbt": "dbt Cloud",
    "databricks": "Databricks",
}
PACKAGES = {
    "dbt": "apache-airflow-providers-dbt-cloud",
    "databricks": "apache-airflow-providers-databricks",
}
MAX_ERROR_LENGTH = 48
"""Characters of an error in a cell."""

PARAMS: dict[str, dict[str, Any]] = {"slow": {"delay": 5.0}, "stale": {"lag": 10.0}}


@dataclass(frozen=True)
class WaitResult:
    """How a wait ended.

    :param hits: number of requests that the fault affected.
    :param outcome: ``success``, ``waits`` if it did not end, else the error.
    :param delay: seconds from the end of the run to that of the wait; negative if that was first.
    """

    provider: str
    fault: str
    duration: float
    hits: int
    outcome: str
    delay: float


async def run_wait(
    case: BuildPixelWait | OtherProviderWait, provider: str, fault: str, duration: float
) -> WaitResult:
    """Run one wait with one fault."""
    wait = asyncio.ensure_future(case.wait())
    while not case.read_requested and not wait.done():  # noqa: ASYNC110  # a state of another thread
        await asyncio.sleep(0.05)
    started_at = time.monotonic()
    injection = asyncio.ensure_future(_inject(case, fault, duration))
    done, _ = await asyncio.wait([wait], timeout=GIVE_UP_AT)
    ended = time.monotonic()
    wait.cancel()
    hits = await injection
    return WaitResult(
        provider, fault, duration, hits, _outcome(wait, done), ended - started_at - RUN_ENDS_AT
    )


def _outcome(wait: asyncio.Future[str], done: set[Any]) -> str:
    if wait not in done:
        return "waits"
    error = wait.exception()
    return wait.result() if error is None else f"{type(error).__name__}: {error}"[:200]


async def _inject(case: BuildPixelWait | OtherProviderWait, fault: str, duration: float) -> int:
    """Inject and remove the fault, then end the run; return the number of affected requests."""
    injected = None
    await asyncio.sleep(FAULT_AT)
    if fault != "none":
        inject = partial(case.fault, fault, **PARAMS.get(fault, {}))
        injected = await asyncio.to_thread(inject)
    await asyncio.sleep(duration)
    if injected is not None:
        await asyncio.to_thread(injected.remove)
    await asyncio.sleep(RUN_ENDS_AT - FAULT_AT - duration)
    case.finish()
    return injected.hits if injected is not None else 0


async def run_provider(provider: str, faults: Iterable[str]) -> list[WaitResult]:
    """Run one wait for each fault, all at the same time in one event loop."""
    make: Callable[..., BuildPixelWait | OtherProviderWait] = (
        BuildPixelWait if provider in {"socket", "polling"} else OtherProviderWait
    )
    combinations = list(product(faults, DURATIONS))
    with ExitStack() as stack:
        cases = [make(provider, stack, f"peer_{number}") for number, _ in enumerate(combinations)]
        waits = [
            run_wait(case, provider, *combination)
            for case, combination in zip(cases, combinations, strict=True)
        ]
        return await asyncio.gather(*waits)


def run_all(faults: Iterable[str]) -> list[WaitResult]:
    """Run each installed provider in a separate process, all at the same time."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.peers", "--faults"]
    processes = [
        subprocess.Popen(
            [*command, ",".join(faults), "--provider", name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in PROVIDERS
        if installed(name) is not None
    ]
    results = []
    for process in processes:
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        results += [WaitResult(**result) for result in json.loads(text.rpartition("RESULT ")[2])]
    return results


def installed(provider: str) -> str | None:
    """Return the version of a provider's package, None if it is not installed."""
    try:
        return version(PACKAGES.get(provider, "airflow-provider-buildpixel"))
    except PackageNotFoundError:
        return None


def table(results: list[WaitResult]) -> str:
    """Return the table."""
    names = [name for name in PROVIDERS if any(result.provider == name for result in results)]
    columns = [
        f"{PROVIDERS[name]} {installed(name)}, {duration:g} s"
        for name, duration in product(names, DURATIONS)
    ]
    lines = [f"| fault | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    by_key = {(result.provider, result.fault, result.duration): result for result in results}
    for fault in dict.fromkeys(result.fault for result in results):
        cells = [
            cell(by_key[name, fault, duration]) for name, duration in product(names, DURATIONS)
        ]
        lines.append(f"| `{fault}` | {' | '.join(cells)} |")
    successes = [
        sum(
            result.outcome == "success"
            for result in results
            if (result.provider, result.duration) == key
        )
        for key in product(names, DURATIONS)
    ]
    faults = len(dict.fromkeys(result.fault for result in results))
    lines.append(
        f"| **successes, of {faults}** | {' | '.join(f'**{count}**' for count in successes)} |"
    )
    return "\n".join(lines)


def cell(result: WaitResult) -> str:
    """Return the cell of one wait."""
    if result.outcome == "success":
        hit = "" if result.hits or result.fault in {"none", "refuse-connections"} else ", not hit"
        return f"success, {result.delay:.0f} s{hit}"
    return (
        "still waits"
        if result.outcome == "waits"
        else f"**fails**: {shortened_error(result.outcome)}"
    )


def shortened_error(text: str) -> str:
    """Shorten an error for a cell of the table, without ids of the run."""
    plain = " ".join(text.replace("|", "/").split())
    plain = re.sub(r"^(\d{3}), message='([^']*)'?.*", r"HTTP \1 \2", plain)
    for mark in (": GET /", ": If the state", " 127.0.0.1", " (last error", " (message=", ": <"):
        plain = plain.partition(mark)[0]
    return plain if len(plain) <= MAX_ERROR_LENGTH else f"{plain[: MAX_ERROR_LENGTH - 3]}..."


def main() -> None:
    """Run all providers, print the table, and write it to the page."""
    parser = argparse.ArgumentParser(description="The same faults against three providers.")
    parser.add_argument(
        "--provider", choices=PROVIDERS, help="run only this provider, and print JSON"
    )
    parser.add_argument("--faults", default=",".join(FAULTS), help="run only these faults")
    parser.add_argument("--write", type=Path, help="file for the table")
    arguments = parser.parse_args()
    if arguments.provider:
        with isolated():
            results = asyncio.run(run_provider(arguments.provider, arguments.faults.split(",")))
        sys.stdout.write(f"RESULT {json.dumps([asdict(result) for result in results])}\n")
        return
    text = table(run_all(arguments.faults.split(",")))
    sys.stdout.write(f"{text}\n")
    if arguments.write:
        pages.write_part(arguments.write, "peers", text)


if __name__ == "__main__":
    main()
