"""A call as the bytes that go over the wire: the same from both shells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.calls import Call
    from airflow_provider_buildpixel.core.settings import Settings


@dataclass(frozen=True)
class Outgoing:
    """One HTTP request; its headers hold the token, so they are never shown."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = None


def outgoing(settings: Settings, call: Call[Any]) -> Outgoing:
    """Build the request of a call."""
    headers = {
        "Authorization": f"Bearer {settings.token}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": settings.user_agent,
    }
    body = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(call.body).encode()
    query = f"?{urlencode(call.query)}" if call.query else ""
    return Outgoing(call.method, f"{settings.base_url}{call.path}{query}", headers, body)
