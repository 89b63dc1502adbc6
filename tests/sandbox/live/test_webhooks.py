"""Webhooks: the envelope, the signature, and retries of deliveries."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.clients import push_pending, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

SECRET = "quiet"


class Receiver:
    """Accepts deliveries; the first ones get the statuses in `rejections` instead."""

    def __init__(self) -> None:
        self.rejections: list[int] = []
        self.received: list[tuple[bytes, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((body, self.headers["X-BuildPixel-Signature"]))
                self.send_response(receiver.rejections.pop(0) if receiver.rejections else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        return Handler

    @property
    def types(self) -> list[str]:
        """Return the types of the deliveries."""
        return [json.loads(body)["type"] for body, _ in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver of deliveries."""
    receiver = Receiver()
    receiver.thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.thread.join()
    receiver.server.server_close()


@pytest.fixture
def hooked(make_sandbox: Callable[..., Sandbox], receiver: Receiver) -> Sandbox:
    """Run a sandbox that delivers to the receiver, with short pauses between attempts."""
    sandbox = make_sandbox(webhook_pause=0.01)
    sandbox.webhook(receiver.url, SECRET)
    return sandbox


def test_envelope(hooked: Sandbox, receiver: Receiver) -> None:
    """A delivery has the documented envelope and the signature of its raw body."""
    build = hooked.build(push_pending(hooked))
    until(lambda: receiver.received)
    body, signature = receiver.received[0]
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert signature == f"sha256={digest}"
    envelope = json.loads(body)
    assert set(envelope) == {"type", "createdAt", "organizationId", "data"}
    assert (envelope["type"], envelope["createdAt"]) == ("build.created", build["createdAt"])
    build_fields = envelope["data"]["build"]
    names = ("id", "status", "platform", "buildType", "branch", "commit", "durationMs")
    assert build_fields == {name: build[name] for name in names} | {"artifactUrl": None}
    assert envelope["data"]["project"] == {"id": build["projectId"], "name": "MyGame"}


def test_all_types(hooked: Sandbox, receiver: Receiver) -> None:
    """Each known status is delivered, an unknown one is not; an artifact has its URL."""
    first = push_pending(hooked)
    second = push_pending(hooked)
    for status in ("weird", "running", "complete"):
        hooked.set_status(second, status)
    hooked.set_status(push_pending(hooked), "failed")
    types = {"created", "superseded", "running", "complete", "failed"}
    until(lambda: {f"build.{name}" for name in types} == set(receiver.types))
    until(lambda: len(receiver.received) == 7)
    complete = next(body for body, _ in receiver.received if b"build.complete" in body)
    assert json.loads(complete)["data"]["build"]["artifactUrl"].startswith(hooked.store_url)
    superseded = next(body for body, _ in receiver.received if b"build.superseded" in body)
    assert json.loads(superseded)["data"]["build"]["id"] == first


def test_selected_types(sandbox: Sandbox, receiver: Receiver) -> None:
    """A webhook receives only the types it is registered for."""
    sandbox.webhook(receiver.url, SECRET, ["build.failed"])
    sandbox.set_status(push_pending(sandbox), "failed")
    until(lambda: receiver.types == ["build.failed"])


def test_retries(hooked: Sandbox, receiver: Receiver) -> None:
    """A delivery is repeated unchanged until it is accepted."""
    receiver.rejections = [500, 404]
    push_pending(hooked)
    until(lambda: len(receiver.received) == 3)
    assert len(set(receiver.received)) == 1
    until(lambda: [each.status for each in hooked.deliveries] == [500, 404, 204])
    assert [each.attempt for each in hooked.deliveries] == [1, 2, 3]


def test_dropped_after_five(hooked: Sandbox, receiver: Receiver) -> None:
    """After five attempts a delivery is dropped."""
    receiver.rejections = [500] * 5
    push_pending(hooked)
    until(lambda: len(hooked.deliveries) == 5)
    assert {each.status for each in hooked.deliveries} == {500}
    assert receiver.rejections == []


def test_unreachable(make_sandbox: Callable[..., Sandbox]) -> None:
    """Attempts to reach an unreachable receiver are recorded with status 0."""
    sandbox = make_sandbox(webhook_pause=0.001)
    sandbox.webhook("http://127.0.0.1:9/", SECRET)
    push_pending(sandbox)
    until(lambda: len(sandbox.deliveries) == 5)
    assert {each.status for each in sandbox.deliveries} == {0}


def test_independent(hooked: Sandbox, receiver: Receiver) -> None:
    """A failing webhook does not affect the deliveries of another."""
    hooked.webhook("http://127.0.0.1:9/", SECRET)
    push_pending(hooked)
    until(lambda: len(receiver.received) == 1)


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
    name: str,
    params: dict[str, Any],
    count: int,
) -> None:
    """Deliveries are lost, duplicated, signed incorrectly, or late."""
    hooked.fault(name, times=1, **params)
    build = push_pending(hooked)
    hooked.set_status(build, "running")
    until(lambda: len(receiver.received) == count)
    forged = [signature for _, signature in receiver.received if signature == "sha256=" + "0" * 64]
    assert len(forged) == (name == "webhooks-forged")
    if name == "webhooks-late":
        assert receiver.types == ["build.running", "build.created"]
