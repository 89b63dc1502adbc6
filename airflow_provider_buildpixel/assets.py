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
    """Return the asset URI of the builds of a build setting."""
    return f"{SCHEME}://{quote(project_id, safe='')}/{quote(build_setting_id, safe='')}"


def build_asset(project_id: str, build_setting_id: str, **kwargs: Any) -> Asset:
    """Return the asset of the builds of a build setting; its name is its URI.

    Airflow 3 identifies an asset by name and URI. Use this function in every Dag that refers to the
    same builds. In Airflow 2.11 the result is a ``Dataset``.

    :param project_id: the id of the project (not its name).
    :param build_setting_id: the id of the build setting.
    :param kwargs: further arguments of ``Asset``, such as ``group`` or ``extra``.
    """
    return Asset(uri=build_uri(project_id, build_setting_id), **kwargs)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the normalized URI of an asset; Airflow calls it for the scheme ``buildpixel``.

    :param uri: the URI in the Dag file.
    :raises ValueError: the URI does not name a project and a build setting; the Dag does not parse.
    """
    path = uri.path.rstrip("/")
    if not uri.netloc or path.count("/") != 1 or path == "/":
        raise ValueError(
            "a BuildPixel asset URI has the form buildpixel://<project id>/<build setting id>"
        )
    return uri._replace(scheme=SCHEME, path=path, query="", fragment="")


def to_openlineage(asset: Asset, lineage_context: object) -> Dataset:  # noqa: ARG001  # their API
    """Return the OpenLineage dataset of an asset; the OpenLineage provider calls it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)
