"""``buildpixel-sandbox demo``: run the release pipeline on a real Airflow, and show how it went."""

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

REFRESH_INTERVAL = 1.0
QUEUE = 2.0
MIN_AIRFLOW = (3, 3)
INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# How long builds run, in seconds by platform: long enough to show the slot usage of a wait.
RUNS = {"Win64": 44.0, "Linux": 48.0}

ARTIFACT_BYTES = 300_000_000
"""Size of each artifact that is downloaded."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if the release succeeded and every figure was measured."""
    options = _parser().parse_args(argv)
    if tuple(map(int, version("apache-airflow").split(".")[:2])) < MIN_AIRFLOW:
        sys.stderr.write("The demo needs Airflow 3.3: pip install 'apache-airflow>=3.3'\n")
        return 2
    try:
        with _stoppable():
            return _demonstrate(options)
    except KeyboardInterrupt:
        print("Stopped. No process is left running.")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buildpixel-sandbox demo",
        description="Run the release pipeline on a real Airflow, and show how it went.",
    )
    add = parser.add_argument
    add("--dags", type=Path, default=_example_dags(), help="the Dag folder")
    add("--dag-id", default="buildpixel_release_pipeline", help="the Dag to run")
    add("--keep", action="store_true", help="keep Airflow running until Ctrl-C")
    return parser


def _example_dags() -> Path:
    """Return the folder of the examples: next to the package in a clone, inside it if installed."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "example_dags"
    return inside if inside.is_dir() else package.parent / "example_dags"


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal that stops the demo, and ignore later ones."""
    before = {name: signal.signal(name, _interrupt) for name in STOP_SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for name in STOP_SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def _demonstrate(options: argparse.Namespace) -> int:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow, AirflowFailed
    from airflow_provider_buildpixel.sandbox.demo.screen import Screen

    screen = Screen()
    with Sandbox() as sandbox:
        screen.message(f"The BuildPixel sandbox is running at {sandbox.url}")
        _plan(sandbox)
        airflow = Airflow(options.dags, {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": sandbox.connection_uri})
        screen.message(f"Starting Airflow {version('apache-airflow')} in {airflow.home.path}")
        try:
            with airflow:
                screen.message(f"Airflow is running at {airflow.url}")
                succeeded = _release(options.dag_id, airflow, sandbox, screen)
                if options.keep:
                    _wait_for_interrupt(airflow)
        except AirflowFailed as error:
            print(error)
            return 1
    return 0 if succeeded else 1


def _plan(sandbox: Sandbox) -> None:
    """Set how long the first build of each platform takes."""
    for setting in sandbox.settings("MyGame"):
        run = RUNS.get(setting["platform"])
        if run is not None:
            sandbox.plan(
                setting_id=setting["id"], queue=QUEUE, run=run, artifact_bytes=ARTIFACT_BYTES
            )


def _release(dag_id: str, airflow: Airflow, sandbox: Sandbox, screen: Screen) -> bool:
    from airflow_provider_buildpixel.sandbox.demo.release import ENDED, ReleaseRun
    from airflow_provider_buildpixel.sandbox.demo.summary import EXPLANATION, table

    airflow.wait_for_dags([dag_id])
    conf = {"releases": str(airflow.home.path / "releases")}
    release = ReleaseRun(airflow, sandbox, dag_id, airflow.api.start_run(dag_id, conf))
    screen.message(f"Started {dag_id}: {release.run_id}")
    while (state := release.state) not in ENDED:
        airflow.check()
        screen.show(release.tasks())
        time.sleep(REFRESH_INTERVAL)
    screen.show(release.tasks())
    rows = release.rows()
    print(*release.failures(), f"\n{dag_id}: {state}\n", table(rows), f"\n{EXPLANATION}", sep="\n")
    print("", *release.downloads(), sep="\n")
    return state == "success" and bool(rows) and all(row.complete for row in rows)


def _wait_for_interrupt(airflow: Airflow) -> None:
    print(f"\nAirflow's UI: {airflow.url}  user: {airflow.user}  password: {airflow.password}")
    print("Press Ctrl-C to stop.", flush=True)
    with suppress(KeyboardInterrupt):
        while True:
            airflow.check()
            time.sleep(REFRESH_INTERVAL)
