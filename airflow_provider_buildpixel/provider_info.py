"""The provider metadata that Airflow reads."""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel import connection_form

PACKAGE = "airflow_provider_buildpixel"
INTEGRATION = "BuildPixel"


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, which Airflow validates against its schema."""
    return {
        # The distribution's canonical name, with dashes. Any other spelling makes Airflow abort the
        # discovery of all providers in the environment.
        "package-name": "airflow-provider-buildpixel",
        "name": INTEGRATION,
        "description": "Trigger, follow and gate on BuildPixel builds of Unreal Engine projects.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.buildpixel.io/",
                "tags": ["service"],
            }
        ],
        "operators": _modules("operators.buildpixel"),
        "sensors": _modules("sensors.buildpixel"),
        "hooks": _modules("hooks.buildpixel"),
        "triggers": _modules("triggers.buildpixel", "triggers.events"),
        "connection-types": [_connection_type()],
        "extra-links": [f"{PACKAGE}.links.buildpixel.BuildPixelBuildLink"],
        "asset-uris": [_uris()],
        # Airflow 2.11 reads the handlers under this older name only.
        "dataset-uris": [_uris()],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    modules = [f"{PACKAGE}.{name}" for name in names]
    return [{"integration-name": INTEGRATION, "python-modules": modules}]


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "buildpixel",
        "hook-class-name": f"{PACKAGE}.hooks.buildpixel.BuildPixelHook",
        "hook-name": INTEGRATION,
        "ui-field-behaviour": connection_form.ui_field_behaviour(),
        "conn-fields": connection_form.conn_fields(),
    }


def _uris() -> dict[str, Any]:
    return {
        "schemes": ["buildpixel"],
        "handler": f"{PACKAGE}.assets.sanitize_uri",
        "to_openlineage_converter": f"{PACKAGE}.assets.to_openlineage",
    }
