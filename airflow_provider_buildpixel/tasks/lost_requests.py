"""Finds the build of a trigger request whose answer is not known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.endpoints import get_identity
from airflow_provider_buildpixel.builds import search
from airflow_provider_buildpixel.builds.dispatch import RequestSearch
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    DispatchUncertain,
    RateLimited,
    ServerFault,
    Unreachable,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.blocking import Client
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.record import DispatchRecord
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.state import TaskState


def find_build(
    hook: BuildPixelHook,
    state: TaskState,
    lines: dict[str, str | None],
    record: DispatchRecord,
    error: BuildPixelError | None = None,
) -> Build | None:
    """Return the build of a request whose answer is not known; None if it surely did not run.

    :param lines: the branches or streams of build settings that were read so far.
    :param error: why the answer is not known; None if an earlier try ended meanwhile.
    :raises DispatchUncertain: neither is certain.
    """
    client, lookup = hook.client, RequestSearch(record, error)
    try:
        record = replace(record, user=_user(client, record))
        lookup = RequestSearch(record, error)
        while (pause := lookup.next_pause(client.server_now())) is not None:
            time.sleep(pause)
            steps = search.builds_in_window(record.target, record.window, lines)
            lookup.on_builds(client.run(steps), lines)
    except DispatchUncertain as uncertain:
        raise report(state, record, uncertain) from error
    except BuildPixelError as failure:
        raise report(state, record, lookup.lookup_failed(failure)) from failure
    return lookup.found


def report(state: TaskState, record: DispatchRecord, error: DispatchUncertain) -> DispatchUncertain:
    """Store that the error is reported: a user who clears the task after that has checked."""
    state.save(replace(record, is_reported=True, stored_by=state.current_try))
    return error


def _user(client: Client, record: DispatchRecord) -> str | None:
    """Return how builds of the token's user are marked; None if nothing or more is known.

    :raises BuildPixelError: it cannot be read now; builds of other users would look like ours.
    """
    if record.token is not None:
        return None
    try:
        user_id = client.perform(get_identity()).user_id
    except (RateLimited, ServerFault, Unreachable):
        raise
    except BuildPixelError:
        return None
    return f"user:{user_id}" if user_id else None
