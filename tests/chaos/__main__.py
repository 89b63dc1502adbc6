"""The whole matrix: ``python -m tests.chaos [--only TEXT] [--write docs/chaos.md]``."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from tests.chaos.rules import Never
from tests.chaos.setting import isolated, written
from tests.chaos.table import PHASES, cells, possible, rows

if TYPE_CHECKING:
    from tests.chaos.drive import Outcome
    from tests.chaos.table import Cell

AT_ONCE = 32


def page(outcomes: list[Outcome], seconds: float) -> str:
    """Render what was carried out."""
    everything = cells()
    never = Counter(cell.end.why for cell in everything if isinstance(cell.end, Never))
    letters = dict(zip(never, ascii_lowercase, strict=False))
    lines = [
        f"{len(everything)} cells; {never.total()} cannot happen; {told(outcomes, seconds)}",
        "",
        f"| fault | {' | '.join(PHASES)} |",
        "|---" * (len(PHASES) + 1) + "|",
        *table(outcomes, letters),
        "",
        "Cells that cannot happen, those of one mode or channel only included:",
        "",
        *(f"- *{letters[why]}*: {why} ({count})" for why, count in never.items()),
    ]
    return "\n".join(lines)


def told(outcomes: list[Outcome], seconds: float) -> str:
    """Sum up what was carried out."""
    from airflow import __version__ as airflow

    right = sum(not outcome.problems for outcome in outcomes)
    extra = sum(outcome.builds > outcome.cell.builds for outcome in outcomes)
    return (
        f"{len(outcomes)} were carried out in {seconds:.0f} s, {AT_ONCE} at a time; {right} ended "
        f"as stated. {sum(outcome.builds for outcome in outcomes)} builds were there in the end; "
        f"cells with one too many: {extra}. Python {platform.python_version()}, Airflow {airflow}."
    )


def table(outcomes: list[Outcome], letters: dict[str, str]) -> list[str]:
    """Give a line for each fault: how it ends, and the longest that it took in any mode."""
    longest: dict[tuple[str, str], float] = defaultdict(float)
    for outcome in outcomes:
        key = str(outcome.cell.row), outcome.cell.phase
        longest[key] = max(longest[key], outcome.seconds)
    lines = []
    for row in rows():
        ends = []
        for phase in PHASES:
            end = row.rule.end(phase)
            if isinstance(end, Never):
                ends.append(f"*{letters[end.why]}*")
            else:
                ends.append(f"{end.words}, {longest[str(row), phase]:.1f} s")
        lines.append(f"| {row} | {' | '.join(ends)} |")
    return lines


def chosen(text: str) -> tuple[Cell, ...]:
    """Give the cells whose name has a text in it."""
    return tuple(cell for cell in possible(cells()) if text in str(cell))


def main() -> int:
    """Carry the cells out, print what differs, write the page; 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Every fault in every phase of a task.")
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    parser.add_argument("--write", type=Path, help="file for the table")
    given = parser.parse_args()
    began = time.monotonic()
    outcomes = []
    with isolated():
        from tests.chaos.drive import play_all

        for outcome in play_all(chosen(given.only), AT_ONCE):
            outcomes.append(outcome)
            said = "; ".join(outcome.problems) or "as stated"
            sys.stdout.write(f"{outcome.cell}: {said}, {outcome.seconds:.1f} s\n")
        text = page(outcomes, time.monotonic() - began)
    sys.stdout.write(f"{text}\n")
    if given.write:
        written(given.write, "matrix", text)
    return int(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
