"""Deliveries that are ahead of what REST shows, or say little of themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.asset_events.integration.conftest import Facts, Hooked, Server

pytest.importorskip("fastapi", reason="Airflow 2.11 has no FastAPI and no such routes")
pytestmark = pytest.mark.timeout(120)


def sent(hooked: Hooked, build_id: str, age: float) -> bytes:
    """Give a delivery of some seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    return json.dumps(json.loads(hooked.body(build_id)) | {"createdAt": at.isoformat()}).encode()


async def test_build_that_rest_does_not_know_yet(
    server: Server, hooked: Hooked, facts: Facts
) -> None:
    """A build that answers 404 a moment after the webhook is taken all the same."""
    build_id = hooked.ended()
    absence = hooked.sandbox.fault("404", "GET /builds/:id", times=2)
    answer = await server.post(sent(hooked, build_id, 1))
    assert answer.json() == {"outcome": "taken"}
    assert absence.hits == 2
    assert len(facts.events(build_id)) == len(facts.runs(build_id)) == 1


@pytest.mark.parametrize(("age", "status"), [(5, 503), (600, 200)])
async def test_build_that_rest_does_not_know(
    server: Server, hooked: Hooked, age: float, status: int
) -> None:
    """A fresh delivery is to come again, an old one of no build is not."""
    answer = await server.post(sent(hooked, "x" * 24, age))
    assert answer.status_code == status


async def test_delivery_that_does_not_say_what_it_is(
    server: Server, hooked: Hooked, facts: Facts
) -> None:
    """A sender that announces no content type is known by its signature."""
    build_id = hooked.ended()
    answer = await server.post(hooked.body(build_id), **{"content-type": ""})
    assert answer.json() == {"outcome": "taken"}
    assert len(facts.events(build_id)) == 1
