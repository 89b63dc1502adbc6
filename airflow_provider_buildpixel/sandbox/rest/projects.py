"""Listing, reading and changing projects."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.rest import paging, validation
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world.errors import ApiError, invalid
from airflow_provider_buildpixel.sandbox.world.model import StoredProject
from airflow_provider_buildpixel.sandbox.world.payloads import project_detail, project_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.world.model import Organization
    from airflow_provider_buildpixel.sandbox.world.world import World

SOURCES = ("github", "perforce")


def list_projects(world: World, request: ApiRequest) -> ApiResponse:
    """List the projects of the organization."""
    source = request.query.get("sourceControl")
    if source is not None and source not in SOURCES:
        raise invalid(f"sourceControl is one of {', '.join(SOURCES)}.")
    keys = sorted(
        project.id
        for project in world.projects.values()
        if project.organization is request.token.organization
        and source in {None, project.source_control}
    )

    def rows(start: str | None) -> Iterator[tuple[str, StoredProject]]:
        return ((key, world.projects[key]) for key in paging.ascending(keys, start))

    item = partial(project_item, world.variants, at=request.at)
    return ApiResponse(200, paging.page(world.variants, request, rows, item))


def get_project(world: World, request: ApiRequest) -> ApiResponse:
    """Read one project, with its build settings."""
    project = world.project_for(request.token, request.params["id"])
    return ApiResponse(200, project_detail(world.variants, project, request.at))


def add_repo(world: World, request: ApiRequest) -> ApiResponse:
    """Add a project from a GitHub repository."""
    required: dict[str, validation.Rule] = {
        "name": validation.text,
        "installationId": lambda value: validation.number(value) or validation.text(value),
        "repoFullName": validation.matching(r"[\w.-]+/[\w.-]+"),
        "defaultBranch": validation.text,
    }
    fields = _validated(world, request, required)
    _check_name_is_free(world, request.token.organization, fields["name"])
    if not request.token.organization.github:
        raise ApiError(world.variants.setup_refusal, "repo_not_accessible", "No GitHub App.")
    link = f"https://github.com/{fields['repoFullName']}"
    project = _add(world, request, fields, "github", link, fields["defaultBranch"])
    return ApiResponse(201, project_detail(world.variants, project, request.at))


def add_perforce(world: World, request: ApiRequest) -> ApiResponse:
    """Add a project from a Perforce depot."""
    required = {"name": validation.text, "depot": validation.text, "streamPath": validation.stream}
    fields = _validated(world, request, required)
    _check_name_is_free(world, request.token.organization, fields["name"])
    if not request.token.organization.perforce:
        raise ApiError(world.variants.setup_refusal, "perforce_auth_failed", "No Perforce server.")
    stream = fields["streamPath"]
    project = _add(world, request, fields, "perforce", stream, stream)
    return ApiResponse(201, project_detail(world.variants, project, request.at))


def update_project(world: World, request: ApiRequest) -> ApiResponse:
    """Change the name or the description of a project."""
    project = world.project_for(request.token, request.params["id"])
    fixed = {"sourceControl", "repoLink", "repoFullName", "depot", "streamPath"} & set(request.body)
    if fixed:
        raise invalid(f"The link to source control cannot be changed: {', '.join(sorted(fixed))}.")
    rules = {"name": validation.text, "description": lambda value: isinstance(value, str)}
    changes = validation.validate_body(world.variants, request.body, {}, rules)
    if not changes:
        raise invalid("Nothing to change.")
    if changes.get("name", project.name) != project.name:
        _check_name_is_free(world, project.organization, changes["name"])
    project.name = changes.get("name", project.name)
    project.description = changes.get("description", project.description)
    return ApiResponse(200, project_detail(world.variants, project, request.at))


def delete_project(world: World, request: ApiRequest) -> ApiResponse:
    """Delete a project and its build settings, but not its builds."""
    project = world.project_for(request.token, request.params["id"])
    project.settings.clear()
    del world.projects[project.id]
    return ApiResponse(204)


def _validated(
    world: World, request: ApiRequest, required: dict[str, validation.Rule]
) -> dict[str, Any]:
    optional = {"uprojectPath": validation.nullable(validation.text)}
    return validation.validate_body(world.variants, request.body, required, optional)


def _check_name_is_free(world: World, organization: Organization, name: str) -> None:
    for project in world.projects.values():
        if project.organization is organization and project.name == name:
            raise invalid(f"A project named {name} already exists.")


def _add(
    world: World, request: ApiRequest, fields: dict[str, Any], source: str, link: str, branch: str
) -> StoredProject:
    name = fields["name"]
    project = StoredProject(
        id=world.new_id(),
        organization=request.token.organization,
        name=name,
        source_control=source,
        repo_link=link,
        default_branch=branch,
        uproject_path=fields.get("uprojectPath") or f"{name}/{name}.uproject",
        created_at=request.at,
    )
    world.projects[project.id] = project
    return project
