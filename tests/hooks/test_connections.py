"""Airflow connections: what they may hold, and where the token may go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_buildpixel.exceptions import InvalidRequest
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.hooks.connections import get_settings_async
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from tests.clients.wire import wire
from tests.hooks.conftest import face

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define the Airflow connection ``other``."""

    def connection(**fields: Any) -> None:
        value = {"conn_type": "buildpixel", "password": "bp_secret_token", **fields}
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(value))

    return connection


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "clear": ({"host": "http://api.buildpixel.io"}, "in clear"),
    "clear-by-schema": ({"host": "api.buildpixel.io", "schema": "http"}, "in clear"),
    "no-token": ({"password": ""}, "no password"),
    "token-in-host": ({"host": "https://bp_x@api.buildpixel.io"}, "plain address"),
    "token-of-words": ({"password": "bp_ x"}, "no API token"),
    "ftp": ({"host": "ftp://api.buildpixel.io"}, "no web address"),
    "channel": ({"extra": {"channel": "pigeon"}}, "pigeon"),
    "timeout": ({"extra": {"request_timeout": "soon"}}, "request_timeout"),
}


@pytest.mark.parametrize(("fields", "said"), REFUSED.values(), ids=list(REFUSED))
async def test_refused_connections(
    define: Callable[..., None], kind: str, fields: dict[str, Any], said: str
) -> None:
    """A connection that cannot work is refused with its id and without its token."""
    define(**fields)
    async with face(kind, "other") as hook:
        with pytest.raises(InvalidRequest, match=said) as caught:
            await hook.call("get_identity")
    assert "'other'" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", ["in-host", "apart"])
async def test_spellings_of_the_host(
    sandbox: Sandbox, define: Callable[..., None], kind: str, port: str
) -> None:
    """The address may come in one piece or in host, port and schema."""
    host, _, number = sandbox.url.removeprefix("http://").rpartition(":")
    apart = {"host": host.upper(), "port": int(number), "schema": "http"}
    whole = {"host": f"{sandbox.url}/"}
    define(password=f" {sandbox.token}\n", **(apart if port == "apart" else whole))
    async with face(kind, "other") as hook:
        assert (await hook.call("get_identity")).role == "member"


def test_the_session(sandbox: Sandbox) -> None:
    """The session of get_conn is authenticated at BuildPixel and nowhere else."""
    hook = BuildPixelHook()
    session = hook.get_conn()
    assert isinstance(session, requests.Session)
    assert session.get(f"{sandbox.url}/auth/me", timeout=5).status_code == 200
    with wire(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as elsewhere:
        session.get(elsewhere.url, timeout=5)
        session.get(elsewhere.url.replace("127.0.0.1", "localhost"), timeout=5)
        sandbox.fault("redirect", "GET /auth/me", location=elsewhere.url, status=307)
        session.get(f"{sandbox.url}/auth/me", timeout=5)
        session.post(elsewhere.url, headers={"Authorization": f"Bearer {sandbox.token}"}, timeout=5)
    hook.close()
    assert len(elsewhere.heads) >= 3
    assert not [head for head in elsewhere.heads if "authorization" in head.lower()]


async def test_an_unchecked_certificate(
    define: Callable[..., None],
    kind: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A connection that does not verify certificates is warned of in the log, by either hook."""
    define(host="https://127.0.0.1:9", extra={"verify": False})
    async with face(kind, "other") as hook:
        ok, _ = await hook.call("test_connection")
    assert not ok
    assert "other does not verify certificates" in "".join((*capfd.readouterr(), caplog.text))


async def test_an_unchecked_certificate_in_the_triggerer(
    define: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """So it is in the log of a task that waits in the triggerer."""
    define(host="https://127.0.0.1:9", extra={"verify": False})
    trigger = BuildPixelBuildTrigger(
        build_id="b" * 24, buildpixel_conn_id="other", deadline=time.time()
    )
    events = [event.payload async for event in trigger.run()]
    assert [event["status"] for event in events] == ["timeout"]
    assert "other does not verify certificates" in "".join((*capfd.readouterr(), caplog.text))


def test_secrets_do_not_show(define: Callable[..., None]) -> None:
    """Neither the token nor the other secrets show in the settings."""
    define(extra={"webhook_secret": "wh_hidden", "proxy": "http://u:pw_hidden@127.0.0.1:9"})
    shown = repr(BuildPixelHook("other").settings)
    assert "secret_token" not in shown
    assert "hidden" not in shown


async def test_one_look_up(sandbox: Sandbox) -> None:
    """Many triggers that use a connection look it up once."""
    found = await asyncio.gather(*(get_settings_async("buildpixel_default") for _ in range(50)))
    assert len({id(settings) for settings in found}) == 1
    assert found[0].token == sandbox.token


async def test_a_connection_that_is_mended(define: Callable[..., None]) -> None:
    """A look-up that failed is not kept."""
    define(password="")
    with pytest.raises(InvalidRequest):
        await get_settings_async("other")
    define()
    assert (await get_settings_async("other")).token == "bp_secret_token"
