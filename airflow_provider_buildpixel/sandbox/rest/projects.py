"""Projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal, invalid
from airflow_provider_buildpixel.sandbox.model import Project
from airflow_provider_buildpixel.sandbox.rest import bodies, pages
from airflow_provider_buildpixel.sandbox.views import project_detail, project_item

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.model import Organization
    from airflow_provider_buildpixel.sandbox.world import World

SOURCES = ("github", "perforce")


def list_projects(world: World, ask: Ask) -> Answer:
    """List the projects of the organization."""
    wanted = ask.query.get("sourceControl")
    if wanted is not None and wanted not in SOURCES:
        raise invalid(f"sourceControl is one of {', '.join(SOURCES)}.")
    keys = [
        project.id
        for project in world.projects.values()
        if project.organization is ask.token.organization
        and wanted in {None, project.source_control}
    ]
    following = pages.ascending(keys, pages.after(ask))
    items = ((k, project_item(world.variants, world.projects[k], ask.at)) for k in following)
    return Answer(200, pages.page(world.variants, ask, items))


def get_project(world: World, ask: Ask) -> Answer:
    """Read one project, with its build settings."""
    project = world.project_for(ask.token, ask.params["id"])
    return Answer(200, project_detail(world.variants, project, ask.at))


def add_repo(world: World, ask: Ask) -> Answer:
    """Add a project that lives on GitHub."""
    required: dict[str, bodies.Rule] = {
        "name": bodies.text,
        "installationId": lambda value: bodies.number(value) or bodies.text(value),
        "repoFullName": bodies.like(r"[\w.-]+/[\w.-]+"),
        "defaultBranch": bodies.text,
    }
    known = _checked(world, ask, required)
    _refuse_taken(world, ask.token.organization, known["name"])
    if not ask.token.organization.github:
        raise Refusal(world.variants.setup_refusal, "repo_not_accessible", "No GitHub App.")
    link = f"https://github.com/{known['repoFullName']}"
    project = _add(world, ask, known, "github", link, known["defaultBranch"])
    return Answer(201, project_detail(world.variants, project, ask.at))


def add_perforce(world: World, ask: Ask) -> Answer:
    """Add a project that lives in a Perforce depot."""
    required = {"name": bodies.text, "depot": bodies.text, "streamPath": bodies.stream}
    known = _checked(world, ask, required)
    _refuse_taken(world, ask.token.organization, known["name"])
    if not ask.token.organization.perforce:
        raise Refusal(world.variants.setup_refusal, "perforce_auth_failed", "No Perforce server.")
    stream = known["streamPath"]
    project = _add(world, ask, known, "perforce", stream, stream)
    return Answer(201, project_detail(world.variants, project, ask.at))


def update_project(world: World, ask: Ask) -> Answer:
    """Change the name or the description of a project."""
    project = world.project_for(ask.token, ask.params["id"])
    fixed = {"sourceControl", "repoLink", "repoFullName", "depot", "streamPath"} & set(ask.body)
    if fixed:
        raise invalid(f"The link to source control cannot be changed: {', '.join(sorted(fixed))}.")
    rules = {"name": bodies.text, "description": lambda value: isinstance(value, str)}
    changes = bodies.check(ask.body, {}, rules, strict=world.variants.strict_bodies == "yes")
    if not changes:
        raise invalid("Nothing to change.")
    if changes.get("name", project.name) != project.name:
        _refuse_taken(world, project.organization, changes["name"])
    project.name = changes.get("name", project.name)
    project.description = changes.get("description", project.description)
    return Answer(200, project_detail(world.variants, project, ask.at))


def delete_project(world: World, ask: Ask) -> Answer:
    """Delete a project and its build settings; its builds stay."""
    project = world.project_for(ask.token, ask.params["id"])
    project.settings.clear()
    del world.projects[project.id]
    return Answer(204)


def _checked(world: World, ask: Ask, required: dict[str, bodies.Rule]) -> dict[str, Any]:
    optional = {"uprojectPath": bodies.or_none(bodies.text)}
    return bodies.check(ask.body, required, optional, strict=world.variants.strict_bodies == "yes")


def _refuse_taken(world: World, organization: Organization, name: str) -> None:
    for project in world.projects.values():
        if project.organization is organization and project.name == name:
            raise invalid(f"There is a project of the name {name} already.")


def _add(
    world: World, ask: Ask, known: dict[str, Any], source: str, link: str, branch: str
) -> Project:
    name = known["name"]
    project = Project(
        id=world.new_id(),
        organization=ask.token.organization,
        name=name,
        source_control=source,
        repo_link=link,
        default_branch=branch,
        uproject_path=known.get("uprojectPath") or f"{name}/{name}.uproject",
        created_at=ask.at,
    )
    world.projects[project.id] = project
    return project
