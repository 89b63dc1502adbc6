"""The main job of the provider, shown: a real Airflow runs a release pipeline on the sandbox."""

from __future__ import annotations

from airflow_provider_buildpixel.sandbox.demo.command import main

__all__ = ["main"]
