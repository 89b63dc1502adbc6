"""Writes the messages of a wait to a task's log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.waits.reporter import LogMessage


LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def log_writer(log: Any) -> Callable[[LogMessage], None]:
    """Return a function that writes each message to the log.

    :param log: the logger of a task or trigger.
    """

    def write(message: LogMessage) -> None:
        log.log(LEVELS[message.level], "%s", message.text)

    return write
