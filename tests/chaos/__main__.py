"""Runs the whole matrix: ``python -m tests.chaos [--only TEXT] [--write docs/chaos.md]``."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from tests.bench import pages
from tests.chaos.isolation import isolated
from tests.chaos.rules import Impossible
from tests.chaos.table import PHASES, cells, possible, rows

if TYPE_CHECKING:
    from tests.chaos.run_cells import CellResult
    from tests.chaos.table import Cell

CONCURRENCY = 32


def page(results: list[CellResult], seconds: float) -> str:
    """Return the generated part of the page."""
    all_cells = cells()
    reasons = Counter(cell.end.reason for cell in all_cells if isinstance(cell.end, Impossible))
    letters = dict(zip(reasons, ascii_lowercase, strict=False))
    lines = [
        f"{len(all_cells)} cells; {reasons.total()} cannot happen; {summary(results, seconds)}",
        "",
        f"| fault | {' | '.join(PHASES)} |",
        "|---" * (len(PHASES) + 1) + "|",
        *table(results, letters),
        "",
        "Cells that cannot happen, including those impossible in one mode or channel only:",
        "",
        *(f"- *{letters[reason]}*: {reason} ({count})" for reason, count in reasons.items()),
    ]
    return "\n".join(lines)


def summary(results: list[CellResult], seconds: float) -> str:
    """Return a summary of the results."""
    from airflow import __version__ as airflow

    as_expected = sum(not result.problems for result in results)
    extra = sum(result.builds > result.cell.builds for result in results)
    return (
        f"{len(results)} were run in {seconds:.0f} s, {CONCURRENCY} at a time; {as_expected} ended "
        f"as expected. {sum(result.builds for result in results)} builds were started; cells with "
        f"an extra build: {extra}. Python {platform.python_version()}, Airflow {airflow}."
    )


def table(results: list[CellResult], letters: dict[str, str]) -> list[str]:
    """Return a line for each fault: the end, and the longest duration of all modes."""
    longest: dict[tuple[str, str], float] = defaultdict(float)
    for result in results:
        key = str(result.cell.row), result.cell.phase
        longest[key] = max(longest[key], result.seconds)
    lines = []
    for row in rows():
        ends = []
        for phase in PHASES:
            end = row.rule.end(phase)
            if isinstance(end, Impossible):
                ends.append(f"*{letters[end.reason]}*")
            else:
                ends.append(f"{end.text}, {longest[str(row), phase]:.1f} s")
        lines.append(f"| {row} | {' | '.join(ends)} |")
    return lines


def matching_cells(text: str) -> tuple[Cell, ...]:
    """Return the cells whose name contains a text."""
    return tuple(cell for cell in possible(cells()) if text in str(cell))


def main() -> int:
    """Run the cells, print differences, write the page; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Every fault in every phase of a task.")
    parser.add_argument("--only", default="", help="run cells whose name contains this")
    parser.add_argument("--write", type=Path, help="file for the table")
    arguments = parser.parse_args()
    began = time.monotonic()
    results = []
    with isolated():
        from tests.chaos.run_cells import run_cells

        for result in run_cells(matching_cells(arguments.only), CONCURRENCY):
            results.append(result)
            text = "; ".join(result.problems) or "as expected"
            sys.stdout.write(f"{result.cell}: {text}, {result.seconds:.1f} s\n")
        text = page(results, time.monotonic() - began)
    sys.stdout.write(f"{text}\n")
    if arguments.write:
        pages.write_part(arguments.write, "matrix", text)
    return int(any(result.problems for result in results))


if __name__ == "__main__":
    sys.exit(main())
