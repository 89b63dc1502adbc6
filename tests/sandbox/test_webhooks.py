"""Webhooks: the envelope, the signature, and what happens when a delivery is not taken."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

SECRET = "quiet"


class Receiver:
    """Takes deliveries, or refuses them with the statuses given first."""

    def __init__(self) -> None:
        self.refusals: list[int] = []
        self.taken: list[tuple[bytes, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append((body, self.headers["X-BuildPixel-Signature"]))
                self.send_response(receiver.refusals.pop(0) if receiver.refusals else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

    @property
    def types(self) -> list[str]:
        """Return the types of what came."""
        return [json.loads(body)["type"] for body, _ in self.taken]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Listen for deliveries."""
    receiver = Receiver()
    receiver.thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.thread.join()
    receiver.server.server_close()


@pytest.fixture
def hooked(make_sandbox: Callable[..., Sandbox], receiver: Receiver) -> Sandbox:
    """Run a sandbox that delivers to the receiver and does not wait long."""
    sandbox = make_sandbox(webhook_pause=0.01)
    sandbox.webhook(receiver.url, SECRET)
    return sandbox


def push(sandbox: Sandbox) -> str:
    """Queue a build that waits for ever."""
    sandbox.plan(outcome="stays_pending")
    return sandbox.push(sandbox.settings("MyGame")[0]["id"])


def test_envelope(hooked: Sandbox, receiver: Receiver, until: Any) -> None:
    """A delivery has the documented envelope and the signature of its raw body."""
    build = hooked.build(push(hooked))
    until(lambda: receiver.taken)
    body, signature = receiver.taken[0]
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert signature == f"sha256={digest}"
    envelope = json.loads(body)
    assert set(envelope) == {"type", "createdAt", "organizationId", "data"}
    assert (envelope["type"], envelope["createdAt"]) == ("build.created", build["createdAt"])
    told = envelope["data"]["build"]
    names = ("id", "status", "platform", "buildType", "branch", "commit", "durationMs")
    assert told == {name: build[name] for name in names} | {"artifactUrl": None}
    assert envelope["data"]["project"] == {"id": build["projectId"], "name": "MyGame"}


def test_all_types(hooked: Sandbox, receiver: Receiver, until: Any) -> None:
    """Each change of status is told, an unknown one is not, and an artifact has its address."""
    first = push(hooked)
    second = push(hooked)
    for status in ("weird", "running", "complete"):
        hooked.set_status(second, status)
    hooked.set_status(push(hooked), "failed")
    kinds = {"created", "superseded", "running", "complete", "failed"}
    until(lambda: {f"build.{kind}" for kind in kinds} == set(receiver.types))
    until(lambda: len(receiver.taken) == 7)
    complete = next(body for body, _ in receiver.taken if b"build.complete" in body)
    assert json.loads(complete)["data"]["build"]["artifactUrl"].startswith(hooked.store_url)
    superseded = next(body for body, _ in receiver.taken if b"build.superseded" in body)
    assert json.loads(superseded)["data"]["build"]["id"] == first


def test_chosen_types(sandbox: Sandbox, receiver: Receiver, until: Any) -> None:
    """A webhook is told of the types it chose."""
    sandbox.webhook(receiver.url, SECRET, ["build.failed"])
    sandbox.set_status(push(sandbox), "failed")
    until(lambda: receiver.types == ["build.failed"])


def test_retries(hooked: Sandbox, receiver: Receiver, until: Any) -> None:
    """A delivery that is not taken is made again, the same, until it is."""
    receiver.refusals = [500, 404]
    push(hooked)
    until(lambda: len(receiver.taken) == 3)
    assert len(set(receiver.taken)) == 1
    until(lambda: [each.status for each in hooked.deliveries] == [500, 404, 204])
    assert [each.attempt for each in hooked.deliveries] == [1, 2, 3]


def test_dropped_after_five(hooked: Sandbox, receiver: Receiver, until: Any) -> None:
    """After five attempts a delivery is dropped."""
    receiver.refusals = [500] * 5
    push(hooked)
    until(lambda: len(hooked.deliveries) == 5)
    assert {each.status for each in hooked.deliveries} == {500}
    assert receiver.refusals == []


def test_unreachable(make_sandbox: Callable[..., Sandbox], until: Any) -> None:
    """A receiver that is not there is tried as often, and noted with status 0."""
    sandbox = make_sandbox(webhook_pause=0.001)
    sandbox.webhook("http://127.0.0.1:9/", SECRET)
    push(sandbox)
    until(lambda: len(sandbox.deliveries) == 5)
    assert {each.status for each in sandbox.deliveries} == {0}


def test_independent(hooked: Sandbox, receiver: Receiver, until: Any) -> None:
    """One webhook that fails does not keep another from its deliveries."""
    hooked.webhook("http://127.0.0.1:9/", SECRET)
    push(hooked)
    until(lambda: len(receiver.taken) == 1)


@pytest.mark.parametrize(
    ("name", "params", "count"),
    [
        ("webhooks-lost", {}, 1),
        ("webhooks-duplicated", {}, 3),
        ("webhooks-forged", {}, 2),
        ("webhooks-late", {"delay": 1.0}, 2),
    ],
)
def test_faults(
    hooked: Sandbox,
    receiver: Receiver,
    until: Any,
    name: str,
    params: dict[str, Any],
    count: int,
) -> None:
    """Deliveries are lost, made twice, wrongly signed, or late."""
    hooked.fault(name, times=1, **params)
    build = push(hooked)
    hooked.set_status(build, "running")
    until(lambda: len(receiver.taken) == count)
    forged = [signature for _, signature in receiver.taken if signature == "sha256=" + "0" * 64]
    assert len(forged) == (name == "webhooks-forged")
    if name == "webhooks-late":
        assert receiver.types == ["build.running", "build.created"]
