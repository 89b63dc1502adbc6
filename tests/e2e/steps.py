"""What is killed at which step of a task, and how each case ends: the table of the kill tests."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.turnstile import Call

BLOCKING, DEFERRED = "blocking", "deferred"
MODES = (BLOCKING, DEFERRED)


@dataclass(frozen=True)
class Held:
    """The task's request waits at BuildPixel.

    :param done: it was carried out, and its answer waits.
    """

    route: str
    done: bool = False


@dataclass(frozen=True)
class Waiting:
    """The task's wait, in worker or triggerer, has joined the build's room."""


@dataclass(frozen=True)
class Yielded:
    """The trigger has sent its event, and the triggerer has not handed it on."""


@dataclass(frozen=True)
class Step:
    """A step of a task, and what shows that a task is there.

    :param late: the build has ended by then.
    """

    name: str
    at: Call | Held | Waiting | Yielded
    late: bool = False
    modes: tuple[str, ...] = MODES


STORE, XCOM, STATE = "/store/ti/", "/xcoms/", "/state$"

STEPS = (
    Step("resolving names", Held("GET /projects")),
    Step("listing before the dispatch", Held("GET /builds")),
    Step(
        "intent stored, request not sent",
        Call("PUT", STORE, r'build_id\\?": ?null', done=True),
    ),
    Step("request received, not carried out", Held("POST trigger")),
    Step("request carried out, not answered", Held("POST trigger", done=True)),
    Step("answered, id not stored", Call("PUT", STORE, r'build_id\\?": ?\\?"')),
    Step("id stored, first look", Held("GET /builds/:id")),
    Step("XCom not pushed", Call("POST", f"{XCOM}.*/build_id$")),
    Step("XCom pushed", Call("POST", f"{XCOM}.*/build_id$", done=True)),
    Step("deferring", Call("PATCH", STATE, "deferred"), modes=(DEFERRED,)),
    Step("deferral not confirmed", Call("PATCH", STATE, "deferred", done=True), modes=(DEFERRED,)),
    Step("waiting", Waiting()),
    Step("event not delivered", Yielded(), late=True, modes=(DEFERRED,)),
    Step("reading the end", Held("GET /builds/:id"), late=True),
    Step(
        "result stored, not returned",
        Call("PUT", STORE, r'concluded\\?": ?true', done=True),
        late=True,
    ),
    Step("end not reported", Call("PATCH", STATE, '"(success|failed)"'), late=True),
    Step("end not confirmed", Call("PATCH", STATE, '"(success|failed)"', done=True), late=True),
)

WORKER, TRIGGERER, API_SERVER, BUILDPIXEL = VICTIMS = (
    "worker",
    "triggerer",
    "api-server",
    "buildpixel",
)


@dataclass(frozen=True)
class Case:
    """One task whose helper is killed at one step.

    :param truth: how BuildPixel's build ends, and so the task.
    """

    victim: str
    mode: str
    step: Step
    truth: str

    @property
    def name(self) -> str:
        """Name it for people."""
        return f"{self.victim}, {self.mode}: {self.step.name}"

    @property
    def state(self) -> str:
        """Give the state that the task must end in."""
        return "success" if self.truth == "complete" else "failed"


def _cases() -> list[Case]:
    return [
        Case(victim, mode, step, _truth(victim, mode, place, step))
        for victim in VICTIMS
        for mode in MODES
        for place, step in enumerate(STEPS)
        if _happens(victim, mode, step)
    ]


def _happens(victim: str, mode: str, step: Step) -> bool:
    """Leave out steps that a mode does not have, and victims that are not there.

    Up to the wait both modes run the same lines, so that the deferred one stands for both.
    """
    if mode not in step.modes:
        return False
    if mode == BLOCKING:
        return victim != TRIGGERER and (step.late or isinstance(step.at, Waiting))
    return victim != WORKER or not isinstance(step.at, Waiting | Yielded)


def _truth(victim: str, mode: str, place: int, step: Step) -> str:
    """Let builds fail where no new try begins: a retry after a failed build starts a new one."""
    stays = victim in {TRIGGERER, BUILDPIXEL} and "stored, not returned" not in step.name
    return "failed" if stays and place % 2 and mode == DEFERRED else "complete"


CASES = _cases()
