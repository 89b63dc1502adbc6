"""Bodies of requests: which fields, of which kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.answers import Refusal, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = Callable[[Any], bool]

PLATFORMS = ("Win64", "Linux", "Mac", "Android", "IOS")
CONSOLES = ("PS5", "XSX", "Switch")
BUILD_TYPES = ("Development", "Shipping", "DebugGame", "Test", "Server")
ENGINES = ("5.4", "5.3", "5.2", "5.1")
TRIGGERS = ("manual", "push", "scheduled")


def text(value: Any) -> bool:
    """Accept text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def number(value: Any) -> bool:
    """Accept a positive whole number."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def truth(value: Any) -> bool:
    """Accept true or false."""
    return isinstance(value, bool)


def mapping(value: Any) -> bool:
    """Accept an object."""
    return isinstance(value, dict)


def one_of(*words: str) -> Rule:
    """Accept one of some words."""
    return lambda value: value in words


def like(pattern: str) -> Rule:
    """Accept text of a certain form."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def or_none(rule: Rule) -> Rule:
    """Accept null as well."""
    return lambda value: value is None or rule(value)


commit = like(r"[0-9a-fA-F]{7,40}")
stream = like(r"//[^/\s]+(/[^/\s]+)+")
web_address = like(r"https?://\S+")


def check(
    body: Mapping[str, Any],
    required: Mapping[str, Rule],
    optional: Mapping[str, Rule],
    *,
    strict: bool = False,
) -> dict[str, Any]:
    """Return the fields that are known, or refuse the body."""
    if missing := sorted(set(required) - set(body)):
        raise invalid(f"Missing: {', '.join(missing)}.")
    rules = {**required, **optional}
    if strict and (unknown := sorted(set(body) - set(rules))):
        raise invalid(f"Unknown: {', '.join(unknown)}.")
    known = {name: value for name, value in body.items() if name in rules}
    for name, value in known.items():
        if not rules[name](value):
            raise invalid(f"{name} cannot be {value!r}.")
    return known


def check_engine(version: object) -> None:
    """Refuse an engine that is not supported."""
    if version not in ENGINES:
        raise Refusal(400, "engine_not_found", f"Unreal Engine {version} is not supported.")
