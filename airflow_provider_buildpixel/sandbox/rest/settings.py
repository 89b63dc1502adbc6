"""Build settings of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.answers import Answer, invalid, not_found
from airflow_provider_buildpixel.sandbox.rest import bodies, pages
from airflow_provider_buildpixel.sandbox.views import setting_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.model import Project
    from airflow_provider_buildpixel.sandbox.world import World

OPTIONAL: dict[str, bodies.Rule] = {
    "uprojectPath": bodies.or_none(bodies.text),
    "notifyOnComplete": bodies.truth,
    "autoDeploy": bodies.truth,
    "uploadBuildUrl": bodies.or_none(bodies.web_address),
    "uploadBuildAuthHeader": bodies.or_none(bodies.text),
}


def setting_for(world: World, ask: Ask) -> tuple[Project, dict[str, Any]]:
    """Return the build setting that a request names, and its project."""
    project = world.project_for(ask.token, ask.params["id"])
    setting = project.settings.get(ask.params["settingId"])
    if setting is None:
        raise not_found("build setting")
    return project, setting


def list_settings(world: World, ask: Ask) -> Answer:
    """List the build settings of a project."""
    project = world.project_for(ask.token, ask.params["id"])
    if world.variants.settings_list == "list":
        return Answer(200, [setting_view(world.variants, s) for s in project.settings.values()])
    keys = pages.ascending(sorted(project.settings), pages.after(ask))
    items = ((key, setting_view(world.variants, project.settings[key])) for key in keys)
    return Answer(200, pages.page(world.variants, ask, items))


def get_setting(world: World, ask: Ask) -> Answer:
    """Read one build setting."""
    _, setting = setting_for(world, ask)
    return Answer(200, setting_view(world.variants, setting))


def create_setting(world: World, ask: Ask) -> Answer:
    """Add a build setting to a project."""
    project = world.project_for(ask.token, ask.params["id"])
    rules = _rules(project)
    optional = {**OPTIONAL, _other_source(project): _nothing}
    known = bodies.check(ask.body, rules, optional, strict=world.variants.strict_bodies == "yes")
    bodies.check_engine(known["ueVersion"])
    setting = add_setting(world, project, known)
    return Answer(201, setting_view(world.variants, setting))


def update_setting(world: World, ask: Ask) -> Answer:
    """Change some fields of a build setting."""
    project, setting = setting_for(world, ask)
    rules = {**_rules(project), **OPTIONAL, _other_source(project): _nothing}
    changes = bodies.check(ask.body, {}, rules, strict=world.variants.strict_bodies == "yes")
    if not changes:
        raise invalid("Nothing to change.")
    if "ueVersion" in changes:
        bodies.check_engine(changes["ueVersion"])
    setting.update(changes)
    return Answer(200, setting_view(world.variants, setting))


def delete_setting(world: World, ask: Ask) -> Answer:
    """Delete a build setting; its builds stay."""
    project, setting = setting_for(world, ask)
    del project.settings[setting["id"]]
    return Answer(204)


def add_setting(world: World, project: Project, given: Mapping[str, Any]) -> dict[str, Any]:
    """Put a build setting into the world."""
    setting = {
        "id": world.new_id(),
        "projectId": project.id,
        "platform": "Win64",
        "buildType": "Development",
        "branch": None,
        "streamPath": None,
        "ueVersion": "5.4",
        "uprojectPath": None,
        "trigger": "manual",
        "notifyOnComplete": False,
        "autoDeploy": False,
        "uploadBuildUrl": None,
        "uploadBuildAuthHeader": None,
        **given,
    }
    project.settings[setting["id"]] = setting
    return setting


def _rules(project: Project) -> dict[str, bodies.Rule]:
    enterprise = project.organization.plan == "enterprise"
    platforms = bodies.PLATFORMS + (bodies.CONSOLES if enterprise else ())
    github = project.source_control == "github"
    return {
        "platform": bodies.one_of(*platforms),
        "buildType": bodies.one_of(*bodies.BUILD_TYPES),
        "ueVersion": bodies.text,
        "trigger": bodies.one_of(*bodies.TRIGGERS),
        **({"branch": bodies.text} if github else {"streamPath": bodies.stream}),
    }


def _other_source(project: Project) -> str:
    return "streamPath" if project.source_control == "github" else "branch"


def _nothing(value: Any) -> bool:
    return value is None
