"""Starts a build exactly once: the I/O around :mod:`core.dispatch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.core.calls import list_builds, trigger_build
from airflow_provider_buildpixel.core.dispatch import LOOKS, Dispatching, Look, Request, Started
from airflow_provider_buildpixel.core.intent import (
    Snapshot,
    made_by_us,
    maybe_ours,
)
from airflow_provider_buildpixel.core.order import Scan
from airflow_provider_buildpixel.core.verdict import newer_build
from airflow_provider_buildpixel.exceptions import BuildPixelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.client.blocking import Client
    from airflow_provider_buildpixel.core.intent import Asked
    from airflow_provider_buildpixel.core.model import Build, BuildSetting


def builds_like(
    client: Client, asked: Asked, setting: BuildSetting, *, after: str | None = None
) -> tuple[Build, ...]:
    """List the builds of a project, platform and build type; the newest ones are enough.

    :param after: the id after which all must be had.
    """
    found: dict[str, Build] = {}

    def take(page: tuple[Build, ...]) -> bool:
        found.update((build.id, build) for build in page)
        return after is None or (bool(page) and page[-1].id <= after)

    scan = Scan(
        lambda status: list_builds(
            project_id=asked.project_id,
            platform=setting.platform,
            build_type=setting.build_type,
            status=status,
        ),
        take,
    )
    while scan.call is not None:
        scan.turn(client.perform(scan.call))
    return tuple(found.values())


def snapshot(client: Client, asked: Asked, setting: BuildSetting) -> Snapshot:
    """Look at the builds that a request could supersede, and remember where they end."""
    builds = builds_like(client, asked, setting)
    newest = max((build.id for build in builds), default="")
    live = tuple(build for build in builds if not build.status.terminal)
    return Snapshot(newest, client.server_now(), live)


def dispatch(  # each is a fact of one dispatch
    client: Client,
    asked: Asked,
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
    machine, first = Dispatching(searching=searching), not searching
    while True:
        match machine.want():
            case Started(build_id):
                return build_id
            case Request():
                if not first:
                    again()
                first = False
                _request(client, asked, machine, again)
            case Look(pause):
                sleep(pause)
                try:
                    builds = builds_like(client, asked, setting, after=before.newest)
                except BuildPixelError as error:
                    raise machine.blind(error) from error
                ours = made_by_us(builds, asked, setting, before, token)
                machine.looked(ours, maybe_ours(builds, asked, setting, before, token))


def successor(
    client: Client,
    build: Build,
    *,
    patient: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Build | None:
    """Find the build that superseded this one, None if the lists do not show it.

    :param patient: look again for some seconds: it was queued just now, and lists may be stale.
    """
    call = list_builds(
        project_id=build.project_id, platform=build.platform, build_type=build.build_type
    )
    for pause in (0.0, *(LOOKS if patient else ())):
        sleep(pause)
        if (newer := newer_build(build, client.pages(call))) is not None:
            return newer
    return None


def _request(client: Client, asked: Asked, machine: Dispatching, again: Callable[[], None]) -> None:
    call = trigger_build(
        asked.project_id,
        asked.build_setting_id,
        branch=asked.branch,
        commit=asked.commit,
        changelist=asked.changelist,
    )
    try:
        machine.answered(client.perform(call, again).build_id)
    except BuildPixelError as error:
        machine.failed(error)
