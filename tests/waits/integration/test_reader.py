"""The reader of many waits, against a service of plain values."""

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
from tests.clients.shells import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.waits.subscription import Subscription, WaitEvent

END = Read(Status("complete"))


class Service:
    """Answers calls from a dictionary; what stands in ``trouble`` is raised first."""

    def __init__(self, statuses: dict[str, str]) -> None:
        self.statuses = statuses
        self.on_read_failed: dict[str, list[Exception]] = {}
        self.always: dict[str, Exception] = {}
        self.slow: dict[str, float] = {}
        self.read_requested: list[tuple[float, str]] = []

    async def attempt(self, call: Call[Any]) -> Any:
        """Answer, or raise."""
        self.read_requested.append((time.monotonic(), call.route))
        await asyncio.sleep(self.slow.get(call.route, 0.0))
        if call.route in self.always:
            raise self.always[call.route]
        if waiting := self.on_read_failed.get(call.route):
            raise waiting.pop(0)
        if call.route == "/builds/:id":
            build_id = call.path.rpartition("/")[2]
            return call.parse({"id": build_id, "status": self.statuses[build_id]})
        wanted = dict(call.query)["status"]
        found = [{"id": key, "status": s} for key, s in self.statuses.items() if s == wanted]
        return call.parse({"items": found, "nextCursor": None})

    @property
    def routes(self) -> Counter[str]:
        """How often each route was asked for."""
        return Counter(route for _, route in self.read_requested)


class Scene:
    """A reader, its service, and waits for builds."""

    def __init__(self, waits: int, status: str = "running") -> None:
        self.service = Service({f"b{number}": status for number in range(waits)})
        self.subscriptions = Subscriptions()
        self.metrics = Metrics()
        client: Any = self.service
        self.reader = BuildReader(client, self.subscriptions, self.metrics, jitter=lambda: 0.0)
        self.waits: dict[str, Subscription] = {
            build_id: self.subscriptions.open(build_id)[0] for build_id in self.service.statuses
        }

    def ask_all(self, read: Read) -> None:
        """Let every wait ask."""
        for build_id in self.waits:
            self.reader.ask(build_id, read)

    async def news(self, build_id: str = "b0") -> WaitEvent:
        """Give the next news of a build."""
        async with asyncio.timeout(20):
            while (found := await self.waits[build_id].get(5.0)) is None:
                pass
        return found

    async def all_news(self) -> list[WaitEvent]:
        """Give the next news of every build."""
        return [await self.news(build_id) for build_id in self.waits]


@asynccontextmanager
async def scene(waits: int, status: str = "running") -> AsyncIterator[Scene]:
    """Give a scene whose reader is closed in the end."""
    found = Scene(waits, status)
    try:
        yield found
    finally:
        await found.reader.close()


async def test_many_waits_share_a_list() -> None:
    """Twenty waits that ask within a second cost two requests."""
    async with scene(20) as it:
        it.ask_all(Read())
        assert all(isinstance(news, BuildRead) for news in await it.all_news())
        assert it.service.routes == {"/builds": 2}
        assert it.metrics.requests == {("/builds", "200"): 2}


async def test_a_page_that_fails_is_asked_for_again() -> None:
    """One failing page is no bad news for anybody."""
    async with scene(20) as it:
        it.service.on_read_failed["/builds"] = [ServerFault("broken", status_code=502)]
        it.ask_all(Read())
        assert all(isinstance(news, BuildRead) for news in await it.all_news())
        assert it.service.routes == {"/builds": 3}


async def test_a_build_in_no_list_is_read_by_itself() -> None:
    """A build that is in no list of live builds costs one read more."""
    async with scene(20) as it:
        it.service.statuses["b3"] = "made-up"
        it.ask_all(Read())
        await it.all_news()
        assert it.service.routes == {"/builds": 2, "/builds/:id": 1}


async def test_the_gap_of_a_log_is_filled_after_a_sweep() -> None:
    """A list brings no log: a build whose log has a gap is read by itself as well."""
    async with scene(20) as it:
        it.reader.gap("b3")
        it.ask_all(Read())
        await it.all_news()
        await it.news("b3")
        assert it.service.routes == {"/builds": 2, "/builds/:id": 1}


async def test_lists_that_are_refused_are_done_without() -> None:
    """Where lists are refused and single reads are not, every wait is served by single reads."""
    async with scene(20) as it:
        it.service.always["/builds"] = InvalidRequest("no", status_code=400)
        it.ask_all(Read())
        assert all(isinstance(news, BuildRead) for news in await it.all_news())
        assert it.service.routes["/builds/:id"] == 20


async def test_trouble_is_told_when_nothing_can_be_read() -> None:
    """Where neither lists nor single reads work, each wait hears it, after four requests in all."""
    async with scene(20) as it:
        it.service.always = dict.fromkeys(("/builds", "/builds/:id"), ServerFault("down"))
        it.ask_all(Read())
        assert all(isinstance(news, ReadFailed) for news in await it.all_news())
        assert it.service.routes == {"/builds": 3, "/builds/:id": 1}


async def test_a_refused_token_is_told_to_all_who_asked() -> None:
    """A 401 in a sweep reaches those who asked as a 401."""
    async with scene(20) as it:
        it.service.always = dict.fromkeys(("/builds", "/builds/:id"), Unauthorized("revoked"))
        it.ask_all(Read())
        for news in await it.all_news():
            assert isinstance(news, ReadFailed)
            assert isinstance(news.error, Unauthorized)


async def test_a_rumour_does_not_wait_for_a_sweep() -> None:
    """While a slow sweep runs, the read for a rumoured end is made at once."""
    async with scene(20) as it:
        it.service.slow["/builds"] = 30.0  # longer than the news is waited for
        it.ask_all(Read())
        await until(lambda: it.service.routes == {"/builds": 1})
        it.service.statuses["b0"] = "complete"
        it.reader.ask("b0", END)
        news = await it.news()
        assert isinstance(news, BuildRead)
        assert news.build.status == "complete"


async def test_a_burst_of_ends_is_found_in_one_list() -> None:
    """Fifty builds rumoured to be complete cost one request."""
    async with scene(50, "complete") as it:
        it.ask_all(END)
        assert all(isinstance(news, BuildRead) for news in await it.all_news())
        assert it.service.routes == {"/builds": 1}


async def test_a_stale_list_of_ends_hides_nobody() -> None:
    """A build that the list of its rumoured status does not show yet is read by itself."""
    async with scene(50, "complete") as it:
        it.service.statuses["b9"] = "running"
        it.ask_all(END)
        await it.all_news()
        assert it.service.routes == {"/builds": 1, "/builds/:id": 1}


async def test_a_429_slows_all_waits_of_the_token() -> None:
    """After a 429 no wait's read begins before the instant named; then all are served."""
    async with scene(12) as it:
        it.service.on_read_failed["/builds/:id"] = [RateLimited("slow", wait=1.0, status_code=429)]
        it.reader.ask("b0", Read())
        refused = await it.news()
        assert isinstance(refused, ReadFailed)
        it.ask_all(Read())
        assert all(isinstance(news, BuildRead) for news in await it.all_news())
        (first, _), *others = it.service.read_requested
        assert min(at for at, _ in others) - first >= 1.0
        assert it.metrics.requests["/builds/:id", "429"] == 1


async def test_reads_go_one_at_a_time_after_a_429() -> None:
    """After a 429 a second read begins only when the first one is answered."""
    async with scene(3) as it:
        it.service.on_read_failed["/builds/:id"] = [RateLimited("slow", wait=0.0)]
        it.service.slow["/builds/:id"] = 0.2
        it.reader.ask("b0", Read())
        await it.news()
        it.ask_all(Read())
        await it.all_news()
        first, second = sorted(at for at, _ in it.service.read_requested[1:])[:2]
        assert second - first >= 0.15


async def test_whoever_left_is_not_read_for() -> None:
    """The wish of a wait that is over costs no request."""
    async with scene(20) as it:
        it.ask_all(Read())
        for build_id, subscription in it.waits.items():
            assert it.subscriptions.close(subscription)
            it.reader.forget(build_id)
        await asyncio.sleep(1.1)
        assert not it.service.read_requested


async def test_a_mistake_in_one_read_fails_one_wait() -> None:
    """An error that nobody foresaw, in the read of one build, comes up in that build's wait."""
    async with scene(2) as it:
        it.service.on_read_failed["/builds/:id"] = [KeyError("a bug")]
        it.reader.ask("b0", Read())
        with pytest.raises(KeyError):
            await it.news()
        it.reader.ask("b1", Read())
        assert isinstance(await it.news("b1"), BuildRead)


async def test_a_mistake_in_a_sweep_leaves_nobody_hanging() -> None:
    """An error that nobody foresaw, in a sweep, comes up in all waits; the next ask is met."""
    async with scene(20) as it:
        it.service.on_read_failed["/builds"] = [KeyError("a bug")]
        it.ask_all(Read())
        for build_id in it.waits:
            with pytest.raises(KeyError):
                await it.news(build_id)
        subscription, _ = it.subscriptions.open("b0")
        it.reader.ask("b0", END)
        assert isinstance(await subscription.get(5.0), BuildRead)


async def test_closing_in_the_middle_of_a_round_leaves_nothing() -> None:
    """A reader that is closed while it reads leaves no task behind."""
    async with scene(20) as it:
        it.service.slow = {"/builds": 30.0, "/builds/:id": 30.0}
        it.ask_all(Read())
        it.reader.ask("b1", END)
        await until(lambda: it.service.routes == {"/builds": 1, "/builds/:id": 1})
    assert asyncio.all_tasks() == {asyncio.current_task()}
