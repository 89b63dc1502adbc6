"""Every documented endpoint: each function returns a ``Call``, which a client performs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import InvalidRequest, UnexpectedAnswer
from airflow_provider_buildpixel.api.model import (
    Artifact,
    Build,
    BuildSetting,
    Identity,
    Project,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


T = TypeVar("T")

PAGE_SIZE = 100
"""Items of a page to request: the maximum that BuildPixel returns."""

MAX_PAGE_ITEMS = 2_000
"""Maximum items of a page that are parsed."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request to BuildPixel, and how to parse its response.

    :param parse: converts the decoded JSON body to the returned value.
    :param route: the path with placeholders for ids, for messages and metrics.
    """

    method: str
    path: str
    parse: Callable[[Any], T] = field(compare=False)
    route: str = field(default="", compare=False)
    query: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be repeated when the outcome is unknown: only reads may."""
        return self.method == "GET"

    @property
    def title(self) -> str:
        """The name of the request in messages."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next page.

    :param unreadable: number of its rows that cannot be read and are left out.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
    unreadable: int = 0

    @classmethod
    def from_json(cls, data: Any, parse_item: Callable[[Any], T], what: str) -> Page[T]:
        """Parse a page, or a bare list as the only page; leave out rows that cannot be read.

        :raises UnexpectedAnswer: it is neither, or so long that parsing would block an event loop.
        """
        rows = fields.items(data, what)
        if len(rows) > MAX_PAGE_ITEMS:
            raise UnexpectedAnswer(f"a page of {len(rows)} {what} is too long")
        items = []
        for row in rows:
            try:
                items.append(parse_item(row))
            except UnexpectedAnswer:  # one bad row must not hide the others
                continue
        cursor = data.get("nextCursor") if isinstance(data, dict) else None
        return cls(tuple(items), fields.text(cursor) or None, len(rows) - len(items))


def _id(value: Any, what: str) -> str:
    """Return an id as a path segment; an empty one would address a different resource."""
    text = str(value).strip() if value is not None else ""
    if not text or text in {".", ".."} or not text.isprintable():
        raise InvalidRequest(
            f"{text!r} is not a valid {what} id; check what the template rendered to"
        )
    return quote(text, safe="")


def _query(**parameters: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in parameters.items() if value is not None)


def _page(parse_item: Callable[[Any], T], what: str) -> Callable[[Any], Page[T]]:
    return lambda data: Page.from_json(data, parse_item, what)


def _optional(parse: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Return a parser for the response to a change.

    The documentation does not specify it: it may hold the changed object or not.
    """

    def parse_or_none(data: Any) -> T | None:
        try:
            return parse(data)
        except UnexpectedAnswer:
            return None

    return parse_or_none


def _nothing(_: Any) -> None:
    return None


def _unchanged(data: Any) -> Any:
    return data


def get_identity() -> Call[Identity]:
    """``GET /auth/me``."""
    return Call("GET", "/auth/me", Identity.from_json, "/auth/me")


def update_organization(organization_id: str, changes: Mapping[str, Any]) -> Call[Any]:
    """``PATCH /organizations/:id``."""
    path = f"/organizations/{_id(organization_id, 'organization')}"
    return Call("PATCH", path, _unchanged, "/organizations/:id", body=dict(changes))


def update_perforce(organization_id: str, body: Mapping[str, Any]) -> Call[Any]:
    """``PATCH /organizations/:id/perforce``; BuildPixel verifies the ticket before storing it."""
    path = f"/organizations/{_id(organization_id, 'organization')}/perforce"
    return Call("PATCH", path, _unchanged, "/organizations/:id/perforce", body=dict(body))


def disconnect_github(organization_id: str) -> Call[None]:
    """``DELETE /organizations/:id/integrations/github``."""
    path = f"/organizations/{_id(organization_id, 'organization')}/integrations/github"
    return Call("DELETE", path, _nothing, "/organizations/:id/integrations/github")


def list_projects(source_control: str | None = None) -> Call[Page[Project]]:
    """``GET /projects``."""
    query = _query(sourceControl=source_control, limit=str(PAGE_SIZE))
    return Call("GET", "/projects", _page(Project.from_json, "projects"), "/projects", query)


def get_project(project_id: str) -> Call[Project]:
    """``GET /projects/:id``."""
    return Call(
        "GET", f"/projects/{_id(project_id, 'project')}", Project.from_json, "/projects/:id"
    )


def add_project(action: str, body: Mapping[str, Any]) -> Call[Project]:
    """``POST /projects/add-repo`` or ``POST /projects/add-perforce``, depending on the action."""
    path = f"/projects/{action}"
    return Call("POST", path, Project.from_json, path, body=dict(body))


def update_project(project_id: str, changes: Mapping[str, Any]) -> Call[Project | None]:
    """``PATCH /projects/:id``; returns the project if the response contains it, else None."""
    path = f"/projects/{_id(project_id, 'project')}"
    return Call("PATCH", path, _optional(Project.from_json), "/projects/:id", body=dict(changes))


def delete_project(project_id: str) -> Call[None]:
    """``DELETE /projects/:id``."""
    return Call("DELETE", f"/projects/{_id(project_id, 'project')}", _nothing, "/projects/:id")


def _settings_path(project_id: str, build_setting_id: str | None = None) -> str:
    path = f"/projects/{_id(project_id, 'project')}/build-settings"
    return path if build_setting_id is None else f"{path}/{_id(build_setting_id, 'build setting')}"


_SETTINGS = "/projects/:id/build-settings"
_SETTING = "/projects/:id/build-settings/:id"


def list_build_settings(project_id: str) -> Call[Page[BuildSetting]]:
    """``GET /projects/:id/build-settings``, without a limit: the list may not be paged."""
    parse = _page(BuildSetting.from_json, "build settings")
    return Call("GET", _settings_path(project_id), parse, _SETTINGS)


def get_build_setting(project_id: str, build_setting_id: str) -> Call[BuildSetting]:
    """``GET /projects/:id/build-settings/:settingId``."""
    path = _settings_path(project_id, build_setting_id)
    return Call("GET", path, BuildSetting.from_json, _SETTING)


def create_build_setting(project_id: str, body: Mapping[str, Any]) -> Call[BuildSetting]:
    """``POST /projects/:id/build-settings``."""
    path = _settings_path(project_id)
    return Call("POST", path, BuildSetting.from_json, _SETTINGS, body=dict(body))


def update_build_setting(
    project_id: str, build_setting_id: str, changes: Mapping[str, Any]
) -> Call[BuildSetting | None]:
    """``PATCH /projects/:id/build-settings/:settingId``; returns it if the response contains it."""
    path = _settings_path(project_id, build_setting_id)
    return Call("PATCH", path, _optional(BuildSetting.from_json), _SETTING, body=dict(changes))


def delete_build_setting(project_id: str, build_setting_id: str) -> Call[None]:
    """``DELETE /projects/:id/build-settings/:settingId``."""
    return Call("DELETE", _settings_path(project_id, build_setting_id), _nothing, _SETTING)


def trigger_build(
    project_id: str,
    build_setting_id: str,
    *,
    branch: str | None = None,
    commit: str | None = None,
    changelist: str | int | None = None,
) -> Call[Build]:
    """``POST /projects/:id/build-settings/:settingId/trigger``: starts a build.

    All three parameters are sent as text, also a changelist that is a number.
    """
    parameters = {"branch": branch, "commit": commit, "changelist": changelist}
    texts = {key: "" if value is None else str(value).strip() for key, value in parameters.items()}
    body = {key: value for key, value in texts.items() if value}
    path = f"{_settings_path(project_id, build_setting_id)}/trigger"

    def parse(data: Any) -> Build:
        return Build.from_trigger_json(data, project_id, build_setting_id)

    return Call("POST", path, parse, f"{_SETTING}/trigger", body=body)


def list_builds(
    *,
    project_id: str | None = None,
    build_setting_id: str | None = None,
    status: str | None = None,
    platform: str | None = None,
    build_type: str | None = None,
    branch: str | None = None,
) -> Call[Page[Build]]:
    """``GET /builds``; the order of the list is unspecified, and it may be grouped."""
    query = _query(
        projectId=project_id,
        buildSettingId=build_setting_id,
        status=status,
        platform=platform,
        buildType=build_type,
        branch=branch,
        limit=str(PAGE_SIZE),
    )
    return Call("GET", "/builds", _page(Build.from_json, "builds"), "/builds", query)


def get_build(build_id: str) -> Call[Build]:
    """``GET /builds/:id``; a response about another build is rejected: it could end a wait."""
    path = f"/builds/{_id(build_id, 'build')}"
    return Call("GET", path, _parse_build_with_id(str(build_id).strip()), "/builds/:id")


def _parse_build_with_id(build_id: str) -> Callable[[Any], Build]:
    def parse(data: Any) -> Build:
        build = Build.from_json(data)
        if build.id != build_id:
            raise UnexpectedAnswer(f"it is about build {build.id}, not {build_id}")
        return build

    return parse


def get_artifact(build_id: str) -> Call[Artifact]:
    """``GET /builds/:id/download``: returns a signed URL, which is a secret."""
    path = f"/builds/{_id(build_id, 'build')}/download"
    return Call("GET", path, Artifact.from_json, "/builds/:id/download")
