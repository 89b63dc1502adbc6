"""Listing, reading and changing the build settings of a project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.rest import paging, validation
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world.errors import invalid, not_found
from airflow_provider_buildpixel.sandbox.world.payloads import setting_payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.world.model import StoredProject
    from airflow_provider_buildpixel.sandbox.world.world import World

OPTIONAL: dict[str, validation.Rule] = {
    "uprojectPath": validation.nullable(validation.text),
    "notifyOnComplete": validation.boolean,
    "autoDeploy": validation.boolean,
    "uploadBuildUrl": validation.nullable(validation.http_url),
    "uploadBuildAuthHeader": validation.nullable(validation.text),
}


def setting_for(world: World, request: ApiRequest) -> tuple[StoredProject, dict[str, Any]]:
    """Return the build setting that a request names, and its project."""
    project = world.project_for(request.token, request.params["id"])
    setting = project.settings.get(request.params["settingId"])
    if setting is None:
        raise not_found("build setting")
    return project, setting


def list_settings(world: World, request: ApiRequest) -> ApiResponse:
    """List the build settings of a project."""
    project = world.project_for(request.token, request.params["id"])
    if world.variants.settings_list == "list":
        return ApiResponse(
            200, [setting_payload(world.variants, s) for s in project.settings.values()]
        )
    keys = sorted(project.settings)

    def rows(start: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((key, project.settings[key]) for key in paging.ascending(keys, start))

    item = partial(setting_payload, world.variants)
    return ApiResponse(200, paging.page(world.variants, request, rows, item))


def get_setting(world: World, request: ApiRequest) -> ApiResponse:
    """Read one build setting."""
    _, setting = setting_for(world, request)
    return ApiResponse(200, setting_payload(world.variants, setting))


def create_setting(world: World, request: ApiRequest) -> ApiResponse:
    """Add a build setting to a project."""
    project = world.project_for(request.token, request.params["id"])
    rules = _rules(project)
    optional = {**OPTIONAL, _other_source(project): _is_null}
    fields = validation.validate_body(world.variants, request.body, rules, optional)
    validation.check_engine(fields["ueVersion"])
    setting = world.add_setting(project, fields)
    return ApiResponse(201, setting_payload(world.variants, setting))


def update_setting(world: World, request: ApiRequest) -> ApiResponse:
    """Change some fields of a build setting."""
    project, setting = setting_for(world, request)
    rules = {**_rules(project), **OPTIONAL, _other_source(project): _is_null}
    changes = validation.validate_body(world.variants, request.body, {}, rules)
    if not changes:
        raise invalid("Nothing to change.")
    if "ueVersion" in changes:
        validation.check_engine(changes["ueVersion"])
    setting.update(changes)
    return ApiResponse(200, setting_payload(world.variants, setting))


def delete_setting(world: World, request: ApiRequest) -> ApiResponse:
    """Delete a build setting, but not its builds."""
    project, setting = setting_for(world, request)
    del project.settings[setting["id"]]
    return ApiResponse(204)


def _rules(project: StoredProject) -> dict[str, validation.Rule]:
    enterprise = project.organization.plan == "enterprise"
    platforms = validation.PLATFORMS + (validation.CONSOLES if enterprise else ())
    github = project.source_control == "github"
    return {
        "platform": validation.one_of(*platforms),
        "buildType": validation.one_of(*validation.BUILD_TYPES),
        "ueVersion": validation.text,
        "trigger": validation.one_of(*validation.TRIGGERS),
        **({"branch": validation.text} if github else {"streamPath": validation.stream}),
    }


def _other_source(project: StoredProject) -> str:
    return "streamPath" if project.source_control == "github" else "branch"


def _is_null(value: Any) -> bool:
    return value is None
