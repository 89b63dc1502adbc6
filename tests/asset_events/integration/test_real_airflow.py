"""Webhooks and watchers in a real Airflow with two API server workers, bursts and kill -9."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox

real = pytest.importorskip("tests.asset_events.integration.real", reason="needs the extra sandbox")
demo = pytest.importorskip("airflow_provider_buildpixel.sandbox.demo.airflow")
pytest.importorskip("fastapi", reason="Airflow 2.11 has no such routes")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
    from tests.asset_events.integration.real import Senders

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WORKERS = 2
SETTINGS = {
    "AIRFLOW__API__WORKERS": str(WORKERS),
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "50",
}
MEGABYTE = 1_000_000
ROUNDS = 30


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which builds end when the test sets their status."""
    with Sandbox(default=Plan(outcome="stays_pending"), webhook_pause=2.0) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow with the Dags, connected to the sandbox."""
    folder = tmp_path_factory.mktemp("dags")
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    text = real.DAGS.format(project=setting["projectId"], setting=setting["id"])
    (folder / "dags.py").write_text(text)
    extra = f"webhook_secret={real.SECRET}&run_per_build=each_build"
    uri = f"buildpixel://:{sandbox.token}@{quote(sandbox.url, safe='')}/?{extra}"
    with demo.Airflow(folder, SETTINGS | {"AIRFLOW_CONN_BP": uri}) as airflow:
        airflow.wait_for_dags(["each_build", "on_asset", "on_watch"])
        yield airflow


def _url(airflow: Airflow) -> str:
    return f"{airflow.url}/buildpixel/webhooks/bp"


def _ended(sandbox: Sandbox, count: int, platform: str = "Win64") -> list[str]:
    setting = sandbox.setting("MyGame", platform=platform, buildType="Shipping")
    pushed = [sandbox.push(setting["id"], branch=f"line-{n}") for n in range(count)]
    for build_id in pushed:
        sandbox.set_status(build_id, "complete")
    return pushed


def _invalid(senders: Senders, forged: list[str]) -> list[object]:
    """Return hostile and broken senders."""
    bodies = [real.envelope(build_id, "complete") for build_id in forged]
    good = [(body, real.signature(body)) for body in (b"{", b"[]", b"\xff", b'{"type":"ping"}')]
    large = b" " * (10 * MEGABYTE)
    return [
        *(senders.once(body, real.signature(body, "wrong")) for body in bodies * 4),
        *(senders.once(body, "") for body in bodies),
        *(senders.once(body, signed) for body, signed in good * 20),
        *(senders.once(lambda: io.BytesIO(large), "sha256=") for _ in range(15)),
        *(senders.once(real.slow_body, "sha256=") for _ in range(15)),
    ]


def _warm_up(airflow: Airflow, sandbox: Sandbox, senders: Senders) -> None:
    """Send until no worker process grows: each imports modules at its first delivery.

    Each round uses new connections, which any worker may accept.
    """
    stable, initial = 0, real.memories(airflow)
    before = initial
    for _ in range(ROUNDS):
        asyncio.run(senders.run([senders.valid(one) for one in _ended(sandbox, 20)]))
        after = real.memories(airflow)
        stable = stable + 1 if max(_grown(before, after)) < MEGABYTE else 0
        if stable >= 3 and sum(one > MEGABYTE for one in _grown(initial, after)) >= WORKERS:
            return
        before = after


def _grown(before: dict[int, int], after: dict[int, int]) -> list[int]:
    return [held - before.get(pid, 0) for pid, held in after.items()]


def test_bursts(airflow: Airflow, sandbox: Sandbox) -> None:
    """After a thousand valid, repeated and invalid deliveries each valid build has one run."""
    ended, forged = _ended(sandbox, 200), _ended(sandbox, 50)
    senders = real.Senders(_url(airflow))
    _warm_up(airflow, sandbox, senders)
    warm, before = {run["dag_run_id"] for run in real.build_runs(airflow)}, real.memory(airflow)
    valid = [senders.valid(build_id) for build_id in ended for _ in range(3)]
    asyncio.run(senders.run([*valid, *_invalid(senders, forged)]))
    wanted = {f"buildpixel__{build_id}" for build_id in ended}
    runs = [run for run in real.build_runs(airflow) if run["dag_run_id"] not in warm]
    assert len(runs) == len(wanted)
    assert {run["dag_run_id"] for run in runs} == wanted
    assert {run["conf"]["build_id"] for run in runs} == set(ended)
    grown = real.memory(airflow) - before
    counts = {status: senders.statuses.count(status) for status in sorted(set(senders.statuses))}
    print(counts)  # noqa: T201  # figures
    print(  # noqa: T201  # figures
        f"memory before {before / MEGABYTE:.0f} MB, growth {grown / MEGABYTE:.1f} MB"
    )
    assert grown < 60 * MEGABYTE
    assert 500 not in senders.statuses


def test_dags_run(airflow: Airflow, sandbox: Sandbox) -> None:
    """A webhook of the sandbox starts a run of the Dag per build and of the asset's Dag."""
    sandbox.webhook(_url(airflow), real.SECRET)
    [build_id] = _ended(sandbox, 1)
    run_id = f"buildpixel__{build_id}"

    def done() -> bool:
        runs = {run["dag_run_id"]: run["state"] for run in real.build_runs(airflow)}
        consumed = airflow.api.call("GET", "/dags/on_asset/dagRuns?limit=1&state=success")
        return runs.get(run_id) == "success" and bool(consumed["dag_runs"])

    airflow.wait_until(done, real.TIMEOUT, "both Dags have run")


def test_killed_api_server(airflow: Airflow, sandbox: Sandbox) -> None:
    """If the API server is killed in a burst, retries lose and duplicate nothing."""
    server, builds = airflow.components["api-server"], _ended(sandbox, 60)
    senders = real.Senders(_url(airflow))
    valid = [senders.valid(build_id) for build_id in builds for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        burst = pool.submit(asyncio.run, senders.run(valid, concurrency=10))
        airflow.wait_until(lambda: 200 in senders.statuses, 120, "some are accepted")
        server.kill()
        server.start()
        burst.result(real.TIMEOUT)
    assert 0 in senders.statuses
    wanted = sorted(f"buildpixel__{build_id}" for build_id in builds)
    runs = sorted(run["dag_run_id"] for run in real.build_runs(airflow))
    assert [run_id for run_id in runs if run_id in wanted] == wanted


def test_killed_triggerer(airflow: Airflow, sandbox: Sandbox) -> None:
    """After its triggerer is killed a watcher continues: no build is missed or reported twice."""
    triggerer = airflow.components["triggerer"]
    platform = {"platform": "Linux"}
    airflow.wait_until(lambda: bool(_cursors(airflow)), real.TIMEOUT, "the watcher has started")
    first = _ended(sandbox, 3, **platform)
    airflow.wait_until(
        lambda: len(_reported(airflow)) >= 3, real.TIMEOUT, "the first builds are reported"
    )
    airflow.wait_until(
        lambda: any(set(first) <= {*cursor["handled"]} for cursor in _cursors(airflow)),
        real.TIMEOUT,
        "the cursor is saved",
    )
    triggerer.kill()
    meanwhile = _ended(sandbox, 5, **platform)
    triggerer.start()
    airflow.wait_until(
        lambda: len(_reported(airflow)) >= 8, real.TIMEOUT, "the others are reported"
    )
    last = _ended(sandbox, 1, **platform)
    airflow.wait_until(
        lambda: len(_reported(airflow)) >= 9, real.TIMEOUT, "the last one is reported"
    )
    assert sorted(_reported(airflow)) == sorted(first + meanwhile + last)
    consumed = airflow.api.call("GET", "/dags/on_watch/dagRuns?limit=100")["dag_runs"]
    assert consumed


def _cursors(airflow: Airflow) -> list[dict[str, Any]]:
    """Return the cursors that watchers have saved, from the database."""
    address = f"{(airflow.home.path / 'airflow.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, timeout=60, uri=True)) as database:
        return [
            json.loads(row[0]) for row in database.execute("SELECT value FROM asset_state_store")
        ]


def _reported(airflow: Airflow) -> list[str]:
    found: list[str] = real.reported_builds(airflow, "linux builds")
    return found
