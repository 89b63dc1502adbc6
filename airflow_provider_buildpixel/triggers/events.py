"""The trigger for asset watchers, on Airflow 3: 2.11 has no asset watchers."""

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

    from airflow_provider_buildpixel.api.aio import AsyncClient
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.poller import PollResult


DEFAULTS: dict[str, Any] = {
    "project": None,
    "build_setting": None,
    "branch": None,
    "statuses": ["complete"],
    "poll_interval": 30.0,
    "catch_up": 500,
}

SAVE_DELAY = 2.5
"""Seconds until Airflow has stored an event; a cursor saved earlier could lose the event."""

MAX_NOT_FOUND = 5
"""Number of 404 answers after which a build that was seen counts as deleted."""

log = logging.getLogger(__name__)


class BuildPixelBuildEventTrigger(BaseEventTrigger):
    """Fires one event for each build that ends, for an ``AssetWatcher``.

    It polls BuildPixel from the triggerer, so Airflow needs no address that BuildPixel can reach.
    The payload of an event has the same facts as the ``extra`` of a webhook's asset event: ``type``
    (such as ``build.complete``), ``build_id``, ``status``, ``project_id`` and so on. In a Dag it is
    ``triggering_asset_events[asset][i].extra["payload"]``.

    A new watcher starts now: builds that ended before its first poll fire no event. On Airflow 3.3
    its position is kept in the asset's state store, so builds that end while no triggerer runs fire
    their events later, each once. All watchers of a connection with the same ``poll_interval``
    share one poll (Airflow 3.3).

    :param buildpixel_conn_id: the id of the Airflow connection. Airflow stores no secret with a
        trigger.
    :param project: id or exact name of the project; None for all projects that the token can read.
    :param build_setting: id of the build setting, or a mapping of fields that exactly one build
        setting of the project must match; None for all. A mapping needs ``project``.
    :param branch: name of the branch or stream; None for all.
    :param statuses: the statuses that fire an event, such as ``("complete", "failed")``.
    :param poll_interval: seconds between polls.
    :param catch_up: the maximum number of missed builds to report after a downtime; older ones are
        left out and counted in the triggerer's log.
    :raises ValueError: ``build_setting`` lacks ``project``, ``poll_interval`` is not positive, or
        ``statuses`` is empty, a single string, or names a status of a build that is still live.
    """

    save_delay = SAVE_DELAY

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
            raise ValueError("build_setting is looked up in a project: give project too")
        if not poll_interval > 0:
            raise ValueError("poll_interval must be a number of seconds above 0")
        if isinstance(statuses, str) or not statuses or {*statuses} & {*LIVE_STATUSES}:
            raise ValueError("statuses must be a list of statuses with which builds end")
        self.buildpixel_conn_id = buildpixel_conn_id
        self.project = project
        self.build_setting = build_setting
        self.branch = branch
        self.statuses = list(statuses)
        self.poll_interval = poll_interval
        self.catch_up = catch_up
        self._filter: BuildFilter | None = None
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None
        self._not_found_counts: Counter[str] = Counter()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that differ from their defaults.

        Defaults are not stored, so that rows of earlier versions stay loadable.
        """
        values = {name: getattr(self, name) for name in DEFAULTS}
        kwargs = {name: value for name, value in values.items() if value != DEFAULTS[name]}
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return (path, {"buildpixel_conn_id": self.buildpixel_conn_id, **kwargs})

    def shared_stream_key(self) -> Hashable:
        """Return the key of the poll that watchers of one connection and interval share."""
        return ("buildpixel", self.buildpixel_conn_id, self.poll_interval)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[PollResult]:
        """Yield the result of each poll until the last watcher stops."""
        interval = float(kwargs.get("poll_interval", DEFAULTS["poll_interval"]))
        shared_poll, failures = _SharedPoll(kwargs["buildpixel_conn_id"]), 0
        try:
            while True:
                error = None
                try:
                    yield await shared_poll.poll()
                    failures = 0
                except BuildPixelError as failure:
                    error, failures = failure, failures + 1
                    log.warning("Cannot poll for ended builds: %s", failure)
                jitter = random.random()  # noqa: S311  # spreads the polls of many triggerers
                await asyncio.sleep(cursor.next_pause(interval, failures, error, jitter))
        finally:
            await shared_poll.close()

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[PollResult]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each selected build that was not reported yet."""
        async for poll in shared_stream:
            reported = False
            try:
                async for build in self._new_builds(poll):
                    reported = True
                    payload = event_payload(build, poll.page_url(build))
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's
            except BuildPixelError as error:  # the next poll continues where this one stopped
                self.log.warning("Cannot check for ended builds: %s", error)
            if reported:
                await asyncio.sleep(self.save_delay)
            await self._save()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll without sharing, for versions before Airflow 3.3, which has shared streams."""
        stream: Any = self.open_shared_stream(self.serialize()[1])
        async with aclosing(stream) as polls:  # closes it at once, also when cancelled
            async for event in self.filter_shared_stream(polls):
                yield event

    async def _new_builds(self, poll: PollResult) -> AsyncIterator[Build]:
        """Yield the builds to report; each is marked as handled when the next one is requested."""
        build_filter = self._filter = self._filter or await self._resolve()
        builds = await self._candidates(poll, build_filter)
        if self._cursor is None:
            self._cursor = await poll.start_cursor(build_filter)
            return
        for build_id in self._limit(self._cursor.unhandled_ends(builds, build_filter)):
            build = await poll.read_build(build_id)
            if build is None and not self._is_deleted(build_id):
                continue
            if build is not None and not build_filter.has_ended(build):
                continue  # the list and this answer differ: the next poll reads it again
            if build is not None and build_filter.selects(build):
                yield build
            self._cursor = self._cursor.with_handled(build_id)

    async def _candidates(self, poll: PollResult, build_filter: BuildFilter) -> list[Build]:
        """Return the polled builds, tracked ones that the list lacks, and at first missed ones."""
        builds = list(poll.builds)
        if self._cursor is None and (stored := await self._load()) is not None:
            builds += await poll.builds_after(stored.newest_id, build_filter, self.catch_up)
            self._cursor, self._saved = stored, stored
        if self._cursor is not None:
            missing = self._cursor.missing_from(builds)
            # Tracked first, so that an error from here on cannot lose a build.
            self._cursor = self._cursor.with_tracked(builds, build_filter)
            builds += await self._read_missing(poll, missing)
        return builds

    async def _read_missing(self, poll: PollResult, build_ids: list[str]) -> list[Build]:
        builds = await asyncio.gather(*map(poll.read_build, build_ids))
        for build_id, build in zip(build_ids, builds, strict=True):
            if build is None and self._cursor is not None and self._is_deleted(build_id):
                self._cursor = self._cursor.with_handled(build_id)
        return [build for build in builds if build is not None]

    def _is_deleted(self, build_id: str) -> bool:
        """Count one more 404 answer; return whether the build counts as deleted.

        A few 404 answers may only mean that BuildPixel does not serve the build yet.
        """
        self._not_found_counts[build_id] += 1
        if self._not_found_counts[build_id] < MAX_NOT_FOUND:
            return False
        del self._not_found_counts[build_id]
        return True

    def _limit(self, ended: list[str]) -> list[str]:
        skipped, kept = cursor.split_at_limit(ended, self.catch_up)
        if skipped and self._cursor is not None:
            self.log.warning(
                "%d builds ended since the last poll; the oldest %d are not reported (catch_up)",
                len(ended),
                len(skipped),
            )
            for build_id in skipped:
                self._cursor = self._cursor.with_handled(build_id)
        return kept

    async def _resolve(self) -> BuildFilter:
        """Return the filter with the ids of the project and build setting that the Dag names."""
        project, setting = self.project, self.build_setting
        async with BuildPixelAsyncHook(self.buildpixel_conn_id) as hook:
            if project is not None:
                project = (await hook.find_project(project)).id
            if project is not None and setting is not None:
                setting = (await hook.find_build_setting(project, setting)).id
        setting_id = None if setting is None else str(setting)
        return BuildFilter(project, setting_id, self.branch, tuple(self.statuses))

    async def _load(self) -> Cursor | None:
        """Return the newest stored cursor; None if there is none."""
        values = [await store.aget(self._key) for store in self._stores()]
        cursors = [found for found in map(Cursor.from_json, values) if found is not None]
        return max(cursors, key=lambda found: found.version, default=None)

    async def _save(self) -> None:
        """Store the cursor if it has changed."""
        if self._cursor is None or self._cursor == self._saved:
            return
        current = self._cursor.next_version()
        for store in self._stores():
            await store.aset(self._key, current.to_json())
        self._cursor = self._saved = current

    @property
    def _key(self) -> str:
        watched = (self.project, self.build_setting, self.branch, sorted(self.statuses))
        return cursor.state_key(self.buildpixel_conn_id, *watched)

    def _stores(self) -> list[Any]:
        """Return the state stores of all assets of this trigger; none before Airflow 3.3."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:
            return []
        # The public methods support only one asset, and the accessors cannot be iterated.
        return [*stores._by_name.values(), *stores._by_uri.values()]  # noqa: SLF001  # see above


class _SharedPoll:
    """The poll of one connection, whose token may be replaced while it runs."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id, self._newest_id = conn_id, ""
        self._client: AsyncClient | None = None

    async def poll(self) -> PollResult:
        settings = await get_settings_async(self._conn_id)
        try:
            return await self._poll_with(settings)
        except Unauthorized:
            replaced = await get_settings_async(self._conn_id, refused=settings)
            if replaced == settings:
                raise
        log.info("The token was refused; continuing with the connection's new token")
        return await self._poll_with(replaced)

    async def _poll_with(self, settings: Settings) -> PollResult:
        from airflow_provider_buildpixel.asset_events import poller  # loads aiohttp

        if (client := self._client) is None or client.settings != settings:
            warn_if_unverified(settings, self._conn_id, log)
            self._client = poller.new_client(settings)
            if client is not None:
                await client.close()
            client = self._client
        result = await poller.poll_builds(client, self._newest_id)
        self._newest_id = max([self._newest_id, *(build.id for build in result.builds)])
        return result

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
