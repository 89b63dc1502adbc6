"""The names that Dag authors, examples and documentation rely on."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points, version

import pytest

import airflow_provider_buildpixel

PUBLIC = {
    "hooks.buildpixel": ["BuildPixelAsyncHook", "BuildPixelHook"],
    "operators.buildpixel": [
        "BuildPixelDownloadArtifactOperator",
        "BuildPixelTriggerBuildOperator",
    ],
    "sensors.buildpixel": ["BuildPixelBuildSensor"],
    "triggers.buildpixel": ["BuildPixelBuildTrigger"],
    "triggers.events": ["BuildPixelBuildEventTrigger"],
    "retries": ["BuildPixelRetryPolicy"],
    "links.buildpixel": ["BuildPixelBuildLink"],
    "assets": ["build_asset", "sanitize_uri"],
    "sandbox": ["Sandbox", "Variants"],
    "exceptions": [
        "ArtifactUnavailable",
        "BuildFailed",
        "BuildPixelError",
        "BuildSuperseded",
        "BuildTimeout",
        "ChecksumMismatch",
        "DispatchUncertain",
        "Forbidden",
        "InvalidRequest",
        "NotFound",
        "RateLimited",
        "ServerFault",
        "Unauthorized",
        "UnexpectedAnswer",
        "Unreachable",
    ],
}


SINCE = {"retries": (3, 3)}
"""Modules whose base only later versions of Airflow have."""

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in PUBLIC.items() for name in names],
)
def test_public_name_exists(module: str, name: str) -> None:
    """A public name can be imported from its documented module."""
    if SINCE.get(module, (0,)) > AIRFLOW:
        pytest.skip(f"this Airflow has no base for {module}")
    found = import_module(f"airflow_provider_buildpixel.{module}")
    assert getattr(found, name).__name__ == name


def test_errors_derive_from_one() -> None:
    """Every public error is a BuildPixelError, which is an AirflowException."""
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_buildpixel import exceptions

    assert issubclass(exceptions.BuildPixelError, AirflowException)
    for name in PUBLIC["exceptions"]:
        assert issubclass(getattr(exceptions, name), exceptions.BuildPixelError)


def test_version_of_the_distribution() -> None:
    """The package and its distribution have the same version."""
    assert airflow_provider_buildpixel.__version__ == version("airflow-provider-buildpixel")


@pytest.mark.parametrize(
    ("group", "name"), [("console_scripts", "buildpixel-sandbox"), ("pytest11", "buildpixel")]
)
def test_entry_point_loads(group: str, name: str) -> None:
    """The command-line and pytest entry points can be loaded."""
    assert [point.load() for point in entry_points(group=group, name=name)]
