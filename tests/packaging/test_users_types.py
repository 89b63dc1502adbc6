"""A user's type checker sees the provider's types, and finds mistakes in the user's code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow import __version__ as airflow_version

if TYPE_CHECKING:
    from pathlib import Path

USERS_DAG = """\
from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import chain, dag, task

from airflow_provider_buildpixel.assets import build_asset
from airflow_provider_buildpixel.exceptions import BuildFailed
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelAsyncHook, BuildPixelHook
from airflow_provider_buildpixel.operators.buildpixel import (
    BuildPixelDownloadArtifactOperator,
    BuildPixelTriggerBuildOperator,
)
from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor


@dag(schedule=None, start_date=datetime(2026, 1, 1))
def release() -> None:
    build = BuildPixelTriggerBuildOperator(
        task_id="build",
        project="MyGame",
        build_setting={"platform": "Win64", "buildType": "Shipping"},
        timeout=3600,
        outlets=[build_asset("project", "setting")],
    )
    green = BuildPixelBuildSensor(task_id="green", build_id="x", deferrable=True)
    fetch = BuildPixelDownloadArtifactOperator(task_id="fetch", build_id="x", destination="/x")

    @task
    def look(build_id: str) -> dict[str, Any]:
        hook = BuildPixelHook()
        found = hook.get_build(build_id)
        sizes = [hook.get_artifact(one.id).size_bytes for one in hook.list_builds(branch="main")]
        return {"status": str(found.status), "sizes": sizes, "branch": found.branch}

    chain(build, green, fetch, look("x"))


async def newest() -> str | None:
    async with BuildPixelAsyncHook() as hook:
        async for one in hook.list_builds():
            return one.commit
    return None


def reason(error: BuildFailed) -> tuple[str, ...]:
    return error.errors


def tested() -> str:
    with Sandbox(default=Plan(run=1.0)) as sandbox:
        return sandbox.connection_uri


release()

BuildPixelTriggerBuildOperator(task_id="t", project=42, build_setting="x")  # wrong
print(BuildPixelHook().get_build("x").comit)  # wrong
print(BuildPixelHook().get_build(42))  # wrong
"""
WRONG = [n for n, line in enumerate(USERS_DAG.splitlines(), 1) if line.endswith("# wrong")]


@pytest.mark.skipif(
    not airflow_version.startswith("3.3."),
    reason="the Dag is for Airflow 3, and only this environment has pyright",
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "checker",
    [
        ("-m", "mypy", "--strict", "--no-color-output", "--cache-dir", "cache"),
        ("-m", "pyright", "--pythonpath", sys.executable),
    ],
    ids=["mypy", "pyright"],
)
def test_checker_finds_the_mistakes_and_nothing_else(
    checker: tuple[str, ...], tmp_path: Path
) -> None:
    """Strict mypy and pyright report exactly the wrong lines."""
    (tmp_path / "users_dag.py").write_text(USERS_DAG)
    done = subprocess.run(
        [sys.executable, *checker, "users_dag.py"],
        cwd=tmp_path,
        # Use the JavaScript in the package of pyright, which would download it by default.
        env=os.environ | {"PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"users_dag\.py:(\d+):.*(?:error|warning)", done.stdout)
    assert sorted(set(map(int, found))) == WRONG, done.stdout + done.stderr
    assert done.returncode == 1
