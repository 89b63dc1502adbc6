"""TLS and proxy settings with both clients."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket as socketlib
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.exceptions import Unreachable
from tests.clients.adapters import open_client
from tests.clients.raw_server import http_response, raw_server

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

    from airflow_provider_buildpixel.api.settings import Settings

BUILD = http_response(json.dumps({"id": "b", "status": "complete"}).encode())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "bundle.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(secret + certificate.public_bytes(encoding))
    return path


@pytest.fixture(scope="module")
def context(bundle: Path) -> ssl.SSLContext:
    """Return the TLS context of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    return context


async def test_untrusted_certificate(
    settings: Settings, client_kind: str, context: ssl.SSLContext
) -> None:
    """No request is sent to a server with an untrusted certificate."""
    with raw_server(BUILD, context) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            with pytest.raises(Unreachable, match="certificate") as caught:
                await client.attempt(endpoints.trigger_build("p", "s"))
    assert not caught.value.sent
    assert not server.request_heads


@pytest.fixture
def bundle_with_other_in_environment(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the bundle while the environment names another one."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    return bundle


async def test_ca_bundle_of_the_connection(
    settings: Settings,
    client_kind: str,
    context: ssl.SSLContext,
    bundle_with_other_in_environment: Path,
) -> None:
    """A CA bundle of the connection has priority over that of the environment."""
    with raw_server(BUILD, context) as server:
        with_bundle = replace(
            settings, base_url=server.url, verify=str(bundle_with_other_in_environment)
        )
        async with open_client(client_kind, with_bundle) as client:
            assert (await client.attempt(endpoints.get_build("b"))).status == "complete"


async def test_tls_error_after_the_request(
    settings: Settings, client_kind: str, context: ssl.SSLContext, bundle: Path
) -> None:
    """A TLS error after the request was sent is not reported as not sent."""

    def garble(connection: socket) -> None:
        raw = connection.detach()  # below TLS: what follows is not a valid record
        with socketlib.socket(fileno=raw) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    with raw_server(garble, context) as server:
        with_bundle = replace(settings, base_url=server.url, verify=str(bundle))
        async with open_client(client_kind, with_bundle) as client:
            with pytest.raises(Unreachable) as caught:
                await client.perform(endpoints.trigger_build("p", "s"))
    assert caught.value.sent
    assert len(server.request_heads) == 1


@pytest.mark.parametrize("named", ["in-the-connection", "without-scheme", "in-the-environment"])
async def test_proxy_settings(
    settings: Settings, client_kind: str, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Requests use the connection's proxy, or else that of the environment."""
    with raw_server(BUILD) as proxy:
        if named == "in-the-environment":
            monkeypatch.setenv("http_proxy", proxy.url)
            through = settings
        else:
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
            whole = named == "in-the-connection"
            through = replace(settings, proxy=proxy.url if whole else proxy.url[len("http://") :])
        through = replace(through, base_url="http://buildpixel.invalid")
        async with open_client(client_kind, through) as client:
            assert (await client.attempt(endpoints.get_build("b"))).status == "complete"
    assert proxy.request_heads[0].startswith("GET http://buildpixel.invalid/builds/b HTTP/1.1")


async def test_no_proxy_variable(
    settings: Settings, client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The no_proxy variable of the environment is respected."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    async with open_client(client_kind, settings) as client:
        assert (await client.attempt(endpoints.get_identity())).role == "member"
