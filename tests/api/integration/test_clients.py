"""Every endpoint, retries and their limits, and where the token goes, over both shells."""

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
from tests.clients import shells
from tests.clients.shells import BRIEF, ROOMY, opened

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.records import Request
    from tests.clients.shells import Shell

ME = endpoints.get_identity()


def trigger(sandbox: Sandbox) -> Call[Any]:
    """Make the call that starts a build."""
    setting = sandbox.setting("MyGame", platform="Linux")
    return endpoints.trigger_build(setting["projectId"], setting["id"])


def posts(sandbox: Sandbox) -> list[Request]:
    """Give the trigger requests so far."""
    return [request for request in sandbox.requests if request.route == "POST trigger"]


REPEATED = ["500", "502-html", "503-empty", "reset", "close", "truncated-json", "html-200"]


@pytest.mark.parametrize(
    ("fault", "request_timeout"),
    [*((fault, ROOMY) for fault in REPEATED), ("hang", 2 * BRIEF)],
)
async def test_a_read_is_repeated(sandbox: Sandbox, shell: Shell, fault: str) -> None:
    """A read that meets passing trouble is sent again, and nothing of it shows."""
    sandbox.fault(fault, "GET /auth/me", times=1)
    assert (await shell.perform(ME)).role == "member"
    assert [request.status for request in sandbox.requests][-1] == 200
    assert len(sandbox.requests) == 2


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the pauses of both shells, which are all the time that passes for them."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    clock = SimpleNamespace(time=time.time, monotonic=lambda: sum(asked))
    for module in (aio, blocking):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(aio, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    monkeypatch.setattr(shells, "Client", partial(blocking.Client, sleep=asked.append))
    return asked


async def test_reads_give_up(
    sandbox: Sandbox, settings: Settings, kind: str, pauses: list[float]
) -> None:
    """Reads are repeated for as long as the budget of time lasts, with growing pauses."""
    sandbox.fault("500")
    async with opened(kind, settings, budget=1.5) as shell:
        with pytest.raises(ServerFault, match="try again later") as caught:
            await shell.perform(ME)
    assert caught.value.status_code == 500
    assert caught.value.request_id
    assert len(sandbox.requests) == 3
    assert pauses[1] > pauses[0] > 0.2


@pytest.mark.parametrize("post", [False, True], ids=["GET", "POST"])
async def test_retry_after(sandbox: Sandbox, shell: Shell, *, post: bool) -> None:
    """A 429 is obeyed to the second by reads and by the request that starts a build."""
    sandbox.fault("429", times=1, retry_after=1)
    await shell.perform(trigger(sandbox) if post else ME)
    first, second = sandbox.requests
    assert second.at - first.at >= 1
    assert len(sandbox.builds()) == int(post)


async def test_a_429_beyond_the_budget(sandbox: Sandbox, pauses: list[float], shell: Shell) -> None:
    """A 429 that asks for more time than there is ends the call at once, and says how long."""
    sandbox.fault("429", retry_after=3600)
    with pytest.raises(RateLimited) as caught:
        await shell.perform(ME)
    assert caught.value.wait == 3600
    assert pauses == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("fault", "params", "expected", "request_timeout"),
    [
        ("500", {}, ServerFault, ROOMY),
        ("502-html", {}, ServerFault, ROOMY),
        ("reset", {}, Unreachable, ROOMY),
        ("close", {}, Unreachable, ROOMY),
        ("hang", {}, Unreachable, BRIEF),
        ("lost-answer", {"how": "reset"}, Unreachable, ROOMY),
        ("lost-answer", {"how": "timeout"}, Unreachable, BRIEF),
        ("lost-answer", {"how": "502"}, ServerFault, ROOMY),
        ("truncated-json", {}, Unreachable, ROOMY),
        ("html-200", {}, UnexpectedAnswer, ROOMY),
        ("redirect", {"status": 307}, UnexpectedAnswer, ROOMY),
    ],
)
async def test_a_trigger_request_is_not_repeated(
    sandbox: Sandbox,
    shell: Shell,
    fault: str,
    params: dict[str, Any],
    expected: type[BuildPixelError],
) -> None:
    """A trigger request that may have run is never sent twice."""
    sandbox.fault(fault, "POST trigger", times=1, **params)
    with pytest.raises(expected):
        await shell.perform(trigger(sandbox))
    assert len(posts(sandbox)) == 1


async def test_a_trigger_request_that_never_left(sandbox: Sandbox, shell: Shell) -> None:
    """A trigger request whose connection was refused is sent again: it surely did not run."""
    call = trigger(sandbox)
    sandbox.fault("refuse-connections", seconds=0.3)
    await shell.perform(call)
    assert len(posts(sandbox)) == len(sandbox.builds()) == 1


async def test_a_kept_connection_that_was_cut(sandbox: Sandbox, shell: Shell) -> None:
    """A connection that the server closed while it was idle costs neither a read nor a build."""
    await shell.perform(ME)
    sandbox.fault("refuse-connections").remove()
    await shell.perform(trigger(sandbox))
    assert (await shell.perform(ME)).role == "member"
    assert len(posts(sandbox)) == len(sandbox.builds()) == 1


REFUSALS: dict[tuple[int, str], type[BuildPixelError]] = {
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


@pytest.mark.parametrize(("refusal", "expected"), REFUSALS.items(), ids=str)
async def test_refusals(
    sandbox: Sandbox, shell: Shell, refusal: tuple[int, str], expected: type[BuildPixelError]
) -> None:
    """Each refusal becomes the error of its status, with code, request id and what was said."""
    status, code = refusal
    sandbox.fault("refuse", status=status, code=code, message="Said so.")
    with pytest.raises(expected, match=r"GET /auth/me: Said so\.") as caught:
        await shell.attempt(ME)
    error = caught.value
    assert type(error) is expected
    assert (error.status_code, error.code) == (status, code)
    assert error.request_id is not None
    assert error.request_id in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_no_secret_in_errors(sandbox: Sandbox, shell: Shell) -> None:
    """A token does not show in errors, not even one that the server repeats, nor in values."""
    said = f"who is {sandbox.token}? see https://x.example/a?sig=abc\x1b[31m\nnext"
    sandbox.fault("refuse", status=403, message=said)
    with pytest.raises(Forbidden) as caught:
        await shell.attempt(ME)
    shown = f"{caught.value} {caught.value!r} {shell.settings!r} {shell!r}"
    assert sandbox.token not in shown
    assert "sig=abc" not in shown
    assert "\x1b" not in str(caught.value)
    sandbox.heal()
    with pytest.raises(NotFound) as missing:
        await shell.attempt(endpoints.get_build(sandbox.token))
    assert missing.value.status_code == 404


async def test_the_token_is_sent(sandbox: Sandbox, shell: Shell) -> None:
    """Each request carries the token, names the provider, and asks for JSON."""
    await shell.attempt(ME)
    headers = sandbox.requests[0].headers
    assert headers["Authorization"] == f"Bearer {sandbox.token}"
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"] == "airflow-provider-buildpixel"


@pytest.mark.parametrize("request_timeout", [3.0], ids=["three-seconds"])
async def test_a_hang(sandbox: Sandbox, shell: Shell) -> None:
    """A request without an answer ends after request_timeout, and says that it may still run."""
    sandbox.fault("hang")
    begun = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        await shell.attempt(ME)
    assert (caught.value.sent, caught.value.timed_out) == (True, True)
    assert 2.9 < time.monotonic() - begun < 6.0


@pytest.fixture
def unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names that are nobody's be unknown at once: a resolver may take its time."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


async def test_nobody_there(settings: Settings, kind: str, unknown_names: None) -> None:
    """A refused connection, and a name that does not resolve, surely ran nothing."""
    for url in ("http://127.0.0.1:9", "http://nowhere.invalid"):
        async with opened(kind, replace(settings, base_url=url)) as shell:
            with pytest.raises(Unreachable, match="no answer from BuildPixel") as caught:
                await shell.attempt(ME)
        assert (caught.value.sent, caught.value.timed_out) == (False, False)


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
async def test_pages(sandbox: Sandbox, shell: Shell, order: str) -> None:
    """A list gives each member once, over all pages, and reads no page before it is wanted."""
    sandbox.world.variants = replace(sandbox.world.variants, builds_order=order)
    setting = sandbox.setting("MyGame", platform="Linux")["id"]
    pushed = {sandbox.push(setting, branch=f"b{number}") for number in range(230)}
    assert len(await shell.members(endpoints.list_builds(), most=100)) == 100
    assert len(sandbox.requests) == 1
    found = [build.id for build in await shell.members(endpoints.list_builds())]
    assert (len(found), set(found)) == (230, pushed)
    assert len(sandbox.requests) == 4


async def test_pages_without_end(sandbox: Sandbox, shell: Shell) -> None:
    """A list whose cursor leads in a circle is refused."""
    sandbox.fault("endless-pages")
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        await asyncio.wait_for(shell.members(endpoints.list_projects()), 5)
    assert len(sandbox.requests) <= 3


async def test_trouble_between_pages(sandbox: Sandbox, shell: Shell) -> None:
    """Trouble between two pages of a list neither loses nor doubles a member."""
    setting = sandbox.setting("MyGame", platform="Linux")["id"]
    pushed = {sandbox.push(setting, branch=f"b{number}") for number in range(150)}
    sandbox.fault("reset", "GET /builds", after=1, times=1)
    found = [build.id for build in await shell.members(endpoints.list_builds())]
    assert (len(found), set(found)) == (150, pushed)
