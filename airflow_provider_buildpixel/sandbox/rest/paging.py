"""Paged lists with opaque cursors."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.sandbox.world.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.variants import Variants

Row = TypeVar("Row")

DEFAULT_LIMIT = 25
MAX_LIMIT = 100

# A prefix of the encoded text, so that no other base64 text is a valid cursor.
_PREFIX = b"cursor:"


def page(
    variants: Variants,
    request: ApiRequest,
    rows: Callable[[str | None], Iterable[tuple[str, Row]]],
    item: Callable[[Row], Any],
) -> dict[str, Any]:
    """Return one page of a list.

    :param rows: returns the rows after a key, or all of them for None, each with its key.
    :param item: converts a row to the item that is sent.
    """
    limit, cursor = _limit(request), _cursor_text(request)
    by_offset = variants.cursor == "offset"
    skipped = _offset(cursor) if by_offset else 0
    following = islice(rows(None), skipped, None) if by_offset else rows(cursor)
    shown = list(islice(following, limit + 1))
    more = len(shown) > limit or (variants.last_page == "empty" and len(shown) == limit)
    shown = shown[:limit]
    end = None
    if more:
        end = _cursor(str(skipped + limit) if by_offset else shown[-1][0])
    return {"items": [item(row) for _, row in shown], "nextCursor": end}


def ascending(keys: Sequence[str], start: str | None) -> Iterator[str]:
    """Yield the sorted keys after one of them."""
    first = 0 if start is None else bisect_right(keys, start)
    return (keys[n] for n in range(first, len(keys)))


def _cursor_text(request: ApiRequest) -> str | None:
    """Return the text in the cursor of a request, None for the first page."""
    cursor = request.query.get("cursor")
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("This cursor is not one of ours.") from error
    if not text.startswith(_PREFIX):
        raise invalid("This cursor is not one of ours.")
    return text[len(_PREFIX) :].decode("utf-8", "replace")


def _offset(text: str | None) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise invalid("This cursor is not one of ours.")
    return int(text)


def _limit(request: ApiRequest) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid(f"limit is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(_PREFIX + text.encode()).decode().rstrip("=")
