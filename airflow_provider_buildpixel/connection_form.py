"""The connection form, written once for the three ways in which Airflow asks for it.

Airflow 3.2 and later read ``conn_fields`` and ``ui_field_behaviour`` from the provider info and
never import the hook. Airflow 2.11 to 3.1 call the hook's ``get_connection_form_widgets`` and
``get_ui_field_behaviour``, which pass on to ``widgets`` and ``behaviour`` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FIELDS", "Field", "behaviour", "conn_fields", "ui_field_behaviour", "widgets"]


@dataclass(frozen=True)
class Field:
    """One member of the connection's ``extra`` as the form shows it."""

    label: str
    help: str
    kind: Literal["string", "password", "integer", "boolean"] = "string"
    default: str | int | bool | None = None
    choices: tuple[str, ...] = ()


FIELDS = {
    "webhook_secret": Field(
        "Webhook secret",
        "Verifies the signature of webhooks. While rotating, give a JSON list of secrets in Extra.",
        kind="password",
    ),
    "request_timeout": Field(
        "Request timeout", "Seconds for one request.", kind="integer", default=30
    ),
    "verify": Field(
        "Verify TLS",
        "true, or the path of a CA bundle. false is allowed, with a warning in every log.",
        default="true",
    ),
    "proxy": Field(
        "Proxy",
        "Proxy URL for REST and websocket. Empty: the usual environment variables decide.",
    ),
    "channel": Field(
        "Channel",
        "What waits use: auto is Socket.IO, and polling while that is down.",
        default="auto",
        choices=("auto", "socketio", "polling"),
    ),
    "run_per_build": Field(
        "Run per build",
        "Comma-separated Dag ids: each finished build that a webhook reports starts a run of its"
        " own of these Dags.",
    ),
    "build_url": Field(
        "Build page URL",
        "Template of a build's dashboard page, with {build_id} and {project_id}."
        " Empty: links go to the build page inside Airflow.",
    ),
    "allow_insecure_http": Field(
        "Allow insecure HTTP",
        "Lets an http:// host outside this machine receive the token in clear.",
        kind="boolean",
        default=False,
    ),
}

HIDDEN = ["schema", "login"]

# The port is relabelled and not hidden: without one, the Test button in Airflow 3.3's list of
# connections sends port 0, is refused for having changed the port, and never reaches the hook.
LABELS = {
    "host": "Base URL",
    "password": "API token",
    "port": "Port (give 443 to use Airflow's Test button)",
}

PLACEHOLDERS = {"host": "https://api.buildpixel.io", "password": "bp_…", "port": "443"}


def conn_fields() -> dict[str, Any]:
    """Return the extra fields as the provider info of Airflow 3.2 and later spells them."""
    return {name: _conn_field(field) for name, field in FIELDS.items()}


def _conn_field(field: Field) -> dict[str, Any]:
    return {"label": field.label, "description": field.help, "schema": _schema(field)}


def _schema(field: Field) -> dict[str, Any]:
    """Return the JSON schema of a field, with null: the form saves untouched fields too."""
    type_ = "string" if field.kind == "password" else field.kind
    schema: dict[str, Any] = {"type": [type_, "null"]}
    if field.kind == "password":
        schema["format"] = "password"
    if field.default is not None:
        schema["default"] = field.default
    if field.choices:
        schema["enum"] = list(field.choices)
    return schema


def ui_field_behaviour() -> dict[str, Any]:
    """Return the behaviour of the standard fields in the provider info's kebab case."""
    return {
        "hidden-fields": list(HIDDEN),
        "relabeling": dict(LABELS),
        "placeholders": dict(PLACEHOLDERS),
    }


def behaviour() -> dict[str, Any]:
    """Return the behaviour of the standard fields as ``get_ui_field_behaviour`` must."""
    return {
        "hidden_fields": list(HIDDEN),
        "relabeling": dict(LABELS),
        "placeholders": dict(PLACEHOLDERS),
    }


def widgets() -> dict[str, Any]:
    """Return the WTForms fields that ``get_connection_form_widgets`` must; 3.x replaces WTForms."""
    return {name: _widget(field) for name, field in FIELDS.items()}


def _widget(field: Field) -> Any:
    import wtforms
    from flask_appbuilder import fieldwidgets
    from wtforms import validators

    text = {"widget": fieldwidgets.BS3TextFieldWidget()}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "string": (wtforms.StringField, text),
        "integer": (wtforms.IntegerField, text),
        "password": (
            wtforms.PasswordField,
            {"widget": fieldwidgets.BS3PasswordFieldWidget()},
        ),
        "boolean": (wtforms.BooleanField, {}),
    }
    class_, options = kinds[field.kind]
    checks = [validators.Optional()]
    if field.choices:
        checks.append(validators.any_of(list(field.choices)))
    return class_(
        field.label, validators=checks, description=field.help, default=field.default, **options
    )
