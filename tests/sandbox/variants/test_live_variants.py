"""Every unspecified point of the live channel, with each of its values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from socketio.exceptions import TimeoutError as NotAcknowledged

from tests.sandbox.clients import push_build, until
from tests.sandbox.variants.test_rest_variants import each_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

    StartVariant = Callable[..., tuple[Sandbox, Any]]


@each_value("join_answer")
def test_join_answer(
    start_variant: StartVariant, make_client: Callable[..., Any], join_answer: str
) -> None:
    """A join is acknowledged in one of several ways or not; it takes effect either way."""
    sandbox, _ = start_variant(join_answer=join_answer)
    build_id = push_build(sandbox)
    client = make_client(sandbox).connect()
    join = ("join:build", {"buildId": build_id})
    if join_answer == "none":
        with pytest.raises(NotAcknowledged):
            client.sio.call(*join, timeout=0.2)
    else:
        acknowledgement = client.sio.call(*join, timeout=5)
        fixed = {"true": True, "ok": "ok", "empty": None}
        expected = {"object": {"ok": True, "buildId": build_id}, "build": sandbox.build(build_id)}
        assert acknowledgement == (fixed | expected)[join_answer]
    sandbox.set_status(build_id, "running")
    assert len(client.wait(1)) == 1


@each_value("join_refusal")
def test_join_refusal(
    start_variant: StartVariant,
    make_client: Callable[..., Any],
    join_refusal: str,
) -> None:
    """A rejected join results in nothing, an acknowledgement, an event, or a disconnection."""
    sandbox, _ = start_variant(join_refusal=join_refusal)
    client = make_client(sandbox).connect()
    acknowledgements: list[Any] = []
    client.sio.emit(
        "join:build", {"buildId": "0" * 24}, callback=lambda *a: acknowledgements.append(a)
    )
    details = {"error": "not_found", "message": "No such build."}
    acknowledged = {"ack": [({"ok": False, **details},)], "ack-false": [(False,)]}
    events = {"error", "build:error", "exception"} & {join_refusal}
    expected = (
        acknowledged.get(join_refusal, []),
        [(event, (details,)) for event in events],
        join_refusal == "disconnect",
    )
    until(lambda: (acknowledgements, client.events, client.disconnected.is_set()) == expected)
    time.sleep(0.15)  # nothing else must arrive
    assert (acknowledgements, client.events, client.disconnected.is_set()) == expected


@each_value("join_status")
def test_join_status(
    start_variant: StartVariant, make_client: Callable[..., Any], join_status: str
) -> None:
    """A join is followed by an event with the current status, or not."""
    sandbox, _ = start_variant(join_status=join_status)
    build_id = push_build(sandbox)
    client = make_client(sandbox).connect().join(build_id)
    sandbox.log(build_id, "x")
    client.wait(1, "build:log")
    expected = [{"buildId": build_id, "status": "pending"}] if join_status == "sent" else []
    assert client.payloads("build:status") == expected


@each_value("status_payload")
def test_status_payload(
    start_variant: StartVariant, make_client: Callable[..., Any], status_payload: str
) -> None:
    """A status event has only its two fields, or more."""
    sandbox, _ = start_variant(status_payload=status_payload)
    build_id = push_build(sandbox)
    client = make_client(sandbox).connect().join(build_id)
    sandbox.set_status(build_id, "running")
    (event,) = client.wait(1)
    assert (event["buildId"], event["status"]) == (build_id, "running")
    assert len(event) == {"minimal": 2, "full": 16, "nested": 3}[status_payload]


@each_value("revoked_sockets")
def test_revoked_sockets(
    start_variant: StartVariant, make_client: Callable[..., Any], revoked_sockets: str
) -> None:
    """Connections of a revoked token are kept or disconnected; others are kept."""
    sandbox, _ = start_variant(revoked_sockets=revoked_sockets)
    revoked = make_client(sandbox).connect()
    other = make_client(sandbox).connect(sandbox.viewer_token)
    sandbox.revoke(sandbox.token)
    ended = revoked_sockets == "disconnected"
    assert revoked.disconnected.wait(5 if ended else 0.2) == ended
    assert not other.disconnected.is_set()
