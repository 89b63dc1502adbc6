"""Requests that wait until they are let go, and faults for one token."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.mark.parametrize("done", [False, True])
def test_held(
    sandbox: Sandbox,
    api: Any,
    until: Callable[..., None],
    done: bool,  # a parameter of the test
) -> None:
    """A held request, carried out before or not, is answered when it is let go."""
    fault = sandbox.fault("held", "POST trigger", times=1, token=sandbox.token, done=done)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(api.trigger)
        until(lambda: fault.hits == 1 and len(sandbox.builds()) == int(done))
        assert not asked.done()
        fault.remove()
        assert asked.result().ok
    assert len(sandbox.builds()) == 1


def test_held_and_left(sandbox: Sandbox, api: Any) -> None:
    """A held request whose client went away is never carried out."""
    setting = sandbox.settings("MyGame")[0]
    path = f"/projects/{setting['projectId']}/build-settings/{setting['id']}/trigger"
    fault = sandbox.fault("held", "POST trigger", times=1)
    with pytest.raises(requests.ReadTimeout):
        api("POST", path, json={}, timeout=0.3)
    time.sleep(0.2)
    fault.remove()
    time.sleep(0.2)
    assert sandbox.builds() == []


def test_token(sandbox: Sandbox, api: Any) -> None:
    """A fault that is meant for one token leaves the others alone."""
    fault = sandbox.fault("500", "GET /auth/me", token=sandbox.viewer_token)
    assert api("GET", "/auth/me").status_code == 200
    assert fault.hits == 0
