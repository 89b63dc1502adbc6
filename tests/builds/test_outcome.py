from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_buildpixel
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.text import duration_text
from airflow_provider_buildpixel.builds.outcome import (
    Outcome,
    failure_error,
    outcome_of,
    superseded_error,
)


def build(identity: str = "b1", status: str = "failed", **fields: Any) -> Build:
    """Return a build; all of them are of one kind."""
    known = {"project_id": "p", "platform": "Win64", "build_type": "Shipping", "branch": "main"}
    return Build(identity, Status(status), **{**known, **fields})


@pytest.mark.parametrize(
    ("status", "policy", "expected"),
    [
        ("complete", "fail", Outcome.SUCCEED),
        ("superseded", "skip", Outcome.SKIP),
        ("superseded", "follow", Outcome.FOLLOW_NEWER),
        ("superseded", "fail", Outcome.FAIL),
        ("failed", "skip", Outcome.FAIL),
        ("failed", "follow", Outcome.FAIL),
        ("pending", "fail", None),
        ("running", "skip", None),
        ("made-up", "follow", None),
        ("COMPLETE", "fail", None),
    ],
)
def test_outcome_of(status: str, policy: str, expected: Outcome | None) -> None:
    """Only complete succeeds, and a build that has not ended has no outcome."""
    assert outcome_of(build(status=status), policy) is expected


@pytest.mark.parametrize(
    ("log", "cause", "phase", "message"),
    [
        pytest.param(
            ["*** COMPILING ***", "x.cpp(42): error C2065: y", "LogPlayLevel: Error: z"],
            "compile",
            "compile",
            "failed in phase compile after 1 min 1 s\n  LogPlayLevel: Error: z\nWhat to do: fix",
            id="compile",
        ),
        pytest.param(["working"], "no_word", None, "may have died", id="died"),
        pytest.param(["BUILD FAILED"], None, None, "failed after 1 min 1 s\nSee http", id="ended"),
        pytest.param(["Error: odd"], None, None, "  Error: odd\nSee http", id="unknown"),
    ],
)
def test_failure_error(log: list[str], cause: str | None, phase: str | None, message: str) -> None:
    """The error names phase, duration, first error lines, cause and page."""
    error = failure_error(build(duration_seconds=61.0, raw={"logs": log}), "https://page")
    assert (error.cause, error.phase) == (cause, phase)
    assert message in str(error)
    assert str(error).endswith("See https://page")


def test_failure_error_without_a_log() -> None:
    """The error of a failed build without a log still has advice."""
    assert "What to do" in str(failure_error(build()))


def test_superseded_error() -> None:
    """The error names the newer build where it is known."""
    newer = build("b2", "running", triggered_by="push:c0ffee")
    error = superseded_error(build(), newer, "https://page")
    assert (error.newer, error.build.id) == (newer, "b1")
    assert "by build b2 (Win64 Shipping on main), triggered by push:c0ffee" in str(error)
    assert "'follow'" in str(superseded_error(build(), None))


def test_phase_of_lines_in_either_order() -> None:
    """The phase of a failed build is the last by time, whatever the order of its lines."""
    log = [
        {"timestamp": f"2026-05-10T14:00:0{second}.000Z", "level": "info", "message": message}
        for second, message in enumerate(("*** COMPILING X ***", "LogCook: Cooking maps from path"))
    ]
    assert failure_error(build(raw={"logs": log})).phase == "cook"
    assert failure_error(build(raw={"logs": log[::-1]})).phase == "cook"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (59.4, "59.4 s"),
        (59.6, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3_660.0, "1 h 1 min"),
    ],
)
def test_a_duration(seconds: float, expected: str) -> None:
    """A duration is shown in its largest units."""
    assert duration_text(seconds) == expected


def test_statuses_are_compared_in_the_model_only() -> None:
    """Only the model compares with the name of a terminal status."""
    ends = re.compile(r"""[=!]=\s*["'](?:complete|failed|superseded)["']""")
    package = Path(airflow_provider_buildpixel.__file__).parent
    sources = [path for path in package.rglob("*.py") if "sandbox" not in path.parts]
    assert {path.name for path in sources if ends.search(path.read_text())} == {"model.py"}
