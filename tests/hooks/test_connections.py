"""Airflow connections: valid and invalid fields, and where the token is sent."""

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
from tests.clients.raw_server import raw_server
from tests.hooks.conftest import open_hook

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


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "clear": ({"host": "http://api.buildpixel.io"}, "in clear text"),
    "clear-by-schema": ({"host": "api.buildpixel.io", "schema": "http"}, "in clear text"),
    "no-token": ({"password": ""}, "no password"),
    "token-in-host": ({"host": "https://bp_x@api.buildpixel.io"}, "plain address"),
    "token-of-words": ({"password": "bp_ x"}, "not an API token"),
    "ftp": ({"host": "ftp://api.buildpixel.io"}, "not a web address"),
    "channel": ({"extra": {"channel": "pigeon"}}, "pigeon"),
    "timeout": ({"extra": {"request_timeout": "soon"}}, "request_timeout"),
}


@pytest.mark.parametrize(("fields", "message"), INVALID.values(), ids=list(INVALID))
async def test_invalid_connections(
    define: Callable[..., None], kind: str, fields: dict[str, Any], message: str
) -> None:
    """An invalid connection is rejected; the error has its id and not its token."""
    define(**fields)
    async with open_hook(kind, "other") as hook:
        with pytest.raises(InvalidRequest, match=message) as caught:
            await hook.call("get_identity")
    assert "'other'" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", ["in-host", "separate"])
async def test_host_in_one_or_several_fields(
    sandbox: Sandbox, define: Callable[..., None], kind: str, port: str
) -> None:
    """The address may be in the host field, or in host, port and schema."""
    host, _, number = sandbox.url.removeprefix("http://").rpartition(":")
    several_fields = {"host": host.upper(), "port": int(number), "schema": "http"}
    one_field = {"host": f"{sandbox.url}/"}
    define(password=f" {sandbox.token}\n", **(several_fields if port == "separate" else one_field))
    async with open_hook(kind, "other") as hook:
        assert (await hook.call("get_identity")).role == "member"


def test_session_sends_the_token_to_buildpixel_only(sandbox: Sandbox) -> None:
    """The session of get_conn sends the token to BuildPixel and to no other host."""
    hook = BuildPixelHook()
    session = hook.get_conn()
    assert isinstance(session, requests.Session)
    assert session.get(f"{sandbox.url}/auth/me", timeout=5).status_code == 200
    with raw_server(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ) as other_host:
        session.get(other_host.url, timeout=5)
        session.get(other_host.url.replace("127.0.0.1", "localhost"), timeout=5)
        sandbox.fault("redirect", "GET /auth/me", location=other_host.url, status=307)
        session.get(f"{sandbox.url}/auth/me", timeout=5)
        session.post(
            other_host.url, headers={"Authorization": f"Bearer {sandbox.token}"}, timeout=5
        )
    hook.close()
    assert len(other_host.request_heads) >= 3
    assert not [head for head in other_host.request_heads if "authorization" in head.lower()]


async def test_warning_without_certificate_verification(
    define: Callable[..., None],
    kind: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Both hooks log a warning if the connection does not verify certificates."""
    define(host="https://127.0.0.1:9", extra={"verify": False})
    async with open_hook(kind, "other") as hook:
        ok, _ = await hook.call("test_connection")
    assert not ok
    assert "other does not verify certificates" in "".join((*capfd.readouterr(), caplog.text))


async def test_warning_without_certificate_verification_in_the_triggerer(
    define: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A trigger logs the same warning."""
    define(host="https://127.0.0.1:9", extra={"verify": False})
    trigger = BuildPixelBuildTrigger(
        build_id="b" * 24, buildpixel_conn_id="other", deadline=time.time()
    )
    events = [event.payload async for event in trigger.run()]
    assert [event["status"] for event in events] == ["timeout"]
    assert "other does not verify certificates" in "".join((*capfd.readouterr(), caplog.text))


def test_settings_repr_hides_secrets(define: Callable[..., None]) -> None:
    """The repr of the settings contains neither the token nor other secrets."""
    define(extra={"webhook_secret": "wh_hidden", "proxy": "http://u:pw_hidden@127.0.0.1:9"})
    text = repr(BuildPixelHook("other").settings)
    assert "secret_token" not in text
    assert "hidden" not in text


async def test_triggers_share_a_look_up(sandbox: Sandbox) -> None:
    """Many triggers with the same connection look it up once."""
    found = await asyncio.gather(*(get_settings_async("buildpixel_default") for _ in range(50)))
    assert len({id(settings) for settings in found}) == 1
    assert found[0].token == sandbox.token


async def test_failed_look_up_is_not_cached(define: Callable[..., None]) -> None:
    """A failed look-up is not cached."""
    define(password="")
    with pytest.raises(InvalidRequest):
        await get_settings_async("other")
    define()
    assert (await get_settings_async("other")).token == "bp_secret_token"
