"""Trigger, follow and gate on BuildPixel builds from Apache Airflow."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider metadata for Airflow's discovery; a plain import does not load it."""
    from airflow_provider_buildpixel import provider_info

    return provider_info.get_provider_info()
