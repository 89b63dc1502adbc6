"""TLS and proxies over both shells."""

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
from tests.clients.shells import opened
from tests.clients.wire import answer, wire

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

    from airflow_provider_buildpixel.api.settings import Settings

BUILD = answer(json.dumps({"id": "b", "status": "complete"}).encode())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of our own for 127.0.0.1, with its key, in one file."""
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
    """Give the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    return context


async def test_a_certificate_nobody_knows(
    settings: Settings, kind: str, context: ssl.SSLContext
) -> None:
    """A server whose certificate cannot be trusted is sent nothing."""
    with wire(BUILD, context) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            with pytest.raises(Unreachable, match="certificate") as caught:
                await shell.attempt(endpoints.trigger_build("p", "s"))
    assert not caught.value.sent
    assert not line.heads


@pytest.fixture
def others(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the bundle, while the environment names another one."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    return bundle


async def test_a_bundle_of_ones_own(
    settings: Settings, kind: str, context: ssl.SSLContext, others: Path
) -> None:
    """A CA bundle named in the connection is trusted, whatever the environment names."""
    with wire(BUILD, context) as line:
        known = replace(settings, base_url=line.url, verify=str(others))
        async with opened(kind, known) as shell:
            assert (await shell.attempt(endpoints.get_build("b"))).status == "complete"


async def test_tls_that_breaks_after_the_request(
    settings: Settings, kind: str, context: ssl.SSLContext, bundle: Path
) -> None:
    """A TLS error that comes after the request went out does not pass for one before it."""

    def garble(connection: socket) -> None:
        raw = connection.detach()  # below TLS: what follows is no valid record
        with socketlib.socket(fileno=raw) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    with wire(garble, context) as line:
        known = replace(settings, base_url=line.url, verify=str(bundle))
        async with opened(kind, known) as shell:
            with pytest.raises(Unreachable) as caught:
                await shell.perform(endpoints.trigger_build("p", "s"))
    assert caught.value.sent
    assert len(line.heads) == 1


@pytest.mark.parametrize("named", ["in-the-connection", "without-scheme", "in-the-environment"])
async def test_a_proxy(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Requests go through the connection's proxy, else through the environment's."""
    with wire(BUILD) as proxy:
        if named == "in-the-environment":
            monkeypatch.setenv("http_proxy", proxy.url)
            through = settings
        else:
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
            whole = named == "in-the-connection"
            through = replace(settings, proxy=proxy.url if whole else proxy.url[len("http://") :])
        through = replace(through, base_url="http://buildpixel.invalid")
        async with opened(kind, through) as shell:
            assert (await shell.attempt(endpoints.get_build("b"))).status == "complete"
    assert proxy.heads[0].startswith("GET http://buildpixel.invalid/builds/b HTTP/1.1")


async def test_no_proxy(settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's exceptions from its proxy hold."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    async with opened(kind, settings) as shell:
        assert (await shell.attempt(endpoints.get_identity())).role == "member"
