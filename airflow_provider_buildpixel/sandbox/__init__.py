"""A stand-in BuildPixel server for developing and testing DAGs without an account.

It shares no code with the client, so that it can contradict the client. Public names are imported
on first use, because pytest loads a plugin from this package in every run of its users.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.variants import Variants
    from airflow_provider_buildpixel.sandbox.world.plans import Plan

__all__ = ["Plan", "Sandbox", "Variants"]

_MODULES = {"Plan": "world.plans", "Sandbox": "sandbox", "Variants": "variants"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
