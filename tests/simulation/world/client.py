"""The provider's client over the simulated service: delays, faults, and the fates of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api.blocking import Client
from airflow_provider_buildpixel.api.errors import (
    InvalidRequest,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from tests.simulation.world.hub import CLOCK, RANDOM, Killed

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.errors import (
        BuildPixelError,
    )
    from tests.simulation.schedule import Fate
    from tests.simulation.world.simulation import Simulation
    from tests.simulation.world.task import Task

    T = TypeVar("T")

SETTINGS = Settings("http://127.0.0.1:1", "bp_simulated", channel="polling")
LATENCY = 0.05
AFTER_DEATH = 2 * SETTINGS.request_timeout
"""Seconds after a request within which it can run if its worker was killed."""


LATE_START = 600.0
AFTER_ERROR = 20.0
MAY_RUN_LATER = ("timed out", "unreadable")
"""Fates after which a build of our token counts as that of the request for ``LATE_START``."""


@dataclass(frozen=True)
class Outcome:
    """What a client sees of a request.

    :param error: None if it is answered.
    :param seconds: until the client sees it.
    :param is_lost: the client cannot know whether the request has run.
    """

    error: BuildPixelError | None
    seconds: float = 2 * LATENCY
    is_lost: bool = True


OUTCOMES = {
    "answered": Outcome(None, is_lost=False),
    "429": Outcome(None, is_lost=False),
    "400": Outcome(InvalidRequest("no", status_code=400, code="validation_failed"), is_lost=False),
    "unsent": Outcome(Unreachable("refused", sent=False), is_lost=False),
    "reset": Outcome(Unreachable("reset")),
    "500": Outcome(ServerFault("broken", status_code=500)),
    "502": Outcome(ServerFault("gateway", status_code=502)),
    "timed out": Outcome(Unreachable("slow", timed_out=True), SETTINGS.request_timeout),
    "unreadable": Outcome(UnexpectedAnswer("half an answer", status_code=202)),
}


def _seconds(fate: Fate) -> float:
    """Return how long a client waits for the answer."""
    slow = (fate.delay or 0.0) if fate.name == "answered" else 0.0
    return OUTCOMES[fate.name].seconds + slow


class SimClient(Client):
    """A real client except for the connection.

    :param task: who uses it, also in the triggerer.
    """

    def __init__(self, simulation: Simulation, task: Task) -> None:
        super().__init__(SETTINGS, sleep=task.pause, jitter=RANDOM.random)
        self._simulation = simulation
        self._task = task

    def attempt(self, call: Call[T]) -> T:
        """Let the service answer after a while, or fail."""
        if call.method == "POST":
            return call.parse(self._trigger(call))
        task, simulation = self._task, self._simulation
        is_list = call.path == "/builds"
        age = simulation.list_age() if is_list else 0.0
        task.traffic.begin_read(CLOCK.hub.now, age if is_list else None)
        task.pause(LATENCY)
        task.traffic.end_read(CLOCK.hub.now, is_repeated=simulation.is_down())
        simulation.note(task.name, "GET", call.path, *call.query)
        if simulation.is_down():
            raise ServerFault("down", status_code=500)
        self._read_date()
        answer = simulation.service.answer(call.path, call.query, CLOCK.hub.now, age)
        if call.path.startswith("/builds/"):
            task.note_build(answer["id"])
        elif call.path.startswith("/projects/"):
            task.note_setting(is_project="/build-settings" not in call.path)
        return simulation.parsed(call, answer)

    def _read_date(self) -> None:
        """Estimate the server's clock from the ``Date``, which has whole seconds."""
        if self._simulation.service.spec.tells_time:
            now = CLOCK.time()
            self.clock_offset = int(now + self._simulation.service.spec.skew) - now

    def _trigger(self, call: Call[Any]) -> Any:
        task, simulation = self._task, self._simulation
        request = task.new_request()
        request.body = dict(call.body or {})
        simulation.note(task.name, "POST", request.body, request.fate)
        simulation.send(request)
        try:
            task.pause(_seconds(request.fate))
        except Killed:
            simulation.hasten(request)
            raise
        outcome = OUTCOMES[request.fate.name]
        request.is_lost = outcome.is_lost
        if outcome.is_lost:
            request.failed = CLOCK.hub.now
            lifetime = LATE_START if request.fate.name in MAY_RUN_LATER else AFTER_ERROR
            task.note_loss(request.believed, request.seen_until, lifetime)
        self._read_date()
        if request.fate.name == "429":
            raise RateLimited("slower", wait=request.fate.delay)
        if outcome.error is not None:
            raise outcome.error.with_traceback(None)
        assert request.build is not None
        task.note_build(request.build.id, is_read=False)
        return {"buildId": request.build.id, "status": "pending"}


def make_hook(simulation: Simulation, task: Task) -> BuildPixelHook:
    """Return a real hook with a simulated client."""
    hook = BuildPixelHook()
    hook.__dict__.update(settings=SETTINGS, client=SimClient(simulation, task))
    return hook
