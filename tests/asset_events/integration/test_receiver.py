"""Deliveries against the app, with Airflow's tables under it and the sandbox behind it."""

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

    from tests.asset_events.integration.conftest import Facts, Hooked, Server

pytest.importorskip("fastapi", reason="Airflow 2.11 has no FastAPI and no such routes")
pytestmark = pytest.mark.timeout(120)


async def test_finished_build_makes_event_and_run(
    server: Server, hooked: Hooked, facts: Facts
) -> None:
    """A genuine delivery makes one asset event and one run, both with the build's facts."""
    build_id = hooked.ended()
    answer = await server.post(hooked.body(build_id))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "taken"})
    [event] = facts.events(build_id)
    assert (event["type"], event["status"]) == ("build.complete", "complete")
    assert event["build_setting_id"] == hooked.setting["id"]
    [run] = facts.runs(build_id)
    assert run == event | {"dag": EACH_BUILD}


@pytest.mark.parametrize("status", ["failed", "superseded"])
async def test_every_end_is_told(server: Server, hooked: Hooked, facts: Facts, status: str) -> None:
    """Failed and superseded builds are told too; the Dag decides what they mean."""
    build_id = hooked.ended(status)
    await server.post(hooked.body(build_id, f"build.{status}"))
    assert [event["status"] for event in facts.events(build_id)] == [status]
    assert [run["status"] for run in facts.runs(build_id)] == [status]


async def test_retried_delivery_changes_nothing(
    servers: list[Server], hooked: Hooked, facts: Facts
) -> None:
    """A delivery that comes again, to any worker, is taken with thanks and does nothing."""
    build_id = hooked.ended()
    first = await servers[0].post(hooked.body(build_id))
    again = [await server.post(hooked.body(build_id)) for server in servers]
    assert first.json() == {"outcome": "taken"}
    assert [(one.status_code, one.json()["outcome"]) for one in again] == [
        (200, "taken before")
    ] * 2
    assert len(facts.events(build_id)) == len(facts.runs(build_id)) == 1


async def test_simultaneous_deliveries(servers: list[Server], hooked: Hooked, facts: Facts) -> None:
    """Twelve deliveries of one build at once, over two workers, make one event and one run."""
    build_id = hooked.ended()
    posts = [servers[n % 2].post(hooked.body(build_id, n=n)) for n in range(12)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await servers[0].post(hooked.body(build_id))).status_code == 200
    assert len(facts.events(build_id)) == len(facts.runs(build_id)) == 1


async def test_refusals_look_the_same(
    server: Server, hooked: Hooked, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong signature, unknown connection, missing secret, strange id: one answer, one cost."""
    build_id = hooked.ended()
    body, seen, times = hooked.body(build_id), set(), []
    steps: list[float] = []
    refusal_pause = webhook.refusal_pause

    def noted(elapsed: float) -> float:
        pause = refusal_pause(elapsed)
        steps.append((elapsed + pause) / webhook.REFUSAL_STEP)
        return pause

    monkeypatch.setattr(webhook, "refusal_pause", noted)
    for conn_id, secret in [
        ("bp", "wrong"),
        ("unknown", SECRET),
        ("secretless", SECRET),
        ("'%20--%00", SECRET),
    ]:
        await server.post(body, conn_id, secret)  # imports and caches of the first time
        started = time.monotonic()
        answer = await server.post(body, conn_id, secret)
        times.append(time.monotonic() - started)
        seen.add((answer.status_code, answer.content, tuple(answer.headers.items())))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 401
    assert all(one > 0.09 for one in times), times
    # How many steps a refusal takes is the machine's affair.
    assert len(steps) == 2 * len(times)
    assert all(step > 0.5 and step == pytest.approx(round(step)) for step in steps), steps
    assert facts.events(build_id) == facts.runs(build_id) == []


async def test_rotation(server: Server, hooked: Hooked, facts: Facts) -> None:
    """While rotating, the new and the old secret both count."""
    for secret in (SECRET, OLD_SECRET):
        build_id = hooked.ended()
        answer = await server.post(hooked.body(build_id), "rotating", secret)
        assert answer.status_code == 200
        assert len(facts.events(build_id)) == 1


async def test_no_run_where_none_is_asked_for(server: Server, hooked: Hooked, facts: Facts) -> None:
    """A connection without run_per_build makes asset events only."""
    build_id = hooked.ended()
    await server.post(hooked.body(build_id), "assets_only")
    assert len(facts.events(build_id)) == 1
    assert facts.runs(build_id) == []


async def test_asset_that_nobody_declares(server: Server, hooked: Hooked, facts: Facts) -> None:
    """A build whose asset no Dag declares is answered 2xx: sending it again would not help."""
    build_id = hooked.ended(setting=hooked.other_setting)
    answer = await server.post(hooked.body(build_id), "assets_only")
    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert facts.events(build_id) == []


async def test_unknown_dag_does_not_harm_the_event(
    server: Server, hooked: Hooked, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt Dag in run_per_build is logged; the other Dags and the asset get theirs."""
    both = hooked.connection(run_per_build=f"misspelt,{EACH_BUILD}")
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", both)
    build_id = hooked.ended()
    assert (await server.post(hooked.body(build_id), "misspelt")).status_code == 200
    assert len(facts.events(build_id)) == len(facts.runs(build_id)) == 1


@pytest.mark.parametrize("kind", ["build.created", "build.running", "build.archived", "ping"])
async def test_other_types_cost_nothing(server: Server, hooked: Hooked, kind: str) -> None:
    """What is no end of a build is thanked for, and nothing is read for it."""
    before = len(hooked.sandbox.requests)
    answer = await server.post(hooked.body("b" * 24, kind))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert len(hooked.sandbox.requests) == before


async def test_forged_content(server: Server, hooked: Hooked, facts: Facts) -> None:
    """Even with the right signature REST is the truth: no build, no end, or another end."""
    unknown = await server.post(hooked.body("b" * 24))
    assert (unknown.status_code, unknown.json()) == (200, {"outcome": "ignored"})
    going = hooked.sandbox.push(hooked.setting["id"])
    assert (await server.post(hooked.body(going))).status_code == 503
    assert facts.events(going) == facts.runs(going) == []
    complete = hooked.ended()
    await server.post(hooked.body(complete, "build.failed"))
    await server.post(hooked.body(complete, "build.complete"))
    assert [event["status"] for event in facts.events(complete)] == ["complete"]
    assert len(facts.runs(complete)) == 1


@pytest.mark.parametrize("patience", [[{"rereads": (0.05,) * 500}, {}]])
async def test_lagging_rest(server: Server, hooked: Hooked, facts: Facts) -> None:
    """A build that REST shows as finished a moment after the webhook is taken."""
    build_id = hooked.sandbox.push(hooked.setting["id"])
    before = len(hooked.sandbox.requests)
    answer = asyncio.create_task(server.post(hooked.body(build_id)))
    while not any(
        one.status == 200 for one in hooked.sandbox.requests[before:]
    ):  # another thread's list
        await asyncio.sleep(0.01)
    hooked.sandbox.set_status(build_id, "complete")
    assert (await answer).json() == {"outcome": "taken"}
    assert len(facts.events(build_id)) == 1


@pytest.mark.parametrize("patience", [[{"work": 2.0}, {}]])
async def test_outage_of_rest(servers: list[Server], hooked: Hooked, facts: Facts) -> None:
    """During an outage BuildPixel is asked to come again; the work goes on, and is done once."""
    build_id = hooked.ended()
    hooked.sandbox.fault("500", route="GET /builds/:id")
    answer = await servers[0].post(hooked.body(build_id))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert facts.events(build_id) == []
    hooked.sandbox.heal()
    for _ in range(600):
        if facts.runs(build_id) and facts.events(build_id):
            break
        await asyncio.sleep(0.1)
    # The other process: in this one the work may not have ended yet, and would be shared.
    answer = await servers[1].post(hooked.body(build_id))
    assert answer.json() == {"outcome": "taken before"}
    assert len(facts.events(build_id)) == len(facts.runs(build_id)) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"type": 1.5}', b'{"type":"build.failed"}']
)
async def test_signed_nonsense(server: Server, hooked: Hooked, body: bytes) -> None:
    """A signed body that is no delivery is a bad request, and no error of ours."""
    assert (await server.post(body)).status_code == 400


async def test_only_json(server: Server, hooked: Hooked) -> None:
    """Another content type is refused before anything is looked up."""
    headers = {"content-type": "text/plain"}
    assert (await server.post(hooked.body("b" * 24), **headers)).status_code == 415


async def test_large_bodies(server: Server, hooked: Hooked) -> None:
    """A body beyond the limit is not read to its end, whether it announces its length or not."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 65_536
            yield b" " * 65_536

    assert (await server.post(b" " * 10_000_000)).status_code == 413
    assert (await server.post(endless())).status_code == 413
    assert sent < 500_000


async def test_slow_sender(server: Server, hooked: Hooked) -> None:
    """A sender who dawdles is cut off, and then nothing of his is kept."""
    taken = 0

    async def dawdling() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(20):
            await asyncio.sleep(0.1)
            taken += 1
            yield b"{"

    assert (await server.post(dawdling())).status_code == 408
    assert taken < 20


async def test_nothing_secret_is_logged(
    server: Server, hooked: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes, the log has no secret, no token, no signature and no body."""
    caplog.set_level(logging.DEBUG)
    body = hooked.body(hooked.ended(), note="a-word-of-the-body")
    for conn_id, secret in [("bp", SECRET), ("bp", "wrong"), ("unknown", SECRET)]:
        await server.post(body, conn_id, secret)
    await server.post(b"a-word-of-the-body")
    await server.post(hooked.body("b" * 24))
    for word in (SECRET, hooked.sandbox.token, "sha256=", "a-word-of-the-body"):
        assert word not in caplog.text
    assert "Refused a webhook for connection unknown" in caplog.text


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "webhooks/", "webhooks/a/b", ""])
async def test_nothing_else_is_there(server: Server, path: str) -> None:
    """There is no page that describes the routes, and no other route."""
    assert (await server.client.get(f"/buildpixel/{path}")).status_code == 404


async def test_only_post(server: Server) -> None:
    """The route takes POST alone."""
    assert (await server.client.get("/buildpixel/webhooks/bp")).status_code == 405
