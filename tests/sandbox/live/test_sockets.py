"""The live channel as documented, with plain python-socketio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from socketio.exceptions import ConnectionError as NotConnected

from tests.sandbox.clients import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_events_of_a_room(
    sandbox: Sandbox, build: str, make_client: Callable[..., Any], transport: str
) -> None:
    """A connection that has joined a build receives each status and log line, in order."""
    client = make_client(sandbox, transport).connect().join(build)
    sandbox.set_status(build, "running")
    sandbox.log(build, "hello", "warn")
    sandbox.set_status(build, "complete")
    client.wait(2)
    assert [name for name, _ in client.events] == [
        "build:status",
        "build:log",
        "build:status",
    ]
    statuses = [{"buildId": build, "status": status} for status in ("running", "complete")]
    assert client.payloads("build:status") == statuses
    (line,) = client.payloads("build:log")
    assert (set(line), line["level"]) == ({"buildId", "timestamp", "level", "message"}, "warn")


def test_no_replay(sandbox: Sandbox, build: str, client: Any) -> None:
    """Events before the join are not sent again."""
    sandbox.set_status(build, "running")
    sandbox.log(build, "before")
    client.join(build)
    sandbox.log(build, "after")
    client.wait(1, "build:log")
    assert [line["message"] for line in client.payloads("build:log")] == ["after"]
    assert client.payloads("build:status") == []


def test_leave(sandbox: Sandbox, build: str, client: Any) -> None:
    """After leaving, no events arrive; a second join counts as one."""
    other = sandbox.push(sandbox.settings("MyGame")[1]["id"])
    client.join(build).join(other)
    client.sio.emit("join:build", {"buildId": build})
    client.sio.emit("leave:build", {"buildId": build})
    until(lambda: sandbox.joined(build) == 0)
    sandbox.set_status(build, "running")
    sandbox.set_status(other, "running")
    assert client.wait(1) == [{"buildId": other, "status": "running"}]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("auth", [{"token": "bp_x"}, {"token": 3}, {}, None, "bp_x"])
def test_invalid_token(
    make_sandbox: Callable[..., Sandbox],
    make_client: Callable[..., Any],
    transport: str,
    auth: Any,
) -> None:
    """A connection without a valid token is rejected with the message invalid_token."""
    sandbox = make_sandbox(ping_interval=1.0)  # sometimes the client polls once more, until a ping
    client = make_client(sandbox, transport)
    with pytest.raises(NotConnected):
        client.sio.connect(sandbox.url, auth=auth, transports=[transport])
    assert client.connect_errors[0]["message"] == "invalid_token"
    assert sandbox.sockets == 0


def test_viewer(sandbox: Sandbox, build: str, make_client: Callable[..., Any]) -> None:
    """A viewer can follow a build."""
    client = make_client(sandbox).connect(sandbox.viewer_token).join(build)
    sandbox.set_status(build, "failed")
    assert client.wait(1)[0]["status"] == "failed"


def test_other_organization(
    sandbox: Sandbox, build: str, make_client: Callable[..., Any], client: Any
) -> None:
    """A token of another organization cannot join."""
    stranger = make_client(sandbox).connect(sandbox.stranger_token)
    stranger.sio.emit("join:build", {"buildId": build})
    client.join(build)
    sandbox.set_status(build, "running")
    client.wait(1)
    assert (sandbox.joined(build), stranger.events) == (1, [])


@pytest.mark.parametrize("data", [None, {}, [], "x", {"buildId": None}, {"buildId": ["x"]}])
def test_invalid_joins(sandbox: Sandbox, build: str, client: Any, data: Any) -> None:
    """A join with an invalid build id has no effect."""
    client.sio.emit("join:build", data)
    client.sio.emit("leave:build", data)
    client.join(build)
    sandbox.set_status(build, "running")
    assert len(client.wait(1)) == 1


def test_superseded(sandbox: Sandbox, client: Any) -> None:
    """A superseded build sends its status to the connections that follow it."""
    setting = sandbox.settings("MyGame")[0]["id"]
    older = sandbox.push(setting)
    client.join(older)
    sandbox.push(setting)
    assert client.wait(1) == [{"buildId": older, "status": "superseded"}]


def test_planned_events(sandbox: Sandbox, client: Any) -> None:
    """A build that follows its plan sends its statuses and log lines when they are due."""
    sandbox.plan(queue=600, run=60, lines=10)
    build = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    client.join(build)
    sandbox.advance(700)
    assert [event["status"] for event in client.wait(2)] == ["running", "complete"]
    assert client.payloads("build:log")[-1]["message"] == "BUILD SUCCESSFUL"


def test_silent_changes(sandbox: Sandbox, build: str, client: Any) -> None:
    """A change by hand can be made without an event."""
    client.join(build)
    sandbox.log(build, "quiet", emit=False)
    sandbox.set_status(build, "running", emit=False)
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in client.wait(1)] == ["complete"]
    assert client.payloads("build:log") == []


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_dropped_connections(
    sandbox: Sandbox, build: str, make_client: Callable[..., Any], transport: str
) -> None:
    """Dropped connections leave their rooms; a new connection can join again."""
    client = make_client(sandbox, transport).connect().join(build)
    assert (sandbox.sockets, sandbox.joined(build)) == (1, 1)
    sandbox.drop_sockets()
    assert client.disconnected.wait(5)
    until(lambda: (sandbox.sockets, sandbox.joined(build)) == (0, 0))
    again = make_client(sandbox, transport).connect().join(build)
    sandbox.set_status(build, "running")
    assert len(again.wait(1)) == 1


def test_disconnected_namespace(sandbox: Sandbox, build: str, client: Any) -> None:
    """The namespace can be disconnected, as a deployment of the server does."""
    client.join(build)
    sandbox.kick_sockets()
    assert client.disconnected.wait(5)
    until(lambda: sandbox.sockets == 0)
    assert sandbox.joined(build) == 0


def test_many_rooms_by_polling(sandbox: Sandbox, make_client: Callable[..., Any]) -> None:
    """A polling client can join a hundred rooms at once."""
    settings = [s["id"] for s in sandbox.settings("MyGame")]
    builds = [sandbox.push(settings[0], branch=f"b{number}") for number in range(100)]
    client = make_client(sandbox, "polling").connect()
    for build in builds:
        client.sio.emit("join:build", {"buildId": build})
    until(lambda: all(sandbox.joined(build) for build in builds))
