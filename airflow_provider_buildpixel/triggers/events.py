"""The trigger for asset watchers, on Airflow 3: 2.11 has no asset watchers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_buildpixel.api.model import LIVE_STATUSES
from airflow_provider_buildpixel.asset_events import cursor
from airflow_provider_buildpixel.asset_events.cursor import Cursor, Position, Watched
from airflow_provider_buildpixel.asset_events.webhook import event_payload
from airflow_provider_buildpixel.builds import lookup
from airflow_provider_buildpixel.builds.request import BuildFilter, branch_name
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound, Unauthorized
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.triggers.shared_poll import SharedPoll

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Hashable, Mapping, Sequence

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.asset_events.poller import PollResult


T = TypeVar("T")

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

BATCH = 50
"""Ended builds that are read before the first of them is reported."""

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
        self._watched: Watched | None = None
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None
        self._not_found_counts: Counter[str] = Counter()
        self._unreadable: set[str] = set()

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
        shared_poll, failures = SharedPoll(kwargs["buildpixel_conn_id"]), 0
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
        watched = self._watched = self._watched or await self._resolve()
        builds = poll.builds + await self._restore(poll, watched)
        if self._cursor is None:
            self._cursor = await poll.start_cursor(watched)
            return
        builds += await self._track(self._cursor, poll, watched, builds)
        ended = self._limit(self._cursor.unhandled_ends(builds, watched))
        for start in range(0, len(ended), BATCH):
            batch = [row.id for row in ended[start : start + BATCH]]
            reads = {one: poll.read_match(watched.build_filter, one) for one in batch}
            for build, is_match in await self._read_all(reads):
                if not watched.has_ended(build):
                    continue  # the list and this answer differ: the next poll reads it again
                is_wanted = is_match and build.status in watched.statuses
                if is_wanted and not self._cursor.ended_before_start(build):
                    yield build
                self._cursor = self._cursor.with_handled(Position.of(build))

    async def _restore(self, poll: PollResult, watched: Watched) -> list[Build]:
        """Load the stored cursor, if there is one; return the builds since it was stored."""
        if self._cursor is not None or (stored := await self._load()) is None:
            return []
        builds = await poll.builds_since(watched.build_filter, stored.since)
        self._cursor = self._saved = stored
        return builds

    async def _track(
        self, cursor: Cursor, poll: PollResult, watched: Watched, builds: list[Build]
    ) -> list[Build]:
        """Track unhandled builds; return the tracked ones that the list lacks.

        Sometimes also those that the list shows as live: it may be wrong for a long time.
        """
        shown = filter(watched.has_ended, builds) if poll.is_full else builds
        # Tracked first, so that an error from here on cannot lose a build.
        self._cursor = cursor.with_tracked(builds, watched)
        missing = cursor.missing_from(shown)
        return await self._read_all({one: poll.read_build(one) for one in missing})

    async def _read_all(self, reads: Mapping[str, Awaitable[T]]) -> list[T]:
        """Return what is read of some builds, by their ids, without those that cannot be read."""
        found = await asyncio.gather(*(self._attempt(one, read) for one, read in reads.items()))
        return [one for one in found if one is not None]

    async def _attempt(self, build_id: str, read: Awaitable[T]) -> T | None:
        """Return what is read of a build; None if that fails: then it stays tracked.

        A build that cannot be read must not stop the others.
        """
        try:
            found = await read
        except NotFound:
            self._on_not_found(build_id)
        except Unauthorized:
            raise
        except BuildPixelError as error:
            if build_id not in self._unreadable:
                self._unreadable.add(build_id)
                self.log.warning(
                    "Cannot read build %s; the next polls try again: %s", build_id, error
                )
        else:
            self._unreadable.discard(build_id)
            return found
        return None

    def _on_not_found(self, build_id: str) -> None:
        """Count one more 404 answer; after several the build counts as deleted.

        A few 404 answers may only mean that BuildPixel does not serve the build yet.
        """
        self._not_found_counts[build_id] += 1
        if self._not_found_counts[build_id] >= MAX_NOT_FOUND and self._cursor is not None:
            del self._not_found_counts[build_id]
            self._cursor = self._cursor.with_handled(Position(None, build_id))

    def _limit(self, ended: list[Build]) -> list[Build]:
        skipped, kept = cursor.split_at_limit(ended, self.catch_up)
        if skipped and self._cursor is not None:
            self.log.warning(
                "%d builds ended since the last poll; the oldest %d are not reported (catch_up)",
                len(ended),
                len(skipped),
            )
            self._cursor = self._cursor.with_handled(*map(Position.of, skipped))
        return kept

    async def _resolve(self) -> Watched:
        """Return the filter with the ids of the project and build setting that the Dag names."""
        project, setting = self.project, self.build_setting
        async with BuildPixelAsyncHook(self.buildpixel_conn_id) as hook:
            if project is not None:
                project = (await hook.find_project(project)).id
            if project is not None and setting is not None:
                setting = (await hook.find_build_setting(project, setting)).id
        setting_id = None if setting is None else str(setting)
        build_filter = BuildFilter(project, setting_id, branch=branch_name(self.branch))
        return Watched(build_filter, tuple(self.statuses))

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
