"""Triggering, listing and reading builds, and their artifacts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal, invalid, not_found
from airflow_provider_buildpixel.sandbox.life import Order, queue
from airflow_provider_buildpixel.sandbox.rest import bodies, pages
from airflow_provider_buildpixel.sandbox.rest.settings import setting_for
from airflow_provider_buildpixel.sandbox.views import build_detail, build_item, build_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.model import Build, Project
    from airflow_provider_buildpixel.sandbox.world import World

LIVE = frozenset({"pending", "running"})
FILTERS = {
    "projectId": lambda build: build.project.id,
    "buildSettingId": lambda build: build.setting["id"],
    "platform": lambda build: build.setting["platform"],
    "buildType": lambda build: build.setting["buildType"],
    "branch": lambda build: build.branch,
}


def trigger(world: World, ask: Ask) -> Answer:
    """Queue a build of a build setting."""
    project, setting = setting_for(world, ask)
    asked = _overrides(world, project, ask.body)
    _refuse_unready(world, project)
    build = queue(world, Order(project, setting, _author(world, ask), **asked))
    return Answer(world.variants.trigger_status, _trigger_answer(world, build))


def list_builds(world: World, ask: Ask) -> Answer:
    """List the builds of the organization that pass the filters."""
    found = _found(world, ask)
    items = ((b.id, build_item(world.variants, b, ask.at)) for b in found)
    return Answer(200, pages.page(world.variants, ask, items))


def get_build(world: World, ask: Ask) -> Answer:
    """Read one build."""
    build = _build(world, ask)
    return Answer(200, build_detail(world.variants, build, ask.at))


def _build(world: World, ask: Ask) -> Build:
    build = world.build_for(ask.token, ask.params["id"])
    if build.created_at > ask.at:
        raise not_found("build")
    return build


def _found(world: World, ask: Ask) -> Iterator[Build]:
    wanted = {name: ask.query[name] for name in FILTERS if name in ask.query}
    status = ask.query.get("status")
    for build_id in _ordered(world, pages.after(ask), ask.at):
        build = world.builds[build_id]
        if build.project.organization is not ask.token.organization or build.created_at > ask.at:
            continue
        if status is not None and build.status_at(ask.at) != status:
            continue
        if all(FILTERS[name](build) == value for name, value in wanted.items()):
            yield build


def _ordered(world: World, start: str | None, at: float) -> Iterator[str]:
    match world.variants.builds_order:
        case "ended-first":
            place = {build_id: number for number, build_id in enumerate(world.build_ids)}
            live = {one for one in place if world.builds[one].status_at(at) in LIVE}
            return pages.shuffled(world.build_ids, start, lambda one: (one in live, -place[one]))
        case "oldest":
            return pages.ascending(world.build_ids, start)
        case "random":
            return pages.shuffled(world.build_ids, start, _rank)
        case _:
            return pages.descending(world.build_ids, start)


def _rank(build_id: str) -> str:
    return hashlib.sha1(build_id.encode(), usedforsecurity=False).hexdigest()


def _overrides(world: World, project: Project, body: Mapping[str, Any]) -> dict[str, Any]:
    if project.source_control == "github":
        rules = {"branch": bodies.text, "commit": bodies.commit}
    else:
        rules = {"changelist": bodies.number, "branch": bodies.stream}
    alien = sorted({"branch", "commit", "changelist"} & set(body) - set(rules))
    if alien:
        raise invalid(f"A {project.source_control} project takes no {' or '.join(alien)}.")
    return bodies.check(body, {}, rules, strict=world.variants.strict_bodies == "yes")


def _refuse_unready(world: World, project: Project) -> None:
    organization, status = project.organization, world.variants.setup_refusal
    if project.source_control == "github" and not (organization.github and project.accessible):
        raise Refusal(status, "repo_not_accessible", "The GitHub App cannot see the repository.")
    if project.source_control == "perforce" and not (organization.perforce and project.accessible):
        raise Refusal(status, "perforce_auth_failed", "The Perforce ticket is not valid.")
    if organization.minutes_left is not None and organization.minutes_left <= 0:
        number, _, code = world.variants.plan_limit.partition(" ")
        raise Refusal(int(number), code, "The build minutes of this month are used up.")


def _author(world: World, ask: Ask) -> str:
    if world.variants.triggered_by == "user":
        return f"user:{ask.token.user_id}"
    return f"api_token:{ask.token.id}"


def _trigger_answer(world: World, build: Build) -> dict[str, Any]:
    brief = {"buildId": build.id, "status": "pending"}
    match world.variants.trigger_answer:
        case "short":
            return brief
        case "build":
            return {**build_plain(world.variants, build, build.created_at), **brief}
        case _:
            ids = {"projectId": build.project.id, "buildSettingId": build.setting["id"]}
            return {**ids, **brief}
