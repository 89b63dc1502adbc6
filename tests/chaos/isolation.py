"""A temporary Airflow home for the programs of this folder."""

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
    """Set a temporary Airflow home, before anything imports Airflow, and disable its logs.

    Deferred tasks resume without a delay: there is no scheduler that could mistake them for failed.
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
