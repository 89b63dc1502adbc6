"""What was made of what, for whoever reads Airflow's hook lineage, such as OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from airflow_provider_buildpixel.assets import build_uri
from airflow_provider_buildpixel.exceptions import BuildPixelError

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Artifact, Build
    from airflow_provider_buildpixel.api.settings import Settings


class ArtifactSource(Protocol):
    """What a download and its lineage need of the hook."""

    @property
    def settings(self) -> Settings:
        """The connection, as settings."""

    @property
    def log(self) -> Any:
        """The log of the task."""

    def get_artifact(self, build_id: str) -> Artifact:
        """Return the signed URL, size and MD5 of an artifact."""

    def get_build(self, build_id: str) -> Build:
        """Return a build."""


def report_build(hook: object, build: Build) -> None:
    """Report that a build has made a new artifact of its build setting."""
    collector = _collector()
    if collector is not None and (made := _uri(build)):
        collector.add_output_asset(context=hook, uri=made)


def report_download(hook: ArtifactSource, build_id: str, path: str) -> None:
    """Report that an artifact was brought to a file, a directory or an object.

    The build is read only if anybody listens; what was downloaded stays a success in any case.
    """
    collector = _collector()
    if collector is None:
        return
    try:
        source = _uri(hook.get_build(build_id))
    except BuildPixelError as error:
        hook.log.info("The lineage of %s lacks its source: %s", path, error)
        source = None
    if source:
        collector.add_input_asset(context=hook, uri=source)
    collector.add_output_asset(context=hook, uri=_destination_uri(path))


def _collector() -> Any:
    """Give Airflow's collector, or None where no plugin reads what it collects."""
    # It loads more than a parse of a Dag should pay for, and has one set of names for 2.11 too.
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
    from airflow.providers.common.compat.sdk import NoOpCollector

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]  # compat's
    return None if isinstance(collector, NoOpCollector) else collector


def _uri(build: Build) -> str | None:
    if not (build.project_id and build.build_setting_id):
        return None
    return build_uri(build.project_id, build.build_setting_id)


def _destination_uri(path: str) -> str:
    """Spell a destination as the URI of an asset, which names no Airflow connection."""
    if "://" not in path:
        return f"file://{quote(path)}"
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
