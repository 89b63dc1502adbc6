"""What the plugin registers with Airflow's UI."""

from __future__ import annotations

import importlib
from importlib import resources

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.plugins.webhooks import BuildPixelPlugin

VIEWS = BuildPixelPlugin.external_views


def test_every_view_is_accepted() -> None:
    """Airflow's own model accepts every view: one that it refused would take all of them along."""
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("Airflow has views since 3.1, and before takes no notice of them")
    plugins = importlib.import_module("airflow.api_fastapi.core_api.datamodels.plugins")
    for view in VIEWS:
        read = plugins.ExternalViewResponse.model_validate(view)
        assert read.model_dump(exclude_defaults=True) == {
            name: value for name, value in view.items() if value != "nav"
        }


def test_airflow_lists_the_plugin() -> None:
    """The plugin is on the list that Airflow's UI reads, with both views."""
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("Airflow has views since 3.1, and before takes no notice of them")
    manager = importlib.import_module("airflow.plugins_manager")
    plugins = importlib.import_module("airflow.api_fastapi.core_api.datamodels.plugins")
    [ours] = [one for one in manager.get_plugin_info() if one["name"] == "buildpixel"]
    read = plugins.PluginResponse.model_validate(ours)
    assert [view.destination for view in read.external_views] == ["task_instance", "nav"]


@pytest.mark.parametrize("view", VIEWS, ids=[view["destination"] for view in VIEWS])
def test_addresses_are_relative(view: dict[str, str]) -> None:
    """Addresses are relative, so that they are right below a base path."""
    assert view["href"].startswith("buildpixel/")
    assert view["icon"].startswith("buildpixel/static/")


def test_routes_differ() -> None:
    """No two views claim the same route of the UI: Airflow would drop one of them."""
    assert len({view["url_route"] for view in VIEWS}) == len(VIEWS)


def test_files_are_there() -> None:
    """Every file that a page asks for is in the package."""
    pages = pytest.importorskip("airflow_provider_buildpixel.plugins.pages")
    static = resources.files("airflow_provider_buildpixel.plugins").joinpath("static")
    assert {file.name for file in static.iterdir()} == {*pages.FILES, "page.html"}
