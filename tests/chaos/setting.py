"""What the programs here share: an Airflow of their own, and where they write."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def isolated() -> Iterator[None]:
    """Give Airflow a home of its own, before anything imports it, and keep its logs quiet.

    Deferred tasks come back at once: no scheduler here could mistake them for failed.
    """
    with TemporaryDirectory() as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "-5",
        }
        logging.disable(logging.CRITICAL)
        yield


def written(page: Path, part: str, text: str) -> None:
    """Put a text into its part of a page, between two marks."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
