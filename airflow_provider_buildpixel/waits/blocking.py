"""Waiting for one build in a blocking caller."""

from __future__ import annotations

import random
import time
from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.errors import BuildPixelError
from airflow_provider_buildpixel.channel.blocking_channel import BlockingChannel
from airflow_provider_buildpixel.waits.actions import Done, Expired, Listen, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_buildpixel.api.blocking import Client
    from airflow_provider_buildpixel.waits.reporter import LogMessage, WaitReporter
    from airflow_provider_buildpixel.waits.tracker import BuildTracker
    from airflow_provider_buildpixel.waits.wait import Wait


def wait_for_build(
    client: Client, wait: Wait, report: Callable[[LogMessage], None]
) -> Done | Expired:
    """Wait until a build ends or the deadline passes.

    :param report: called with each message about the wait.
    :raises BuildPixelError: waiting cannot help, for example because the token was refused.
    """
    now = time.monotonic()
    tracker = wait.tracker(now, time.time(), random.random)
    return follow(client, wait.build_id, tracker, wait.reporter(now), report)


def follow(
    client: Client,
    build_id: str,
    tracker: BuildTracker,
    reporter: WaitReporter,
    report: Callable[[LogMessage], None],
) -> Done | Expired:
    """Do what the tracker asks for until the wait is over."""
    with closing(
        BlockingChannel(client.settings, build_id, enabled=tracker.uses_channel)
    ) as channel:
        while True:
            match tracker.next_action(time.monotonic()):
                case Done() | Expired() as end:
                    return end
                case Read():
                    _report_all(_read(client, build_id, tracker, reporter), report)
                case Listen(seconds):
                    event = channel.get(seconds)
                    now = time.monotonic()
                    if event is not None:
                        tracker.on_event(event, now)
                        _report_all(reporter.on_event(event, now), report)


def _read(
    client: Client, build_id: str, tracker: BuildTracker, reporter: WaitReporter
) -> list[LogMessage]:
    try:
        build = client.attempt(get_build(build_id))
    except BuildPixelError as error:
        tracker.on_read_failed(error, time.monotonic())
        return reporter.on_read_failed(error, time.monotonic())
    tracker.on_read(build, time.monotonic())
    return reporter.on_read(build, time.monotonic())


def _report_all(messages: Iterable[LogMessage], report: Callable[[LogMessage], None]) -> None:
    for message in messages:
        report(message)
