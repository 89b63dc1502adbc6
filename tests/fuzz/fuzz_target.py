"""Fuzzes one target in this process, which libFuzzer then ends."""

from __future__ import annotations

import gc
import sys

import atheris

with atheris.instrument_imports(
    include=["airflow_provider_buildpixel", "tarfile", "email", "json"]
):
    from tests.fuzz.targets import TARGETS

gc.freeze()
atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
