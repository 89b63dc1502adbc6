"""The CI workflow runs existing commands on all supported versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    """Return the jobs of the workflow."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def _steps(jobs: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs.values() for step in job["steps"]]


def test_every_supported_python_runs_everything(jobs: dict[str, Any]) -> None:
    """The workflow runs on the Python versions of the classifiers."""
    pythons = jobs["everything"]["strategy"]["matrix"]["python"]
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert pythons == classified


def test_every_minor_is_tested(jobs: dict[str, Any]) -> None:
    """Each Airflow minor of the Makefile is tested: the newest by .ci/run, others by the matrix."""
    minors = re.search(r"^MINORS := (.*)$", MAKEFILE, re.MULTILINE)
    newest = re.search(r"^MAIN := (.*)$", MAKEFILE, re.MULTILINE)
    assert minors is not None
    assert newest is not None
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert [*matrix["airflow"], newest[1]] == minors[1].split()
    pins = [ROOT / ".ci" / "requirements" / f"airflow-{one}.txt" for one in matrix["airflow"]]
    assert all(path.is_file() for path in pins)


def test_steps_run_existing_commands(jobs: dict[str, Any]) -> None:
    """Each step runs .ci/run, or an existing make target with existing folders."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    for step in _steps(jobs):
        command = step.get("run", "bash .ci/run").split()
        assert command == ["bash", ".ci/run"] or command[:2] == ["make", "test"], step
        assert command[0] == "bash" or command[1] in targets
        for folder in step.get("env", {}).get("TESTS", "").split():
            assert (ROOT / folder).is_dir(), folder


def test_actions_are_pinned(jobs: dict[str, Any]) -> None:
    """An action is pinned to a commit, and a checkout keeps no credentials."""
    used = [step for step in _steps(jobs) if "uses" in step]
    assert used
    for step in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step
        if step["uses"].startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
