"""Requests that are held until the fault is removed, and faults for one token."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.sandbox.clients import until

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.mark.parametrize("done", [False, True])
def test_held(
    sandbox: Sandbox,
    api: Any,
    done: bool,  # noqa: FBT001  # a test parameter
) -> None:
    """A held request is answered at the end of the fault, and takes effect before or then."""
    fault = sandbox.fault("held", "POST trigger", times=1, token=sandbox.token, done=done)
    with ThreadPoolExecutor() as pool:
        response = pool.submit(api.trigger)
        until(lambda: fault.hits == 1 and len(sandbox.builds()) == int(done))
        assert not response.done()
        fault.remove()
        assert response.result().ok
    assert len(sandbox.builds()) == 1


def test_held_and_disconnected(sandbox: Sandbox, api: Any) -> None:
    """A held request whose client has disconnected never takes effect."""
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
    """A fault for one token does not affect other tokens."""
    fault = sandbox.fault("500", "GET /auth/me", token=sandbox.viewer_token)
    assert api("GET", "/auth/me").status_code == 200
    assert fault.hits == 0
