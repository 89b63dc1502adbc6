"""The live channel as documented, over plain python-socketio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from socketio.exceptions import ConnectionError as NotConnected

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.fixture
def build(sandbox: Sandbox) -> str:
    """Return the id of a build that waits for ever."""
    sandbox.plan(outcome="stays_pending")
    return sandbox.push(sandbox.settings("MyGame")[0]["id"])


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_events_of_a_room(
    sandbox: Sandbox, build: str, make_ear: Callable[..., Any], transport: str
) -> None:
    """Who has joined a build is told of each status and each line, in order."""
    ear = make_ear(sandbox, transport).connect().join(build)
    sandbox.set_status(build, "running")
    sandbox.log(build, "hello", "warn")
    sandbox.set_status(build, "complete")
    ear.wait(2)
    assert [name for name, _ in ear.heard] == ["build:status", "build:log", "build:status"]
    statuses = [{"buildId": build, "status": status} for status in ("running", "complete")]
    assert ear.of("build:status") == statuses
    (line,) = ear.of("build:log")
    assert (set(line), line["level"]) == ({"buildId", "timestamp", "level", "message"}, "warn")


def test_nothing_is_replayed(sandbox: Sandbox, build: str, ear: Any) -> None:
    """What was sent before the join is gone."""
    sandbox.set_status(build, "running")
    sandbox.log(build, "before")
    ear.join(build)
    sandbox.log(build, "after")
    ear.wait(1, "build:log")
    assert [line["message"] for line in ear.of("build:log")] == ["after"]
    assert ear.of("build:status") == []


def test_leaving(sandbox: Sandbox, build: str, ear: Any, until: Any) -> None:
    """Who has left hears nothing more, and a second join counts as one."""
    other = sandbox.push(sandbox.settings("MyGame")[1]["id"])
    ear.join(build).join(other)
    ear.client.emit("join:build", {"buildId": build})
    ear.client.emit("leave:build", {"buildId": build})
    until(lambda: sandbox.joined(build) == 0)
    sandbox.set_status(build, "running")
    sandbox.set_status(other, "running")
    assert ear.wait(1) == [{"buildId": other, "status": "running"}]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("auth", [{"token": "bp_x"}, {"token": 3}, {}, None, "bp_x"])
def test_refused_token(
    make_sandbox: Callable[..., Sandbox], make_ear: Callable[..., Any], transport: str, auth: Any
) -> None:
    """A connection without a good token is refused with the message invalid_token."""
    sandbox = make_sandbox(ping_interval=1.0)  # the client at times polls once more, until a ping
    ear = make_ear(sandbox, transport)
    with pytest.raises(NotConnected):
        ear.client.connect(sandbox.url, auth=auth, transports=[transport])
    assert ear.refusals[0]["message"] == "invalid_token"
    assert sandbox.sockets == 0


def test_viewer_follows(sandbox: Sandbox, build: str, make_ear: Callable[..., Any]) -> None:
    """A viewer may follow a build."""
    ear = make_ear(sandbox).connect(sandbox.viewer_token).join(build)
    sandbox.set_status(build, "failed")
    assert ear.wait(1)[0]["status"] == "failed"


def test_stranger_hears_nothing(
    sandbox: Sandbox, build: str, make_ear: Callable[..., Any], ear: Any
) -> None:
    """A token of another organization cannot join."""
    stranger = make_ear(sandbox).connect(sandbox.stranger_token)
    stranger.client.emit("join:build", {"buildId": build})
    ear.join(build)
    sandbox.set_status(build, "running")
    ear.wait(1)
    assert (sandbox.joined(build), stranger.heard) == (1, [])


@pytest.mark.parametrize("data", [None, {}, [], "x", {"buildId": None}, {"buildId": ["x"]}])
def test_odd_joins(sandbox: Sandbox, build: str, ear: Any, data: Any) -> None:
    """A join of what is no build does no harm."""
    ear.client.emit("join:build", data)
    ear.client.emit("leave:build", data)
    ear.join(build)
    sandbox.set_status(build, "running")
    assert len(ear.wait(1)) == 1


def test_superseded_over_the_channel(sandbox: Sandbox, ear: Any) -> None:
    """A build that a newer one supersedes says so to those who follow it."""
    setting = sandbox.settings("MyGame")[0]["id"]
    older = sandbox.push(setting)
    ear.join(older)
    sandbox.push(setting)
    assert ear.wait(1) == [{"buildId": older, "status": "superseded"}]


def test_planned_events(sandbox: Sandbox, ear: Any) -> None:
    """A build that follows its plan sends its statuses and lines as they are due."""
    sandbox.plan(queue=600, run=60, lines=10)
    build = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    ear.join(build)
    sandbox.advance(700)
    assert [event["status"] for event in ear.wait(2)] == ["running", "complete"]
    assert ear.of("build:log")[-1]["message"] == "BUILD SUCCESSFUL"


def test_silent_changes(sandbox: Sandbox, build: str, ear: Any) -> None:
    """A change by hand can be kept from those who follow."""
    ear.join(build)
    sandbox.log(build, "quiet", emit=False)
    sandbox.set_status(build, "running", emit=False)
    sandbox.set_status(build, "complete")
    assert [event["status"] for event in ear.wait(1)] == ["complete"]
    assert ear.of("build:log") == []


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_dropped_connections(
    sandbox: Sandbox, build: str, make_ear: Callable[..., Any], until: Any, transport: str
) -> None:
    """Connections can be cut; rooms are empty then, and a new connection starts anew."""
    ear = make_ear(sandbox, transport).connect().join(build)
    assert (sandbox.sockets, sandbox.joined(build)) == (1, 1)
    sandbox.drop_sockets()
    assert ear.cut.wait(5)
    until(lambda: (sandbox.sockets, sandbox.joined(build)) == (0, 0))
    again = make_ear(sandbox, transport).connect().join(build)
    sandbox.set_status(build, "running")
    assert len(again.wait(1)) == 1


def test_kicked_connections(sandbox: Sandbox, build: str, ear: Any, until: Any) -> None:
    """The namespace can be disconnected, as a deploy on the server's side does."""
    ear.join(build)
    sandbox.kick_sockets()
    assert ear.cut.wait(5)
    until(lambda: sandbox.sockets == 0)
    assert sandbox.joined(build) == 0


def test_many_rooms_by_polling(sandbox: Sandbox, make_ear: Callable[..., Any], until: Any) -> None:
    """A client that polls may join a hundred rooms at once."""
    settings = [s["id"] for s in sandbox.settings("MyGame")]
    builds = [sandbox.push(settings[0], branch=f"b{number}") for number in range(100)]
    ear = make_ear(sandbox, "polling").connect()
    for build in builds:
        ear.client.emit("join:build", {"buildId": build})
    until(lambda: all(sandbox.joined(build) for build in builds))
