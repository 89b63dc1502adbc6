"""Why tries ended that were not the last: by their logs, since the database keeps no reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CUT_OFF = "cut off without a word"


def log_of(logs: Path, run_id: str, index: int, number: int) -> Path:
    """Give the file in which Airflow logs one try."""
    folder = logs / "dag_id=cluster_load" / f"run_id={run_id}" / "task_id=build"
    return folder / f"map_index={index}" / f"attempt={number}.log"


def reason(lines: Iterable[str]) -> str:
    """Name the last exception in a log; a process that was killed leaves none."""
    found = CUT_OFF
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
    """Read a log, if the try came as far as to have one."""
    if not log.exists():
        return "never started"
    with log.open(errors="replace") as lines:
        return reason(lines)
