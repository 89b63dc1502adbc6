"""Pages of the docs that contain generated text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARK = "<!-- measured -->"


def write(page: Path, measured: str) -> None:
    """Replace the part of a page below its mark."""
    head, mark, _ = page.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK}")
    page.write_text(f"{head}{MARK}\n\n{measured}\n")


def write_part(page: Path, part: str, text: str) -> None:
    """Replace one part of a page, between its two marks."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
