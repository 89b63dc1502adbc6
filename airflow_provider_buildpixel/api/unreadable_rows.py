"""Logs rows of lists that cannot be read and were left out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.endpoints import Page

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call


log = logging.getLogger(__name__)


class UnreadableRows:
    """Logs that a list has unreadable rows, once for each list and client."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, call: Call[Any], answer: Any) -> None:
        """Log unreadable rows of an answer, if it is a page that has some."""
        if not isinstance(answer, Page) or not answer.unreadable or call.route in self._logged:
            return
        self._logged.add(call.route)
        log.warning(
            "%s: %d rows of BuildPixel's list cannot be read and are left out; further ones are "
            "not logged",
            call.title,
            answer.unreadable,
        )
