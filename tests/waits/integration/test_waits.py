"""Waits with faults of every kind, for both clients, with and without the live channel."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import NotFound, Unauthorized
from airflow_provider_buildpixel.waits.actions import Expired
from airflow_provider_buildpixel.waits.wait import Wait
from tests.clients.adapters import (
    LONG_TIMEOUT,
    SHORT_TIMEOUT,
    RecordedWait,
    ended_build,
    run_wait,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.request_log import LoggedRequest
    from tests.clients.adapters import ClientAdapter

ROUTE = "GET /builds/:id"
CHANNELS = ("auto", "polling")


@dataclass(frozen=True)
class FaultCase:
    """A fault of the sandbox, and the most requests that a wait may need because of it."""

    name: str
    max_requests: int
    params: dict[str, Any] = field(default_factory=dict)


FAULTS = {
    "one-500": FaultCase("500", 4, {"times": 1}),
    "five-500s": FaultCase("500", 8, {"times": 5}),
    "429-without-a-time": FaultCase("429", 5, {"times": 2, "retry_after": None}),
    "one-reset": FaultCase("reset", 4, {"times": 1}),
    "two-resets": FaultCase("reset", 5, {"times": 2}),
    "closed": FaultCase("close", 4, {"times": 1}),
    "truncated-json": FaultCase("truncated-json", 4, {"times": 1}),
    "truncated-with-its-length": FaultCase("truncated-json", 4, {"times": 1, "cut": True}),
    "html-502": FaultCase("502-html", 4, {"times": 1}),
    "html-200": FaultCase("html-200", 4, {"times": 1}),
    "empty-200": FaultCase("empty-200", 4, {"times": 1}),
    "mistyped": FaultCase("mistyped-json", 4, {"times": 1}),
    "a-hang": FaultCase("hang", 4, {"times": 1}),
    "a-while-of-404": FaultCase("404", 6, {"times": 3}),
}


def reads(sandbox: Sandbox) -> list[LoggedRequest]:
    """Return the reads of a single build so far."""
    return [request for request in sandbox.requests if request.route == ROUTE]


async def start_wait(
    sandbox: Sandbox, client: ClientAdapter, wait: RecordedWait
) -> asyncio.Task[Any]:
    """Start a wait; return its task after the join and the first read."""
    task = asyncio.create_task(run_wait(client, wait))
    if wait.channel == "polling":
        await wait_until(lambda: reads(sandbox))
    else:
        await wait_until(lambda: sandbox.joined(wait.build_id) and reads(sandbox))
    return task


def request_timeout_for(fault: str) -> float:
    """Return the request timeout for a test with this fault."""
    return SHORT_TIMEOUT if fault == "hang" else LONG_TIMEOUT


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("case", "request_timeout"),
    [(case, request_timeout_for(case.name)) for case in FAULTS.values()],
    ids=list(FAULTS),
)
async def test_fault_during_the_wait(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str, case: FaultCase
) -> None:
    """A wait survives a temporary fault with the right result and few requests."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, channel))
    before = len(reads(sandbox))
    fault = sandbox.fault(case.name, ROUTE, **case.params)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert fault.hits == case.params["times"]
    assert len(reads(sandbox)) - before <= case.max_requests


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("fault", "request_timeout"),
    [
        (fault, request_timeout_for(fault))
        for fault in ("500", "reset", "hang", "truncated-json", "404")
    ],
)
async def test_fault_at_the_first_read(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str, fault: str
) -> None:
    """A wait whose first read fails still ends with the right result."""
    sandbox.set_status(queued_build, "failed")
    sandbox.fault(fault, ROUTE, times=2 if fault in {"500", "reset"} else 1)
    assert (
        ended_build(await run_wait(client, RecordedWait(queued_build, channel))).status == "failed"
    )
    assert len(reads(sandbox)) <= 4


@pytest.mark.parametrize(
    ("channel", "date"),
    [("auto", False), ("polling", False), ("polling", True)],
    ids=["auto-seconds", "polling-seconds", "polling-http-date"],
)
async def test_retry_after(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str, *, date: bool
) -> None:
    """After a 429 no request is sent before its Retry-After has passed, whatever happens."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, channel))
    seconds = 2 if date else 1
    sandbox.fault("429", ROUTE, times=1, retry_after=seconds, date=date)
    await wait_until(lambda: any(read.status == 429 for read in reads(sandbox)))
    sandbox.set_status(queued_build, "running")
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    refused, following = next(
        (first, second) for first, second in pairwise(reads(sandbox)) if first.status == 429
    )
    assert following.at - refused.at >= (1 if date else seconds)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_refused_connections(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str
) -> None:
    """If the server refuses connections while the build ends, the wait finds the end later."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, channel))
    outage = sandbox.fault("refuse-connections")
    sandbox.set_status(queued_build, "complete")
    await asyncio.sleep(0.5)
    assert not task.done()
    outage.remove()
    assert ended_build(await task).status == "complete"
    assert len(reads(sandbox)) <= 6


@pytest.mark.parametrize("channel", CHANNELS)
async def test_revoked_token(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str
) -> None:
    """A revoked token ends the wait with a clear error, after at most three requests."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, channel))
    before = len(reads(sandbox))
    sandbox.revoke(sandbox.token)
    sandbox.set_status(queued_build, "complete")
    with pytest.raises(Unauthorized, match="put a valid API token into the password") as caught:
        await task
    assert caught.value.code == "invalid_token"
    assert caught.value.request_id
    assert len(reads(sandbox)) - before <= 3


@pytest.mark.parametrize("channel", CHANNELS)
async def test_unknown_build(sandbox: Sandbox, client: ClientAdapter, channel: str) -> None:
    """An unknown build ends the wait with NotFound after the grace period."""
    with pytest.raises(NotFound, match="check the id"):
        await run_wait(client, RecordedWait("0" * 24, channel, not_found_grace=0.5))
    assert 2 <= len(reads(sandbox)) <= 16


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_unknown_status(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str
) -> None:
    """A wait continues while the build has an unknown status."""
    wait = RecordedWait(queued_build, channel)
    task = await start_wait(sandbox, client, wait)
    sandbox.set_status(queued_build, "uploading")
    await wait_until(lambda: "is uploading" in wait.log_text)
    assert not task.done()
    sandbox.set_status(queued_build, "superseded")
    assert ended_build(await task).status == "superseded"


@pytest.mark.parametrize("channel", [*CHANNELS, "socketio"])
async def test_an_ended_build(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str
) -> None:
    """A build that has ended before the wait needs one read."""
    sandbox.set_status(queued_build, "complete")
    assert (
        ended_build(await run_wait(client, RecordedWait(queued_build, channel))).status
        == "complete"
    )
    assert len(reads(sandbox)) == 1


@pytest.mark.parametrize("channel", [*CHANNELS, "socketio"])
async def test_expired(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, channel: str
) -> None:
    """A wait expires at its deadline while the build is still queued."""
    end = await run_wait(client, RecordedWait(queued_build, channel, timeout=0.4))
    assert isinstance(end, Expired)


async def test_default_pacing(sandbox: Sandbox, client: ClientAdapter, queued_build: str) -> None:
    """A wait with the default pacing finds the end over the channel, with at most three reads."""
    messages: list[Any] = []
    task = asyncio.create_task(client.wait(Wait(queued_build), messages.append))
    await wait_until(lambda: sandbox.joined(queued_build) and reads(sandbox))
    sandbox.log(queued_build, "LogCook: Cooking maps from path...")
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert len(reads(sandbox)) <= 3
    assert "phase: cook" in [message.text for message in messages]
