"""Runs random schedules; prints the first one that violates an invariant, shrunk."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from tests.simulation.coverage import contents_of
from tests.simulation.drawing import schedule_of
from tests.simulation.shrinking import report
from tests.simulation.world.simulation import simulated_time, violation_of

CHUNK = 250
MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")


@dataclass(frozen=True)
class Result:
    """What a run has found.

    :param failing: the seeds of the schedules that violate an invariant.
    :param contents: the number of schedules that contain something.
    """

    first: int
    count: int
    seconds: float
    failing: list[int]
    contents: Counter[str]

    def table(self) -> str:
        """Return the run as a table for the documentation."""
        shares = sorted(self.contents.items(), key=lambda item: (-item[1], item[0]))
        rows = "\n".join(f"| {name} | {100 * n / self.count:.1f} % |" for name, n in shares)
        run = (
            f"| {self.count:,} | {self.first} | {len(self.failing)} | "
            f"{datetime.now(UTC):%Y-%m-%d} | {self.seconds:.0f} |"
        ).replace(",", "\u202f")
        return (
            "| schedules | first seed | violations | date | seconds |\n|---|---|---|---|---|\n"
            f"{run}\n\n| contained in | of the schedules |\n|---|---|\n{rows}"
        )


def run_chunk(seeds: range) -> tuple[list[int], Counter[str]]:
    """Return the seeds of the schedules that violate an invariant, and what all contain."""
    failing, contents = list[int](), Counter[str]()
    gc.freeze()
    gc.disable()  # a simulation is garbage only when it has ended
    with simulated_time():
        for seed in seeds:
            schedule = schedule_of(seed)
            contents.update(contents_of(schedule))
            if violation_of(schedule)[0] is not None:
                failing.append(seed)
    gc.collect()
    return failing, contents


def run(first: int, count: int, processes: int, *, keeps_going: bool) -> Result:
    """Run the schedules of consecutive seeds, and show the progress."""
    began, done, failing = time.monotonic(), 0, list[int]()
    contents = Counter[str]()
    bounds = [*range(first, first + count, CHUNK), first + count]
    chunks = [range(*pair) for pair in pairwise(bounds)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for chunk, (found, counts) in zip(chunks, pool.imap(run_chunk, chunks), strict=True):
            done += len(chunk)
            failing += found
            contents += counts
            rate = done / (time.monotonic() - began)
            progress = f"\r{done} schedules, {rate:.0f} a second, {len(failing)} fail"
            sys.stdout.write(f"{progress} {failing[:10] or ''}")
            sys.stdout.flush()
            if failing and not keeps_going:
                pool.terminate()
                break
    sys.stdout.write("\n")
    return Result(first, done, time.monotonic() - began, failing, contents)


def write_result(page: Path, result: Result) -> None:
    """Put the measured run into a page, between its marks."""
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n{result.table()}\n{MARKS[1]}{after}")


def main() -> int:
    """Run the schedules of the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep-going", action="store_true", help="count all that fail")
    parser.add_argument("--write", type=Path, help="the page to write the result to")
    args = parser.parse_args()
    result = run(args.seed, args.schedules, args.processes, keeps_going=args.keep_going)
    if args.write:
        write_result(args.write, result)
    if not result.failing:
        return 0
    with simulated_time():
        sys.stdout.write(report(schedule_of(result.failing[0])) + "\n")
    seeds = " ".join(map(str, result.failing[:50]))
    sys.stdout.write(f"seeds that fail: {seeds}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
