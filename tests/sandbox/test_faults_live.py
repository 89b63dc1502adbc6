"""Each fault of the live channel, seen by plain python-socketio."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import websocket
from socketio.exceptions import ConnectionError as NotConnected

from airflow_provider_buildpixel.sandbox.odd import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.fixture
def build(sandbox: Sandbox) -> str:
    """Return the id of a build that waits for ever."""
    sandbox.plan(outcome="stays_pending")
    return sandbox.push(sandbox.settings("MyGame")[0]["id"])


@pytest.fixture
def raw(sandbox: Sandbox) -> Any:
    """Open websockets without any library on top."""
    opened: list[websocket.WebSocket] = []

    def connect() -> websocket.WebSocket:
        address = sandbox.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        opened.append(websocket.create_connection(address, timeout=5))
        return opened[-1]

    yield connect
    for each in opened:
        each.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("status", [403, 502])
def test_refused(
    sandbox: Sandbox, make_ear: Callable[..., Any], transport: str, status: int
) -> None:
    """Both transports are refused, with the status asked for, as long as the fault lasts."""
    fault = sandbox.fault("sockets-refused", status=status)
    with pytest.raises(NotConnected):
        make_ear(sandbox, transport).connect()
    assert [request.status for request in sandbox.requests_to("sockets")] == [status]
    fault.remove()
    make_ear(sandbox, transport).connect()
    assert sandbox.sockets == 1


def test_refusal_leaves_others_alone(sandbox: Sandbox, build: str, ear: Any) -> None:
    """A connection that is there already stays when new ones are refused."""
    ear.join(build)
    sandbox.fault("sockets-refused")
    sandbox.set_status(build, "running")
    assert len(ear.wait(1)) == 1


def test_blocked_polling_ok(sandbox: Sandbox, build: str, make_ear: Callable[..., Any]) -> None:
    """Websockets are blocked while polling works, as behind some proxies."""
    fault = sandbox.fault("sockets-blocked-polling-ok")
    with pytest.raises(NotConnected):
        make_ear(sandbox).connect()
    ear = make_ear(sandbox, "polling").connect().join(build)
    sandbox.set_status(build, "running")
    assert len(ear.wait(1)) == 1
    assert fault.hits == 1


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_dropped(
    sandbox: Sandbox, make_ear: Callable[..., Any], until: Any, transport: str
) -> None:
    """Present connections are cut at once, new ones some time after they were made."""
    ear = make_ear(sandbox, transport).connect()
    fault = sandbox.fault("sockets-dropped", delay=1.0)
    assert ear.cut.wait(5)
    again = make_ear(sandbox, transport).connect()
    assert again.cut.wait(5)
    until(lambda: sandbox.sockets == 0)
    fault.remove()
    assert not make_ear(sandbox, transport).connect().cut.wait(0.2)


def test_hanging(sandbox: Sandbox, raw: Any) -> None:
    """The upgrade succeeds and nothing follows."""
    fault = sandbox.fault("sockets-hang")
    silent = raw()
    silent.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        silent.recv()
    fault.remove()
    assert raw().recv().startswith("0{")


def test_hanging_poll(sandbox: Sandbox, make_ear: Callable[..., Any], until: Any) -> None:
    """Who polls gets no answer either, until the fault is removed."""
    fault = sandbox.fault("sockets-hang")
    ear = make_ear(sandbox, "polling")
    thread = threading.Thread(target=_try_to_connect, args=(ear,))
    thread.start()
    until(lambda: sandbox.requests_to("sockets"))
    assert sandbox.sockets == 0
    fault.remove()
    thread.join(5)
    assert not thread.is_alive()


def _try_to_connect(ear: Any) -> None:
    with pytest.raises(NotConnected):
        ear.connect()


def test_closed(sandbox: Sandbox, raw: Any) -> None:
    """The upgrade succeeds and a close frame follows."""
    sandbox.fault("sockets-closed", times=1)
    opcode, _ = raw().recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE


def test_slow(sandbox: Sandbox, make_ear: Callable[..., Any]) -> None:
    """The namespace is granted late."""
    sandbox.fault("sockets-slow", delay=0.2, times=1)
    started = time.monotonic()
    make_ear(sandbox).connect()
    assert time.monotonic() - started >= 0.2


def test_lost_join(sandbox: Sandbox, build: str, ear: Any) -> None:
    """A join can be lost; the next one works."""
    fault = sandbox.fault("joins-lost", times=1)
    ear.client.emit("join:build", {"buildId": build})
    ear.join(build)
    assert (sandbox.joined(build), fault.hits) == (1, 1)


def test_lost_events(sandbox: Sandbox, build: str, ear: Any) -> None:
    """Events of one name are lost, so many of them; others arrive."""
    ear.join(build)
    sandbox.fault("events-lost", "build:status", times=1)
    sandbox.set_status(build, "running")
    sandbox.log(build, "x")
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in ear.wait(1)] == ["complete"]
    assert len(ear.of("build:log")) == 1


def test_duplicated_events(sandbox: Sandbox, build: str, ear: Any) -> None:
    """Events arrive more than once."""
    ear.join(build)
    sandbox.fault("events-duplicated", times=1, copies=3)
    sandbox.set_status(build, "running")
    sandbox.set_status(build, "complete")
    statuses = [event["status"] for event in ear.wait(4)]
    assert statuses == ["running", "running", "running", "complete"]


def test_late_events(sandbox: Sandbox, build: str, ear: Any) -> None:
    """Events arrive late, and so out of order."""
    ear.join(build)
    sandbox.fault("events-late", times=1, delay=0.2)
    sandbox.set_status(build, "running")
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in ear.wait(2)] == ["complete", "running"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("shape", SHAPES)
def test_malformed_events(
    sandbox: Sandbox, build: str, make_ear: Callable[..., Any], shape: str, transport: str
) -> None:
    """Events of every odd shape arrive, and the connection outlives them."""
    ear = make_ear(sandbox, transport).connect().join(build)
    sandbox.fault("events-malformed", times=2, shape=shape)
    sandbox.set_status(build, "running")
    sandbox.log(build, "x")
    sandbox.set_status(build, "complete")
    ear.wait(2)
    assert ear.of("build:status")[-1] == {"buildId": build, "status": "complete"}
    assert len(ear.heard) == 3
    assert ear.heard[0][1] != ({"buildId": build, "status": "running"},) or shape == "huge"


def test_all_shapes_in_turn(sandbox: Sandbox, build: str, ear: Any) -> None:
    """Unless one is named, the odd shapes come in turn."""
    ear.join(build)
    sandbox.fault("events-malformed")
    for _ in SHAPES:
        sandbox.log(build, "x")
    ear.wait(len(SHAPES), "build:log")
    kinds = {type(value) for value in ear.of("build:log")}
    assert kinds == {type(None), str, list, int, dict, bytes}


def test_revoked(sandbox: Sandbox, make_ear: Callable[..., Any]) -> None:
    """While a token counts as revoked, it cannot connect."""
    sandbox.fault("revoked-token")
    ear = make_ear(sandbox)
    with pytest.raises(NotConnected):
        ear.connect()
    assert ear.refusals[0]["message"] == "invalid_token"


def test_refused_connections_cut_sockets(sandbox: Sandbox, ear: Any, until: Any) -> None:
    """When the server is down, its live channel is down too."""
    sandbox.fault("refuse-connections")
    assert ear.cut.wait(5)
    until(lambda: sandbox.sockets == 0)


def test_silent_peer(make_sandbox: Callable[..., Sandbox]) -> None:
    """A client that answers no ping is dropped."""
    sandbox = make_sandbox(ping_interval=0.1, ping_timeout=0.1)
    address = sandbox.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    client = websocket.create_connection(address, timeout=3)
    frames = []
    while frame := client.recv():
        frames.append(frame)
    client.shutdown()  # type: ignore[no-untyped-call]
    # It was greeted and asked for a sign of life before it was told to go.
    assert [frame[0] for frame in frames][:2] == ["0", "2"]
