"""What all waits of one token share on one event loop: REST client, reader and live channel."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.client.aio import AsyncClient
from airflow_provider_buildpixel.client.aio_feed import Channel
from airflow_provider_buildpixel.client.mailbox import Mailboxes
from airflow_provider_buildpixel.client.reader import Reader
from airflow_provider_buildpixel.client.tally import Tally, unreported
from airflow_provider_buildpixel.core.feed import Joined, Missed, Seen
from airflow_provider_buildpixel.core.narration import Allowance
from airflow_provider_buildpixel.core.search import Sweep
from airflow_provider_buildpixel.core.watch import (
    Done,
    Expired,
    Listen,
    Pacing,
    Read,
    hopeless,
)
from airflow_provider_buildpixel.exceptions import BuildPixelError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_buildpixel.client.mailbox import Mailbox, News
    from airflow_provider_buildpixel.core.model import Status
    from airflow_provider_buildpixel.core.narration import Narration, Record
    from airflow_provider_buildpixel.core.search import Search
    from airflow_provider_buildpixel.core.settings import Settings
    from airflow_provider_buildpixel.core.waiting import Wait
    from airflow_provider_buildpixel.core.watch import Ease, Watch

LINGER = 2.0
"""Seconds that an idle hub stays open for the next wait."""

TURN = 25
"""Events after which a busy wait lets the loop's other waits have their turn."""

REPORT = 15.0
"""Seconds between two reports of what was counted, at least."""

CALM = 60.0
"""The same while no wait begins or ends."""

STILL = 300.0
"""The same while there is nothing to report but what was reported last."""

_ALLOWANCE = Allowance.of_process(time.monotonic())

_HUBS: dict[tuple[asyncio.AbstractEventLoop, Settings], Hub] = {}


class Hub:
    """One REST client, reader and channel for all waits of a token on a loop.

    :param report: takes what was counted, now and then.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Tally], None] = unreported,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._chance = chance
        self.settings = settings
        self.tally = Tally()
        self._report = report
        self._reported_at = time.monotonic()
        self._told: tuple[int, bool | None] | None = None
        self.client = AsyncClient(settings)
        self.boxes = Mailboxes()
        self.reader = Reader(self.client, self.boxes, self.tally)
        self.channel = Channel(settings, self.boxes, self.tally)
        self._users = 0
        self._changed = asyncio.Event()
        self._keeper = asyncio.get_running_loop().create_task(
            self._keep(), name="buildpixel-hub", context=contextvars.Context()
        )

    def enter(self) -> None:
        """Count one more user."""
        self._users += 1
        self._changed.set()

    def leave(self) -> None:
        """Count one user less; the last one starts the linger."""
        self._users -= 1
        self._changed.set()

    async def _keep(self) -> None:
        """Close everything a little after the last user left, or when the loop ends."""
        async with AsyncExitStack() as parts:  # each is closed, whatever becomes of the others
            parts.push_async_callback(self.client.close)
            parts.push_async_callback(self.channel.close)
            parts.push_async_callback(self.reader.close)
            parts.callback(self._end)
            while not await self._idle():
                pass

    def _end(self) -> None:
        _HUBS.pop((asyncio.get_running_loop(), self.settings), None)
        self.tally.up = None
        self._tell_report()

    async def _idle(self) -> bool:
        """Tell, after a while, whether nobody came back."""
        self._changed.clear()
        try:
            async with asyncio.timeout(CALM if self._users else LINGER):
                await self._changed.wait()
        except TimeoutError:
            return not self._users
        finally:
            since = time.monotonic() - self._reported_at
            if since >= (REPORT if self._news() else STILL):
                self._tell_report()
        return False

    def _news(self) -> bool:
        return self.tally.counted or self._state() != self._told

    def _state(self) -> tuple[int, bool | None]:
        return self.boxes.waits, self.tally.up

    def _tell_report(self) -> None:
        self._reported_at = time.monotonic()
        self.tally.waits, _ = self._told = self._state()
        self._report(self.tally)
        self.tally.clear()

    def wait(
        self, wait: Wait, tell: Callable[[Record], None]
    ) -> Coroutine[Any, Any, Done | Expired]:
        """Wait for a build to end, or for the time to be over.

        :param tell: takes what there is to say meanwhile.
        :raises BuildPixelError: what waiting cannot cure, such as a refused token.
        """
        now = time.monotonic()
        watch = wait.watch(now, time.time(), self._chance)
        return Following(self, watch, wait.narration(now, _ALLOWANCE), tell).run(wait.build_id)

    async def find(self, search: Search, wait: Wait) -> str | None:
        """Wait until there is a build that fits, and give its id; None when the time is over.

        :param wait: how often to look, and until when.
        :raises BuildPixelError: what waiting cannot cure, or trouble without an end.
        """
        seen: str | None = None
        trouble: float | None = None
        while True:
            try:
                sweep = Sweep(search, seen)
                if build := await self.client.search(sweep, search):
                    return build.id
                seen, trouble = sweep.newest, None
            except BuildPixelError as error:
                trouble = trouble or time.monotonic()
                if hopeless(error) or time.monotonic() - trouble > Pacing.patience:
                    raise
            left = inf if wait.deadline is None else wait.deadline - time.time()
            if left <= 0:
                return None
            await asyncio.sleep(min(left, wait.poll_interval * (0.9 + self._chance() / 5)))


class Following:
    """One wait: does what the watch wants; reads are asked for, and answered as news.

    Its coroutine is woken only where there is something to tell, or an end.
    """

    __slots__ = ("_box", "_hub", "_narration", "_tell", "_watch")

    def __init__(
        self, hub: Hub, watch: Watch, narration: Narration, tell: Callable[[Record], None]
    ) -> None:
        self._hub = hub
        self._watch = watch
        self._narration = narration
        self._tell = tell
        self._box: Mailbox

    async def run(self, build_id: str) -> Done | Expired:
        """Wait."""
        self._box, first = self._hub.boxes.open(build_id)
        self._box.reader = self
        if self._watch.live:
            self._hub.channel.enter(self._box, first=first)
        turns = 0
        try:
            while not isinstance(wish := self._due(), Done | Expired):
                self._take(await self._box.get(wish.seconds))  # and keep nothing of it
                turns += 1
                if turns % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._leave()
        self._count(wish)
        return wish

    def glance(self, status: Status, since: float) -> float | None:
        """Take a status that a list showed; give the next pause, None if that was news."""
        now = time.monotonic()
        if self._watch.status != status or now >= self._narration.quiet_until():
            return None
        self._catch_up()
        self._watch.still(now, since)
        return self.turn_over() or 0.0

    def turn_over(self) -> float | None:
        """Ask for what is due; give the next pause, None at the end."""
        wish = self._due()
        return wish.seconds if isinstance(wish, Listen) else None

    def _due(self) -> Listen | Done | Expired:
        """Ask for the read that is due, if one is; give what to do then."""
        self._catch_up()
        now = time.monotonic()
        while isinstance(wish := self._watch.want(now), Read):
            self._watch.asked(now)
            self._hub.reader.ask(self._box.build_id, wish)
        return wish

    def ease(self) -> Ease | None:
        """Say how this wait may be left alone; not while a read is asked for, of whichever wait."""
        if self._hub.reader.asked(self._box.build_id):
            return None
        quiet_until = self._narration.quiet_until()
        return self._watch.ease(quiet_until) if time.monotonic() < quiet_until else None

    def _catch_up(self) -> None:
        """Learn what reads have shown while it slept: nothing new."""
        stamp = self._box.catch_up()
        if stamp is not None:
            self._watch.still(stamp.at, stamp.since)

    def _leave(self) -> None:
        hub, build_id = self._hub, self._box.build_id
        if hub.boxes.close(self._box):
            hub.reader.forget(build_id)
            if self._watch.live:
                hub.channel.leave(build_id)

    def _count(self, end: Done | Expired) -> None:
        tally, narration = self._hub.tally, self._narration
        how = str(end.build.status) if isinstance(end, Done) else "timeout"
        tally.waited.append((how, time.monotonic() - narration.started))
        if narration.queued is not None:
            tally.queued.append(narration.queued)

    def _take(self, news: News | None) -> None:
        """Give news to the machine that decides, and to the one that tells."""
        self._catch_up()
        now = time.monotonic()
        match news:
            case None:
                return
            case Seen(build, since):
                self._watch.learn(build, now, since)
                wall = self._hub.client.server_now()
                records = self._narration.learn(build, now, wall)
            case Missed(error):
                self._watch.miss(error, now)
                records = self._narration.trouble(error, now)
            case event:
                self._watch.hear(event, now)
                records = self._narration.hear(event, now)
                if isinstance(event, Joined) and records and self._narration.streams:
                    self._hub.reader.gap(self._box.build_id)
        for record in records:
            self._hub.tally.lines_left_out += record.left_out
            self._tell(record)


class Shared:
    """The hub of some settings on the running loop, while it is used; a context manager."""

    __slots__ = ("_hub", "_report", "_settings")

    def __init__(self, settings: Settings, report: Callable[[Tally], None] = unreported) -> None:
        self._settings = settings
        self._report = report

    async def __aenter__(self) -> Hub:
        """Take the hub, or open it."""
        loop = asyncio.get_running_loop()
        hub = _HUBS.get((loop, self._settings))
        if hub is None:
            for key in [key for key in _HUBS if key[0].is_closed()]:
                del _HUBS[key]
            hub = _HUBS[loop, self._settings] = Hub(self._settings, self._report)
        hub.enter()
        self._hub = hub
        return hub

    async def __aexit__(self, *_: object) -> None:
        """Give the hub back."""
        self._hub.leave()


shared = Shared
