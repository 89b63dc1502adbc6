"""The initial data of a new sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.world.model import Organization, StoredProject

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.world.model import Token
    from airflow_provider_buildpixel.sandbox.world.world import World

GITHUB_SETTINGS = (("Win64", "Shipping"), ("Linux", "Shipping"), ("Win64", "Development"))
STREAM = "//shooter/main"


@dataclass(frozen=True)
class SeedTokens:
    """The tokens that exist from the start; `stranger` belongs to another organization."""

    member: Token
    viewer: Token
    stranger: Token


def seed_world(world: World, plan: str, minutes: float | None) -> SeedTokens:
    """Create two organizations, and the projects MyGame and Shooter in the first one."""
    with world.lock:
        organization = _organization(world, "Pixel Studio", "pixel-studio", plan)
        organization.minutes_left = minutes
        organization.perforce = {"serverUrl": "ssl:p4.example.com:1666", "userName": "build"}
        other = _organization(world, "Other Studio", "other-studio", "team")
        _my_game(world, organization)
        _shooter(world, organization)
        return SeedTokens(
            member=world.issue_token(organization, "member"),
            viewer=world.issue_token(organization, "viewer"),
            stranger=world.issue_token(other, "owner"),
        )


def _organization(world: World, name: str, slug: str, plan: str) -> Organization:
    organization = Organization(world.new_id(), name, slug, plan)
    world.organizations[organization.id] = organization
    return organization


def _my_game(world: World, organization: Organization) -> None:
    link = "https://github.com/pixel-studio/my-game"
    project = _project(world, organization, "MyGame", "github", link, "main")
    for platform, build_type in GITHUB_SETTINGS:
        fields = {"platform": platform, "buildType": build_type, "branch": "main"}
        world.add_setting(project, fields)


def _shooter(world: World, organization: Organization) -> None:
    project = _project(world, organization, "Shooter", "perforce", STREAM, STREAM)
    for platform in ("Win64", "Linux"):
        fields = {"platform": platform, "buildType": "Shipping", "streamPath": STREAM}
        world.add_setting(project, fields)


def _project(
    world: World, organization: Organization, name: str, source: str, link: str, branch: str
) -> StoredProject:
    at = world.clock.now()
    path = f"{name}/{name}.uproject"
    project = StoredProject(world.new_id(at), organization, name, source, link, branch, path, at)
    world.projects[project.id] = project
    return project
