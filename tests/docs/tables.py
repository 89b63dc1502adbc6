"""Tables of the documentation that tests make: each stands between two comments of its page."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def read_table(page: str, name: str) -> str:
    """Return a table of a page."""
    _, table, _ = _split(page, name)
    return table.strip()


def write_table(page: str, name: str, table: str) -> None:
    """Replace a table of a page."""
    before, _, after = _split(page, name)
    (ROOT / page).write_text(f"{before}\n{table}\n{after}")


def _split(page: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
    before, _, rest = (ROOT / page).read_text().partition(begin)
    table, _, after = rest.partition(end)
    assert after, f"{page} has no table {name}"
    return before + begin, table, end + after
