"""Builds as Airflow assets: ``buildpixel://<project id>/<build setting id>``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset


SCHEME = "buildpixel"


def build_uri(project_id: str, build_setting_id: str) -> str:
    """Give the URI under which the builds of a setting are known."""
    return f"{SCHEME}://{quote(project_id, safe='')}/{quote(build_setting_id, safe='')}"


def build_asset(project_id: str, build_setting_id: str, **kwargs: Any) -> Asset:
    """Make the asset of a setting's builds; its name is its URI.

    Airflow 3 knows an asset by name and URI both, so everybody who means the same builds should
    make it here. On 2.11 it is a ``Dataset``.

    :param project_id: the project's id (not its name).
    :param build_setting_id: the build setting's id.
    :param kwargs: more of ``Asset``, such as ``group`` or ``extra``.
    """
    return Asset(uri=build_uri(project_id, build_setting_id), **kwargs)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Bring the spellings of one URI to one form; Airflow calls it for the scheme.

    :param uri: as a Dag author wrote it.
    :raises ValueError: the URI names no project and build setting, so the Dag does not parse.
    """
    path = uri.path.rstrip("/")
    if not uri.netloc or path.count("/") != 1 or path == "/":
        raise ValueError("a BuildPixel asset is buildpixel://<project id>/<build setting id>")
    return uri._replace(scheme=SCHEME, path=path, query="", fragment="")


def to_openlineage(asset: Asset, lineage_context: object) -> Dataset:  # OpenLineage's signature
    """Name the builds of a setting as OpenLineage does; its provider calls it for the scheme."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)
