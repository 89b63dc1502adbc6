"""Measures the time from a webhook to a queued run, compared with Airflow's asset event API.

    python -m tests.bench.webhooks [trials]

Both methods take turns on the same asset. The time is from just before the POST to the
``queued_at`` of the run in Airflow, both on this machine's clock.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
from tests.asset_events.integration.real import DAGS, SECRET, envelope, signature

if TYPE_CHECKING:
    from collections.abc import Callable

TRIALS = 25
TIMEOUT = 30.0
PAUSE = 0.3  # no two events coalesce, and posts are spread over the scheduler's loop


def main(trials: int) -> None:
    """Print the percentiles of each method, and the ratio of the medians."""
    with Sandbox(default=Plan(outcome="stays_pending")) as sandbox:
        setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
        folder = Path(tempfile.mkdtemp(prefix="buildpixel-bench-"))
        text = DAGS.format(project=setting["projectId"], setting=setting["id"])
        (folder / "dags.py").write_text(text)
        extra = f"webhook_secret={SECRET}&run_per_build=each_build"
        uri = f"buildpixel://:{sandbox.token}@{quote(sandbox.url, safe='')}/?{extra}"
        with Airflow(folder, {"AIRFLOW_CONN_BP": uri}) as airflow:
            airflow.wait_for_dags(["each_build", "on_asset"])
            Bench(airflow, sandbox, setting).run(trials)


class Bench:
    """The two methods, and their measurement."""

    def __init__(self, airflow: Airflow, sandbox: Sandbox, setting: dict[str, Any]) -> None:
        self._airflow, self._sandbox, self._setting = airflow, sandbox, setting
        uri = f"buildpixel://{setting['projectId']}/{setting['id']}"
        assets = airflow.api.call("GET", "/assets?limit=100")["assets"]
        self._asset_id = next(asset["id"] for asset in assets if asset["uri"] == uri)

    def run(self, trials: int) -> None:
        """Run the methods in turn; the first turn is a warm-up."""
        methods: dict[str, Callable[[], None]] = {"webhook": self._webhook, "asset API": self._api}
        durations: dict[str, list[float]] = {"run per build": [], **{name: [] for name in methods}}
        posts: dict[str, list[float]] = {name: [] for name in methods}
        for trial in range(trials + 1):
            for name, method in methods.items():
                started_at, before = time.time(), self._newest("on_asset")
                method()
                posts[name].append(time.time() - started_at)
                durations[name].append(self._queued("on_asset", before) - started_at)
                if name == "webhook":
                    durations["run per build"].append(self._queued("each_build", None) - started_at)
                time.sleep(PAUSE + trial % 7 / 10)
        for name, values in durations.items():
            print(_line(f"POST to queued run, {name}", values[1:]))  # noqa: T201  # its output
        for name, values in posts.items():
            print(_line(f"POST alone, {name}", values[1:]))  # noqa: T201  # its output
        ratio = median(durations["webhook"][1:]) / median(durations["asset API"][1:])
        print(f"webhook / asset API, medians: {ratio:.2f}")  # noqa: T201  # its output

    def _webhook(self) -> None:
        build_id = self._sandbox.push(self._setting["id"])
        self._sandbox.set_status(build_id, "complete")
        body = envelope(build_id, "complete")
        headers = {"X-BuildPixel-Signature": signature(body), "Content-Type": "application/json"}
        url = f"{self._airflow.url}/buildpixel/webhooks/bp"
        request = urllib.request.Request(url, body, headers)  # noqa: S310  # our own server
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310  # as above
            assert json.load(response)["outcome"] == "accepted"

    def _api(self) -> None:
        body = {"asset_id": self._asset_id, "extra": {}}
        self._airflow.api.call("POST", "/assets/events", body)

    def _newest(self, dag_id: str) -> dict[str, Any] | None:
        runs = self._airflow.api.call("GET", f"/dags/{dag_id}/dagRuns?limit=1&order_by=-id")
        return next(iter(runs["dag_runs"]), None)

    def _queued(self, dag_id: str, before: dict[str, Any] | None) -> float:
        known = before["dag_run_id"] if before else None
        until = time.time() + TIMEOUT
        while time.time() < until:
            run = self._newest(dag_id)
            if run is not None and run["dag_run_id"] != known:
                return datetime.fromisoformat(run["queued_at"]).timestamp()
            time.sleep(0.1)
        raise TimeoutError(f"{dag_id} has no new run")


def _line(what: str, values: list[float]) -> str:
    p95 = quantiles(values, n=20)[-1]
    return f"{what:<38} p50 {median(values):6.3f} s   p95 {p95:6.3f} s   n {len(values)}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
