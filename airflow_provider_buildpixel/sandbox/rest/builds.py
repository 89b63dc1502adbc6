"""Triggering, listing and reading builds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.rest import paging, validation
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

LIVE = frozenset({"pending", "running"})
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
    builds = _matching_builds(world, request)
    items = ((b.id, build_item(world.variants, b, request.at)) for b in builds)
    return ApiResponse(200, paging.page(world.variants, request, items))


def get_build(world: World, request: ApiRequest) -> ApiResponse:
    """Read one build."""
    build = _build(world, request)
    return ApiResponse(200, build_detail(world.variants, build, request.at))


def _build(world: World, request: ApiRequest) -> StoredBuild:
    build = world.build_for(request.token, request.params["id"])
    if build.created_at > request.at:
        raise not_found("build")
    return build


def _matching_builds(world: World, request: ApiRequest) -> Iterator[StoredBuild]:
    filters = {name: request.query[name] for name in FILTERS if name in request.query}
    status = request.query.get("status")
    for build_id in _ordered(world, paging.cursor_key(request), request.at):
        build = world.builds[build_id]
        if (
            build.project.organization is not request.token.organization
            or build.created_at > request.at
        ):
            continue
        if status is not None and build.status_at(request.at) != status:
            continue
        if all(FILTERS[name](build) == value for name, value in filters.items()):
            yield build


def _ordered(world: World, start: str | None, at: float) -> Iterator[str]:
    match world.variants.builds_order:
        case "ended-first":
            position = {build_id: number for number, build_id in enumerate(world.build_ids)}
            live = {one for one in position if world.builds[one].status_at(at) in LIVE}
            return paging.by_rank(world.build_ids, start, lambda one: (one in live, -position[one]))
        case "oldest":
            return paging.ascending(world.build_ids, start)
        case "random":
            return paging.by_rank(world.build_ids, start, _rank)
        case _:
            return paging.descending(world.build_ids, start)


def _rank(build_id: str) -> str:
    return hashlib.sha1(build_id.encode(), usedforsecurity=False).hexdigest()


def _overrides(world: World, project: StoredProject, body: Mapping[str, Any]) -> dict[str, Any]:
    if project.source_control == "github":
        rules = {"branch": validation.text, "commit": validation.commit}
    else:
        rules = {"changelist": validation.number, "branch": validation.stream}
    unsupported = sorted({"branch", "commit", "changelist"} & set(body) - set(rules))
    if unsupported:
        raise invalid(f"A {project.source_control} project takes no {' or '.join(unsupported)}.")
    return validation.validate_body(world.variants, body, {}, rules)


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
