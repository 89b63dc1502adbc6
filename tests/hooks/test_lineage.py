"""Lineage, in a separate process whose Airflow has a plugin that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.assets import build_asset, to_openlineage

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox

READER_PLUGIN = """
from airflow.providers.common.compat.sdk import AirflowPlugin, HookLineageReader

class ReaderPlugin(AirflowPlugin):
    name = "reader"
    hook_lineage_readers = [HookLineageReader]
"""
TASK = """
import json, sys
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow_provider_buildpixel.hooks import lineage
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

hook, build_id, path = BuildPixelHook(), *sys.argv[1:]
lineage.report_build(hook, hook.get_build(build_id))
hook.download_artifact(build_id, path)
lineage.report_download(hook, lambda: hook.get_build(build_id), "s3://stores@games/ours.tar.gz")
hook.close()
collected = get_hook_lineage_collector().collected_assets
sides = ("inputs", "outputs")
uris = {side: [item.asset.uri for item in getattr(collected, side)] for side in sides}
print(json.dumps(uris))
"""


def _run_build(sandbox: Sandbox) -> str:
    """Run a build to its end; return its id."""
    sandbox.plan(artifact_bytes=3_000_000, outcome="complete", queue=0.0, run=1.0)
    build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    sandbox.advance(60)
    return build_id


def _collected_uris(folder: Path, plugin: str, *argv: str) -> dict[str, list[str]]:
    """Run the task with a plugin; return the inputs and outputs that Airflow collected."""
    folder.mkdir()
    (folder / "reader.py").write_text(plugin)
    process = subprocess.run(
        [sys.executable, "-c", TASK, *argv],
        env=os.environ | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=150,
    )
    uris: dict[str, list[str]] = json.loads(process.stdout.splitlines()[-1])
    return uris


def test_lineage(sandbox: Sandbox, tmp_path: Path) -> None:
    """A build outputs the asset of its setting, and a download has it as an input."""
    build_id = _run_build(sandbox)
    build = sandbox.build(build_id)
    asset = f"buildpixel://{build['projectId']}/{build['buildSettingId']}"
    file = f"file://{tmp_path}/game.tar.gz"
    uris = _collected_uris(tmp_path / "plugins", READER_PLUGIN, build_id, f"{tmp_path}/game.tar.gz")
    assert uris == {"inputs": [asset], "outputs": [asset, file, "s3://games/ours.tar.gz"]}


def test_no_reader(sandbox: Sandbox, tmp_path: Path) -> None:
    """Where no plugin reads lineage, it costs no request."""
    build_id = _run_build(sandbox)
    uris = _collected_uris(tmp_path / "plugins", "", build_id, f"{tmp_path}/game.tar.gz")
    assert uris == {"inputs": [], "outputs": []}
    assert len(sandbox.requests_to("GET /builds/:id")) == 1  # the task's own


def test_openlineage() -> None:
    """OpenLineage gets the builds of a setting as a dataset with namespace and name."""
    pytest.importorskip("openlineage.client")
    dataset = to_openlineage(build_asset("p1", "s1"), None)
    assert (dataset.namespace, dataset.name) == ("buildpixel://p1", "s1")
