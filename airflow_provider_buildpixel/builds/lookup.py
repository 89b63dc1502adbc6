"""From what a DAG author writes to one project and one build setting, or to a helpful refusal."""

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
CANDIDATES_SHOWN = 20


def checked_project(wanted: Any) -> str:
    """Read which project a DAG author wants; a number is what a template made of an id.

    :raises InvalidRequest: it is empty, which is what a template makes of what is not there.
    """
    usable = isinstance(wanted, str | int) and not isinstance(wanted, bool)
    text = str(wanted).strip() if usable else ""
    if text in {"", "None"}:
        raise InvalidRequest(
            f"project is {wanted!r}; give an id or a name, and check what its template rendered to"
        )
    return text


def looks_like_id(text: str) -> bool:
    """Tell whether a text has the form of an id, so that reading it directly is worth a try."""
    return bool(_ID.fullmatch(text))


def find_project(name: str, projects: Iterable[Project]) -> Project:
    """Find the one project of this id or exact name."""
    candidates, by_id, by_name = _Candidates(), _Candidates(), _Candidates()
    for project in projects:
        candidates.add(project)
        if name == project.id:
            by_id.add(project)
        if name == project.name:
            by_name.add(project)
    found = by_id if by_id.count else by_name
    if found.count == 1:
        return found.first[0]
    if found.count:
        raise InvalidRequest(
            f"{found.count} BuildPixel projects are called {name!r}; give the id of one: {found}"
        )
    raise NotFound(f"no BuildPixel project is called {name!r}; this token sees: {candidates}")


class _Candidates:
    """Some of very many projects, and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Project] = []

    def add(self, project: Project) -> None:
        self.count += 1
        if self.count <= CANDIDATES_SHOWN:
            self.first.append(project)

    def __str__(self) -> str:
        return _list_titles([project.title for project in self.first], self.count)


def parse_selector(wanted: Any) -> Mapping[str, Any]:
    """Read what a DAG author gave: fields, fields as templated JSON, or an id."""
    if isinstance(wanted, Mapping):
        return wanted
    text = str(wanted or "").strip()
    if text.startswith("{"):
        try:
            return fields.mapping(json.loads(text), "a build setting's selector")
        except ValueError:
            raise InvalidRequest(f"build_setting is no JSON object: {text!r}") from None
    return {"id": text} if text else {}


def find_setting(selector: Mapping[str, Any], settings: Iterable[BuildSetting]) -> BuildSetting:
    """Find the one build setting that has all the fields of the selector."""
    if not selector:
        raise InvalidRequest("build_setting is empty; give an id or fields such as platform")
    known = list(settings)
    found = [setting for setting in known if _matches(setting, selector)]
    if len(found) == 1:
        return found[0]
    wanted = ", ".join(f"{key}={value!r}" for key, value in selector.items())
    listed = found or known
    candidates = _list_titles([setting.title for setting in listed[:CANDIDATES_SHOWN]], len(listed))
    if found:
        raise InvalidRequest(
            f"{len(found)} build settings fit {wanted}; add a field or give an id: {candidates}"
        )
    raise NotFound(f"no build setting fits {wanted}; the project has: {candidates}")


def _matches(setting: BuildSetting, selector: Mapping[str, Any]) -> bool:
    raw = {_normalized_key(key): value for key, value in setting.raw.items()}
    return all(_same_value(raw.get(_normalized_key(key)), value) for key, value in selector.items())


def _normalized_key(key: str) -> str:
    """Make buildType, build_type and buildtype one."""
    return str(key).replace("_", "").lower()


def _same_value(have: Any, want: Any) -> bool:
    """Compare as text, since a templated selector holds nothing else; null is not the text None."""
    if isinstance(have, bool) or isinstance(want, bool):
        return str(have).lower() == str(want).lower()
    if isinstance(have, int | float | str) and isinstance(want, int | float | str):
        return str(have) == str(want)
    return bool(have == want)


def _list_titles(titles: list[str], count: int) -> str:
    more = count - len(titles)
    return ", ".join(titles) + (f" and {more} more" if more > 0 else "") or "none"
