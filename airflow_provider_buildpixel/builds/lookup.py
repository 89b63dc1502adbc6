"""Finds the one project and build setting that a Dag author names, or explains what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import BuildSetting, Project


_ID = re.compile(r"[A-Za-z0-9_-]{24}")
MAX_CANDIDATES = 20
"""Projects or build settings that an error lists."""


def checked_project(given: Any) -> str:
    """Return the ``project`` that a Dag author gave, as text.

    :param given: an id or a name; a template may have rendered an id to a number.
    :raises InvalidRequest: it is empty, for example because its template rendered to nothing.
    """
    has_right_type = isinstance(given, str | int) and not isinstance(given, bool)
    text = str(given).strip() if has_right_type else ""
    if text in {"", "None"}:
        raise InvalidRequest(
            f"project is {given!r}; give an id or a name, and check what its template rendered to"
        )
    return text


def looks_like_id(text: str) -> bool:
    """Return whether a text has the form of an id, so that it is worth trying to read."""
    return bool(_ID.fullmatch(text))


def find_project(name: str, projects: Iterable[Project]) -> Project:
    """Return the one project with this id or exact name; an id takes precedence.

    :raises NotFound: there is none; the message lists the projects.
    :raises InvalidRequest: several have this name.
    """
    first: list[str] = []  # there may be very many projects
    by_id: list[Project] = []
    by_name: list[Project] = []
    count = 0
    for project in projects:
        count += 1
        if count <= MAX_CANDIDATES:
            first.append(project.title)
        if name == project.id:
            by_id.append(project)
        if name == project.name:
            by_name.append(project)
    found = by_id or by_name
    if len(found) == 1:
        return found[0]
    if found:
        titles = [project.title for project in found[:MAX_CANDIDATES]]
        raise InvalidRequest(
            f"{len(found)} BuildPixel projects have the name {name!r}; give the id of one: "
            f"{_list_titles(titles, len(found))}"
        )
    raise NotFound(
        f"no BuildPixel project has the id or exact name {name!r}; this token can read: "
        f"{_list_titles(first, count)}"
    )


def parse_selector(given: Any) -> Mapping[str, Any]:
    """Return the ``build_setting`` that a Dag author gave as a mapping of fields.

    :param given: a mapping, a mapping as JSON text (from a template), or an id.
    :raises InvalidRequest: the JSON text is invalid.
    """
    if isinstance(given, Mapping):
        return given
    text = str(given or "").strip()
    if text.startswith("{"):
        try:
            return fields.json_object(json.loads(text), "a build setting's selector")
        except ValueError:
            raise InvalidRequest(f"build_setting is not a JSON object: {text!r}") from None
    return {"id": text} if text else {}


def find_setting(selector: Mapping[str, Any], settings: Iterable[BuildSetting]) -> BuildSetting:
    """Return the one build setting that has all the fields of the selector.

    :raises NotFound: none has them; the message lists the build settings.
    :raises InvalidRequest: several have them, or the selector is empty.
    """
    if not selector:
        raise InvalidRequest("build_setting is empty; give an id, or fields such as platform")
    known = list(settings)
    found = [setting for setting in known if _matches(setting, selector)]
    if len(found) == 1:
        return found[0]
    criteria = ", ".join(f"{key}={value!r}" for key, value in selector.items())
    listed = found or known
    candidates = _list_titles([setting.title for setting in listed[:MAX_CANDIDATES]], len(listed))
    if found:
        raise InvalidRequest(
            f"{len(found)} build settings match {criteria}; add a field or give an id: {candidates}"
        )
    raise NotFound(f"no build setting matches {criteria}; the project has: {candidates}")


def _matches(setting: BuildSetting, selector: Mapping[str, Any]) -> bool:
    raw = {_normalized_key(key): value for key, value in setting.raw.items()}
    return all(_same_value(raw.get(_normalized_key(key)), value) for key, value in selector.items())


def _normalized_key(key: str) -> str:
    """Return the key so that ``buildType``, ``build_type`` and ``buildtype`` are equal."""
    return str(key).replace("_", "").lower()


def _same_value(actual: Any, wanted: Any) -> bool:
    """Compare values as text, because templates render to text; null is not the text ``None``."""
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return str(actual).lower() == str(wanted).lower()
    if isinstance(actual, int | float | str) and isinstance(wanted, int | float | str):
        return str(actual) == str(wanted)
    return bool(actual == wanted)


def _list_titles(titles: list[str], count: int) -> str:
    more = count - len(titles)
    return ", ".join(titles) + (f" and {more} more" if more > 0 else "") or "none"
