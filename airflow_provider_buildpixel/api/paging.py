"""Reads lists page by page, and other things that need several requests.

They are written as a generator of calls (:data:`Steps`), which the blocking and the asyncio client
both perform.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic

from airflow_provider_buildpixel.api.endpoints import Call, T
from airflow_provider_buildpixel.api.errors import BuildPixelError, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.endpoints import Page


Steps = Generator[Call[Any], Any, T]
"""Calls to perform one after the other. Each ``yield`` returns the answer or raises its error.

A client performs them with its method ``run``, which returns the value that the steps return.
"""

MAX_PAGES = 10_000
"""Maximum pages of a list; a longer list is treated as endless."""


class Pager(Generic[T]):
    """Reads a list page by page; ``call`` is the next call to perform, None after the last page."""

    def __init__(self, call: Call[Page[T]]) -> None:
        self.call: Call[Page[T]] | None = call
        self._first = call
        self.pages = 0
        """The number of pages that were read."""
        self._cursors: set[str] = set()
        self._ids: set[Any] = set()

    @property
    def is_at_end(self) -> bool:
        """Whether the last page was read."""
        return self.call is None

    def take_page(self, page: Page[T]) -> tuple[T, ...]:
        """Return the items of a page that no earlier page had, and set the next call.

        :raises UnexpectedAnswer: the cursor repeats, or the list has too many pages.
        """
        self.pages += 1
        items = tuple(item for item in page.items if self._is_new(item))
        cursor = page.next_cursor
        if cursor is None:
            self.call = None
            return items
        if cursor in self._cursors or self.pages >= MAX_PAGES:
            raise UnexpectedAnswer(
                f"{self._first.title}: BuildPixel's list does not end: a cursor was repeated, or "
                f"there are more than {MAX_PAGES} pages; use a filter to shorten it"
            )
        self._cursors.add(cursor)
        self.call = replace(self._first, query=(*self._first.query, ("cursor", cursor)))
        return items

    def _is_new(self, item: Any) -> bool:
        """Return whether an item was not seen before; a cursor that counts rows repeats some."""
        item_id = item.get("id") if isinstance(item, dict) else getattr(item, "id", None)
        if item_id is None:
            return True
        is_new = item_id not in self._ids
        self._ids.add(item_id)
        return is_new


def run_steps(steps: Steps[T], perform: Callable[[Call[Any]], Any]) -> T:
    """Perform the calls of some steps one after the other, and return their value.

    :param perform: sends a request and returns its parsed answer.
    """
    try:
        call = next(steps)
        while True:
            try:
                answer = perform(call)
            except BuildPixelError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value


def at_most(count: int, steps: Steps[T]) -> Steps[T | None]:
    """Return the value of some steps; None if they need more calls than ``count``."""
    try:
        call = next(steps)
        for _ in range(count):
            try:
                answer = yield call
            except BuildPixelError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    steps.close()
    return None
