"""Every endpoint, retries and their limits, and the use of the token, with both clients."""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api import aio, blocking, endpoints
from airflow_provider_buildpixel.exceptions import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from tests.clients import adapters
from tests.clients.adapters import LONG_TIMEOUT, SHORT_TIMEOUT, open_client

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.exceptions import BuildPixelError
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.request_log import LoggedRequest
    from tests.clients.adapters import ClientAdapter

ME = endpoints.get_identity()


def trigger_call(sandbox: Sandbox) -> Call[Any]:
    """Return the call that starts a build."""
    setting = sandbox.setting("MyGame", platform="Linux")
    return endpoints.trigger_build(setting["projectId"], setting["id"])


def trigger_requests(sandbox: Sandbox) -> list[LoggedRequest]:
    """Return the trigger requests so far."""
    return [request for request in sandbox.requests if request.route == "POST trigger"]


REPEATED_FAULTS = ["500", "502-html", "503-empty", "reset", "close", "truncated-json", "html-200"]


@pytest.mark.parametrize(
    ("fault", "request_timeout"),
    [*((fault, LONG_TIMEOUT) for fault in REPEATED_FAULTS), ("hang", 2 * SHORT_TIMEOUT)],
)
async def test_read_is_repeated(sandbox: Sandbox, client: ClientAdapter, fault: str) -> None:
    """A read is repeated after a temporary failure and then succeeds."""
    sandbox.fault(fault, "GET /auth/me", times=1)
    assert (await client.perform(ME)).role == "member"
    assert [request.status for request in sandbox.requests][-1] == 200
    assert len(sandbox.requests) == 2


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses of both clients; only they advance the simulated clock."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    clock = SimpleNamespace(time=time.time, monotonic=lambda: sum(pauses))
    for module in (aio, blocking):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(aio, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    monkeypatch.setattr(adapters, "Client", partial(blocking.Client, sleep=pauses.append))
    return pauses


async def test_reads_give_up_after_the_retry_budget(
    sandbox: Sandbox, settings: Settings, client_kind: str, pauses: list[float]
) -> None:
    """Reads are repeated with growing pauses until the retry budget is used up."""
    sandbox.fault("500")
    async with open_client(client_kind, settings, budget=1.5) as client:
        with pytest.raises(ServerFault, match="try again later") as caught:
            await client.perform(ME)
    assert caught.value.status_code == 500
    assert caught.value.request_id
    assert len(sandbox.requests) == 3
    assert pauses[1] > pauses[0] > 0.2


@pytest.mark.parametrize("post", [False, True], ids=["GET", "POST"])
async def test_retry_after_is_respected(
    sandbox: Sandbox, client: ClientAdapter, *, post: bool
) -> None:
    """Reads and trigger requests wait for the seconds in Retry-After after a 429."""
    sandbox.fault("429", times=1, retry_after=1)
    await client.perform(trigger_call(sandbox) if post else ME)
    first, second = sandbox.requests
    assert second.at - first.at >= 1
    assert len(sandbox.builds()) == int(post)


async def test_retry_after_beyond_the_budget(
    sandbox: Sandbox, pauses: list[float], client: ClientAdapter
) -> None:
    """A 429 with a longer Retry-After than the budget raises at once and contains the wait."""
    sandbox.fault("429", retry_after=3600)
    with pytest.raises(RateLimited) as caught:
        await client.perform(ME)
    assert caught.value.wait == 3600
    assert pauses == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("fault", "params", "expected", "request_timeout"),
    [
        ("500", {}, ServerFault, LONG_TIMEOUT),
        ("502-html", {}, ServerFault, LONG_TIMEOUT),
        ("reset", {}, Unreachable, LONG_TIMEOUT),
        ("close", {}, Unreachable, LONG_TIMEOUT),
        ("hang", {}, Unreachable, SHORT_TIMEOUT),
        ("lost-answer", {"how": "reset"}, Unreachable, LONG_TIMEOUT),
        ("lost-answer", {"how": "timeout"}, Unreachable, SHORT_TIMEOUT),
        ("lost-answer", {"how": "502"}, ServerFault, LONG_TIMEOUT),
        ("truncated-json", {}, Unreachable, LONG_TIMEOUT),
        ("html-200", {}, UnexpectedAnswer, LONG_TIMEOUT),
        ("redirect", {"status": 307}, UnexpectedAnswer, LONG_TIMEOUT),
    ],
)
async def test_trigger_request_that_may_have_run_is_not_repeated(
    sandbox: Sandbox,
    client: ClientAdapter,
    fault: str,
    params: dict[str, Any],
    expected: type[BuildPixelError],
) -> None:
    """A trigger request that may have run is never sent twice."""
    sandbox.fault(fault, "POST trigger", times=1, **params)
    with pytest.raises(expected):
        await client.perform(trigger_call(sandbox))
    assert len(trigger_requests(sandbox)) == 1


async def test_trigger_request_that_was_not_sent_is_repeated(
    sandbox: Sandbox, client: ClientAdapter
) -> None:
    """A trigger request whose connection was refused is repeated: it certainly did not run."""
    call = trigger_call(sandbox)
    sandbox.fault("refuse-connections", seconds=0.3)
    await client.perform(call)
    assert len(trigger_requests(sandbox)) == len(sandbox.builds()) == 1


async def test_closed_idle_connection(sandbox: Sandbox, client: ClientAdapter) -> None:
    """A connection that the server closed while idle causes no failed read and no second build."""
    await client.perform(ME)
    sandbox.fault("refuse-connections").remove()
    await client.perform(trigger_call(sandbox))
    assert (await client.perform(ME)).role == "member"
    assert len(trigger_requests(sandbox)) == len(sandbox.builds()) == 1


ERRORS: dict[tuple[int, str], type[BuildPixelError]] = {
    (400, "validation_failed"): InvalidRequest,
    (400, "engine_not_found"): InvalidRequest,
    (400, "repo_not_accessible"): InvalidRequest,
    (402, "plan_limit_reached"): InvalidRequest,
    (401, "invalid_token"): Unauthorized,
    (403, "insufficient_scope"): Forbidden,
    (404, "not_found"): NotFound,
    (409, "conflict"): InvalidRequest,
    (410, "gone"): NotFound,
    (418, "teapot"): InvalidRequest,
    (429, "rate_limited"): RateLimited,
    (500, "internal_error"): ServerFault,
    (503, "maintenance"): ServerFault,
}


@pytest.mark.parametrize(("refusal", "expected"), ERRORS.items(), ids=str)
async def test_error_of_each_status(
    sandbox: Sandbox,
    client: ClientAdapter,
    refusal: tuple[int, str],
    expected: type[BuildPixelError],
) -> None:
    """Each 4xx or 5xx raises the error of its status, with code, request id and message."""
    status, code = refusal
    sandbox.fault("refuse", status=status, code=code, message="Said so.")
    with pytest.raises(expected, match=r"GET /auth/me: Said so\.") as caught:
        await client.attempt(ME)
    error = caught.value
    assert type(error) is expected
    assert (error.status_code, error.code) == (status, code)
    assert error.request_id is not None
    assert error.request_id in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own bytes


async def test_errors_contain_no_secrets(sandbox: Sandbox, client: ClientAdapter) -> None:
    """Errors and reprs contain no token, even if the server repeats it in a message."""
    message = f"who is {sandbox.token}? see https://x.example/a?sig=abc\x1b[31m\nnext"
    sandbox.fault("refuse", status=403, message=message)
    with pytest.raises(Forbidden) as caught:
        await client.attempt(ME)
    text = f"{caught.value} {caught.value!r} {client.settings!r} {client!r}"
    assert sandbox.token not in text
    assert "sig=abc" not in text
    assert "\x1b" not in str(caught.value)
    sandbox.heal()
    with pytest.raises(NotFound) as missing:
        await client.attempt(endpoints.get_build(sandbox.token))
    assert missing.value.status_code == 404


async def test_request_headers(sandbox: Sandbox, client: ClientAdapter) -> None:
    """Each request carries the token and the user agent, and accepts JSON."""
    await client.attempt(ME)
    headers = sandbox.requests[0].headers
    assert headers["Authorization"] == f"Bearer {sandbox.token}"
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"] == "airflow-provider-buildpixel"


@pytest.mark.parametrize("request_timeout", [3.0], ids=["three-seconds"])
async def test_request_timeout(sandbox: Sandbox, client: ClientAdapter) -> None:
    """A request without a response ends after request_timeout; the error says it may still run."""
    sandbox.fault("hang")
    started_at = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        await client.attempt(ME)
    assert (caught.value.sent, caught.value.timed_out) == (True, True)
    assert 2.9 < time.monotonic() - started_at < 6.0


@pytest.fixture
def unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make names below .invalid fail at once: a real resolver may be slow."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


async def test_no_connection(settings: Settings, client_kind: str, unknown_names: None) -> None:
    """A refused connection and an unknown host name are reported as not sent."""
    for url in ("http://127.0.0.1:9", "http://nowhere.invalid"):
        async with open_client(client_kind, replace(settings, base_url=url)) as client:
            with pytest.raises(Unreachable, match="no answer from BuildPixel") as caught:
                await client.attempt(ME)
        assert (caught.value.sent, caught.value.timed_out) == (False, False)


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
async def test_list_over_several_pages(sandbox: Sandbox, client: ClientAdapter, order: str) -> None:
    """A list yields each item once over all pages, and requests a page only when it is needed."""
    sandbox.world.variants = replace(sandbox.world.variants, builds_order=order)
    setting = sandbox.setting("MyGame", platform="Linux")["id"]
    pushed = {sandbox.push(setting, branch=f"b{number}") for number in range(230)}
    assert len(await client.list_items(endpoints.list_builds(), limit=100)) == 100
    assert len(sandbox.requests) == 1
    ids = [build.id for build in await client.list_items(endpoints.list_builds())]
    assert (len(ids), set(ids)) == (230, pushed)
    assert len(sandbox.requests) == 4


@pytest.mark.parametrize("rows", ["no-status", "no-id", "null"])
async def test_unreadable_rows_are_logged_once(
    sandbox: Sandbox, settings: Settings, client_kind: str, rows: str, caplog: Any
) -> None:
    """A row that cannot be read is left out and logged once for each list and client."""
    sandbox.world.variants = replace(sandbox.world.variants, list_rows=rows)
    pushed = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    for number in (1, 2):
        async with open_client(client_kind, settings) as client:
            for status in (None, "pending", None):
                builds = await client.list_items(endpoints.list_builds(status=status))
                assert [build.id for build in builds] == [pushed]
            await client.list_items(endpoints.list_projects())
        assert (
            caplog.text.count("GET /builds: 1 rows of BuildPixel's list cannot be read") == number
        )
        assert caplog.text.count("cannot be read") == number


async def test_endless_list(sandbox: Sandbox, client: ClientAdapter) -> None:
    """A list whose cursor repeats raises an error."""
    sandbox.fault("endless-pages")
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        await asyncio.wait_for(client.list_items(endpoints.list_projects()), 5)
    assert len(sandbox.requests) <= 3


async def test_failure_between_pages(sandbox: Sandbox, client: ClientAdapter) -> None:
    """A temporary failure between two pages neither loses nor duplicates an item."""
    setting = sandbox.setting("MyGame", platform="Linux")["id"]
    pushed = {sandbox.push(setting, branch=f"b{number}") for number in range(150)}
    sandbox.fault("reset", "GET /builds", after=1, times=1)
    ids = [build.id for build in await client.list_items(endpoints.list_builds())]
    assert (len(ids), set(ids)) == (150, pushed)
