"""Validation of request bodies: allowed fields and their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.world.errors import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.sandbox.variants import Variants

Rule = Callable[[Any], bool]

PLATFORMS = ("Win64", "Linux", "Mac", "Android", "IOS")
CONSOLES = ("PS5", "XSX", "Switch")
BUILD_TYPES = ("Development", "Shipping", "DebugGame", "Test", "Server")
ENGINES = ("5.4", "5.3", "5.2", "5.1")
TRIGGERS = ("manual", "push", "scheduled")


def text(value: Any) -> bool:
    """Whether the value is a string that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def number(value: Any) -> bool:
    """Whether the value is a positive integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def boolean(value: Any) -> bool:
    """Whether the value is a boolean."""
    return isinstance(value, bool)


def json_object(value: Any) -> bool:
    """Whether the value is a JSON object."""
    return isinstance(value, dict)


def one_of(*words: str) -> Rule:
    """Return a rule that accepts these words."""
    return lambda value: value in words


def matching(pattern: str) -> Rule:
    """Return a rule that accepts text that matches a pattern."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def nullable(rule: Rule) -> Rule:
    """Return a rule that accepts null as well."""
    return lambda value: value is None or rule(value)


commit = matching(r"[0-9a-fA-F]{6,40}")
changelist_text = matching(r"[1-9][0-9]{0,17}")
stream = matching(r"//[^/\s]+(/[^/\s]+)+")
http_url = matching(r"https?://\S+")


def validate_body(
    variants: Variants,
    body: Mapping[str, Any],
    required: Mapping[str, Rule],
    optional: Mapping[str, Rule],
) -> dict[str, Any]:
    """Return the known fields of a body.

    :raises ApiError: if a required field is missing, a value is not allowed or, under one variant,
        a field is unknown.
    """
    if missing := sorted(set(required) - set(body)):
        raise invalid(f"Missing: {', '.join(missing)}.")
    rules = {**required, **optional}
    if variants.strict_bodies == "yes" and (unknown := sorted(set(body) - set(rules))):
        raise invalid(f"Unknown: {', '.join(unknown)}.")
    known = {name: value for name, value in body.items() if name in rules}
    for name, value in known.items():
        if not rules[name](value):
            raise invalid(f"{name} cannot be {value!r}.")
    return known


def check_engine(version: object) -> None:
    """Raise if the engine version is not supported."""
    if version not in ENGINES:
        raise ApiError(400, "engine_not_found", f"Unreal Engine {version} is not supported.")
