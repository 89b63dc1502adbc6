"""Who one is, and the organization one belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal, invalid, not_found
from airflow_provider_buildpixel.sandbox.rest import bodies
from airflow_provider_buildpixel.sandbox.views import identity, organization

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.model import Organization
    from airflow_provider_buildpixel.sandbox.world import World

# A ticket of this value is what a Perforce server refuses.
EXPIRED_TICKET = "expired"


def get_identity(world: World, ask: Ask) -> Answer:
    """Tell whose token it is."""
    return Answer(200, identity(world.variants, ask.token))


def update_organization(world: World, ask: Ask) -> Answer:
    """Change the name, default project settings and integration settings."""
    mine = _own(ask)
    rules: dict[str, bodies.Rule] = {
        "name": bodies.text,
        "defaultProjectSettings": bodies.mapping,
        "integrations": bodies.mapping,
    }
    changes = bodies.check(ask.body, {}, rules, strict=world.variants.strict_bodies == "yes")
    if not changes:
        raise invalid("Nothing to change.")
    mine.name = changes.get("name", mine.name)
    mine.defaults |= changes.get("defaultProjectSettings", {})
    mine.integrations |= changes.get("integrations", {})
    return Answer(200, organization(world.variants, ask.token))


def update_perforce(world: World, ask: Ask) -> Answer:
    """Store the Perforce server after it has been tried."""
    mine = _own(ask)
    rules = {"serverUrl": bodies.text, "userName": bodies.text, "ticket": bodies.text}
    known = bodies.check(ask.body, rules, {}, strict=world.variants.strict_bodies == "yes")
    if known["ticket"] == EXPIRED_TICKET:
        raise Refusal(400, "perforce_auth_failed", "Perforce password invalid or unset.")
    mine.perforce = known
    return Answer(200, organization(world.variants, ask.token))


def disconnect_github(_: World, ask: Ask) -> Answer:
    """Disconnect the GitHub App."""
    _own(ask).github = False
    return Answer(204)


def _own(ask: Ask) -> Organization:
    if ask.params["id"] != ask.token.organization.id:
        raise not_found("organization")
    return ask.token.organization
