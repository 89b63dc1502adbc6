"""A sandbox that stops or refuses lets go of every connection, however late it came."""

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
def complaints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is left to the garbage collector."""
    noted: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: noted.append(repr(said.exc_value)))
    return noted


@contextmanager
def _comers(url: str) -> Iterator[None]:
    """Connect a few times, and do not wait until the server knows."""
    address = urlsplit(url)
    with ExitStack() as all_of_them:
        for _ in range(3):
            comer = all_of_them.enter_context(socket.socket())
            comer.settimeout(0)
            comer.connect_ex((address.hostname, address.port))
        yield


def test_connections_that_come_as_it_stops(complaints: list[str]) -> None:
    """What is accepted at the last moment is closed as all others are."""
    for _ in range(ROUNDS):
        with ExitStack() as stack, Sandbox() as sandbox:
            stack.enter_context(_comers(sandbox.url))
    gc.collect()
    assert not complaints


def test_connections_that_come_as_it_begins_to_refuse(complaints: list[str]) -> None:
    """They are cut with the others."""
    with Sandbox() as sandbox:
        for _ in range(ROUNDS):
            with _comers(sandbox.url):
                sandbox.fault("refuse-connections")
            sandbox.heal()
    gc.collect()
    assert not complaints
