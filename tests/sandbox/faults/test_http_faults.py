"""Each fault of HTTP responses, with plain requests."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS
from airflow_provider_buildpixel.sandbox.faults.http_faults import HTTP_FAULTS
from tests.sandbox.clients import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

ME = "GET /auth/me"


def test_catalog() -> None:
    """Each kind of HTTP fault has a function, and each kind a description."""
    assert {name for name, kind in KINDS.items() if kind.layer == "http"} == set(HTTP_FAULTS)
    assert all(kind.description for kind in KINDS.values())


@pytest.mark.parametrize(
    ("name", "params", "status", "text"),
    [
        ("500", {}, 500, "requestId"),
        ("502-html", {}, 502, "<html>"),
        ("503-empty", {}, 503, ""),
        ("429", {}, 429, "rate_limited"),
        ("401", {}, 401, "invalid_token"),
        ("403", {}, 403, "insufficient_scope"),
        ("404", {}, 404, "not_found"),
        ("refuse", {"status": 418, "code": "teapot"}, 418, "teapot"),
        ("html-200", {}, 200, "<form>"),
        ("empty-200", {}, 200, ""),
        ("mistyped-json", {"shape": "list"}, 200, "[{"),
        ("mistyped-json", {"shape": "null"}, 200, "null"),
        ("mistyped-json", {"shape": "string"}, 200, '"ok"'),
        ("mistyped-json", {"shape": "number"}, 200, "42"),
        ("mistyped-json", {"shape": "empty"}, 200, "{}"),
        ("mistyped-json", {}, 200, '"role": 6'),
        ("truncated-json", {"cut": True}, 200, '{"user"'),
    ],
)
def test_responses(
    sandbox: Sandbox, api: Any, name: str, params: dict[str, Any], status: int, text: str
) -> None:
    """A fault has the response that its name says, as often as ordered, and counts its hits."""
    fault = sandbox.fault(name, ME, times=1, **params)
    response = api("GET", "/auth/me")
    assert response.status_code == status
    assert text in response.text
    assert fault.hits == 1
    assert api("GET", "/auth/me").status_code == 200
    assert [request.status for request in sandbox.requests] == [status, 200]


@pytest.mark.parametrize("name", ["reset", "close", "truncated-json"])
def test_interrupted_responses(sandbox: Sandbox, api: Any, name: str) -> None:
    """With an interrupted connection, the client gets no complete response."""
    sandbox.fault(name, times=1)
    with pytest.raises(requests.RequestException):
        api("GET", "/auth/me")
    assert api("GET", "/auth/me").ok
    assert [request.status for request in sandbox.requests] == [0, 200]


def test_reset_and_close(sandbox: Sandbox, api: Any) -> None:
    """`reset` resets the connection, `close` closes it."""
    sandbox.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset"):
        api("GET", "/auth/me")
    sandbox.fault("close", times=1)
    with pytest.raises(requests.ConnectionError, match="closed"):
        api("GET", "/auth/me")


def test_mistyped_list(sandbox: Sandbox, api: Any) -> None:
    """Wrong types occur in lists, too."""
    sandbox.fault("mistyped-json", "GET /projects")
    response = api.get("/projects")
    assert set(response["items"]) == {"0"}
    assert response["nextCursor"] == "no"


def test_retry_after(sandbox: Sandbox, api: Any) -> None:
    """A 429 has Retry-After in seconds, as a date, or not."""
    sandbox.advance(10_000)
    sandbox.fault("429", times=1, retry_after=7)
    sandbox.fault("429", times=1, retry_after=60, date=True)
    sandbox.fault("429", times=1, retry_after=None)
    values = [api("GET", "/auth/me").headers.get("Retry-After") for _ in range(3)]
    assert values[0] == "7"
    # On the sandbox clock, like the header Date.
    assert 55 <= parsedate_to_datetime(values[1]).timestamp() - sandbox.now() <= 60
    assert values[2] is None


def test_hang(sandbox: Sandbox, api: Any) -> None:
    """A hanging response is logged without a status, and reset after the ordered time."""
    sandbox.fault("hang", times=2, hold=0.3)
    with pytest.raises(requests.Timeout):
        api("GET", "/auth/me", timeout=0.1)
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        api("GET", "/auth/me")
    assert time.monotonic() - started > 0.25
    assert [request.status for request in sandbox.requests] == [0, 0]


def test_slow(sandbox: Sandbox, api: Any) -> None:
    """A slow response is late, but correct."""
    sandbox.fault("slow", times=1, delay=0.2)
    started = time.monotonic()
    assert api.get("/auth/me")["membership"]
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("how", "error"),
    [("reset", requests.ConnectionError), ("close", requests.ConnectionError)],
)
def test_lost_answer(sandbox: Sandbox, api: Any, how: str, error: type[Exception]) -> None:
    """A trigger whose response is lost has queued one build."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    with pytest.raises(error):
        api.trigger()
    assert len(sandbox.builds()) == 1


def test_lost_answer_by_timeout(sandbox: Sandbox, api: Any) -> None:
    """A response can also be lost to a timeout or a gateway."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", hold=0.2)
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with pytest.raises(requests.ConnectionError):
        api.trigger()
    assert api.trigger().status_code == 502
    assert len(sandbox.builds()) == 2


def test_reset_has_no_effect(sandbox: Sandbox, api: Any) -> None:
    """A trigger that is reset queues no build."""
    sandbox.fault("reset", "POST trigger", times=1)
    with pytest.raises(requests.ConnectionError):
        api.trigger()
    assert sandbox.builds() == []


def test_stale(sandbox: Sandbox, api: Any) -> None:
    """A stale response is as of some seconds ago: with older statuses, without newer builds."""
    build = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    sandbox.advance(100)
    newer = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    fault = sandbox.fault("stale", lag=80)
    old = api.get(f"/builds/{build}")
    assert (old["status"], old["finishedAt"]) == ("running", None)
    assert 0 < len(old["logs"]) < 24
    assert [each["id"] for each in api.get("/builds")["items"]] == [build]
    assert api("GET", f"/builds/{newer}").status_code == 404
    fault.remove()
    assert api.get(f"/builds/{build}")["status"] == "complete"


def test_endless_pages(sandbox: Sandbox, api: Any) -> None:
    """A cursor can lead to the same page again and again."""
    for branch in "ab":
        sandbox.push(sandbox.settings("MyGame")[0]["id"], branch=branch)
    sandbox.fault("endless-pages", "GET /builds")
    first = api.get("/builds", limit=1)
    second = api.get("/builds", limit=1, cursor=first["nextCursor"])
    assert second["nextCursor"] == first["nextCursor"]


def test_redirect(sandbox: Sandbox, api: Any) -> None:
    """A redirect leads to another origin, which logs the received headers."""
    sandbox.fault("redirect", ME, times=1)
    response = api("GET", "/auth/me")
    assert response.status_code == 404
    (elsewhere,) = sandbox.requests_to("elsewhere")
    assert elsewhere.path == "/elsewhere"
    # requests removes the token when the port changes.
    assert "authorization" not in elsewhere.headers


def test_refused_connections(sandbox: Sandbox, api: Any) -> None:
    """Connections are refused for the ordered time, then accepted on the same port."""
    assert api("GET", "/auth/me").ok
    started = time.monotonic()
    sandbox.fault("refuse-connections", seconds=0.6)

    def is_available() -> bool:
        try:
            return bool(api("GET", "/auth/me").ok)
        except requests.ConnectionError:
            return False

    until(is_available, 20)
    assert time.monotonic() - started >= 0.6


def test_refused_until_healed(sandbox: Sandbox, api: Any) -> None:
    """Connections are refused until the fault is removed."""
    fault = sandbox.fault("refuse-connections")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match=r"refused|reset|aborted"):
            api("GET", "/auth/me")
    fault.remove()
    assert api("GET", "/auth/me").ok
    sandbox.fault("refuse-connections")
    sandbox.heal()
    assert api("GET", "/auth/me").ok


def test_revoked_token(sandbox: Sandbox, api: Any, make_api: Callable[..., Any]) -> None:
    """One token is invalid while the fault lasts; other tokens are not affected."""
    fault = sandbox.fault("revoked-token")
    assert api("GET", "/auth/me").json()["error"] == "invalid_token"
    assert make_api(sandbox, sandbox.viewer_token)("GET", "/auth/me").ok
    assert fault.hits == 1
    fault.remove()
    assert api("GET", "/auth/me").ok


def test_route_after_and_times(sandbox: Sandbox, api: Any) -> None:
    """A fault applies to its route only, after so many requests, so many times."""
    fault = sandbox.fault("500", "GET /projects", times=2, after=1)
    statuses = [api("GET", "/projects").status_code for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert api("GET", "/auth/me").ok
    assert (fault.hits, fault.over) == (2, True)


def test_oldest_first(sandbox: Sandbox, api: Any) -> None:
    """Of several faults in force, the oldest applies."""
    for name in ("500", "404"):
        sandbox.fault(name, times=1)
    assert [api("GET", "/projects").status_code for _ in range(3)] == [500, 404, 200]


def test_limited_time(sandbox: Sandbox, api: Any) -> None:
    """A fault can end after some seconds."""
    started = time.monotonic()
    sandbox.fault("500", seconds=0.3)
    until(lambda: api("GET", "/auth/me").status_code == 200, 20)
    assert time.monotonic() - started >= 0.3
    assert {request.status for request in sandbox.requests} <= {500, 200}


def test_heal(sandbox: Sandbox, api: Any) -> None:
    """`heal` ends all faults."""
    for name in ("500", "hang", "slow"):
        sandbox.fault(name)
    sandbox.heal()
    assert api("GET", "/auth/me").ok


def test_documented_route(sandbox: Sandbox, api: Any) -> None:
    """A route can also be given as in the documentation."""
    sandbox.fault("500", "POST /projects/:id/build-settings/:settingId/trigger")
    assert api.trigger().status_code == 500


@pytest.mark.parametrize(("name", "route"), [("nonsense", None), ("500", "GET /nowhere")])
def test_unknown_fault(sandbox: Sandbox, name: str, route: str | None) -> None:
    """A fault or route that does not exist is rejected, with a list of those that do."""
    with pytest.raises(ValueError, match=r"unknown (fault|route).* are"):
        sandbox.fault(name, route)


def test_unknown_parameter(sandbox: Sandbox) -> None:
    """A parameter that no fault has is rejected."""
    with pytest.raises(ValueError, match="unknown parameters"):
        sandbox.fault("slow", duration=3)


def test_request_log(sandbox: Sandbox, api: Any) -> None:
    """A request is logged with method, path, query, status, time, headers, route and body."""
    before = time.monotonic()
    api.get("/builds", limit=3)
    api.trigger(branch="x")
    listed, triggered = sandbox.requests
    assert (listed.method, listed.path, listed.route) == ("GET", "/builds", "GET /builds")
    assert listed.query == {"limit": "3"}
    assert before <= listed.at <= triggered.at
    assert listed.headers["authorization"] == f"Bearer {sandbox.token}"
    assert (triggered.route, triggered.status) == ("POST trigger", 202)
    assert triggered.body == b'{"branch": "x"}'
