"""The wait matrix: trouble of every kind in mid-wait, over both shells and both channels."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import NotFound, Unauthorized
from airflow_provider_buildpixel.waits.actions import Expired
from airflow_provider_buildpixel.waits.wait import Wait
from tests.clients.shells import BRIEF, ROOMY, Waiting, built, end_of, until

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.records import Request
    from tests.clients.shells import Shell

ROUTE = "GET /builds/:id"
CHANNELS = ("auto", "polling")


@dataclass(frozen=True)
class Trouble:
    """A fault, and how many requests a wait may spend on it at most."""

    name: str
    most: int
    params: dict[str, Any] = field(default_factory=dict)


TROUBLES = {
    "one-500": Trouble("500", 4, {"times": 1}),
    "five-500s": Trouble("500", 8, {"times": 5}),
    "429-without-a-time": Trouble("429", 5, {"times": 2, "retry_after": None}),
    "one-reset": Trouble("reset", 4, {"times": 1}),
    "two-resets": Trouble("reset", 5, {"times": 2}),
    "closed": Trouble("close", 4, {"times": 1}),
    "truncated-json": Trouble("truncated-json", 4, {"times": 1}),
    "truncated-with-its-length": Trouble("truncated-json", 4, {"times": 1, "cut": True}),
    "html-502": Trouble("502-html", 4, {"times": 1}),
    "html-200": Trouble("html-200", 4, {"times": 1}),
    "empty-200": Trouble("empty-200", 4, {"times": 1}),
    "mistyped": Trouble("mistyped-json", 4, {"times": 1}),
    "a-hang": Trouble("hang", 4, {"times": 1}),
    "a-while-of-404": Trouble("404", 6, {"times": 3}),
}


def reads(sandbox: Sandbox) -> list[Request]:
    """Give the single reads so far."""
    return [request for request in sandbox.requests if request.route == ROUTE]


async def started(sandbox: Sandbox, shell: Shell, waiting: Waiting) -> asyncio.Task[Any]:
    """Start a wait and give it once it has settled down."""
    task = asyncio.create_task(end_of(shell, waiting))
    if waiting.channel == "polling":
        await until(lambda: reads(sandbox))
    else:
        await until(lambda: sandbox.joined(waiting.build_id) and reads(sandbox))
    return task


def patience(fault: str) -> float:
    """Give the seconds for one request where some meet this fault."""
    return BRIEF if fault == "hang" else ROOMY


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("trouble", "request_timeout"),
    [(trouble, patience(trouble.name)) for trouble in TROUBLES.values()],
    ids=list(TROUBLES),
)
async def test_trouble_in_mid_wait(
    sandbox: Sandbox, shell: Shell, queued: str, channel: str, trouble: Trouble
) -> None:
    """A wait outlives passing trouble, tells the truth, and does not storm the server."""
    task = await started(sandbox, shell, Waiting(queued, channel))
    before = len(reads(sandbox))
    fault = sandbox.fault(trouble.name, ROUTE, **trouble.params)
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert fault.hits == trouble.params["times"]
    assert len(reads(sandbox)) - before <= trouble.most


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("trouble", "request_timeout"),
    [(fault, patience(fault)) for fault in ("500", "reset", "hang", "truncated-json", "404")],
)
async def test_trouble_at_the_first_read(
    sandbox: Sandbox, shell: Shell, queued: str, channel: str, trouble: str
) -> None:
    """A wait whose very first read goes wrong still ends with the truth."""
    sandbox.set_status(queued, "failed")
    sandbox.fault(trouble, ROUTE, times=2 if trouble in {"500", "reset"} else 1)
    assert built(await end_of(shell, Waiting(queued, channel))).status == "failed"
    assert len(reads(sandbox)) <= 4


@pytest.mark.parametrize(
    ("channel", "date"),
    [("auto", False), ("polling", False), ("polling", True)],
    ids=["auto-seconds", "polling-seconds", "polling-http-date"],
)
async def test_retry_after(
    sandbox: Sandbox, shell: Shell, queued: str, channel: str, *, date: bool
) -> None:
    """After a 429 not one request is sent before the time that it names, whatever happens."""
    task = await started(sandbox, shell, Waiting(queued, channel))
    seconds = 2 if date else 1
    sandbox.fault("429", ROUTE, times=1, retry_after=seconds, date=date)
    await until(lambda: any(read.status == 429 for read in reads(sandbox)))
    sandbox.set_status(queued, "running")
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    asked, after = next(
        (one, two)
        for one, two in zip(reads(sandbox), reads(sandbox)[1:], strict=False)
        if one.status == 429
    )
    assert after.at - asked.at >= (1 if date else seconds)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_refused_connections(
    sandbox: Sandbox, shell: Shell, queued: str, channel: str
) -> None:
    """A server that is gone for a while and comes back with the build ended is caught up with."""
    task = await started(sandbox, shell, Waiting(queued, channel))
    gone = sandbox.fault("refuse-connections")
    sandbox.set_status(queued, "complete")
    await asyncio.sleep(0.5)
    assert not task.done()
    gone.remove()
    assert built(await task).status == "complete"
    assert len(reads(sandbox)) <= 6


@pytest.mark.parametrize("channel", CHANNELS)
async def test_401_for_good(sandbox: Sandbox, shell: Shell, queued: str, channel: str) -> None:
    """A revoked token ends the wait at once, in clear words, after at most three requests."""
    task = await started(sandbox, shell, Waiting(queued, channel))
    before = len(reads(sandbox))
    sandbox.revoke(sandbox.token)
    sandbox.set_status(queued, "complete")
    with pytest.raises(Unauthorized, match="put a valid API token into the password") as caught:
        await task
    assert caught.value.code == "invalid_token"
    assert caught.value.request_id
    assert len(reads(sandbox)) - before <= 3


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_build_that_is_not_there(sandbox: Sandbox, shell: Shell, channel: str) -> None:
    """A build that stays unknown ends the wait as not found, once it had time to appear."""
    with pytest.raises(NotFound, match="check the id"):
        await end_of(shell, Waiting("0" * 24, channel, absence=0.5))
    assert 2 <= len(reads(sandbox)) <= 16


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_unknown_status(sandbox: Sandbox, shell: Shell, queued: str, channel: str) -> None:
    """An unknown status is waited through."""
    waiting = Waiting(queued, channel)
    task = await started(sandbox, shell, waiting)
    sandbox.set_status(queued, "uploading")
    await until(lambda: "is uploading" in waiting.told)
    assert not task.done()
    sandbox.set_status(queued, "superseded")
    assert built(await task).status == "superseded"


@pytest.mark.parametrize("channel", [*CHANNELS, "socketio"])
async def test_an_ended_build(sandbox: Sandbox, shell: Shell, queued: str, channel: str) -> None:
    """A build that has ended before the wait needs one read."""
    sandbox.set_status(queued, "complete")
    assert built(await end_of(shell, Waiting(queued, channel))).status == "complete"
    assert len(reads(sandbox)) == 1


@pytest.mark.parametrize("channel", [*CHANNELS, "socketio"])
async def test_time_over(sandbox: Sandbox, shell: Shell, queued: str, channel: str) -> None:
    """A wait whose time is over says so, and that the build is still queued."""
    end = await end_of(shell, Waiting(queued, channel, seconds=0.4))
    assert isinstance(end, Expired)


async def test_the_products_own_pacing(sandbox: Sandbox, shell: Shell, queued: str) -> None:
    """Waits as users start them hear of the end over the channel, with three reads at most."""
    told: list[Any] = []
    task = asyncio.create_task(shell.wait(Wait(queued), told.append))
    await until(lambda: sandbox.joined(queued) and reads(sandbox))
    sandbox.log(queued, "LogCook: Cooking maps from path...")
    sandbox.set_status(queued, "complete")
    assert built(await task).status == "complete"
    assert len(reads(sandbox)) <= 3
    assert "phase: cook" in [record.text for record in told]
