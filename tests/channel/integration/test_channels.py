"""The live channel over both shells: refused, cut, kicked, silent, lying."""

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

from airflow_provider_buildpixel.channel import async_channel, blocking_channel, socketio_options
from airflow_provider_buildpixel.sandbox import Variants
from tests.clients.shells import Waiting, brief, built, end_of, until
from tests.waits.integration.test_waits import reads, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.clients.shells import Shell

SLOW_POLL = 30.0
"""A poll_interval with which only the channel can be quick."""


def openings(sandbox: Sandbox, transport: str | None = None) -> int:
    """Count the attempts to open a connection."""
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
async def test_no_channel_to_be_had(
    sandbox: Sandbox, shell: Shell, queued: str, fault: str, params: dict[str, Any]
) -> None:
    """Where no socket can be had, polling over REST finds the end all the same."""
    sandbox.fault(fault, **params)
    task = asyncio.create_task(end_of(shell, Waiting(queued)))
    await until(lambda: len(reads(sandbox)) >= 2)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert openings(sandbox) <= 5
    sandbox.heal()


async def test_a_flapping_channel(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """A server that takes connections and cuts them at once is not stormed."""
    sandbox.fault("sockets-dropped", delay=0.1)
    waiting = Waiting(queued, poll_interval=SLOW_POLL, seconds=1.5)
    await end_of(shell, waiting)
    assert openings(sandbox) <= 5
    assert len(reads(sandbox)) <= 5


async def test_websockets_blocked(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """Where only websockets are blocked, events come over long-polling."""
    sandbox.fault("sockets-blocked-polling-ok")
    waiting = Waiting(queued, poll_interval=SLOW_POLL)
    task = await started(sandbox, shell, waiting)
    sandbox.log(queued, "LogStaging: Staging...")
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert "phase: stage" in waiting.told
    assert openings(sandbox, "websocket") == 1
    assert len(reads(sandbox)) <= 3


async def test_a_burst_over_long_polling(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """A burst of log lines over long-polling does not cost the connection."""
    sandbox.fault("sockets-blocked-polling-ok")
    waiting = Waiting(queued, poll_interval=SLOW_POLL)
    task = await started(sandbox, shell, waiting)
    for number in range(300):
        sandbox.log(queued, f"line {number}")
    sandbox.set_status(queued, "complete")
    built(await task)
    assert "| line 299" in waiting.told
    assert openings(sandbox, "polling") == 1


@pytest.mark.parametrize("way", ["drop", "kick"])
async def test_a_channel_that_falls(sandbox: Sandbox, shell: Shell, queued: str, way: str) -> None:
    """After a cut, or a kick by the server, the room is joined again and the build read again."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    before = len(reads(sandbox))
    (sandbox.drop_sockets if way == "drop" else sandbox.kick_sockets)()
    await until(lambda: openings(sandbox) >= 2)
    await until(lambda: sandbox.joined(queued) and len(reads(sandbox)) > before)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"


async def test_an_end_while_the_channel_is_down(
    sandbox: Sandbox, shell: Shell, queued: str
) -> None:
    """What happened while the connection was cut is found by the read after the new join."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    sandbox.fault("sockets-refused", seconds=0.3)
    sandbox.set_status(queued, "complete")
    begun = time.monotonic()
    assert built(await task).status == "complete"
    assert time.monotonic() - begun < SLOW_POLL / 2


@pytest.mark.parametrize("fault", ["events-lost", "events-late"])
async def test_events_that_do_not_come(
    sandbox: Sandbox, shell: Shell, queued: str, fault: str
) -> None:
    """An end whose event is lost or late is found by the backstop read."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=0.1))
    sandbox.fault(fault, delay=5.0)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"


async def test_events_twice(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """Events that come many times over cost no more reads than one."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    sandbox.fault("events-duplicated", copies=50)
    sandbox.set_status(queued, "running")
    await asyncio.sleep(0.3)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert len(reads(sandbox)) <= 5


async def test_events_that_make_no_sense(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """Malformed events of every shape neither end the wait, nor the channel, nor the handler."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    malformed = sandbox.fault("events-malformed")
    for number in range(20):
        sandbox.log(queued, f"line {number}")
    for number in range(20):
        sandbox.set_status(queued, f"odd-{number}")
    await until(lambda: malformed.hits == 40)
    malformed.remove()
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert openings(sandbox) == 1


async def test_a_false_rumour(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """An event that speaks of an end which REST does not confirm concludes nothing."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=0.2))
    sandbox.fault("stale", "GET /builds/:id", times=3, lag=0.0)
    stale = sandbox.fault("mistyped-json", "GET /builds/:id", times=2)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert stale.hits <= 2


async def test_a_stale_read_after_the_event(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """A read that still shows the old status after the event is repeated soon."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    sandbox.fault("stale", "GET /builds/:id", times=2, lag=10.0)
    sandbox.advance(20.0)
    begun = time.monotonic()
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert time.monotonic() - begun < SLOW_POLL / 2


@brief
async def test_a_revoked_token_on_the_channel(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """A token that only the channel refuses is not shown again and again; REST goes on."""
    fault = sandbox.fault("revoked-token", seconds=0.5)
    sandbox.fault("hang", "GET /builds/:id", times=1)
    task = asyncio.create_task(end_of(shell, Waiting(queued, join_wait=0.2)))
    await until(lambda: fault.over)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert openings(sandbox) <= 2


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.05])
async def test_a_join_that_races_with_the_end(
    sandbox: Sandbox, shell: Shell, queued: str, delay: float
) -> None:
    """A build that ends around the join is not missed, though joins are not acknowledged."""
    task = asyncio.create_task(end_of(shell, Waiting(queued, poll_interval=2.0)))
    await until(lambda: openings(sandbox))
    await asyncio.sleep(delay)
    sandbox.set_status(queued, "complete")
    begun = time.monotonic()
    assert built(await task).status == "complete"
    assert time.monotonic() - begun < 15  # else it would be found after ten intervals


def readings(*points: str) -> list[Variants]:
    """Give every deviation from the usual reading in these points."""
    return [variants for variants in Variants.every() if str(variants).split("=")[0] in points]


JOINS = readings("join_answer", "join_status", "status_payload", "start_event")


@pytest.mark.parametrize("sandbox", JOINS, indirect=True, ids=str)
async def test_every_way_to_join(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """However a join is answered and whatever an event carries, the end is heard at once."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert len(reads(sandbox)) <= 3


REFUSALS = [Variants(), *readings("join_refusal")]


@pytest.mark.parametrize("sandbox", REFUSALS, indirect=True, ids=str)
async def test_a_refused_join(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """A build whose room may not be joined is followed by polling, however that is said."""
    sandbox.fault("events-lost")
    sandbox.fault("revoked-token", seconds=0.0)
    task = asyncio.create_task(end_of(shell, Waiting("0" * 24, absence=0.3, poll_interval=0.1)))
    other = asyncio.create_task(end_of(shell, Waiting(queued, poll_interval=0.1)))
    await until(lambda: reads(sandbox))
    sandbox.set_status(queued, "complete")
    assert built(await other).status == "complete"
    with pytest.raises(Exception, match="check the id"):
        await task


def _connected_to(url: str) -> Iterator[socket.socket]:
    """Give this process's own ends of the connections to a server."""
    port = urlsplit(url).port
    for one in gc.get_objects():
        if isinstance(one, socket.socket) and one.family == socket.AF_INET:
            with suppress(OSError):  # it has no peer, or no more
                if one.getpeername()[1] == port:
                    yield one


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own options")
async def test_a_machine_that_is_gone(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """The system finds out within 22 s, whether something was sent last or nothing at all."""
    task = await started(sandbox, shell, Waiting(queued, poll_interval=SLOW_POLL))
    tcp = socket.IPPROTO_TCP
    probed = [
        one.getsockopt(tcp, socket.TCP_KEEPIDLE)
        + one.getsockopt(tcp, socket.TCP_KEEPINTVL) * one.getsockopt(tcp, socket.TCP_KEEPCNT)
        for one in _connected_to(sandbox.url)
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        and one.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 22_000
    ]
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert probed == [22]


@pytest.fixture
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the live channel a minute for whatever it does."""
    for module in (async_channel, blocking_channel):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 60.0)
        monkeypatch.setattr(module, "CLOSE_TIMEOUT", 60.0)
    monkeypatch.setitem(socketio_options.OPTIONS, "request_timeout", 60)


async def test_a_silent_peer_does_not_hold_up_the_end(
    sandbox: Sandbox, long_timeouts: None, shell: Shell, queued: str
) -> None:
    """A wait ends at once although its socket hangs in the handshake."""
    sandbox.fault("sockets-hang")
    sandbox.set_status(queued, "complete")
    begun = time.monotonic()
    assert built(await end_of(shell, Waiting(queued, seconds=60.0))).status == "complete"
    assert time.monotonic() - begun < 20
    sandbox.heal()


@pytest.mark.parametrize("lines", [5_000])
async def test_a_flood_of_lines(sandbox: Sandbox, shell: Shell, queued: str, lines: int) -> None:
    """A flood of log lines ends in the log within bounds, with the rest counted, and no delay."""
    waiting = Waiting(queued, poll_interval=SLOW_POLL, seconds=60.0)
    task = await started(sandbox, shell, waiting)
    for number in range(lines):
        sandbox.log(queued, f"line {number}")
    sandbox.set_status(queued, "complete")
    begun = time.monotonic()
    assert built(await task).status == "complete"
    assert time.monotonic() - begun < 20
    assert "lines left out" in waiting.told
    assert len(waiting.records) < 2_000
