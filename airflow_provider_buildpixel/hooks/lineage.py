"""Reports the inputs and outputs of tasks to Airflow's hook lineage, as used by OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from airflow_provider_buildpixel.assets import build_uri
from airflow_provider_buildpixel.exceptions import BuildPixelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseHook

    from airflow_provider_buildpixel.api.model import Build


def report_build(hook: object, build: Build) -> None:
    """Report the asset of the build's setting as an output."""
    collector = _active_collector()
    if collector is not None and (uri := _build_uri(build)):
        collector.add_output_asset(context=hook, uri=uri)


def report_download(hook: BaseHook, get_build: Callable[[], Build], path: str) -> None:
    """Report the build's asset as an input, and the destination of the download as an output.

    The build is read only if a plugin reads lineage. A failed read does not fail the download.
    """
    collector = _active_collector()
    if collector is None:
        return
    try:
        source_uri = _build_uri(get_build())
    except BuildPixelError as error:
        hook.log.info("The lineage of %s has no source: its build was not read: %s", path, error)
        source_uri = None
    if source_uri:
        collector.add_input_asset(context=hook, uri=source_uri)
    collector.add_output_asset(context=hook, uri=_destination_uri(path))


def _active_collector() -> Any:
    """Return Airflow's collector, None where no plugin reads what it collects."""
    # Imported here as it is too slow for the parse of a Dag. compat names it alike for 2.11 and 3.
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
    from airflow.providers.common.compat.sdk import NoOpCollector

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]  # compat's
    return None if isinstance(collector, NoOpCollector) else collector


def _build_uri(build: Build) -> str | None:
    if not (build.project_id and build.build_setting_id):
        return None
    return build_uri(build.project_id, build.build_setting_id)


def _destination_uri(path: str) -> str:
    """Return a destination as an asset URI, without the Airflow connection."""
    if "://" not in path:
        return f"file://{quote(path)}"
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
