"""Watches for finished builds in the triggerer, for Airflow 3: 2.11 has no asset watchers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_buildpixel.api.model import LIVE_STATUSES
from airflow_provider_buildpixel.asset_events import cursor
from airflow_provider_buildpixel.asset_events.cursor import BuildFilter, Cursor
from airflow_provider_buildpixel.asset_events.webhook import event_payload
from airflow_provider_buildpixel.builds import lookup
from airflow_provider_buildpixel.exceptions import BuildPixelError, Unauthorized
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.hooks.connections import get_settings_async, warn_if_unverified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Mapping, Sequence

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.poller import BuildPoller, PollResult


DEFAULTS: dict[str, Any] = {
    "project": None,
    "build_setting": None,
    "branch": None,
    "statuses": ["complete"],
    "poll_interval": 30.0,
    "catch_up": 500,
}

SAVE_DELAY = 2.5
"""Seconds until an event is in Airflow's database: a cursor saved earlier could lose it."""

MAX_NOT_FOUND = 5
"""Looks in which a build that was seen answers 404 before it is taken for deleted."""

log = logging.getLogger(__name__)


class BuildPixelBuildEventTrigger(BaseEventTrigger):
    """Fires once for each build that ends, for an ``AssetWatcher``; needs no inbound route.

    It starts from now, and remembers in the asset's state store (Airflow 3.3) how far it has come,
    so that what ends while no triggerer runs comes afterwards. All watchers of a connection share
    one poll. An event's payload is what a webhook's asset event has as its extra.

    :param buildpixel_conn_id: the Airflow connection; no secret is stored with a trigger.
    :param project: id or exact name; None for every project that the token sees.
    :param build_setting: id, or a mapping that must fit exactly one setting of the project.
    :param branch: the branch or stream.
    :param statuses: which ends are told.
    :param poll_interval: seconds between looks.
    :param catch_up: builds that are told at most of those that ended while nobody looked.
    """

    handover = SAVE_DELAY

    def __init__(
        self,
        *,
        buildpixel_conn_id: str = "buildpixel_default",
        project: str | None = None,
        build_setting: str | Mapping[str, Any] | None = None,
        branch: str | None = None,
        statuses: Sequence[str] = ("complete",),
        poll_interval: float = 30.0,
        catch_up: int = 500,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        if build_setting and not project and not lookup.looks_like_id(str(build_setting)):
            raise ValueError("build_setting is looked for in a project: give the project too")
        if not poll_interval > 0:
            raise ValueError("poll_interval is seconds above 0")
        if isinstance(statuses, str) or not statuses or {*statuses} & {*LIVE_STATUSES}:
            raise ValueError("statuses is a list of statuses with which builds end")
        self.buildpixel_conn_id = buildpixel_conn_id
        self.project = project
        self.build_setting = build_setting
        self.branch = branch
        self.statuses = list(statuses)
        self.poll_interval = poll_interval
        self.catch_up = catch_up
        self._interest: BuildFilter | None = None
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None
        self._absences: Counter[str] = Counter()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what is stored: what differs from the defaults, so that old rows stay loadable."""
        values = {name: getattr(self, name) for name in DEFAULTS}
        kwargs = {name: value for name, value in values.items() if value != DEFAULTS[name]}
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return (path, {"buildpixel_conn_id": self.buildpixel_conn_id, **kwargs})

    def shared_stream_key(self) -> Hashable:
        """Name the poll that watchers of one connection share."""
        return ("buildpixel", self.buildpixel_conn_id, self.poll_interval)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[PollResult]:
        """Look at the list of builds until nobody watches any more."""
        interval = float(kwargs.get("poll_interval", DEFAULTS["poll_interval"]))
        poll, failures = _SharedPoll(kwargs["buildpixel_conn_id"]), 0
        try:
            while True:
                trouble = None
                try:
                    yield await poll.look()
                    failures = 0
                except BuildPixelError as error:
                    trouble, failures = error, failures + 1
                    log.warning("Cannot look for finished builds: %s", error)
                spread = random.random()  # looks of many triggerers drift apart
                await asyncio.sleep(cursor.next_pause(interval, failures, trouble, spread))
        finally:
            await poll.close()

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[PollResult]
    ) -> AsyncIterator[TriggerEvent]:
        """Tell of the builds that this watcher wants and has not told of yet."""
        async for look in shared_stream:
            told = False
            try:
                async for build in self._news(look):
                    told = True
                    payload = event_payload(build, look.page(build))
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's
            except BuildPixelError as error:  # the next look goes on where this one ended
                self.log.warning("Cannot tell which builds have finished: %s", error)
            if told:
                await asyncio.sleep(self.handover)
            await self._save()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll alone, as before Airflow 3.3, which knows no shared streams."""
        stream: Any = self.open_shared_stream(self.serialize()[1])
        async with aclosing(stream) as looks:  # else a cancelled one is closed some time later
            async for event in self.filter_shared_stream(looks):
                yield event

    async def _news(self, look: PollResult) -> AsyncIterator[Build]:
        """Give the builds to tell of, each of which is settled once it has been taken."""
        interest = self._interest = self._interest or await self._resolve()
        builds = await self._shown(look, interest)
        if self._cursor is None:
            self._cursor = await look.begin(interest)
            return
        for build_id in self._bounded(self._cursor.ended(builds, interest)):
            full = await look.read(build_id)
            if full is None and not self._gone(build_id):
                continue
            if full is not None and not interest.ended(full):
                continue  # the list was wrong, or this answer is: it stays open
            if full is not None and interest.selects(full):
                yield full
            self._cursor = self._cursor.settle(build_id)

    async def _shown(self, look: PollResult, interest: BuildFilter) -> list[Build]:
        """Give what the list shows, what it leaves out, and at first what was missed before."""
        builds = list(look.builds)
        if self._cursor is None and (known := await self._load()) is not None:
            builds += await look.since(known.newest, interest, self.catch_up)
            self._cursor, self._saved = known, known
        if self._cursor is not None:
            unseen = self._cursor.unseen(builds)
            # Noted at once, so that trouble from here on cannot lose them.
            self._cursor = self._cursor.see(builds, interest)
            builds += await self._unseen(look, unseen)
        return builds

    async def _unseen(self, look: PollResult, build_ids: list[str]) -> list[Build]:
        found = await asyncio.gather(*map(look.read, build_ids))
        for build_id, build in zip(build_ids, found, strict=True):
            if build is None and self._cursor is not None and self._gone(build_id):
                self._cursor = self._cursor.settle(build_id)  # nothing more will be heard of it
        return [build for build in found if build is not None]

    def _gone(self, build_id: str) -> bool:
        """Count one more 404 of a build; tell whether it is deleted, and not just not there yet."""
        self._absences[build_id] += 1
        if self._absences[build_id] < MAX_NOT_FOUND:
            return False
        del self._absences[build_id]
        return True

    def _bounded(self, ended: list[str]) -> list[str]:
        skipped, kept = cursor.split_at_limit(ended, self.catch_up)
        if skipped and self._cursor is not None:
            self.log.warning("%d builds ended unseen; the oldest are not told of", len(ended))
            for build_id in skipped:
                self._cursor = self._cursor.settle(build_id)
        return kept

    async def _resolve(self) -> BuildFilter:
        """Turn what a Dag author wrote into ids."""
        project, setting = self.project, self.build_setting
        async with BuildPixelAsyncHook(self.buildpixel_conn_id) as hook:
            if project is not None:
                project = (await hook.find_project(project)).id
            if project is not None and setting is not None:
                setting = (await hook.find_build_setting(project, setting)).id
        chosen = None if setting is None else str(setting)
        return BuildFilter(project, chosen, self.branch, tuple(self.statuses))

    async def _load(self) -> Cursor | None:
        stored = [await store.aget(self._key) for store in self._stores()]
        known = [one for one in map(Cursor.from_json, stored) if one is not None]
        return max(known, key=lambda one: one.version, default=None)

    async def _save(self) -> None:
        """Save how far it has come, if it has moved."""
        if self._cursor is None or self._cursor == self._saved:
            return
        fresh = self._cursor.saved()
        for store in self._stores():
            await store.aset(self._key, fresh.to_json())
        self._cursor = self._saved = fresh

    @property
    def _key(self) -> str:
        watched = (self.project, self.build_setting, self.branch, sorted(self.statuses))
        return cursor.state_key(self.buildpixel_conn_id, *watched)

    def _stores(self) -> list[Any]:
        """Give the state stores of all assets that this trigger serves; none before 3.3."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:
            return []
        # The public methods serve a single asset, and the accessors cannot be iterated.
        return [*stores._by_name.values(), *stores._by_uri.values()]  # see above


class _SharedPoll:
    """The looks of one connection, which may get another token meanwhile."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._looks: BuildPoller | None = None

    async def look(self) -> PollResult:
        looks = await self._current(await get_settings_async(self._conn_id))
        try:
            return await looks.look()
        except Unauthorized:
            replaced = await get_settings_async(self._conn_id, refused=looks.settings)
            if replaced == looks.settings:
                raise
        log.info("The token was refused, and the connection has a new one: going on with it")
        return await (await self._current(replaced)).look()

    async def _current(self, settings: Settings) -> BuildPoller:
        from airflow_provider_buildpixel.asset_events.poller import BuildPoller  # loads aiohttp

        known = self._looks
        if known is not None and known.settings == settings:
            return known
        warn_if_unverified(settings, self._conn_id, log)
        self._looks = BuildPoller(settings, known.newest if known is not None else "")
        if known is not None:
            await known.close()
        return self._looks

    async def close(self) -> None:
        if self._looks is not None:
            await self._looks.close()
