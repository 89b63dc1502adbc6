"""The demo: a real Airflow runs the release pipeline against the sandbox."""

from __future__ import annotations

from airflow_provider_buildpixel.sandbox.demo.command import main

__all__ = ["main"]
