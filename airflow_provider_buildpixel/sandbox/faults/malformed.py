"""Response bodies and events that violate the documented types."""

from __future__ import annotations

from typing import Any


def mistyped_body(body: Any, shape: str = "fields") -> Any:
    """Return a body with wrong types."""
    bodies: dict[str, Any] = {
        "list": [body],
        "null": None,
        "string": "ok",
        "number": 42,
        "empty": {},
    }
    return bodies[shape] if shape in bodies else _with_wrong_types(body)


def _with_wrong_types(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_wrong_types(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return {"0": value}
    if isinstance(value, bool) or value is None:
        return "no"
    return len(value) if isinstance(value, str) else str(value)


# Each function returns the arguments of an event, from its build id and its correct payload.
EVENT_SHAPES: dict[str, Any] = {
    "none": lambda _build_id, _payload: [None],
    "nothing": lambda _build_id, _payload: [],
    "string": lambda build_id, _payload: [build_id],
    "list": lambda _build_id, payload: [[payload]],
    "number": lambda _build_id, _payload: [7],
    "no-build": lambda _build_id, payload: [_without(payload, "buildId")],
    "no-status": lambda _build_id, payload: [_without(payload, "status", "message")],
    "null-fields": lambda build_id, payload: [{**dict.fromkeys(payload), "buildId": build_id}],
    "wrong-types": lambda _build_id, payload: [_with_wrong_types(payload)],
    "nested": lambda _build_id, payload: [{**payload, "status": {"was": 1}, "message": [1]}],
    "other-build": lambda _build_id, payload: [{**payload, "buildId": "0" * 24}],
    "two-arguments": lambda _build_id, payload: [payload, payload],
    "binary": lambda _build_id, payload: [{**payload, "status": b"\x00\xff", "message": b"\xff"}],
    "bytes": lambda _build_id, _payload: [b"\x00\x01"],
    "surrogate": lambda _build_id, payload: [{**payload, "status": "\ud800", "message": "\ud800"}],
    "huge": lambda _build_id, payload: [{**payload, "message": "x" * 200_000}],
}


def _without(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in names}
