"""Parses an Airflow connection into the settings of both clients."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from airflow_provider_buildpixel.api.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult


DEFAULT_HOST = "https://api.buildpixel.io"
CHANNELS = ("auto", "socketio", "polling")
DEFAULT_REQUEST_TIMEOUT = 30.0


class ConnectionLike(Protocol):
    """The fields of an Airflow connection that are used."""

    conn_id: Any
    host: Any
    port: Any
    schema: Any
    password: Any

    @property
    def extra_dejson(self) -> Any:
        """The extra as a mapping."""


@dataclass(frozen=True)
class Settings:
    """The parsed Airflow connection; ``repr`` omits its secrets.

    :param base_url: scheme, host and optional path, without a trailing slash.
    :param token: the API token.
    :param request_timeout: seconds for one request.
    :param verify: whether to verify certificates, or the path of a CA bundle.
    :param proxy: URL of the proxy for REST and websocket; None: the environment variables decide.
    :param channel: ``auto``, ``socketio`` or ``polling``.
    :param build_url: template of the dashboard page of a build.
    :param webhook_secrets: secrets of webhook signatures; several during a rotation.
    :param run_per_build: ids of the Dags that webhooks start, one run per finished build.
    """

    base_url: str
    token: str = field(repr=False)
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    channel: str = "auto"
    build_url: str | None = None
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    run_per_build: tuple[str, ...] = ()
    user_agent: str = "airflow-provider-buildpixel"

    @classmethod
    def from_connection(cls, conn: ConnectionLike, user_agent: str) -> Settings:
        """Parse an Airflow connection.

        :raises InvalidRequest: a field is missing or invalid; the message names the connection.
        """
        try:
            return replace(_parse(conn), user_agent=user_agent)
        except ValueError as error:
            message = f"Airflow connection {conn.conn_id!r} cannot be used: {error}"
            raise InvalidRequest(message) from None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the base URL: the only origin that the token is sent to."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def build_page_url(self, build_id: str, project_id: str | None) -> str | None:
        """Return the URL of a build's dashboard page, None if the connection has no template."""
        if not self.build_url:
            return None
        url = self.build_url.replace("{build_id}", quote(build_id, safe=""))
        return url.replace("{project_id}", quote(project_id or "", safe=""))


def _parse(conn: ConnectionLike) -> Settings:
    extra = _extra(conn)
    if not conn.password:
        raise ValueError("it has no password; put the API token (bp_…) there")
    token = str(conn.password).strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(
            "its password is not an API token: it has spaces or unprintable characters"
        )
    return Settings(
        base_url=_base_url(conn, allow_insecure=_is_true(extra.get("allow_insecure_http"))),
        token=token,
        request_timeout=_request_timeout(extra.get("request_timeout")),
        verify=_verify(extra.get("verify")),
        proxy=extra.get("proxy") or None,
        channel=checked_channel(extra.get("channel") or "auto"),
        build_url=_build_url(extra.get("build_url")),
        webhook_secrets=_string_list(extra.get("webhook_secret"), split=False),
        run_per_build=_string_list(extra.get("run_per_build"), split=True),
    )


def _extra(conn: ConnectionLike) -> Mapping[str, Any]:
    extra = conn.extra_dejson
    return extra if isinstance(extra, dict) else {}


def checked_channel(value: Any) -> str:
    """Return the name of a channel.

    :raises ValueError: no channel has this name.
    """
    if value not in CHANNELS:
        raise ValueError(f"channel {value!r} is not one of {', '.join(CHANNELS)}")
    return str(value)


def _base_url(conn: ConnectionLike, *, allow_insecure: bool) -> str:
    """Return the base URL; forms, URIs and JSON put its parts into different fields."""
    host = str(conn.host or DEFAULT_HOST).strip()
    if "://" not in host:
        scheme = conn.schema if conn.schema in {"http", "https"} else "https"
        host = f"{scheme}://{host}"
    parts = urlsplit(host)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("its host is not a web address; leave it empty, or enter https://…")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("its host must be a plain address; put the token into the password")
    if parts.scheme == "http" and not (is_loopback(parts.hostname) or allow_insecure):
        raise ValueError(
            "http:// would send the token in clear text; use https://, or set the extra "
            "allow_insecure_http to true"
        )
    return f"{parts.scheme}://{_netloc(parts, conn.port)}{parts.path.rstrip('/')}"


def _netloc(parts: SplitResult, port: Any) -> str:
    default = {"http": 80, "https": 443}[parts.scheme]
    if parts.port or not port or int(port) == default:
        # In lower case, as in requests, because the token is sent only to the same origin.
        return parts.netloc.lower()
    return f"{parts.netloc.lower()}:{int(port)}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that the token does not leave it unencrypted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _request_timeout(value: Any) -> float:
    if value in (None, ""):
        return DEFAULT_REQUEST_TIMEOUT
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds <= 3600:  # more than an hour for one request is a mistake
        raise ValueError("its extra request_timeout must be seconds, above 0 and at most 3600")
    return seconds


def _verify(value: Any) -> bool | str:
    if value is None or value == "" or _is_true(value):
        return True
    if value is False or str(value).lower() in {"false", "no", "0"}:
        return False
    return str(value)


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() in {"true", "yes", "1"}


def _build_url(value: Any) -> str | None:
    if not value:
        return None
    if urlsplit(str(value)).scheme not in {"http", "https"}:
        raise ValueError("its extra build_url must start with https:// (or http://)")
    return str(value)


def _string_list(value: Any, *, split: bool) -> tuple[str, ...]:
    """Return one value or a list of values; a form sends a list as JSON or comma-separated."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("one of its extras is an invalid JSON list") from None
    if isinstance(value, str):
        value = value.split(",") if split else [value]
    values = value if isinstance(value, list) else [value or ""]
    return tuple(str(item).strip() for item in values if str(item).strip())
