"""``buildpixel-sandbox demo``: the release pipeline on a real Airflow, shown live and summed up."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
    from airflow_provider_buildpixel.sandbox.demo.screen import Screen

LOOK = 1.0
QUEUE = 2.0
OLDEST = (3, 3)
INTERRUPTED = 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# How long the builds run, by platform, in seconds: long enough to show what waiting costs.
RUNS = {"Win64": 44.0, "Linux": 48.0}

ARTIFACT = 300_000_000
"""Bytes of each artifact that is fetched behind the gate."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status says whether the release came out and was measured."""
    options = _parser().parse_args(argv)
    if tuple(map(int, version("apache-airflow").split(".")[:2])) < OLDEST:
        sys.stderr.write("The demo needs Airflow 3.3: pip install 'apache-airflow>=3.3'\n")
        return 2
    try:
        with _terminable():
            return _demonstrate(options)
    except KeyboardInterrupt:
        print("Stopped; nothing is left running.")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="buildpixel-sandbox demo", description=__doc__)
    add = parser.add_argument
    add("--dags", type=Path, default=_example_dags(), help="the Dag folder")
    add("--dag-id", default="buildpixel_release_pipeline", help="the Dag that is run")
    add("--keep", action="store_true", help="leave it running until Ctrl-C")
    return parser


def _example_dags() -> Path:
    """Return the examples' folder: beside the package in a clone, inside it when installed."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "example_dags"
    return inside if inside.is_dir() else package.parent / "example_dags"


@contextmanager
def _terminable() -> Iterator[None]:
    """Let every polite way to end the demo clean up, and nothing disturb the cleaning up."""
    before = {name: signal.signal(name, _interrupt) for name in ENDINGS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for name in ENDINGS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def _demonstrate(options: argparse.Namespace) -> int:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow, AirflowFailed
    from airflow_provider_buildpixel.sandbox.demo.screen import Screen

    screen = Screen()
    with Sandbox() as sandbox:
        screen.say(f"A BuildPixel sandbox listens on {sandbox.url}")
        _plan(sandbox)
        airflow = Airflow(options.dags, {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": sandbox.connection_uri})
        screen.say(f"Airflow {version('apache-airflow')} starts in {airflow.home.path}")
        try:
            with airflow:
                screen.say(f"Airflow is up at {airflow.url}")
                succeeded = _release(options.dag_id, airflow, sandbox, screen)
                if options.keep:
                    _wait_for_interrupt(airflow)
        except AirflowFailed as failed:
            print(failed)
            return 1
    return 0 if succeeded else 1


def _plan(sandbox: Sandbox) -> None:
    """Let the first build of each platform take as long as the demo wants it to."""
    for setting in sandbox.settings("MyGame"):
        run = RUNS.get(setting["platform"])
        if run is not None:
            sandbox.plan(setting_id=setting["id"], queue=QUEUE, run=run, artifact_bytes=ARTIFACT)


def _release(dag_id: str, airflow: Airflow, sandbox: Sandbox, screen: Screen) -> bool:
    from airflow_provider_buildpixel.sandbox.demo.release import ENDED, Release
    from airflow_provider_buildpixel.sandbox.demo.summary import EXPLANATION, table

    airflow.wait_for_dags([dag_id])
    conf = {"releases": str(airflow.home.path / "releases")}
    release = Release(airflow, sandbox, dag_id, airflow.api.start_run(dag_id, conf))
    screen.say(f"{dag_id} runs as {release.run_id}")
    while (state := release.state) not in ENDED:
        airflow.check()
        screen.show(release.sights())
        time.sleep(LOOK)
    screen.show(release.sights())
    rows = release.rows()
    print(*release.failures(), f"\n{dag_id}: {state}\n", table(rows), f"\n{EXPLANATION}", sep="\n")
    print("", *release.fetched(), sep="\n")
    return state == "success" and bool(rows) and all(row.obtained for row in rows)


def _wait_for_interrupt(airflow: Airflow) -> None:
    print(f"\nAirflow's UI: {airflow.url}  user: {airflow.user}  password: {airflow.password}")
    print("It runs until Ctrl-C.", flush=True)
    with suppress(KeyboardInterrupt):
        while True:
            airflow.check()
            time.sleep(LOOK)
