"""Lists in pages, with cursors that mean nothing to anyone else."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.answers import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.variants import Variants

DEFAULT_LIMIT = 25
MOST = 100

# Makes cursors useless for those who would take them apart.
_SALT = b"cursor:"


def page(
    variants: Variants, ask: Ask, items: Iterable[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """Return the first page of what follows the cursor; each item comes with its key."""
    limit = _limit(ask)
    shown = list(islice(items, limit + 1))
    more = len(shown) > limit or (variants.last_page == "empty" and len(shown) == limit)
    shown = shown[:limit]
    return {
        "items": [item for _, item in shown],
        "nextCursor": _cursor(shown[-1][0]) if more else None,
    }


def after(ask: Ask) -> str | None:
    """Return the key at which the cursor of a request points."""
    cursor = ask.query.get("cursor")
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("This cursor is not one of ours.") from error
    if not text.startswith(_SALT):
        raise invalid("This cursor is not one of ours.")
    return text[len(_SALT) :].decode("utf-8", "replace")


def ascending(keys: Sequence[str], start: str | None) -> Iterator[str]:
    """Yield sorted keys that follow one of them."""
    first = 0 if start is None else bisect_right(keys, start)
    return (keys[n] for n in range(first, len(keys)))


def descending(keys: Sequence[str], start: str | None) -> Iterator[str]:
    """Yield sorted keys that precede one of them, backwards."""
    first = len(keys) if start is None else bisect_left(keys, start)
    return (keys[n] for n in range(first - 1, -1, -1))


def shuffled(
    keys: Sequence[str], start: str | None, rank: Callable[[str], object]
) -> Iterator[str]:
    """Yield keys in an order of no meaning, which holds from page to page."""
    ordered = sorted(keys, key=rank)  # type: ignore[arg-type]
    first = 0 if start is None or start not in ordered else ordered.index(start) + 1
    return iter(ordered[first:])


def _limit(ask: Ask) -> int:
    text = ask.query.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise invalid(f"limit is a number from 1 to {MOST}.")
    return int(text)


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(_SALT + key.encode()).decode().rstrip("=")
