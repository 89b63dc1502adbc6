"""The identity of a token, and its organization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.rest import validation
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world import payloads
from airflow_provider_buildpixel.sandbox.world.errors import ApiError, invalid, not_found

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.world.model import Organization
    from airflow_provider_buildpixel.sandbox.world.world import World

# The Perforce server rejects this ticket.
EXPIRED_TICKET = "expired"


def get_identity(world: World, request: ApiRequest) -> ApiResponse:
    """Return the user, organization and role of the token."""
    return ApiResponse(200, payloads.identity(world.variants, request.token))


def update_organization(world: World, request: ApiRequest) -> ApiResponse:
    """Change the name, the default project settings and the integration settings."""
    organization = _own_organization(request)
    rules: dict[str, validation.Rule] = {
        "name": validation.text,
        "defaultProjectSettings": validation.json_object,
        "integrations": validation.json_object,
    }
    changes = validation.validate_body(world.variants, request.body, {}, rules)
    if not changes:
        raise invalid("Nothing to change.")
    organization.name = changes.get("name", organization.name)
    organization.defaults |= changes.get("defaultProjectSettings", {})
    organization.integrations |= changes.get("integrations", {})
    return ApiResponse(200, payloads.organization(world.variants, request.token))


def update_perforce(world: World, request: ApiRequest) -> ApiResponse:
    """Store the Perforce server if it accepts the ticket."""
    organization = _own_organization(request)
    rules = {"serverUrl": validation.text, "userName": validation.text, "ticket": validation.text}
    fields = validation.validate_body(world.variants, request.body, rules, {})
    if fields["ticket"] == EXPIRED_TICKET:
        raise ApiError(400, "perforce_auth_failed", "Perforce password invalid or unset.")
    organization.perforce = fields
    return ApiResponse(200, payloads.organization(world.variants, request.token))


def disconnect_github(_: World, request: ApiRequest) -> ApiResponse:
    """Disconnect the GitHub App."""
    _own_organization(request).github = False
    return ApiResponse(204)


def _own_organization(request: ApiRequest) -> Organization:
    if request.params["id"] != request.token.organization.id:
        raise not_found("organization")
    return request.token.organization
