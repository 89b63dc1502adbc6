"""The table of endpoints: method, path, handler, and the roles that may call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.rest import (
    artifacts,
    builds,
    organizations,
    projects,
    settings,
)
from airflow_provider_buildpixel.sandbox.world.world import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest, ApiResponse
    from airflow_provider_buildpixel.sandbox.world.world import World

ALL_ROLES = frozenset(ROLES)
MEMBERS = ALL_ROLES - {"viewer"}
ADMINS = MEMBERS - {"member"}

PROJECT = "/projects/{id}"
SETTINGS = f"{PROJECT}/build-settings"
SETTING = f"{SETTINGS}/{{settingId}}"


@dataclass(frozen=True)
class Endpoint:
    """One call of the API.

    :param alias: the name in faults and in the request log, instead of the documented one.
    :param in_thread: run the handler in a thread, because it takes long.
    """

    method: str
    path: str
    handler: Callable[[World, ApiRequest], ApiResponse]
    roles: frozenset[str] = ALL_ROLES
    alias: str | None = None
    in_thread: bool = False

    @property
    def name(self) -> str:
        """Return the name of the endpoint in faults and in the request log."""
        return self.alias or self.documented

    @property
    def documented(self) -> str:
        """Return the name of the endpoint in the documentation."""
        return f"{self.method} {self.path.replace('{', ':').replace('}', '')}"


ENDPOINTS = (
    Endpoint("GET", "/auth/me", organizations.get_identity),
    Endpoint("PATCH", "/organizations/{id}", organizations.update_organization, ADMINS),
    Endpoint("PATCH", "/organizations/{id}/perforce", organizations.update_perforce, ADMINS),
    Endpoint(
        "DELETE",
        "/organizations/{id}/integrations/github",
        organizations.disconnect_github,
        ADMINS,
    ),
    Endpoint("GET", "/projects", projects.list_projects),
    Endpoint("GET", PROJECT, projects.get_project),
    Endpoint("POST", "/projects/add-repo", projects.add_repo, MEMBERS),
    Endpoint("POST", "/projects/add-perforce", projects.add_perforce, MEMBERS),
    Endpoint("PATCH", PROJECT, projects.update_project, MEMBERS),
    Endpoint("DELETE", PROJECT, projects.delete_project, MEMBERS),
    Endpoint("GET", SETTINGS, settings.list_settings),
    Endpoint("GET", SETTING, settings.get_setting),
    Endpoint("POST", SETTINGS, settings.create_setting, MEMBERS),
    Endpoint("PATCH", SETTING, settings.update_setting, MEMBERS),
    Endpoint("DELETE", SETTING, settings.delete_setting, MEMBERS),
    Endpoint("POST", f"{SETTING}/trigger", builds.trigger, MEMBERS, alias="POST trigger"),
    Endpoint("GET", "/builds", builds.list_builds),
    Endpoint("GET", "/builds/{id}", builds.get_build),
    Endpoint("GET", "/builds/{id}/download", artifacts.get_download, in_thread=True),
)
