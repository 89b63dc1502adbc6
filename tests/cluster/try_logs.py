"""Why a try ended, read from its log: the database stores no reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KILLED = "killed, no exception logged"


def log_of(logs: Path, run_id: str, index: int, number: int) -> Path:
    """Return the log file of one try."""
    folder = logs / "dag_id=cluster_load" / f"run_id={run_id}" / "task_id=build"
    return folder / f"map_index={index}" / f"attempt={number}.log"


def reason(lines: Iterable[str]) -> str:
    """Return the name of the last exception in a log; a killed process logs none."""
    found = KILLED
    for entry in _entries(lines):
        details = entry.get("error_detail") or []
        if details:
            found = str(details[0].get("exc_type"))
    return found


def _entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # the kill cut it short
            continue
        if isinstance(entry, dict):
            yield entry


def reason_of(log: Path) -> str:
    """Return the reason from a log file, which exists only if the try was started."""
    if not log.exists():
        return "never started"
    with log.open(errors="replace") as lines:
        return reason(lines)
