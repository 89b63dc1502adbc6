"""Starts a build exactly once: the I/O around :mod:`builds.dispatch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.endpoints import list_builds, trigger_build
from airflow_provider_buildpixel.api.errors import BuildPixelError
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.builds.dispatch import SEARCH_PAUSES, DispatchMachine
from airflow_provider_buildpixel.builds.outcome import newer_build
from airflow_provider_buildpixel.builds.record import (
    Snapshot,
    builds_of_request,
    possible_builds_of_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.blocking import Client
    from airflow_provider_buildpixel.api.model import Build, BuildSetting
    from airflow_provider_buildpixel.builds.request import BuildRequest


def list_similar_builds(
    client: Client, request: BuildRequest, setting: BuildSetting, *, after: str | None = None
) -> tuple[Build, ...]:
    """Return the newest builds of the request's project, platform and build type.

    :param after: all builds with a greater id are returned; by default one page is enough.
    """
    found: dict[str, Build] = {}

    def add_page(page: tuple[Build, ...]) -> bool:
        found.update((build.id, build) for build in page)
        return after is None or (bool(page) and page[-1].id <= after)

    scan = ListScan(
        lambda status: list_builds(
            project_id=request.project_id,
            platform=setting.platform,
            build_type=setting.build_type,
            status=status,
        ),
        add_page,
    )
    client.scan(scan)
    return tuple(found.values())


def take_snapshot(client: Client, request: BuildRequest, setting: BuildSetting) -> Snapshot:
    """Return the builds that a request could supersede, and the newest id before the request."""
    builds = list_similar_builds(client, request, setting)
    newest_id = max((build.id for build in builds), default="")
    live = tuple(build for build in builds if not build.status.terminal)
    return Snapshot(newest_id, client.server_now(), live)


def dispatch_build(  # each is a fact of one dispatch
    client: Client,
    request: BuildRequest,
    setting: BuildSetting,
    snapshot: Snapshot,
    *,
    token: str | None = None,
    search_first: bool = False,
    before_retry: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Start the build and return its id.

    :param snapshot: the builds before the (first) request.
    :param token: the ``triggeredBy`` of builds that this token started, where known.
    :param search_first: search before the first request, as an earlier try may have sent one.
    :param before_retry: called before each request except the very first; an exception from it
        ends the dispatch. A process can outlive its task try, and must then send nothing more.
    :raises DispatchUncertain: the answer was lost and the build cannot be identified.
    """
    machine, is_first = DispatchMachine(search_first=search_first), not search_first
    while machine.build_id is None:
        pause = machine.search_pause()
        if pause is None:
            if not is_first:
                before_retry()
            is_first = False
            _send_request(client, request, machine, before_retry)
            continue
        sleep(pause)
        try:
            builds = list_similar_builds(client, request, setting, after=snapshot.newest_id)
        except BuildPixelError as error:
            raise machine.lookup_failed(error) from error
        machine.on_search(
            builds_of_request(builds, request, setting, snapshot, token),
            possible_builds_of_request(builds, request, setting, snapshot, token),
        )
    return machine.build_id


def find_newer_build(
    client: Client,
    build: Build,
    *,
    retry: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Build | None:
    """Return the build that superseded this one, or None if the lists do not show it.

    :param retry: search again for some seconds: it was queued just now, and lists may be stale.
    """
    call = list_builds(
        project_id=build.project_id, platform=build.platform, build_type=build.build_type
    )
    for pause in (0.0, *(SEARCH_PAUSES if retry else ())):
        sleep(pause)
        if (newer := newer_build(build, client.iter_items(call))) is not None:
            return newer
    return None


def _send_request(
    client: Client,
    request: BuildRequest,
    machine: DispatchMachine,
    before_retry: Callable[[], None],
) -> None:
    call = trigger_build(
        request.project_id,
        request.build_setting_id,
        branch=request.branch,
        commit=request.commit,
        changelist=request.changelist,
    )
    try:
        machine.on_started(client.perform(call, before_retry).id)
    except BuildPixelError as error:
        machine.on_error(error)
