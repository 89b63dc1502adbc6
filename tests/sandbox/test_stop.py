"""A sandbox that stops or refuses connections closes every one, also those just accepted."""

from __future__ import annotations

import gc
import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from airflow_provider_buildpixel.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 25


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record exceptions that the garbage collector causes."""
    errors: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: errors.append(repr(event.exc_value)))
    return errors


@contextmanager
def _new_connections(url: str) -> Iterator[None]:
    """Connect a few times without waiting until the server has accepted."""
    address = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(0)
            connection.connect_ex((address.hostname, address.port))
        yield


def test_connections_during_a_stop(unraisable: list[str]) -> None:
    """Connections accepted during a stop are closed."""
    for _ in range(ROUNDS):
        with ExitStack() as stack, Sandbox() as sandbox:
            stack.enter_context(_new_connections(sandbox.url))
    gc.collect()
    assert not unraisable


def test_connections_at_the_start_of_a_refusal(unraisable: list[str]) -> None:
    """Connections accepted when the sandbox starts to refuse connections are closed."""
    with Sandbox() as sandbox:
        for _ in range(ROUNDS):
            with _new_connections(sandbox.url):
                sandbox.fault("refuse-connections")
            sandbox.heal()
    gc.collect()
    assert not unraisable
