"""Reads fields of untrusted JSON: the only place where the types of a response are checked."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from airflow_provider_buildpixel.api.errors import UnexpectedAnswer

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}")
"""Ids are URL-safe. Users put them into file names, so every other id is rejected."""


def json_object(data: Any, what: str) -> dict[str, Any]:
    """Return the JSON object.

    :param what: what the object describes, for the error message.
    :raises UnexpectedAnswer: the value is not an object.
    """
    if isinstance(data, dict):
        return data
    raise UnexpectedAnswer(f"BuildPixel's answer is not {what}: it is {json_type(data)}")


def items(data: Any, what: str) -> list[Any]:
    """Return the items of a bare list or of a page; build settings come in either form.

    :raises UnexpectedAnswer: the value is neither.
    """
    found = data.get("items") if isinstance(data, dict) else data
    if isinstance(found, list):
        return found
    if isinstance(data, dict) and found is None and "items" in data:
        return []  # some servers write an empty list as null
    raise UnexpectedAnswer(f"BuildPixel's answer is not a list of {what}: it is {json_type(data)}")


def required_text(data: dict[str, Any], key: str, what: str) -> str:
    """Return a required string field.

    :raises UnexpectedAnswer: it is missing, empty or not a string.
    """
    value = data.get(key)
    if isinstance(value, str) and value:
        return value
    raise UnexpectedAnswer(f"BuildPixel's answer for {what} has no usable {key!r}")


def required_id(data: dict[str, Any], key: str, what: str) -> str:
    """Return a required id, which is safe in URLs and file names.

    A number is not accepted: a wait for it would wait for a build that does not exist.

    :raises UnexpectedAnswer: it is missing or not a valid id.
    """
    value = data.get(key)
    if isinstance(value, str) and (found := optional_id(value)):
        return found
    raise UnexpectedAnswer(f"BuildPixel's answer for {what} has no usable {key!r}")


def optional_id(value: Any) -> str | None:
    """Return the value if it is a valid id, else None."""
    found = text(value)
    return found if found and _ID.fullmatch(found) else None


def optional_object(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a nested JSON object, or an empty one if it is missing or not an object."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """Return a string, or a whole number as a string; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def boolean(value: Any) -> bool:
    """Return a boolean; anything else counts as false."""
    return value is True


def number(value: Any) -> float | None:
    """Return a finite number, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def integer(value: Any) -> int | None:
    """Return a whole number, exact if the value is an integer; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number(value)
    return None if found is None else int(found)


def timestamp(value: Any) -> datetime | None:
    """Return an ISO 8601 timestamp in UTC, which is also assumed where the zone is missing."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def changelist(raw: dict[str, Any]) -> str | None:
    """Return a build's changelist, whose field the documentation does not name.

    It is searched under every key that could mean a changelist; a number is preferred, since the
    description of the changelist may come first.
    """
    found = []
    for key, value in raw.items():
        name = key.lower().replace("_", "")
        if "changelist" in name or name in {"cl", "change", "p4change"}:
            nested = value.get("id") or value.get("number") if isinstance(value, dict) else value
            found += [candidate] if (candidate := text(nested)) else []
    return next((one for one in found if one.isdecimal()), found[0] if found else None)


def json_type(data: Any) -> str:
    """Return the name of a value's JSON type; error messages show this instead of the value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(data), "null" if data is None else "a number")


def camel(name: str) -> str:
    """Convert a snake_case field name to camelCase; a camelCase name stays as it is."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def request_body(values: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as a JSON body: camelCase names, without None values."""
    return {camel(name): value for name, value in values.items() if value is not None}
