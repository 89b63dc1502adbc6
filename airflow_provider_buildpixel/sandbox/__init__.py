"""A BuildPixel on this machine, for developing and testing DAGs without an account.

It shares no code with the client, so that it can contradict it. Nothing heavy is imported before
the first use of a name, since the pytest plugin lives in this package too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.plans import Plan
    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.variants import Variants

__all__ = ["Plan", "Sandbox", "Variants"]

_HOMES = {"Plan": "plans", "Sandbox": "sandbox", "Variants": "variants"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
