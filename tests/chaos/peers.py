"""The sandbox's faults over HTTP against our trigger, dbt Cloud's and Databricks'.

    python -m tests.chaos.peers [--write docs/chaos.md]

Each trigger runs with the settings that its operator gives it by default. For each fault it waits
for a run of its own: the fault strikes every request from 50 seconds after the first for 20
seconds, or for 90, and heals; the run ends well 150 seconds after the first request. Each
provider has a process of its own.
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

from airflow_provider_buildpixel.sandbox.faults import KINDS
from tests.chaos.contenders import Ours, Theirs
from tests.chaos.setting import ROOT, isolated, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


BEGIN, FINISH, END = 50.0, 150.0, 290.0
"""Seconds after the first request at which the trouble begins, the run ends, and nobody looks."""

LENGTHS = (20.0, 90.0)
"""Seconds for which the trouble lasts."""

OF_LISTS = ("endless-pages",)
FAULTS = (
    "none",
    *(name for name, kind in KINDS.items() if kind.place == "http" and name not in OF_LISTS),
    "refuse-connections",
)
CONTENDERS = {
    "socket": "ours, over the socket",
    "polling": "ours, polling",
    "dbt": "dbt Cloud",
    "databricks": "Databricks",
}
PACKAGES = {
    "dbt": "apache-airflow-providers-dbt-cloud",
    "databricks": "apache-airflow-providers-databricks",
}
LONGEST = 48
"""Characters of an error in a cell."""

PARAMS: dict[str, dict[str, Any]] = {"slow": {"delay": 5.0}, "stale": {"lag": 10.0}}


@dataclass(frozen=True)
class Ended:
    """How a wait ended.

    :param hits: how many requests were struck.
    :param what: ``right``, ``waits`` if it did not end, else what it failed with.
    :param after: seconds from the run's end, or before it if negative.
    """

    contender: str
    fault: str
    length: float
    hits: int
    what: str
    after: float


async def suffer(case: Ours | Theirs, contender: str, fault: str, length: float) -> Ended:
    """Let one wait go through one trouble."""
    wait = asyncio.ensure_future(case.wait())
    while not case.read_requested and not wait.done():  # another thread is asked
        await asyncio.sleep(0.05)
    began = time.monotonic()
    watch = asyncio.ensure_future(_trouble(case, fault, length))
    done, _ = await asyncio.wait([wait], timeout=END)
    ended = time.monotonic()
    wait.cancel()
    hits = await watch
    return Ended(contender, fault, length, hits, _said(wait, done), ended - began - FINISH)


def _said(wait: asyncio.Future[str], done: set[Any]) -> str:
    if wait not in done:
        return "waits"
    error = wait.exception()
    return wait.result() if error is None else f"{type(error).__name__}: {error}"[:200]


async def _trouble(case: Ours | Theirs, fault: str, length: float) -> int:
    """Strike, heal, and let the run end well; give how many requests were struck."""
    ordered = None
    await asyncio.sleep(BEGIN)
    if fault != "none":
        order = partial(case.fault, fault, **PARAMS.get(fault, {}))
        ordered = await asyncio.to_thread(order)
    await asyncio.sleep(length)
    if ordered is not None:
        await asyncio.to_thread(ordered.remove)
    await asyncio.sleep(FINISH - BEGIN - length)
    case.finish()
    return ordered.hits if ordered is not None else 0


async def contend(contender: str, faults: Iterable[str]) -> list[Ended]:
    """Let one contender go through all faults, all at once in one loop."""
    make: Callable[..., Ours | Theirs] = Ours if contender in {"socket", "polling"} else Theirs
    chosen = list(product(faults, LENGTHS))
    with ExitStack() as stack:
        cases = [make(contender, stack, f"peer_{number}") for number, _ in enumerate(chosen)]
        waits = [suffer(case, contender, *which) for case, which in zip(cases, chosen, strict=True)]
        return await asyncio.gather(*waits)


def run_all(faults: Iterable[str]) -> list[Ended]:
    """Run each contender that is installed in a process of its own, all at once."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.peers", "--faults"]
    processes = [
        subprocess.Popen(
            [*command, ",".join(faults), "--contender", name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in CONTENDERS
        if installed(name) is not None
    ]
    found = []
    for process in processes:
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        found += [Ended(**one) for one in json.loads(said.rpartition("RESULT ")[2])]
    return found


def installed(contender: str) -> str | None:
    """Give the version of a contender's package, None if it is not here."""
    try:
        return version(PACKAGES.get(contender, "airflow-provider-buildpixel"))
    except PackageNotFoundError:
        return None


def table(found: list[Ended]) -> str:
    """Render the table."""
    names = [name for name in CONTENDERS if any(one.contender == name for one in found)]
    heads = [
        f"{CONTENDERS[name]} {installed(name)}, {length:g} s"
        for name, length in product(names, LENGTHS)
    ]
    lines = [f"| fault | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    by_key = {(one.contender, one.fault, one.length): one for one in found}
    for fault in dict.fromkeys(one.fault for one in found):
        cells = [cell(by_key[name, fault, length]) for name, length in product(names, LENGTHS)]
        lines.append(f"| `{fault}` | {' | '.join(cells)} |")
    rights = [
        sum(one.what == "right" for one in found if (one.contender, one.length) == key)
        for key in product(names, LENGTHS)
    ]
    faults = len(dict.fromkeys(one.fault for one in found))
    lines.append(f"| **right, of {faults}** | {' | '.join(f'**{count}**' for count in rights)} |")
    return "\n".join(lines)


def cell(one: Ended) -> str:
    """Say how one wait ended."""
    if one.what == "right":
        felt = "" if one.hits or one.fault in {"none", "refuse-connections"} else ", not felt"
        return f"right, {one.after:.0f} s{felt}"
    return "still waits" if one.what == "waits" else f"**fails**: {reason(one.what)}"


def reason(said: str) -> str:
    """Shorten an error to what a cell of a table can hold, without the ids of one run."""
    plain = " ".join(said.replace("|", "/").split())
    plain = re.sub(r"^(\d{3}), message='([^']*)'?.*", r"HTTP \1 \2", plain)
    for mark in (": GET /", ": If the state", " 127.0.0.1", " (last error", " (message=", ": <"):
        plain = plain.partition(mark)[0]
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description="The same faults against three providers.")
    parser.add_argument("--contender", choices=CONTENDERS, help="run this one, and print JSON")
    parser.add_argument("--faults", default=",".join(FAULTS), help="run these only")
    parser.add_argument("--write", type=Path, help="file for the table")
    given = parser.parse_args()
    if given.contender:
        with isolated():
            found = asyncio.run(contend(given.contender, given.faults.split(",")))
        sys.stdout.write(f"RESULT {json.dumps([asdict(one) for one in found])}\n")
        return
    text = table(run_all(given.faults.split(",")))
    sys.stdout.write(f"{text}\n")
    if given.write:
        written(given.write, "peers", text)


if __name__ == "__main__":
    main()
