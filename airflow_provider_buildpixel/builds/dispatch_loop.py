"""Starts a build exactly once: the I/O around :mod:`core.dispatch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.endpoints import list_builds, trigger_build
from airflow_provider_buildpixel.api.errors import BuildPixelError
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.builds.dispatch import (
    SEARCH_PAUSES,
    DispatchMachine,
    SearchAfter,
    SendRequest,
    Started,
)
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
    """List the builds of a project, platform and build type; the newest ones are enough.

    :param after: the id after which all must be had.
    """
    found: dict[str, Build] = {}

    def take(page: tuple[Build, ...]) -> bool:
        found.update((build.id, build) for build in page)
        return after is None or (bool(page) and page[-1].id <= after)

    scan = ListScan(
        lambda status: list_builds(
            project_id=request.project_id,
            platform=setting.platform,
            build_type=setting.build_type,
            status=status,
        ),
        take,
    )
    client.scan(scan)
    return tuple(found.values())


def take_snapshot(client: Client, request: BuildRequest, setting: BuildSetting) -> Snapshot:
    """Look at the builds that a request could supersede, and remember where they end."""
    builds = list_similar_builds(client, request, setting)
    newest = max((build.id for build in builds), default="")
    live = tuple(build for build in builds if not build.status.terminal)
    return Snapshot(newest, client.server_now(), live)


def dispatch_build(  # each is a fact of one dispatch
    client: Client,
    request: BuildRequest,
    setting: BuildSetting,
    before: Snapshot,
    *,
    token: str | None = None,
    searching: bool = False,
    again: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Start the build and give its id.

    :param before: what was there before the (first) request.
    :param searching: an earlier try may have asked already: look first.
    :param again: is called before each request but the first of all; what it raises ends this.
        A process can outlive the try that it ran for, and then must not ask any more.
    :raises DispatchUncertain: the answer was lost and the build cannot be told.
    """
    machine, first = DispatchMachine(searching=searching), not searching
    while True:
        match machine.next_action():
            case Started(build_id):
                return build_id
            case SendRequest():
                if not first:
                    again()
                first = False
                _send_request(client, request, machine, again)
            case SearchAfter(pause):
                sleep(pause)
                try:
                    builds = list_similar_builds(client, request, setting, after=before.newest)
                except BuildPixelError as error:
                    raise machine.lookup_failed(error) from error
                ours = builds_of_request(builds, request, setting, before, token)
                machine.on_search(
                    ours, possible_builds_of_request(builds, request, setting, before, token)
                )


def find_newer_build(
    client: Client,
    build: Build,
    *,
    retry: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Build | None:
    """Find the build that superseded this one, None if the lists do not show it.

    :param retry: look again for some seconds: it was queued just now, and lists may be stale.
    """
    call = list_builds(
        project_id=build.project_id, platform=build.platform, build_type=build.build_type
    )
    for pause in (0.0, *(SEARCH_PAUSES if retry else ())):
        sleep(pause)
        if (newer := newer_build(build, client.pages(call))) is not None:
            return newer
    return None


def _send_request(
    client: Client, request: BuildRequest, machine: DispatchMachine, again: Callable[[], None]
) -> None:
    call = trigger_build(
        request.project_id,
        request.build_setting_id,
        branch=request.branch,
        commit=request.commit,
        changelist=request.changelist,
    )
    try:
        machine.on_started(client.perform(call, again).build_id)
    except BuildPixelError as error:
        machine.on_error(error)
