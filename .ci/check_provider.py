"""Checks that the Airflow of this environment accepts the installed wheel of the provider."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata, resources
from typing import Any

import jsonschema
from airflow.providers_manager import ProvidersManager

from airflow_provider_buildpixel.connection_form import FIELDS

KINDS = ("operators", "sensors", "hooks", "triggers")
HOOK = "airflow_provider_buildpixel.hooks.buildpixel.BuildPixelHook"
LINK = "airflow_provider_buildpixel.links.buildpixel.BuildPixelBuildLink"
AIRFLOW = metadata.version("apache-airflow")
OLD = AIRFLOW.startswith("2.")

# Airflow 2.11 has no event triggers, although the provider info lists this module.
NEEDS_3 = {"airflow_provider_buildpixel.triggers.events"}


def main() -> None:
    """Run all checks; fail with a traceback at the first error."""
    # Check the form first: 3.0 and 3.1 build it when the hooks are imported, which happens once.
    fields = fields_of_2_11() if OLD else fields_of_3()
    assert fields == expected_fields(), f"the form has the fields {fields}"
    manager = ProvidersManager()
    check_info(manager.providers["airflow-provider-buildpixel"].data)
    check_manager(manager)
    check_asset(manager)
    check_plugin()
    form = f"{len(fields)} of {len(FIELDS)} extra fields in the form"
    print(f"Airflow {AIRFLOW}: the provider is registered and valid, its modules import; {form}")


def expected_fields() -> set[str]:
    """Return the extra fields that the form must have.

    Airflow 3.0 needs WTForms for extra fields, and only its FAB provider installs WTForms. Without
    it, no provider has extra fields in the form, and users enter them as JSON in Extra.
    """
    no_fields = AIRFLOW.startswith("3.0.") and importlib.util.find_spec("wtforms") is None
    return set() if no_fields else set(FIELDS)


def check_info(info: dict[str, Any]) -> None:
    """Validate the provider info with this version's schema, and import the listed modules."""
    schema = resources.files("airflow").joinpath("provider_info.schema.json").read_text()
    jsonschema.validate(info, json.loads(schema))
    for entry in (entry for kind in KINDS for entry in info[kind]):
        for module in entry["python-modules"]:
            if not (OLD and module in NEEDS_3):
                importlib.import_module(module)


def check_manager(manager: ProvidersManager) -> None:
    """Check that the connection type and the extra link are registered."""
    hook = manager.hooks["buildpixel"]
    assert hook is not None, "the hook cannot be imported"
    assert (hook.hook_class_name, hook.hook_name) == (HOOK, "BuildPixel")
    assert hook.connection_testable
    assert LINK in manager.extra_links_class_names


def check_asset(manager: Any) -> None:
    """Check that the provider's handler is registered for its URIs."""
    from airflow_provider_buildpixel.assets import build_asset, sanitize_uri

    handlers = manager.dataset_uri_handlers if OLD else manager.asset_uri_handlers
    assert handlers["buildpixel"] is sanitize_uri
    assert build_asset("project", "setting").uri == "buildpixel://project/setting"


def check_plugin() -> None:
    """Check that the plugin loads and that its static pages are installed."""
    from airflow_provider_buildpixel.plugins.webhooks import BuildPixelPlugin

    pages = resources.files("airflow_provider_buildpixel.plugins").joinpath("static")
    assert pages.joinpath("page.html").is_file(), "the wheel does not contain the static pages"
    assert BuildPixelPlugin.name == "buildpixel"


def fields_of_2_11() -> set[str]:
    """Return the extra fields of the form that Airflow 2.11 builds with WTForms."""
    prefix = "extra__buildpixel__"
    keys = ProvidersManager().connection_form_widgets
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}


def fields_of_3() -> set[str]:
    """Return the extra fields of the form that Airflow 3's API server sends to the UI."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    forms = {form.connection_type: form for form in HookMetaService.hook_meta_data()}
    return set(forms["buildpixel"].extra_fields or ())


if __name__ == "__main__":
    main()
