"""The request that an endpoint receives, and the response that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.sandbox.world.model import Token


@dataclass(frozen=True)
class ApiRequest:
    """An authenticated request to an endpoint, answered as of sandbox time `at`."""

    token: Token
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    at: float


@dataclass(frozen=True)
class ApiResponse:
    """The response of an endpoint."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
