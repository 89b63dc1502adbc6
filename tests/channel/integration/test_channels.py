"""The live channel of both clients: refused, cut, kicked, silent, or with wrong events."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_buildpixel.channel import (
    async_channel,
    async_client,
    blocking_channel,
    socketio_options,
)
from airflow_provider_buildpixel.sandbox import Variants
from tests.clients.adapters import RecordedWait, ended_build, run_wait, short_timeout, wait_until
from tests.waits.integration.test_waits import reads, start_wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.clients.adapters import ClientAdapter

SLOW_POLL = 30.0
"""A poll interval with which only the channel can find the end soon."""


def connection_attempts(sandbox: Sandbox, transport: str | None = None) -> int:
    """Return the number of attempts to connect, over all transports or one."""
    return sum(
        1
        for request in sandbox.requests
        if request.route == "sockets"
        and "sid" not in request.query
        and transport in {None, request.query.get("transport")}
    )


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("sockets-refused", {"status": 403}),
        ("sockets-refused", {"status": 502}),
        ("sockets-closed", {}),
        ("sockets-hang", {}),
        ("sockets-dropped", {"delay": 0.05}),
    ],
    ids=["403", "502", "101-then-closed", "101-then-silence", "dropped-soon"],
)
async def test_channel_unavailable(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, fault: str, params: dict[str, Any]
) -> None:
    """If no connection can be opened, polling over REST finds the end."""
    sandbox.fault(fault, **params)
    task = asyncio.create_task(run_wait(client, RecordedWait(queued_build)))
    await wait_until(lambda: len(reads(sandbox)) >= 2)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert connection_attempts(sandbox) <= 5
    sandbox.heal()


async def test_a_flapping_channel(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """A server that accepts connections and cuts them at once gets few attempts."""
    sandbox.fault("sockets-dropped", delay=0.1)
    wait = RecordedWait(queued_build, poll_interval=SLOW_POLL, timeout=1.5)
    await run_wait(client, wait)
    assert connection_attempts(sandbox) <= 5
    assert len(reads(sandbox)) <= 5


async def test_websockets_blocked(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """If only websockets are blocked, events come over long-polling."""
    sandbox.fault("sockets-blocked-polling-ok")
    wait = RecordedWait(queued_build, poll_interval=SLOW_POLL)
    task = await start_wait(sandbox, client, wait)
    sandbox.log(queued_build, "LogStaging: Staging...")
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert "phase: stage" in wait.log_text
    assert connection_attempts(sandbox, "websocket") == 1
    assert len(reads(sandbox)) <= 3


async def test_a_burst_over_long_polling(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """A burst of log lines over long-polling does not break the connection."""
    sandbox.fault("sockets-blocked-polling-ok")
    wait = RecordedWait(queued_build, poll_interval=SLOW_POLL)
    task = await start_wait(sandbox, client, wait)
    for number in range(300):
        sandbox.log(queued_build, f"line {number}")
    sandbox.set_status(queued_build, "complete")
    ended_build(await task)
    assert "| line 299" in wait.log_text
    assert connection_attempts(sandbox, "polling") == 1


@pytest.mark.parametrize("cause", ["drop", "kick"])
async def test_lost_connection(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, cause: str
) -> None:
    """After a cut, or a kick by the server, the room is joined and the build read again."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    before = len(reads(sandbox))
    (sandbox.drop_sockets if cause == "drop" else sandbox.kick_sockets)()
    await wait_until(lambda: connection_attempts(sandbox) >= 2)
    await wait_until(lambda: sandbox.joined(queued_build) and len(reads(sandbox)) > before)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"


async def test_an_end_while_disconnected(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """The read after the next join finds an end that came while the connection was cut."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    sandbox.fault("sockets-refused", seconds=0.3)
    sandbox.set_status(queued_build, "complete")
    started_at = time.monotonic()
    assert ended_build(await task).status == "complete"
    assert time.monotonic() - started_at < SLOW_POLL / 2


@pytest.mark.parametrize("fault", ["events-lost", "events-late"])
async def test_lost_and_late_events(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, fault: str
) -> None:
    """The safety read finds an end whose event is lost or late."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=0.1))
    sandbox.fault(fault, delay=5.0)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"


async def test_duplicated_events(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """Events that arrive many times cause no more reads than one."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    sandbox.fault("events-duplicated", copies=50)
    sandbox.set_status(queued_build, "running")
    await asyncio.sleep(0.3)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert len(reads(sandbox)) <= 5


async def test_malformed_events(sandbox: Sandbox, client: ClientAdapter, queued_build: str) -> None:
    """Malformed events of every shape end neither the wait nor the connection."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    malformed = sandbox.fault("events-malformed")
    for number in range(20):
        sandbox.log(queued_build, f"line {number}")
    for number in range(20):
        sandbox.set_status(queued_build, f"odd-{number}")
    await wait_until(lambda: malformed.hits == 40)
    malformed.remove()
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert connection_attempts(sandbox) == 1


async def test_a_wrong_hint(sandbox: Sandbox, client: ClientAdapter, queued_build: str) -> None:
    """An event with a terminal status that REST does not confirm does not end the wait."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=0.2))
    sandbox.fault("stale", "GET /builds/:id", times=3, lag=0.0)
    stale = sandbox.fault("mistyped-json", "GET /builds/:id", times=2)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert stale.hits <= 2


async def test_a_stale_read_after_the_event(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """A read that still returns the old status after the event is repeated soon."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    sandbox.fault("stale", "GET /builds/:id", times=2, lag=10.0)
    sandbox.advance(20.0)
    started_at = time.monotonic()
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert time.monotonic() - started_at < SLOW_POLL / 2


@short_timeout
async def test_a_revoked_token_on_the_channel(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """A token that only the channel refuses is rarely tried again; REST continues."""
    fault = sandbox.fault("revoked-token", seconds=0.5)
    sandbox.fault("hang", "GET /builds/:id", times=1)
    task = asyncio.create_task(run_wait(client, RecordedWait(queued_build, join_wait=0.2)))
    await wait_until(lambda: fault.over)
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert connection_attempts(sandbox) <= 2


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.05])
async def test_a_join_that_races_with_the_end(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, delay: float
) -> None:
    """The end of a build around the join is found, although joins are not acknowledged."""
    task = asyncio.create_task(run_wait(client, RecordedWait(queued_build, poll_interval=2.0)))
    await wait_until(lambda: connection_attempts(sandbox))
    await asyncio.sleep(delay)
    sandbox.set_status(queued_build, "complete")
    started_at = time.monotonic()
    assert ended_build(await task).status == "complete"
    assert time.monotonic() - started_at < 15  # otherwise the end is found after ten poll intervals


def variants_of(*points: str) -> list[Variants]:
    """Return every variant of the sandbox that differs in one of these points."""
    return [variants for variants in Variants.every() if str(variants).split("=")[0] in points]


JOINS = variants_of("join_answer", "join_status", "status_payload", "start_event")


@pytest.mark.parametrize("sandbox", JOINS, indirect=True, ids=str)
async def test_every_way_to_join(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """With every answer to a join and every event payload, the end is found at once."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert len(reads(sandbox)) <= 3


REFUSALS = [Variants(), *variants_of("join_refusal")]


@pytest.mark.parametrize("sandbox", REFUSALS, indirect=True, ids=str)
async def test_a_refused_join(sandbox: Sandbox, client: ClientAdapter, queued_build: str) -> None:
    """A build whose room may not be joined is polled, whatever the refusal looks like."""
    sandbox.fault("events-lost")
    sandbox.fault("revoked-token", seconds=0.0)
    task = asyncio.create_task(
        run_wait(client, RecordedWait("0" * 24, not_found_grace=0.3, poll_interval=0.1))
    )
    other = asyncio.create_task(run_wait(client, RecordedWait(queued_build, poll_interval=0.1)))
    await wait_until(lambda: reads(sandbox))
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await other).status == "complete"
    with pytest.raises(Exception, match="check the id"):
        await task


def _connected_to(url: str) -> Iterator[socket.socket]:
    """Yield the sockets of this process that are connected to a server."""
    port = urlsplit(url).port
    for item in gc.get_objects():
        if isinstance(item, socket.socket) and item.family == socket.AF_INET:
            with suppress(OSError):  # it has no peer
                if item.getpeername()[1] == port:
                    yield item


@pytest.mark.skipif(sys.platform != "linux", reason="the socket options are those of Linux")
async def test_unreachable_server_detection(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str
) -> None:
    """Keepalive detects within 22 s that the server is gone, idle or with data on the way."""
    task = await start_wait(sandbox, client, RecordedWait(queued_build, poll_interval=SLOW_POLL))
    tcp = socket.IPPROTO_TCP
    detection_times = [
        sock.getsockopt(tcp, socket.TCP_KEEPIDLE)
        + sock.getsockopt(tcp, socket.TCP_KEEPINTVL) * sock.getsockopt(tcp, socket.TCP_KEEPCNT)
        for sock in _connected_to(sandbox.url)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        and sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 22_000
    ]
    sandbox.set_status(queued_build, "complete")
    assert ended_build(await task).status == "complete"
    assert detection_times == [22]


@pytest.fixture
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set all timeouts of the live channel to a minute."""
    for module in (async_channel, blocking_channel):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 60.0)
    for module in (async_client, blocking_channel):
        monkeypatch.setattr(module, "CLOSE_TIMEOUT", 60.0)
    monkeypatch.setitem(socketio_options.OPTIONS, "request_timeout", 60)


async def test_a_silent_server_does_not_delay_the_end(
    sandbox: Sandbox, long_timeouts: None, client: ClientAdapter, queued_build: str
) -> None:
    """A wait ends at once although its connection hangs in the handshake."""
    sandbox.fault("sockets-hang")
    sandbox.set_status(queued_build, "complete")
    started_at = time.monotonic()
    assert (
        ended_build(await run_wait(client, RecordedWait(queued_build, timeout=60.0))).status
        == "complete"
    )
    assert time.monotonic() - started_at < 20
    sandbox.heal()


@pytest.mark.parametrize("lines", [5_000])
async def test_a_flood_of_log_lines(
    sandbox: Sandbox, client: ClientAdapter, queued_build: str, lines: int
) -> None:
    """Of a flood of log lines a limited number is logged, the rest is counted, without delay."""
    wait = RecordedWait(queued_build, poll_interval=SLOW_POLL, timeout=60.0)
    task = await start_wait(sandbox, client, wait)
    for number in range(lines):
        sandbox.log(queued_build, f"line {number}")
    sandbox.set_status(queued_build, "complete")
    started_at = time.monotonic()
    assert ended_build(await task).status == "complete"
    assert time.monotonic() - started_at < 20
    assert "lines left out" in wait.log_text
    assert len(wait.messages) < 2_000
