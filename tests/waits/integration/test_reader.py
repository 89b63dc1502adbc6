"""The reader of many waits, with a fake service."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.exceptions import (
    InvalidRequest,
    RateLimited,
    ServerFault,
    Unauthorized,
)
from airflow_provider_buildpixel.waits.actions import BuildRead, Read, ReadFailed
from airflow_provider_buildpixel.waits.reader import BuildReader
from airflow_provider_buildpixel.waits.subscription import Subscriptions
from tests.clients.adapters import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.waits.subscription import Subscription, WaitEvent

HINTED_READ = Read(Status("complete"))


class FakeService:
    """Answers calls from a dictionary of statuses; raises the errors of a route first."""

    def __init__(self, statuses: dict[str, str]) -> None:
        self.statuses = statuses
        self.errors: dict[str, list[Exception]] = {}
        self.permanent_errors: dict[str, Exception] = {}
        self.delays: dict[str, float] = {}
        self.requests: list[tuple[float, str]] = []

    async def attempt(self, call: Call[Any]) -> Any:
        """Return the answer, or raise an error."""
        self.requests.append((time.monotonic(), call.route))
        await asyncio.sleep(self.delays.get(call.route, 0.0))
        if call.route in self.permanent_errors:
            raise self.permanent_errors[call.route]
        if errors := self.errors.get(call.route):
            raise errors.pop(0)
        if call.route == "/builds/:id":
            build_id = call.path.rpartition("/")[2]
            return call.parse({"id": build_id, "status": self.statuses[build_id]})
        wanted = dict(call.query)["status"]
        items = [{"id": key, "status": s} for key, s in self.statuses.items() if s == wanted]
        return call.parse({"items": items, "nextCursor": None})

    @property
    def routes(self) -> Counter[str]:
        """The number of requests by route."""
        return Counter(route for _, route in self.requests)


class ReaderSetup:
    """A reader, its service, and subscriptions for builds."""

    def __init__(self, waits: int, status: str = "running") -> None:
        self.service = FakeService({f"b{number}": status for number in range(waits)})
        self.subscriptions = Subscriptions()
        self.metrics = Metrics()
        client: Any = self.service
        self.reader = BuildReader(client, self.subscriptions, self.metrics, jitter=lambda: 0.0)
        self.waits: dict[str, Subscription] = {
            build_id: self.subscriptions.add(build_id)[0] for build_id in self.service.statuses
        }

    def request_all(self, read: Read) -> None:
        """Request a read of every build."""
        for build_id in self.waits:
            self.reader.request(build_id, read)

    async def event(self, build_id: str = "b0") -> WaitEvent:
        """Return the next event of a build."""
        async with asyncio.timeout(20):
            while (event := await self.waits[build_id].get(5.0)) is None:
                pass
        return event

    async def all_events(self) -> list[WaitEvent]:
        """Return the next event of every build."""
        return [await self.event(build_id) for build_id in self.waits]


@asynccontextmanager
async def reader_setup(waits: int, status: str = "running") -> AsyncIterator[ReaderSetup]:
    """Yield a reader with its service, and close it at the end."""
    setup = ReaderSetup(waits, status)
    try:
        yield setup
    finally:
        await setup.reader.close()


async def test_many_waits_share_a_list() -> None:
    """Twenty reads that are requested within a second cost two requests."""
    async with reader_setup(20) as setup:
        setup.request_all(Read())
        assert all(isinstance(event, BuildRead) for event in await setup.all_events())
        assert setup.service.routes == {"/builds": 2}
        assert setup.metrics.requests == {("/builds", "200"): 2}


async def test_a_failed_page_is_retried() -> None:
    """One failed request of a page reaches no wait."""
    async with reader_setup(20) as setup:
        setup.service.errors["/builds"] = [ServerFault("broken", status_code=502)]
        setup.request_all(Read())
        assert all(isinstance(event, BuildRead) for event in await setup.all_events())
        assert setup.service.routes == {"/builds": 3}


async def test_a_build_in_no_list_is_read_singly() -> None:
    """A build that is in no list of live builds costs one more read."""
    async with reader_setup(20) as setup:
        setup.service.statuses["b3"] = "made-up"
        setup.request_all(Read())
        await setup.all_events()
        assert setup.service.routes == {"/builds": 2, "/builds/:id": 1}


async def test_log_gaps_are_read_after_the_lists() -> None:
    """Lists contain no logs: a build with a gap in its log is also read singly."""
    async with reader_setup(20) as setup:
        setup.reader.on_log_gap("b3")
        setup.request_all(Read())
        await setup.all_events()
        await setup.event("b3")
        assert setup.service.routes == {"/builds": 2, "/builds/:id": 1}


async def test_refused_lists() -> None:
    """If lists are refused and single reads are not, every build is read singly."""
    async with reader_setup(20) as setup:
        setup.service.permanent_errors["/builds"] = InvalidRequest("no", status_code=400)
        setup.request_all(Read())
        assert all(isinstance(event, BuildRead) for event in await setup.all_events())
        assert setup.service.routes["/builds/:id"] == 20


async def test_all_reads_fail() -> None:
    """If lists and single reads fail, each wait gets the error, after four requests in all."""
    async with reader_setup(20) as setup:
        setup.service.permanent_errors = dict.fromkeys(
            ("/builds", "/builds/:id"), ServerFault("down")
        )
        setup.request_all(Read())
        assert all(isinstance(event, ReadFailed) for event in await setup.all_events())
        assert setup.service.routes == {"/builds": 3, "/builds/:id": 1}


async def test_a_refused_token_reaches_all_waits() -> None:
    """A 401 for a list reaches every wait with a request as a 401."""
    async with reader_setup(20) as setup:
        setup.service.permanent_errors = dict.fromkeys(
            ("/builds", "/builds/:id"), Unauthorized("revoked")
        )
        setup.request_all(Read())
        for event in await setup.all_events():
            assert isinstance(event, ReadFailed)
            assert isinstance(event.error, Unauthorized)


async def test_a_hint_does_not_wait_for_lists() -> None:
    """While slow lists are read, a read with a hint starts at once."""
    async with reader_setup(20) as setup:
        setup.service.delays["/builds"] = 30.0  # longer than event() waits
        setup.request_all(Read())
        await wait_until(lambda: setup.service.routes == {"/builds": 1})
        setup.service.statuses["b0"] = "complete"
        setup.reader.request("b0", HINTED_READ)
        event = await setup.event()
        assert isinstance(event, BuildRead)
        assert event.build.status == "complete"


async def test_many_hints_need_one_list() -> None:
    """Fifty builds with the hint that they are complete cost one request."""
    async with reader_setup(50, "complete") as setup:
        setup.request_all(HINTED_READ)
        assert all(isinstance(event, BuildRead) for event in await setup.all_events())
        assert setup.service.routes == {"/builds": 1}


async def test_a_stale_list_of_ended_builds() -> None:
    """A build that is missing in the list of its hinted status is read singly."""
    async with reader_setup(50, "complete") as setup:
        setup.service.statuses["b9"] = "running"
        setup.request_all(HINTED_READ)
        await setup.all_events()
        assert setup.service.routes == {"/builds": 1, "/builds/:id": 1}


async def test_a_429_delays_all_waits_of_the_token() -> None:
    """After a 429 no read starts before its Retry-After has passed; then all builds are read."""
    async with reader_setup(12) as setup:
        setup.service.errors["/builds/:id"] = [RateLimited("slow", wait=1.0, status_code=429)]
        setup.reader.request("b0", Read())
        refused = await setup.event()
        assert isinstance(refused, ReadFailed)
        setup.request_all(Read())
        assert all(isinstance(event, BuildRead) for event in await setup.all_events())
        (first, _), *others = setup.service.requests
        assert min(at for at, _ in others) - first >= 1.0
        assert setup.metrics.requests["/builds/:id", "429"] == 1


async def test_one_read_at_a_time_after_a_429() -> None:
    """After a 429 a second read starts only when the first one is answered."""
    async with reader_setup(3) as setup:
        setup.service.errors["/builds/:id"] = [RateLimited("slow", wait=0.0)]
        setup.service.delays["/builds/:id"] = 0.2
        setup.reader.request("b0", Read())
        await setup.event()
        setup.request_all(Read())
        await setup.all_events()
        first, second = sorted(at for at, _ in setup.service.requests[1:])[:2]
        assert second - first >= 0.15


async def test_cancelled_requests() -> None:
    """The requested read of a wait that is over is not performed."""
    async with reader_setup(20) as setup:
        setup.request_all(Read())
        for build_id, subscription in setup.waits.items():
            assert setup.subscriptions.remove(subscription)
            setup.reader.cancel_request(build_id)
        await asyncio.sleep(1.1)
        assert not setup.service.requests


async def test_an_unexpected_error_in_one_read() -> None:
    """An unexpected error in the read of one build is raised in the waits of that build."""
    async with reader_setup(2) as setup:
        setup.service.errors["/builds/:id"] = [KeyError("a bug")]
        setup.reader.request("b0", Read())
        with pytest.raises(KeyError):
            await setup.event()
        setup.reader.request("b1", Read())
        assert isinstance(await setup.event("b1"), BuildRead)


async def test_an_unexpected_error_in_a_list() -> None:
    """An unexpected error in a list is raised in all waits; the next request is performed."""
    async with reader_setup(20) as setup:
        setup.service.errors["/builds"] = [KeyError("a bug")]
        setup.request_all(Read())
        for build_id in setup.waits:
            with pytest.raises(KeyError):
                await setup.event(build_id)
        subscription, _ = setup.subscriptions.add("b0")
        setup.reader.request("b0", HINTED_READ)
        assert isinstance(await subscription.get(5.0), BuildRead)


async def test_close_during_a_round() -> None:
    """A reader that is closed while it reads leaves no task behind."""
    async with reader_setup(20) as setup:
        setup.service.delays = {"/builds": 30.0, "/builds/:id": 30.0}
        setup.request_all(Read())
        setup.reader.request("b1", HINTED_READ)
        await wait_until(lambda: setup.service.routes == {"/builds": 1, "/builds/:id": 1})
    assert asyncio.all_tasks() == {asyncio.current_task()}
