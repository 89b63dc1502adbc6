"""The connection form, defined once for all versions of Airflow.

Airflow 3.2 and later read ``conn_fields`` and ``ui_field_behaviour`` from the provider info and do
not import the hook. Airflow 2.11 to 3.1 call the hook's ``get_connection_form_widgets`` and
``get_ui_field_behaviour``, which call ``widgets`` and ``behaviour`` of this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FIELDS", "Field", "behaviour", "conn_fields", "ui_field_behaviour", "widgets"]


@dataclass(frozen=True)
class Field:
    """One field of the connection's ``extra`` in the form."""

    label: str
    help: str
    kind: Literal["string", "password", "integer", "boolean"] = "string"
    default: str | int | bool | None = None
    choices: tuple[str, ...] = ()


FIELDS = {
    "webhook_secret": Field(
        "Webhook secret",
        "Verifies the signature of webhooks. During a rotation, enter a JSON list of secrets.",
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
        "Proxy URL for REST and websocket. Empty: the environment variables for proxies apply.",
    ),
    "channel": Field(
        "Channel",
        "How waits get the status: auto is Socket.IO, and polling while it is disconnected.",
        default="auto",
        choices=("auto", "socketio", "polling"),
    ),
    "run_per_build": Field(
        "Run per build",
        "Comma-separated Dag ids: each finished build that a webhook reports starts one run of"
        " each of these Dags.",
    ),
    "build_url": Field(
        "Build page URL",
        "Template of a build's dashboard page, with {build_id} and {project_id}."
        " Empty: links go to the build page inside Airflow.",
    ),
    "allow_insecure_http": Field(
        "Allow insecure HTTP",
        "Allows an http:// host other than this machine, which gets the token in clear text.",
        kind="boolean",
        default=False,
    ),
}

HIDDEN = ["schema", "login"]

# The port is relabelled instead of hidden. Without a port, the Test button in Airflow 3.3's list of
# connections sends port 0, which Airflow rejects as a changed port before it calls the hook.
LABELS = {
    "host": "Base URL",
    "password": "API token",
    "port": "Port (enter 443 to use Airflow's Test button)",
}

PLACEHOLDERS = {"host": "https://api.buildpixel.io", "password": "bp_…", "port": "443"}


def conn_fields() -> dict[str, Any]:
    """Return the extra fields in the format of the provider info (Airflow 3.2 and later)."""
    return {name: _conn_field(field) for name, field in FIELDS.items()}


def _conn_field(field: Field) -> dict[str, Any]:
    return {"label": field.label, "description": field.help, "schema": _schema(field)}


def _schema(field: Field) -> dict[str, Any]:
    """Return the JSON schema of a field; it allows null, because the form saves empty fields."""
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
    """Return the behaviour of the standard fields with the kebab-case keys of the provider info."""
    return {
        "hidden-fields": list(HIDDEN),
        "relabeling": dict(LABELS),
        "placeholders": dict(PLACEHOLDERS),
    }


def behaviour() -> dict[str, Any]:
    """Return the behaviour of the standard fields in the format of ``get_ui_field_behaviour``."""
    return {
        "hidden_fields": list(HIDDEN),
        "relabeling": dict(LABELS),
        "placeholders": dict(PLACEHOLDERS),
    }


def widgets() -> dict[str, Any]:
    """Return the WTForms fields for ``get_connection_form_widgets``; 3.x replaces WTForms."""
    return {name: _widget(field) for name, field in FIELDS.items()}


def _widget(field: Field) -> Any:
    import wtforms
    from flask_appbuilder import fieldwidgets
    from wtforms import validators

    text_options = {"widget": fieldwidgets.BS3TextFieldWidget()}
    constructors: dict[str, tuple[Any, dict[str, Any]]] = {
        "string": (wtforms.StringField, text_options),
        "integer": (wtforms.IntegerField, text_options),
        "password": (
            wtforms.PasswordField,
            {"widget": fieldwidgets.BS3PasswordFieldWidget()},
        ),
        "boolean": (wtforms.BooleanField, {}),
    }
    class_, options = constructors[field.kind]
    checks = [validators.Optional()]
    if field.choices:
        checks.append(validators.any_of(list(field.choices)))
    return class_(
        field.label, validators=checks, description=field.help, default=field.default, **options
    )
