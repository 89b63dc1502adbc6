"""The provider metadata that Airflow reads before it imports the provider."""

from __future__ import annotations

import json
import re
from importlib import import_module, metadata, resources
from typing import Any

import jsonschema
import pytest

from airflow_provider_buildpixel import connection_form, get_provider_info

INFO = get_provider_info()
CONNECTION_TYPE = INFO["connection-types"][0]
EXTRAS = {
    "webhook_secret",
    "request_timeout",
    "verify",
    "proxy",
    "channel",
    "run_per_build",
    "build_url",
    "allow_insecure_http",
}
MODULES = [
    module
    for kind in ("operators", "sensors", "hooks", "triggers")
    for entry in INFO[kind]
    for module in entry["python-modules"]
]
CLASSES = [CONNECTION_TYPE["hook-class-name"], *INFO["extra-links"]]
HANDLERS = [uris["handler"] for key in ("asset-uris", "dataset-uris") for uris in INFO[key]]


def _schema(name: str) -> Any:
    return json.loads(resources.files("airflow").joinpath(name).read_text())


def test_info_matches_the_schema_of_airflow() -> None:
    """Airflow's schema accepts the provider info."""
    jsonschema.validate(INFO, _schema("provider_info.schema.json"))


def test_field_behaviour_matches_the_schema_of_airflow() -> None:
    """Airflow's schema accepts the behaviour of the standard fields."""
    schema = _schema("customized_form_field_behaviours.schema.json")
    jsonschema.validate(connection_form.behaviour(), schema)


def test_package_name_is_the_canonical_name_of_the_distribution() -> None:
    """The package name is canonical; any other spelling stops the discovery of all providers."""
    name = metadata.metadata("airflow-provider-buildpixel")["Name"]
    assert INFO["package-name"] == re.sub(r"[-_.]+", "-", name).lower()


def test_entry_point_returns_the_info() -> None:
    """The installed entry point returns the provider info."""
    found = metadata.entry_points(group="apache_airflow_provider", name="provider_info")
    ours = [point for point in found if point.module == "airflow_provider_buildpixel"]
    assert [point.load()() for point in ours] == [INFO]


def test_info_can_be_json() -> None:
    """The info is plain data that survives a round trip through JSON."""
    assert json.loads(json.dumps(INFO)) == INFO


@pytest.mark.parametrize("name", MODULES)
def test_named_modules_exist(name: str) -> None:
    """Every module that the info names can be imported."""
    assert import_module(name).__name__ == name


@pytest.mark.parametrize("path", [*CLASSES, *dict.fromkeys(HANDLERS)])
def test_named_objects_exist(path: str) -> None:
    """Every class and function that the info names can be imported."""
    module, _, name = path.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_hook_has_the_connection_type() -> None:
    """The hook and the info agree on the connection type and its name."""
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

    assert BuildPixelHook.conn_type == CONNECTION_TYPE["connection-type"] == "buildpixel"
    assert BuildPixelHook.hook_name == CONNECTION_TYPE["hook-name"] == "BuildPixel"
    assert BuildPixelHook.default_conn_name == "buildpixel_default"


def test_form_has_every_documented_extra() -> None:
    """The form shows exactly the extras that the hook reads, each with a label and help."""
    fields = CONNECTION_TYPE["conn-fields"]
    assert set(fields) == EXTRAS
    assert all(field["label"] and field["description"] for field in fields.values())


def test_no_field_of_the_form_is_required() -> None:
    """Every extra may be null: the form also saves empty fields."""
    types = [field["schema"]["type"] for field in CONNECTION_TYPE["conn-fields"].values()]
    assert all("null" in type_ for type_ in types)


def test_defaults_of_the_form_are_valid() -> None:
    """Each field accepts its own default."""
    for field in CONNECTION_TYPE["conn-fields"].values():
        jsonschema.validate(field["schema"].get("default"), field["schema"] | _nullable(field))


def _nullable(field: dict[str, Any]) -> dict[str, Any]:
    choices = field["schema"].get("enum")
    return {"enum": [*choices, None]} if choices else {}


def test_webhook_secret_is_masked() -> None:
    """The form masks the webhook secret."""
    assert CONNECTION_TYPE["conn-fields"]["webhook_secret"]["schema"]["format"] == "password"


def test_old_and_new_field_behaviour_agree() -> None:
    """The info and the hook's method for older versions describe the same standard fields."""
    info, method = CONNECTION_TYPE["ui-field-behaviour"], connection_form.behaviour()
    assert {key.replace("-", "_"): value for key, value in info.items()} == method
