"""Logs everything at DEBUG with canary secrets, then searches all files for them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox

demo = pytest.importorskip("airflow_provider_buildpixel.sandbox.demo.airflow")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow

CANARY = f"canary{secrets.token_hex(12)}"
WEBHOOK_SECRET = f"whsec_{CANARY}"

DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow_provider_buildpixel.assets import build_asset
from airflow_provider_buildpixel.operators.buildpixel import (
    BuildPixelDownloadArtifactOperator as Download,
    BuildPixelTriggerBuildOperator as Trigger,
)
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor as Sensor
from airflow_provider_buildpixel.triggers.events import BuildPixelBuildEventTrigger

SETTING = {{"platform": "Win64", "buildType": "Shipping"}}
common = {{"buildpixel_conn_id": "canary"}}
asset = build_asset("{project}", "{setting}")

with DAG("leaks", schedule=None, max_active_tasks=3):
    made = {{"project": "MyGame", "build_setting": SETTING, **common}}
    build = Trigger(task_id="build", deferrable=True, poll_interval=1, outlets=[asset], **made)
    second = Trigger(task_id="second", deferrable=False, poll_interval=1, channel="polling", **made)
    sensor = Sensor(task_id="sensor", build_id=build.output["build_id"], **common)
    download = Download(task_id="download", build_id=build.output["build_id"],
                        destination="{artifacts}/{{{{ ti.task_id }}}}.tar.gz", **common)
    missing = Download(task_id="missing", build_id="a" * 24, destination="{artifacts}/x", **common)
    refused = Trigger(task_id="refused", **{{**made, "buildpixel_conn_id": "refused"}})
    build >> second >> sensor

watcher = BuildPixelBuildEventTrigger(**common, poll_interval=1.0)
builds = Asset("builds", watchers=[AssetWatcher(name="w", trigger=watcher)])
with DAG("watching", schedule=[builds]):
    EmptyOperator(task_id="run")
with DAG("each_build", schedule=None):
    EmptyOperator(task_id="run")
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with short builds."""
    with Sandbox(default=Plan(queue=0.5, run=4.0)) as sandbox:
        yield sandbox


def _uri(sandbox: Sandbox, token: str) -> str:
    extra = f"webhook_secret={WEBHOOK_SECRET}&run_per_build=each_build"
    return f"buildpixel://:{token}@{quote(sandbox.url, safe='')}/?{extra}"


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow whose components all log at DEBUG."""
    folder = tmp_path_factory.mktemp("dags")
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    artifacts = tmp_path_factory.mktemp("artifacts")
    text = DAGS.format(project=setting["projectId"], setting=setting["id"], artifacts=artifacts)
    (folder / "dags.py").write_text(text)
    environment = {
        "AIRFLOW_CONN_CANARY": _uri(sandbox, sandbox.token),
        "AIRFLOW_CONN_REFUSED": _uri(sandbox, f"bp_refused_{CANARY}"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__LOGGING__FAB_LOGGING_LEVEL": "DEBUG",
    }
    with demo.Airflow(folder, environment) as airflow:
        airflow.wait_for_dags(["leaks", "watching", "each_build"])
        yield airflow


def _has_ended(airflow: Airflow, run_id: str) -> bool:
    return airflow.api.run("leaks", run_id)["state"] in {"success", "failed"}


def _run_count(airflow: Airflow, dag_id: str) -> int:
    return int(airflow.api.call("GET", f"/dags/{dag_id}/dagRuns?limit=1")["total_entries"])


def _canaries(sandbox: Sandbox) -> list[str]:
    """Return the secrets: tokens, the webhook secret, and the signatures of artifact URLs."""
    signatures = {request.query.get("Signature") for request in sandbox.requests} - {None}
    assert signatures
    return [CANARY, sandbox.token, *(str(signature) for signature in signatures)]


def _files_with(airflow: Airflow, text: str) -> set[str]:
    """Return the files that contain a text: logs of all components and tasks, the database."""
    files = (path for path in airflow.home.path.rglob("*") if path.is_file())
    return {path.name for path in files if text.encode() in path.read_bytes()}


def _api_text(airflow: Airflow, run_id: str) -> str:
    """Return what the API shows of a run: logs, XCom, rendered fields, connections."""
    path = f"/dags/leaks/dagRuns/{run_id}/taskInstances"
    tasks = airflow.api.tasks("leaks", run_id)
    texts = [airflow.api.log(task, 1) for task in tasks]
    texts += [str(airflow.api.call("GET", f"{path}/{task['task_id']}")) for task in tasks]
    texts += [
        str(airflow.api.call("GET", f"{path}/{task['task_id']}/xcomEntries?limit=50"))
        for task in tasks
    ]
    return "\n".join(texts)


def test_nothing_leaks(airflow: Airflow, sandbox: Sandbox) -> None:
    """After builds, downloads, webhooks, a watcher and refusals no file contains a secret."""
    sandbox.webhook(f"{airflow.url}/buildpixel/webhooks/canary", WEBHOOK_SECRET)
    run_id = airflow.api.start_run("leaks", None)
    airflow.wait_until(lambda: _has_ended(airflow, run_id), 300, "the run has ended")
    airflow.wait_until(
        lambda: _run_count(airflow, "each_build") > 0, 180, "a webhook started a run"
    )
    airflow.wait_until(
        lambda: _run_count(airflow, "watching") > 0, 180, "the watcher sent an event"
    )
    states = {task["task_id"]: task["state"] for task in airflow.api.tasks("leaks", run_id)}
    failing = {"missing", "refused"}
    assert {task for task, state in states.items() if state == "failed"} == failing
    api_text = _api_text(airflow, run_id)
    build_id = str(sandbox.builds()[0]["id"])
    assert build_id in api_text
    # The search works: it finds the build id in logs of tasks and triggers, and in the database.
    assert len(_files_with(airflow, build_id)) >= 4
    assert any(".db" in name for name in _files_with(airflow, build_id))
    assert _files_with(airflow, "urllib3.connectionpool")  # this logger writes at DEBUG only
    for canary in _canaries(sandbox):
        assert canary not in api_text
        assert not _files_with(airflow, canary)
