"""Requests to the servers that the programs here start themselves."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen


def post_json(url: str, body: dict[str, Any]) -> Any:
    """Post a JSON object; return the JSON of the response."""
    request = Request(  # noqa: S310  # our own server
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urlopen(request) as response:  # noqa: S310  # as above
        return json.load(response)
