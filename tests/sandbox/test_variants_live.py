"""The unspecified points of the live channel, in each of their readings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from socketio.exceptions import TimeoutError as NotAcknowledged

from airflow_provider_buildpixel.sandbox import Variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

    Given = Callable[..., tuple[Sandbox, Any]]


def values(name: str) -> pytest.MarkDecorator:
    """Parametrize a test with the readings of one point."""
    return pytest.mark.parametrize(name, Variants.points()[name])


def pushed(sandbox: Sandbox, project: str = "MyGame", **kwargs: Any) -> str:
    """Queue a build."""
    return sandbox.push(sandbox.settings(project)[0]["id"], **kwargs)


@values("join_answer")
def test_join_answer(given: Given, make_ear: Callable[..., Any], join_answer: str) -> None:
    """A join is acknowledged in some way or not at all; it works in any case."""
    sandbox, _ = given(join_answer=join_answer)
    build_id = pushed(sandbox)
    ear = make_ear(sandbox).connect()
    join = ("join:build", {"buildId": build_id})
    if join_answer == "none":
        with pytest.raises(NotAcknowledged):
            ear.client.call(*join, timeout=0.2)
    else:
        answer = ear.client.call(*join, timeout=5)
        fixed = {"true": True, "ok": "ok", "empty": None}
        expected = {"object": {"ok": True, "buildId": build_id}, "build": sandbox.build(build_id)}
        assert answer == (fixed | expected)[join_answer]
    sandbox.set_status(build_id, "running")
    assert len(ear.wait(1)) == 1


@values("join_refusal")
def test_join_refusal(
    given: Given, make_ear: Callable[..., Any], until: Any, join_refusal: str
) -> None:
    """A refused join gets silence, an acknowledgement, an event, or the end of the connection."""
    sandbox, _ = given(join_refusal=join_refusal)
    ear = make_ear(sandbox).connect()
    answers: list[Any] = []
    ear.client.emit("join:build", {"buildId": "0" * 24}, callback=lambda *a: answers.append(a))
    told = {"error": "not_found", "message": "No such build."}
    acknowledged = {"ack": [({"ok": False, **told},)], "ack-false": [(False,)]}
    events = {"error", "build:error", "exception"} & {join_refusal}
    expected = (
        acknowledged.get(join_refusal, []),
        [(event, (told,)) for event in events],
        join_refusal == "disconnect",
    )
    until(lambda: (answers, ear.heard, ear.cut.is_set()) == expected)
    time.sleep(0.15)  # in which nothing else comes
    assert (answers, ear.heard, ear.cut.is_set()) == expected


@values("join_status")
def test_join_status(given: Given, make_ear: Callable[..., Any], join_status: str) -> None:
    """A join is followed by the present status, or by nothing."""
    sandbox, _ = given(join_status=join_status)
    build_id = pushed(sandbox)
    ear = make_ear(sandbox).connect().join(build_id)
    sandbox.log(build_id, "x")
    ear.wait(1, "build:log")
    expected = [{"buildId": build_id, "status": "pending"}] if join_status == "sent" else []
    assert ear.of("build:status") == expected


@values("status_payload")
def test_status_payload(given: Given, make_ear: Callable[..., Any], status_payload: str) -> None:
    """An event of a status has little or much besides."""
    sandbox, _ = given(status_payload=status_payload)
    build_id = pushed(sandbox)
    ear = make_ear(sandbox).connect().join(build_id)
    sandbox.set_status(build_id, "running")
    (event,) = ear.wait(1)
    assert (event["buildId"], event["status"]) == (build_id, "running")
    assert len(event) == {"minimal": 2, "full": 16, "nested": 3}[status_payload]


@values("revoked_sockets")
def test_revoked_sockets(given: Given, make_ear: Callable[..., Any], revoked_sockets: str) -> None:
    """Connections of a revoked token stay or are ended; those of others stay."""
    sandbox, _ = given(revoked_sockets=revoked_sockets)
    mine = make_ear(sandbox).connect()
    other = make_ear(sandbox).connect(sandbox.viewer_token)
    sandbox.revoke(sandbox.token)
    ended = revoked_sockets == "disconnected"
    assert mine.cut.wait(5 if ended else 0.2) == ended
    assert not other.cut.is_set()
