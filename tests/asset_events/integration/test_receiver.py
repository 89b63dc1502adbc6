"""Deliveries to the app, with Airflow's tables and a sandbox."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.asset_events import webhook
from tests.asset_events.integration.conftest import EACH_BUILD, OLD_SECRET, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.asset_events.integration.conftest import Server, StoredResults, WebhookSandbox

pytest.importorskip("fastapi", reason="Airflow 2.11 has no FastAPI and no such routes")
pytestmark = pytest.mark.timeout(120)


async def test_ended_build_creates_event_and_run(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A signed delivery creates one asset event and one run, both with the build's facts."""
    build_id = webhooks.ended()
    answer = await server.post(webhooks.body(build_id))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "accepted"})
    [event] = stored.events(build_id)
    assert (event["type"], event["status"]) == ("build.complete", "complete")
    assert event["build_setting_id"] == webhooks.setting["id"]
    [run] = stored.runs(build_id)
    assert run == event | {"dag": EACH_BUILD}


@pytest.mark.parametrize("status", ["failed", "superseded"])
async def test_every_end_is_reported(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults, status: str
) -> None:
    """Failed and superseded builds are reported too; the Dag decides what to do."""
    build_id = webhooks.ended(status)
    await server.post(webhooks.body(build_id, f"build.{status}"))
    assert [event["status"] for event in stored.events(build_id)] == [status]
    assert [run["status"] for run in stored.runs(build_id)] == [status]


async def test_retried_delivery_changes_nothing(
    servers: list[Server], webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A retried delivery, to any worker, is answered with 200 and creates nothing."""
    build_id = webhooks.ended()
    first = await servers[0].post(webhooks.body(build_id))
    again = [await server.post(webhooks.body(build_id)) for server in servers]
    assert first.json() == {"outcome": "accepted"}
    assert [(one.status_code, one.json()["outcome"]) for one in again] == [
        (200, "already accepted")
    ] * 2
    assert len(stored.events(build_id)) == len(stored.runs(build_id)) == 1


async def test_simultaneous_deliveries(
    servers: list[Server], webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """Twelve concurrent deliveries of one build to two workers create one event and one run."""
    build_id = webhooks.ended()
    posts = [servers[n % 2].post(webhooks.body(build_id, n=n)) for n in range(12)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await servers[0].post(webhooks.body(build_id))).status_code == 200
    assert len(stored.events(build_id)) == len(stored.runs(build_id)) == 1


async def test_refusals_are_equal(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong signature, unknown connection, missing secret, invalid id: same answer, same time."""
    build_id = webhooks.ended()
    body, seen, times = webhooks.body(build_id), set(), []
    steps: list[float] = []
    refusal_delay = webhook.refusal_delay

    def recorded(elapsed: float) -> float:
        pause = refusal_delay(elapsed)
        steps.append((elapsed + pause) / webhook.REFUSAL_STEP)
        return pause

    monkeypatch.setattr(webhook, "refusal_delay", recorded)
    for conn_id, secret in [
        ("bp", "wrong"),
        ("unknown", SECRET),
        ("secretless", SECRET),
        ("'%20--%00", SECRET),
    ]:
        await server.post(body, conn_id, secret)  # the first request imports and fills caches
        started = time.monotonic()
        answer = await server.post(body, conn_id, secret)
        times.append(time.monotonic() - started)
        seen.add((answer.status_code, answer.content, tuple(answer.headers.items())))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 401
    assert all(one > 0.09 for one in times), times
    # The number of steps depends on the machine.
    assert len(steps) == 2 * len(times)
    assert all(step > 0.5 and step == pytest.approx(round(step)) for step in steps), steps
    assert stored.events(build_id) == stored.runs(build_id) == []


async def test_rotation(server: Server, webhooks: WebhookSandbox, stored: StoredResults) -> None:
    """During a rotation both the new and the old secret are accepted."""
    for secret in (SECRET, OLD_SECRET):
        build_id = webhooks.ended()
        answer = await server.post(webhooks.body(build_id), "rotating", secret)
        assert answer.status_code == 200
        assert len(stored.events(build_id)) == 1


async def test_no_run_without_run_per_build(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """Without run_per_build only asset events are created."""
    build_id = webhooks.ended()
    await server.post(webhooks.body(build_id), "assets_only")
    assert len(stored.events(build_id)) == 1
    assert stored.runs(build_id) == []


async def test_asset_of_no_dag(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A delivery for an asset of no Dag is answered with 200: a retry would not help."""
    build_id = webhooks.ended(setting=webhooks.other_setting)
    answer = await server.post(webhooks.body(build_id), "assets_only")
    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert stored.events(build_id) == []


async def test_unknown_dag_in_run_per_build(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown Dag in run_per_build is logged; the other runs and the event are created."""
    both = webhooks.connection(run_per_build=f"misspelt,{EACH_BUILD}")
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", both)
    build_id = webhooks.ended()
    assert (await server.post(webhooks.body(build_id), "misspelt")).status_code == 200
    assert len(stored.events(build_id)) == len(stored.runs(build_id)) == 1


@pytest.mark.parametrize("kind", ["build.created", "build.running", "build.archived", "ping"])
async def test_other_types_are_ignored(server: Server, webhooks: WebhookSandbox, kind: str) -> None:
    """A delivery of another type is answered with 200, and no build is read."""
    before = len(webhooks.sandbox.requests)
    answer = await server.post(webhooks.body("b" * 24, kind))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert len(webhooks.sandbox.requests) == before


async def test_forged_content(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """REST decides, even with a valid signature: unknown build, live build, or another end."""
    unknown = await server.post(webhooks.body("b" * 24))
    assert (unknown.status_code, unknown.json()) == (200, {"outcome": "ignored"})
    live = webhooks.sandbox.push(webhooks.setting["id"])
    assert (await server.post(webhooks.body(live))).status_code == 503
    assert stored.events(live) == stored.runs(live) == []
    complete = webhooks.ended()
    await server.post(webhooks.body(complete, "build.failed"))
    await server.post(webhooks.body(complete, "build.complete"))
    assert [event["status"] for event in stored.events(complete)] == ["complete"]
    assert len(stored.runs(complete)) == 1


@pytest.mark.parametrize("timeouts", [[{"reread_pauses": (0.05,) * 500}, {}]])
async def test_lagging_rest(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A build that REST reports as ended shortly after the webhook is accepted."""
    build_id = webhooks.sandbox.push(webhooks.setting["id"])
    before = len(webhooks.sandbox.requests)
    answer = asyncio.create_task(server.post(webhooks.body(build_id)))
    while not any(  # noqa: ASYNC110  # filled by another thread
        one.status == 200 for one in webhooks.sandbox.requests[before:]
    ):
        await asyncio.sleep(0.01)
    webhooks.sandbox.set_status(build_id, "complete")
    assert (await answer).json() == {"outcome": "accepted"}
    assert len(stored.events(build_id)) == 1


@pytest.mark.parametrize("timeouts", [[{"work_timeout": 2.0}, {}]])
async def test_outage_of_rest(
    servers: list[Server], webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """During an outage BuildPixel is asked to retry; the work continues and is done once."""
    build_id = webhooks.ended()
    webhooks.sandbox.fault("500", route="GET /builds/:id")
    answer = await servers[0].post(webhooks.body(build_id))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert stored.events(build_id) == []
    webhooks.sandbox.heal()
    for _ in range(600):
        if stored.runs(build_id) and stored.events(build_id):
            break
        await asyncio.sleep(0.1)
    # The other worker: in the first one the retry may still join the running work.
    answer = await servers[1].post(webhooks.body(build_id))
    assert answer.json() == {"outcome": "already accepted"}
    assert len(stored.events(build_id)) == len(stored.runs(build_id)) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"type": 1.5}', b'{"type":"build.failed"}']
)
async def test_signed_malformed_bodies(
    server: Server, webhooks: WebhookSandbox, body: bytes
) -> None:
    """A signed body that is not a delivery is answered with 400."""
    assert (await server.post(body)).status_code == 400


async def test_only_json(server: Server, webhooks: WebhookSandbox) -> None:
    """Another content type is refused before the connection is looked up."""
    headers = {"content-type": "text/plain"}
    assert (await server.post(webhooks.body("b" * 24), **headers)).status_code == 415


async def test_large_bodies(server: Server, webhooks: WebhookSandbox) -> None:
    """A too large body is not read to its end, with or without Content-Length."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 65_536
            yield b" " * 65_536

    assert (await server.post(b" " * 10_000_000)).status_code == 413
    assert (await server.post(endless())).status_code == 413
    assert sent < 500_000


async def test_slow_sender(server: Server, webhooks: WebhookSandbox) -> None:
    """A sender that takes too long for the body is disconnected."""
    chunks = 0

    async def slow_body() -> AsyncIterator[bytes]:
        nonlocal chunks
        for _ in range(20):
            await asyncio.sleep(0.1)
            chunks += 1
            yield b"{"

    assert (await server.post(slow_body())).status_code == 408
    assert chunks < 20


async def test_nothing_secret_is_logged(
    server: Server, webhooks: WebhookSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """No request puts a secret, token, signature or body into the log."""
    caplog.set_level(logging.DEBUG)
    body = webhooks.body(webhooks.ended(), note="a-word-of-the-body")
    for conn_id, secret in [("bp", SECRET), ("bp", "wrong"), ("unknown", SECRET)]:
        await server.post(body, conn_id, secret)
    await server.post(b"a-word-of-the-body")
    await server.post(webhooks.body("b" * 24))
    for word in (SECRET, webhooks.sandbox.token, "sha256=", "a-word-of-the-body"):
        assert word not in caplog.text
    assert "Refused a webhook for connection unknown" in caplog.text


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "webhooks/", "webhooks/a/b", ""])
async def test_no_other_routes(server: Server, path: str) -> None:
    """There is no API documentation and no other route."""
    assert (await server.client.get(f"/buildpixel/{path}")).status_code == 404


async def test_only_post(server: Server) -> None:
    """The route accepts only POST."""
    assert (await server.client.get("/buildpixel/webhooks/bp")).status_code == 405
