"""Lineage, in a process of its own whose Airflow has a plugin that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.assets import build_asset, to_openlineage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox

READER = """
from airflow.providers.common.compat.sdk import AirflowPlugin, HookLineageReader

class Reads(AirflowPlugin):
    name = "reads"
    hook_lineage_readers = [HookLineageReader]
"""
TASK = """
import json, sys
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow_provider_buildpixel.hooks import lineage
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

hook, build_id, path = BuildPixelHook(), *sys.argv[1:]
lineage.built(hook, hook.get_build(build_id))
hook.download_artifact(build_id, path)
lineage.downloaded(hook, build_id, "s3://stores@games/ours.tar.gz")
hook.close()
found = get_hook_lineage_collector().collected_assets
uris = {side: [one.asset.uri for one in getattr(found, side)] for side in ("inputs", "outputs")}
print(json.dumps(uris))
"""


def _collected(folder: Path, plugins: str, *argv: str) -> dict[str, list[str]]:
    folder.mkdir()
    (folder / "reads.py").write_text(plugins)
    done = subprocess.run(
        [sys.executable, "-c", TASK, *argv],
        env=os.environ | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=150,
    )
    uris: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return uris


def test_lineage(buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path) -> None:
    """The setting's asset is made by a build, and what is downloaded is made of it."""
    build_id = built()
    build = buildpixel_sandbox.build(build_id)
    made = f"buildpixel://{build['projectId']}/{build['buildSettingId']}"
    there = f"file://{tmp_path}/game.tar.gz"
    found = _collected(tmp_path / "plugins", READER, build_id, f"{tmp_path}/game.tar.gz")
    assert found == {"inputs": [made], "outputs": [made, there, "s3://games/ours.tar.gz"]}


def test_nobody_listens(
    buildpixel_sandbox: Sandbox, built: Callable[..., str], tmp_path: Path
) -> None:
    """Where no plugin reads lineage, it costs no request."""
    build_id = built()
    found = _collected(tmp_path / "plugins", "", build_id, f"{tmp_path}/game.tar.gz")
    assert found == {"inputs": [], "outputs": []}
    assert len(buildpixel_sandbox.requests_to("GET /builds/:id")) == 1  # the test's own


def test_openlineage() -> None:
    """OpenLineage knows the builds of a setting by namespace and name."""
    pytest.importorskip("openlineage.client")
    dataset = to_openlineage(build_asset("p1", "s1"), None)
    assert (dataset.namespace, dataset.name) == ("buildpixel://p1", "s1")
