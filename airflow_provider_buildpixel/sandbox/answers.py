"""What goes between the HTTP layer and the endpoints: a question, an answer, a refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.sandbox.model import Token


@dataclass(frozen=True)
class Ask:
    """A request to an endpoint, authenticated, with its place in sandbox time."""

    token: Token
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    at: float


@dataclass(frozen=True)
class Answer:
    """What an endpoint answers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An error answer: HTTP status, stable code, and a message for humans."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Take the three parts."""
        super().__init__(message)
        self.status = status
        self.code = code


def not_found(what: str) -> Refusal:
    """Return the refusal for what does not exist or may not be seen."""
    return Refusal(404, "not_found", f"No such {what}.")


def invalid(message: str) -> Refusal:
    """Return the refusal of bad input."""
    return Refusal(400, "validation_failed", message)
