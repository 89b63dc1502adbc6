"""Reading fields out of JSON that may hold anything: the one border where types are checked."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from airflow_provider_buildpixel.api.errors import UnexpectedAnswer

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}")
"""Ids are URL-safe; users make file names of them, so that no other is let in."""


def mapping(data: Any, what: str) -> dict[str, Any]:
    """Give the JSON object, or say that ``what`` was expected to be one."""
    if isinstance(data, dict):
        return data
    raise UnexpectedAnswer(f"BuildPixel's answer is not {what}: it is {json_type(data)}")


def items(data: Any, what: str) -> list[Any]:
    """Give the members of a bare list or of a page; for build settings either may come."""
    found = data.get("items") if isinstance(data, dict) else data
    if isinstance(found, list):
        return found
    if isinstance(data, dict) and found is None and "items" in data:
        return []  # as some servers write a list without members
    raise UnexpectedAnswer(f"BuildPixel's answer is not a list of {what}: it is {json_type(data)}")


def required(data: dict[str, Any], key: str, what: str) -> str:
    """Give a text field that nothing can go on without; a number in its place is none."""
    value = data.get(key)
    if isinstance(value, str) and value:
        return value
    raise UnexpectedAnswer(f"BuildPixel's answer for {what} has no usable {key!r}")


def identifier(data: dict[str, Any], key: str, what: str) -> str:
    """Give an id that nothing can go on without, and that is safe wherever it is put.

    A number in its place is none: whoever believed it would wait for a build that never was.
    """
    value = data.get(key)
    if isinstance(value, str) and (found := reference(value)):
        return found
    raise UnexpectedAnswer(f"BuildPixel's answer for {what} has no usable {key!r}")


def reference(value: Any) -> str | None:
    """Give the id of something else, None for what is no id."""
    found = text(value)
    return found if found and _ID.fullmatch(found) else None


def text(value: Any) -> str | None:
    """Give a string; a number becomes one, anything else None."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def flag(value: Any) -> bool:
    """Give a boolean; what is not one counts as false."""
    return value is True


def number(value: Any) -> float | None:
    """Give a finite number, also one that came as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """Give a whole number, exactly where it came as one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number(value)
    return None if found is None else int(found)


def instant(value: Any) -> datetime | None:
    """Give an ISO 8601 instant in UTC; without a zone it is taken as UTC."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def json_type(data: Any) -> str:
    """Name the JSON type of a value, which is all of it that an error message shows."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(data), "null" if data is None else "a number")


def camel(name: str) -> str:
    """Turn Python's spelling of a field into the wire's; the wire's own passes through."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def request_body(values: dict[str, Any]) -> dict[str, Any]:
    """Turn keyword arguments into a body: camelCase, and without what was not given."""
    return {camel(name): value for name, value in values.items() if value is not None}
