"""Each fault of the live channel, with plain python-socketio."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import websocket
from socketio.exceptions import ConnectionError as NotConnected

from airflow_provider_buildpixel.sandbox.faults.malformed import EVENT_SHAPES
from tests.sandbox.clients import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.fixture
def connect_websocket(sandbox: Sandbox) -> Any:
    """Open websockets without Socket.IO."""
    websockets: list[websocket.WebSocket] = []

    def connect() -> websocket.WebSocket:
        address = sandbox.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        websockets.append(websocket.create_connection(address, timeout=5))
        return websockets[-1]

    yield connect
    for each in websockets:
        each.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("status", [403, 502])
def test_refused(
    sandbox: Sandbox, make_client: Callable[..., Any], transport: str, status: int
) -> None:
    """Both transports are rejected with the ordered status while the fault lasts."""
    fault = sandbox.fault("sockets-refused", status=status)
    with pytest.raises(NotConnected):
        make_client(sandbox, transport).connect()
    assert [request.status for request in sandbox.requests_to("sockets")] == [status]
    fault.remove()
    make_client(sandbox, transport).connect()
    assert sandbox.sockets == 1


def test_refusal_of_new_connections_only(sandbox: Sandbox, build: str, client: Any) -> None:
    """An existing connection is kept when new ones are rejected."""
    client.join(build)
    sandbox.fault("sockets-refused")
    sandbox.set_status(build, "running")
    assert len(client.wait(1)) == 1


def test_blocked_polling_ok(sandbox: Sandbox, build: str, make_client: Callable[..., Any]) -> None:
    """Websockets are blocked while polling works, as with some proxies."""
    fault = sandbox.fault("sockets-blocked-polling-ok")
    with pytest.raises(NotConnected):
        make_client(sandbox).connect()
    client = make_client(sandbox, "polling").connect().join(build)
    sandbox.set_status(build, "running")
    assert len(client.wait(1)) == 1
    assert fault.hits == 1


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_dropped(sandbox: Sandbox, make_client: Callable[..., Any], transport: str) -> None:
    """Existing connections are dropped at once, new ones after a delay."""
    client = make_client(sandbox, transport).connect()
    fault = sandbox.fault("sockets-dropped", delay=1.0)
    assert client.disconnected.wait(5)
    again = make_client(sandbox, transport).connect()
    assert again.disconnected.wait(5)
    until(lambda: sandbox.sockets == 0)
    fault.remove()
    assert not make_client(sandbox, transport).connect().disconnected.wait(0.2)


def test_hanging(sandbox: Sandbox, connect_websocket: Any) -> None:
    """The upgrade succeeds, and no data follows."""
    fault = sandbox.fault("sockets-hang")
    hanging = connect_websocket()
    hanging.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        hanging.recv()
    fault.remove()
    assert connect_websocket().recv().startswith("0{")


def test_hanging_poll(sandbox: Sandbox, make_client: Callable[..., Any]) -> None:
    """A polling request gets no response until the fault is removed."""
    fault = sandbox.fault("sockets-hang")
    client = make_client(sandbox, "polling")
    thread = threading.Thread(target=_expect_no_connection, args=(client,))
    thread.start()
    until(lambda: sandbox.requests_to("sockets"))
    assert sandbox.sockets == 0
    fault.remove()
    thread.join(5)
    assert not thread.is_alive()


def _expect_no_connection(client: Any) -> None:
    with pytest.raises(NotConnected):
        client.connect()


def test_closed(sandbox: Sandbox, connect_websocket: Any) -> None:
    """The upgrade succeeds, and a close frame follows."""
    sandbox.fault("sockets-closed", times=1)
    opcode, _ = connect_websocket().recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE


def test_slow(sandbox: Sandbox, make_client: Callable[..., Any]) -> None:
    """The namespace is connected late."""
    sandbox.fault("sockets-slow", delay=0.2, times=1)
    started = time.monotonic()
    make_client(sandbox).connect()
    assert time.monotonic() - started >= 0.2


def test_lost_join(sandbox: Sandbox, build: str, client: Any) -> None:
    """A join is lost; the next one takes effect."""
    fault = sandbox.fault("joins-lost", times=1)
    client.sio.emit("join:build", {"buildId": build})
    client.join(build)
    assert (sandbox.joined(build), fault.hits) == (1, 1)


def test_lost_events(sandbox: Sandbox, build: str, client: Any) -> None:
    """So many events with one name are lost; others arrive."""
    client.join(build)
    sandbox.fault("events-lost", "build:status", times=1)
    sandbox.set_status(build, "running")
    sandbox.log(build, "x")
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in client.wait(1)] == ["complete"]
    assert len(client.payloads("build:log")) == 1


def test_duplicated_events(sandbox: Sandbox, build: str, client: Any) -> None:
    """An event arrives as often as ordered."""
    client.join(build)
    sandbox.fault("events-duplicated", times=1, copies=3)
    sandbox.set_status(build, "running")
    sandbox.set_status(build, "complete")
    statuses = [event["status"] for event in client.wait(4)]
    assert statuses == ["running", "running", "running", "complete"]


def test_late_events(sandbox: Sandbox, build: str, client: Any) -> None:
    """An event arrives late, and so out of order."""
    client.join(build)
    sandbox.fault("events-late", times=1, delay=0.2)
    sandbox.set_status(build, "running")
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in client.wait(2)] == ["complete", "running"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("shape", EVENT_SHAPES)
def test_malformed_events(
    sandbox: Sandbox, build: str, make_client: Callable[..., Any], shape: str, transport: str
) -> None:
    """Malformed events of every shape arrive, and the connection is kept."""
    client = make_client(sandbox, transport).connect().join(build)
    sandbox.fault("events-malformed", times=2, shape=shape)
    sandbox.set_status(build, "running")
    sandbox.log(build, "x")
    sandbox.set_status(build, "complete")
    client.wait(2)
    assert client.payloads("build:status")[-1] == {"buildId": build, "status": "complete"}
    assert len(client.events) == 3
    assert client.events[0][1] != ({"buildId": build, "status": "running"},) or shape == "huge"


def test_all_shapes_in_turn(sandbox: Sandbox, build: str, client: Any) -> None:
    """Without a given shape, all shapes are sent in turn."""
    client.join(build)
    sandbox.fault("events-malformed")
    for _ in EVENT_SHAPES:
        sandbox.log(build, "x")
    client.wait(len(EVENT_SHAPES), "build:log")
    types = {type(value) for value in client.payloads("build:log")}
    assert types == {type(None), str, list, int, dict, bytes}


def test_revoked(sandbox: Sandbox, make_client: Callable[..., Any]) -> None:
    """A token that a fault revokes cannot connect."""
    sandbox.fault("revoked-token")
    client = make_client(sandbox)
    with pytest.raises(NotConnected):
        client.connect()
    assert client.connect_errors[0]["message"] == "invalid_token"


def test_refused_connections_drop_sockets(sandbox: Sandbox, client: Any) -> None:
    """When the listener is closed, connections of the live channel are dropped."""
    sandbox.fault("refuse-connections")
    assert client.disconnected.wait(5)
    until(lambda: sandbox.sockets == 0)


def test_ping_timeout(make_sandbox: Callable[..., Sandbox]) -> None:
    """A client that does not answer pings is disconnected."""
    sandbox = make_sandbox(ping_interval=0.1, ping_timeout=0.1)
    address = sandbox.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    client = websocket.create_connection(address, timeout=3)
    frames = []
    while frame := client.recv():
        frames.append(frame)
    client.shutdown()  # type: ignore[no-untyped-call]
    # It received the handshake and a ping first.
    assert [frame[0] for frame in frames][:2] == ["0", "2"]
