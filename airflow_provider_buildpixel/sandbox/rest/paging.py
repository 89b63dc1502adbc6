"""Paged lists with opaque cursors."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.world.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.variants import Variants

DEFAULT_LIMIT = 25
MAX_LIMIT = 100

# A prefix of the encoded key, so that no other base64 text is a valid cursor.
_PREFIX = b"cursor:"


def page(
    variants: Variants, request: ApiRequest, items: Iterable[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """Return one page of items.

    :param items: the items after the cursor, each with its key.
    """
    limit = _limit(request)
    shown = list(islice(items, limit + 1))
    more = len(shown) > limit or (variants.last_page == "empty" and len(shown) == limit)
    shown = shown[:limit]
    return {
        "items": [item for _, item in shown],
        "nextCursor": _cursor(shown[-1][0]) if more else None,
    }


def cursor_key(request: ApiRequest) -> str | None:
    """Return the key in the cursor of a request, None for the first page."""
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


def ascending(keys: Sequence[str], start: str | None) -> Iterator[str]:
    """Yield the sorted keys after one of them."""
    first = 0 if start is None else bisect_right(keys, start)
    return (keys[n] for n in range(first, len(keys)))


def descending(keys: Sequence[str], start: str | None) -> Iterator[str]:
    """Yield the sorted keys before one of them, in descending order."""
    first = len(keys) if start is None else bisect_left(keys, start)
    return (keys[n] for n in range(first - 1, -1, -1))


def by_rank(keys: Sequence[str], start: str | None, rank: Callable[[str], object]) -> Iterator[str]:
    """Yield the keys after one of them, ordered by rank."""
    ordered = sorted(keys, key=rank)  # type: ignore[arg-type]
    first = 0 if start is None or start not in ordered else ordered.index(start) + 1
    return iter(ordered[first:])


def _limit(request: ApiRequest) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid(f"limit is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(_PREFIX + key.encode()).decode().rstrip("=")
