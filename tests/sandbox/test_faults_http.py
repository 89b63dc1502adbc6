"""Each fault of answers over HTTP, seen by plain requests."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_buildpixel.sandbox.faults import KINDS
from airflow_provider_buildpixel.sandbox.trouble import TROUBLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

ME = "GET /auth/me"


def test_table() -> None:
    """Each kind of fault over HTTP has its function, and each kind its sentence."""
    assert {name for name, kind in KINDS.items() if kind.place == "http"} == set(TROUBLE)
    assert all(kind.means for kind in KINDS.values())


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
def test_answers(
    sandbox: Sandbox, api: Any, name: str, params: dict[str, Any], status: int, text: str
) -> None:
    """A fault answers as its name says, once if asked once, and is counted."""
    fault = sandbox.fault(name, ME, times=1, **params)
    answer = api("GET", "/auth/me")
    assert answer.status_code == status
    assert text in answer.text
    assert fault.hits == 1
    assert api("GET", "/auth/me").status_code == 200
    assert [request.status for request in sandbox.requests] == [status, 200]


@pytest.mark.parametrize("name", ["reset", "close", "truncated-json"])
def test_broken_connections(sandbox: Sandbox, api: Any, name: str) -> None:
    """A connection that breaks gives the client no whole answer."""
    sandbox.fault(name, times=1)
    with pytest.raises(requests.RequestException):
        api("GET", "/auth/me")
    assert api("GET", "/auth/me").ok
    assert [request.status for request in sandbox.requests] == [0, 200]


def test_reset_is_one(sandbox: Sandbox, api: Any) -> None:
    """A reset is a reset, not an orderly end."""
    sandbox.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset"):
        api("GET", "/auth/me")
    sandbox.fault("close", times=1)
    with pytest.raises(requests.ConnectionError, match="closed"):
        api("GET", "/auth/me")


def test_mistyped_list(sandbox: Sandbox, api: Any) -> None:
    """The wrong types reach into lists."""
    sandbox.fault("mistyped-json", "GET /projects")
    answer = api.get("/projects")
    assert set(answer["items"]) == {"0"}
    assert answer["nextCursor"] == "no"


def test_retry_after(sandbox: Sandbox, api: Any) -> None:
    """A 429 says how long to wait in seconds, as a date, or not at all."""
    sandbox.advance(10_000)
    sandbox.fault("429", times=1, retry_after=7)
    sandbox.fault("429", times=1, retry_after=60, date=True)
    sandbox.fault("429", times=1, retry_after=None)
    values = [api("GET", "/auth/me").headers.get("Retry-After") for _ in range(3)]
    assert values[0] == "7"
    # On the sandbox's clock, which the header Date tells.
    assert 55 <= parsedate_to_datetime(values[1]).timestamp() - sandbox.now() <= 60
    assert values[2] is None


def test_hang(sandbox: Sandbox, api: Any) -> None:
    """A hanging answer is noted without a status, hangs as long as told, then is reset."""
    sandbox.fault("hang", times=2, hold=0.3)
    with pytest.raises(requests.Timeout):
        api("GET", "/auth/me", timeout=0.1)
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        api("GET", "/auth/me")
    assert time.monotonic() - started > 0.25
    assert [request.status for request in sandbox.requests] == [0, 0]


def test_slow(sandbox: Sandbox, api: Any) -> None:
    """A slow answer is late, and right."""
    sandbox.fault("slow", times=1, delay=0.2)
    started = time.monotonic()
    assert api.get("/auth/me")["membership"]
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("how", "error"),
    [("reset", requests.ConnectionError), ("close", requests.ConnectionError)],
)
def test_lost_answer(sandbox: Sandbox, api: Any, how: str, error: type[Exception]) -> None:
    """A trigger whose answer is lost has queued its build, once."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    with pytest.raises(error):
        api.trigger()
    assert len(sandbox.builds()) == 1


def test_lost_answer_after_long(sandbox: Sandbox, api: Any) -> None:
    """An answer can be lost to a time-out or a gateway as well."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", hold=0.2)
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with pytest.raises(requests.ConnectionError):
        api.trigger()
    assert api.trigger().status_code == 502
    assert len(sandbox.builds()) == 2


def test_not_carried_out(sandbox: Sandbox, api: Any) -> None:
    """A trigger that is reset before it is read queues nothing."""
    sandbox.fault("reset", "POST trigger", times=1)
    with pytest.raises(requests.ConnectionError):
        api.trigger()
    assert sandbox.builds() == []


def test_stale(sandbox: Sandbox, api: Any) -> None:
    """A stale answer is of the world some seconds ago: older statuses, newer builds unknown."""
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
    """A cursor may lead to the same page over and over."""
    for branch in "ab":
        sandbox.push(sandbox.settings("MyGame")[0]["id"], branch=branch)
    sandbox.fault("endless-pages", "GET /builds")
    first = api.get("/builds", limit=1)
    second = api.get("/builds", limit=1, cursor=first["nextCursor"])
    assert second["nextCursor"] == first["nextCursor"]


def test_redirect(sandbox: Sandbox, api: Any) -> None:
    """A redirect leads to another origin, where it is noted which headers came along."""
    sandbox.fault("redirect", ME, times=1)
    answer = api("GET", "/auth/me")
    assert answer.status_code == 404
    (elsewhere,) = sandbox.requests_to("elsewhere")
    assert elsewhere.path == "/elsewhere"
    # requests itself takes the token off when the port changes.
    assert "authorization" not in elsewhere.headers


def test_refused_connections(sandbox: Sandbox, api: Any, until: Any) -> None:
    """The listening socket is closed for as long as told, and opens again on the same port."""
    assert api("GET", "/auth/me").ok
    started = time.monotonic()
    sandbox.fault("refuse-connections", seconds=0.6)

    def answers() -> bool:
        try:
            return bool(api("GET", "/auth/me").ok)
        except requests.ConnectionError:
            return False

    until(answers, 20)
    assert time.monotonic() - started >= 0.6


def test_refused_until_healed(sandbox: Sandbox, api: Any) -> None:
    """Connections are refused until the fault is removed, too."""
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
    """A token is refused while the fault lasts, others are not, and it is good again then."""
    fault = sandbox.fault("revoked-token")
    assert api("GET", "/auth/me").json()["error"] == "invalid_token"
    assert make_api(sandbox, sandbox.viewer_token)("GET", "/auth/me").ok
    assert fault.hits == 1
    fault.remove()
    assert api("GET", "/auth/me").ok


def test_which_and_when(sandbox: Sandbox, api: Any) -> None:
    """A fault strikes its route only, after so many requests, so many times."""
    fault = sandbox.fault("500", "GET /projects", times=2, after=1)
    statuses = [api("GET", "/projects").status_code for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert api("GET", "/auth/me").ok
    assert (fault.hits, fault.over) == (2, True)


def test_in_turn(sandbox: Sandbox, api: Any) -> None:
    """Of several faults the oldest that is in force strikes."""
    for name in ("500", "404"):
        sandbox.fault(name, times=1)
    assert [api("GET", "/projects").status_code for _ in range(3)] == [500, 404, 200]


def test_for_a_while(sandbox: Sandbox, api: Any, until: Any) -> None:
    """A fault may last for some seconds."""
    started = time.monotonic()
    sandbox.fault("500", seconds=0.3)
    until(lambda: api("GET", "/auth/me").status_code == 200, 20)
    assert time.monotonic() - started >= 0.3
    assert {request.status for request in sandbox.requests} <= {500, 200}


def test_healed(sandbox: Sandbox, api: Any) -> None:
    """Healing ends all faults."""
    for name in ("500", "hang", "slow"):
        sandbox.fault(name)
    sandbox.heal()
    assert api("GET", "/auth/me").ok


def test_documented_route(sandbox: Sandbox, api: Any) -> None:
    """A route may be given as the documentation writes it, too."""
    sandbox.fault("500", "POST /projects/:id/build-settings/:settingId/trigger")
    assert api.trigger().status_code == 500


@pytest.mark.parametrize(("name", "route"), [("nonsense", None), ("500", "GET /nowhere")])
def test_unknown_fault(sandbox: Sandbox, name: str, route: str | None) -> None:
    """A fault or route that does not exist is refused, with what there is."""
    with pytest.raises(ValueError, match="there are"):
        sandbox.fault(name, route)


def test_unknown_parameter(sandbox: Sandbox) -> None:
    """A parameter that means nothing to any fault is refused, not passed over."""
    with pytest.raises(ValueError, match="no fault knows"):
        sandbox.fault("slow", duration=3)


def test_records(sandbox: Sandbox, api: Any) -> None:
    """A request is noted with method, path, query, status, time, headers, route and body."""
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
