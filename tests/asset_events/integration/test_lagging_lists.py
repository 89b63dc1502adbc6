"""Deliveries that arrive before REST shows the build, or lack a content type."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.asset_events.integration.conftest import Server, StoredResults, WebhookSandbox

pytest.importorskip("fastapi", reason="Airflow 2.11 has no FastAPI and no such routes")
pytestmark = pytest.mark.timeout(120)


def delivery(webhooks: WebhookSandbox, build_id: str, age: float) -> bytes:
    """Return the body of a delivery that was created some seconds ago."""
    created_at = datetime.now(UTC) - timedelta(seconds=age)
    return json.dumps(
        json.loads(webhooks.body(build_id)) | {"createdAt": created_at.isoformat()}
    ).encode()


async def test_build_not_found_at_first(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A build that answers 404 for a moment after the webhook is accepted."""
    build_id = webhooks.ended()
    not_found = webhooks.sandbox.fault("404", "GET /builds/:id", times=2)
    answer = await server.post(delivery(webhooks, build_id, 1))
    assert answer.json() == {"outcome": "accepted"}
    assert not_found.hits == 2
    assert len(stored.events(build_id)) == len(stored.runs(build_id)) == 1


@pytest.mark.parametrize(("age", "status"), [(5, 503), (600, 200)])
async def test_build_not_found(
    server: Server, webhooks: WebhookSandbox, age: float, status: int
) -> None:
    """A recent delivery of an unknown build is to be retried; an old one is not."""
    answer = await server.post(delivery(webhooks, "x" * 24, age))
    assert answer.status_code == status


async def test_delivery_without_content_type(
    server: Server, webhooks: WebhookSandbox, stored: StoredResults
) -> None:
    """A signed delivery without a content type is accepted."""
    build_id = webhooks.ended()
    answer = await server.post(webhooks.body(build_id), **{"content-type": ""})
    assert answer.json() == {"outcome": "accepted"}
    assert len(stored.events(build_id)) == 1
