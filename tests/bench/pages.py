"""Pages of the docs whose end a benchmark writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARK = "<!-- measured -->"


def write(page: Path, measured: str) -> None:
    """Replace what a page has below its mark."""
    head, mark, _ = page.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK}")
    page.write_text(f"{head}{MARK}\n\n{measured}\n")
