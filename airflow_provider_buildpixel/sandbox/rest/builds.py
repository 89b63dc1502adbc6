"""Triggering, listing and reading builds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.rest import paging, validation
from airflow_provider_buildpixel.sandbox.rest.build_order import ordered_builds
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.rest.settings import setting_for
from airflow_provider_buildpixel.sandbox.world.errors import ApiError, invalid, not_found
from airflow_provider_buildpixel.sandbox.world.lifecycle import BuildSpec, queue_build
from airflow_provider_buildpixel.sandbox.world.payloads import (
    build_detail,
    build_item,
    build_without_log,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild, StoredProject
    from airflow_provider_buildpixel.sandbox.world.world import World

# The first row of the list under some variants, and the key of its position.
UNREADABLE_ROWS: dict[str, Any] = {
    "no-status": {"id": "0" * 23 + "1", "status": None},
    "no-id": {"status": "running"},
    "null": None,
}
UNREADABLE_KEY = ""

FILTERS = {
    "projectId": lambda build: build.project.id,
    "buildSettingId": lambda build: build.setting["id"],
    "platform": lambda build: build.setting["platform"],
    "buildType": lambda build: build.setting["buildType"],
    "branch": lambda build: build.branch,
}


def trigger(world: World, request: ApiRequest) -> ApiResponse:
    """Queue a build of a build setting."""
    project, setting = setting_for(world, request)
    overrides = _overrides(world, project, request.body)
    _check_can_build(world, project)
    spec = BuildSpec(project, setting, _author(world, request), **overrides)
    build = queue_build(world, spec)
    return ApiResponse(world.variants.trigger_status, _trigger_body(world, build))


def list_builds(world: World, request: ApiRequest) -> ApiResponse:
    """List the builds of the organization that match the filters."""
    current = replace(request, at=request.at - world.variants.list_lag)

    def rows(start: str | None) -> Iterator[tuple[str, StoredBuild | None]]:
        if world.variants.list_rows != "good" and start is None:
            yield UNREADABLE_KEY, None
        start = None if start == UNREADABLE_KEY else start
        yield from _matching_builds(world, current, start)

    def item(build: StoredBuild | None) -> Any:
        if build is None:
            return UNREADABLE_ROWS[world.variants.list_rows]
        return build_item(world.variants, build, current.at)

    return ApiResponse(200, paging.page(world.variants, request, rows, item))


def get_build(world: World, request: ApiRequest) -> ApiResponse:
    """Read one build."""
    build = _build(world, request)
    return ApiResponse(200, build_detail(world.variants, build, request.at))


def _build(world: World, request: ApiRequest) -> StoredBuild:
    build = world.build_for(request.token, request.params["id"])
    if build.created_at > request.at:
        raise not_found("build")
    return build


def _matching_builds(
    world: World, request: ApiRequest, start: str | None
) -> Iterator[tuple[str, StoredBuild]]:
    filters = {name: request.query[name] for name in FILTERS if name in request.query}
    status = request.query.get("status")
    for key, build in ordered_builds(world, start, request.at):
        if (
            build.project.organization is not request.token.organization
            or build.created_at > request.at
        ):
            continue
        if status is not None and build.status_at(request.at) != status:
            continue
        if all(FILTERS[name](build) == value for name, value in filters.items()):
            yield key, build


def _overrides(world: World, project: StoredProject, body: Mapping[str, Any]) -> dict[str, Any]:
    if project.source_control == "github":
        rules = {"branch": validation.text, "commit": validation.commit}
    else:
        rules = {"changelist": _changelist_rule(world), "branch": validation.stream}
    unsupported = sorted({"branch", "commit", "changelist"} & set(body) - set(rules))
    if unsupported:
        raise invalid(f"A {project.source_control} project takes no {' or '.join(unsupported)}.")
    overrides = validation.validate_body(world.variants, body, {}, rules)
    if "changelist" in overrides:
        overrides["changelist"] = int(overrides["changelist"])
    return overrides


def _changelist_rule(world: World) -> validation.Rule:
    if world.variants.changelist_body == "text":
        return validation.changelist_text
    return lambda value: validation.changelist_text(value) or validation.number(value)


def _check_can_build(world: World, project: StoredProject) -> None:
    organization, status = project.organization, world.variants.setup_refusal
    if project.source_control == "github" and not (organization.github and project.accessible):
        raise ApiError(status, "repo_not_accessible", "The GitHub App cannot see the repository.")
    if project.source_control == "perforce" and not (organization.perforce and project.accessible):
        raise ApiError(status, "perforce_auth_failed", "The Perforce ticket is not valid.")
    if organization.minutes_left is not None and organization.minutes_left <= 0:
        number, _, code = world.variants.plan_limit.partition(" ")
        raise ApiError(int(number), code, "The build minutes of this month are used up.")


def _author(world: World, request: ApiRequest) -> str:
    if world.variants.triggered_by == "user":
        return f"user:{request.token.user_id}"
    return f"api_token:{request.token.id}"


def _trigger_body(world: World, build: StoredBuild) -> dict[str, Any]:
    brief = {"buildId": build.id, "status": "pending"}
    match world.variants.trigger_answer:
        case "short":
            return brief
        case "build":
            return {**build_without_log(world.variants, build, build.created_at), **brief}
        case _:
            ids = {"projectId": build.project.id, "buildSettingId": build.setting["id"]}
            return {**ids, **brief}
