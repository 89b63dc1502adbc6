"""What a new sandbox has in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.model import Organization, Project
from airflow_provider_buildpixel.sandbox.rest.settings import add_setting

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.model import Token
    from airflow_provider_buildpixel.sandbox.world import World

GITHUB_SETTINGS = (("Win64", "Shipping"), ("Linux", "Shipping"), ("Win64", "Development"))
STREAM = "//shooter/main"


@dataclass(frozen=True)
class Seeds:
    """The tokens to begin with."""

    member: Token
    viewer: Token
    stranger: Token


def plant(world: World, plan: str, minutes: float | None) -> Seeds:
    """Put two organizations and the projects MyGame and Shooter into the world."""
    with world.lock:
        studio = _organization(world, "Pixel Studio", "pixel-studio", plan)
        studio.minutes_left = minutes
        studio.perforce = {"serverUrl": "ssl:p4.example.com:1666", "userName": "build"}
        others = _organization(world, "Other Studio", "other-studio", "team")
        _my_game(world, studio)
        _shooter(world, studio)
        return Seeds(
            member=world.issue_token(studio, "member"),
            viewer=world.issue_token(studio, "viewer"),
            stranger=world.issue_token(others, "owner"),
        )


def _organization(world: World, name: str, slug: str, plan: str) -> Organization:
    organization = Organization(world.new_id(), name, slug, plan)
    world.organizations[organization.id] = organization
    return organization


def _my_game(world: World, organization: Organization) -> None:
    link = "https://github.com/pixel-studio/my-game"
    project = _project(world, organization, "MyGame", "github", link, "main")
    for platform, build_type in GITHUB_SETTINGS:
        given = {"platform": platform, "buildType": build_type, "branch": "main"}
        add_setting(world, project, given)


def _shooter(world: World, organization: Organization) -> None:
    project = _project(world, organization, "Shooter", "perforce", STREAM, STREAM)
    for platform in ("Win64", "Linux"):
        given = {"platform": platform, "buildType": "Shipping", "streamPath": STREAM}
        add_setting(world, project, given)


def _project(
    world: World, organization: Organization, name: str, source: str, link: str, branch: str
) -> Project:
    at = world.clock.now()
    path = f"{name}/{name}.uproject"
    project = Project(world.new_id(at), organization, name, source, link, branch, path, at)
    world.projects[project.id] = project
    return project
