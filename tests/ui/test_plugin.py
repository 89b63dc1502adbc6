"""The views that the plugin registers in Airflow's UI."""

from __future__ import annotations

import importlib
from importlib import resources

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.plugins.webhooks import BuildPixelPlugin

VIEWS = BuildPixelPlugin.external_views


def test_every_view_is_accepted() -> None:
    """Airflow's model accepts every view: one rejected view would remove all of them."""
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("external views need Airflow 3.1")
    plugins = importlib.import_module("airflow.api_fastapi.core_api.datamodels.plugins")
    for view in VIEWS:
        read = plugins.ExternalViewResponse.model_validate(view)
        assert read.model_dump(exclude_defaults=True) == {
            name: value for name, value in view.items() if value != "nav"
        }


def test_airflow_lists_the_plugin() -> None:
    """Airflow's list of plugins contains the plugin with both views."""
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("external views need Airflow 3.1")
    manager = importlib.import_module("airflow.plugins_manager")
    plugins = importlib.import_module("airflow.api_fastapi.core_api.datamodels.plugins")
    [plugin] = [one for one in manager.get_plugin_info() if one["name"] == "buildpixel"]
    read = plugins.PluginResponse.model_validate(plugin)
    assert [view.destination for view in read.external_views] == ["task_instance", "nav"]


@pytest.mark.parametrize("view", VIEWS, ids=[view["destination"] for view in VIEWS])
def test_urls_are_relative(view: dict[str, str]) -> None:
    """URLs are relative, so that they work below a base path."""
    assert view["href"].startswith("buildpixel/")
    assert view["icon"].startswith("buildpixel/static/")


def test_url_routes_are_unique() -> None:
    """No two views have the same route in the UI: Airflow would drop one of them."""
    assert len({view["url_route"] for view in VIEWS}) == len(VIEWS)


def test_static_files() -> None:
    """The package contains exactly the files that the pages request."""
    pages = pytest.importorskip("airflow_provider_buildpixel.plugins.pages")
    static = resources.files("airflow_provider_buildpixel.plugins").joinpath("static")
    assert {file.name for file in static.iterdir()} == {*pages.FILES, "page.html"}
