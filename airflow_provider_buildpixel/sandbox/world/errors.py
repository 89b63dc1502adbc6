"""Errors that the API reports to a client."""

from __future__ import annotations


class ApiError(Exception):
    """An error response: HTTP status, stable code, and a message for humans."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def not_found(what: str) -> ApiError:
    """Return the error for an object that does not exist or is not visible to the token."""
    return ApiError(404, "not_found", f"No such {what}.")


def invalid(message: str) -> ApiError:
    """Return the error for invalid input."""
    return ApiError(400, "validation_failed", message)
