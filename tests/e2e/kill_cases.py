"""The cases of the kill tests: what is killed at which step, and how the task must end."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.execution_api_proxy import CallPattern

BLOCKING, DEFERRED = "blocking", "deferred"
MODES = (BLOCKING, DEFERRED)


@dataclass(frozen=True)
class Held:
    """BuildPixel holds the task's request.

    :param done: it was carried out, and the response is held.
    """

    route: str
    done: bool = False


@dataclass(frozen=True)
class Waiting:
    """The task's wait, in worker or triggerer, has joined the build's room."""


@dataclass(frozen=True)
class EventSent:
    """The trigger has sent its event, and the triggerer has not forwarded it."""


@dataclass(frozen=True)
class Step:
    """A step of a task, and how to detect that a task has reached it.

    :param late: the build has ended before this step.
    """

    name: str
    at: CallPattern | Held | Waiting | EventSent
    late: bool = False
    modes: tuple[str, ...] = MODES


STORE, XCOM, STATE = "/store/ti/", "/xcoms/", "/state$"

STEPS = (
    Step("resolving names", Held("GET /projects")),
    Step("listing before the dispatch", Held("GET /builds")),
    Step(
        "dispatch record stored, request not sent",
        CallPattern("PUT", STORE, r'build_id\\?": ?null', done=True),
    ),
    Step("request received, not carried out", Held("POST trigger")),
    Step("request carried out, no response sent", Held("POST trigger", done=True)),
    Step("response received, id not stored", CallPattern("PUT", STORE, r'build_id\\?": ?\\?"')),
    Step("id stored, first read", Held("GET /builds/:id")),
    Step("XCom not pushed", CallPattern("POST", f"{XCOM}.*/build_id$")),
    Step("XCom pushed", CallPattern("POST", f"{XCOM}.*/build_id$", done=True)),
    Step("deferring", CallPattern("PATCH", STATE, "deferred"), modes=(DEFERRED,)),
    Step(
        "deferral not confirmed",
        CallPattern("PATCH", STATE, "deferred", done=True),
        modes=(DEFERRED,),
    ),
    Step("waiting", Waiting()),
    Step("event not delivered", EventSent(), late=True, modes=(DEFERRED,)),
    Step("reading the end", Held("GET /builds/:id"), late=True),
    Step(
        "result stored, not returned",
        CallPattern("PUT", STORE, r'task_finished\\?": ?true', done=True),
        late=True,
    ),
    Step("end not reported", CallPattern("PATCH", STATE, '"(success|failed)"'), late=True),
    Step(
        "end not confirmed", CallPattern("PATCH", STATE, '"(success|failed)"', done=True), late=True
    ),
)

WORKER, TRIGGERER, API_SERVER, BUILDPIXEL = VICTIMS = (
    "worker",
    "triggerer",
    "api-server",
    "buildpixel",
)


@dataclass(frozen=True)
class Case:
    """One task, and the process that is killed at one of its steps.

    :param outcome: final status of the build, which decides the state of the task.
    """

    victim: str
    mode: str
    step: Step
    outcome: str

    @property
    def name(self) -> str:
        """The id of its test."""
        return f"{self.victim}, {self.mode}: {self.step.name}"

    @property
    def state(self) -> str:
        """The state in which the task must end."""
        return "success" if self.outcome == "complete" else "failed"


def _cases() -> list[Case]:
    return [
        Case(victim, mode, step, _outcome(victim, mode, position, step))
        for victim in VICTIMS
        for mode in MODES
        for position, step in enumerate(STEPS)
        if _applies(victim, mode, step)
    ]


def _applies(victim: str, mode: str, step: Step) -> bool:
    """Return whether the mode has this step, and the victim takes part in it.

    Up to the wait both modes run the same code, so only the deferred mode is tested there.
    """
    if mode not in step.modes:
        return False
    if mode == BLOCKING:
        return victim != TRIGGERER and (step.late or isinstance(step.at, Waiting))
    return victim != WORKER or not isinstance(step.at, Waiting | EventSent)


def _outcome(victim: str, mode: str, position: int, step: Step) -> str:
    """Let builds fail only where the task gets no retry, which would start a new build."""
    no_retry = victim in {TRIGGERER, BUILDPIXEL} and "stored, not returned" not in step.name
    return "failed" if no_retry and position % 2 and mode == DEFERRED else "complete"


CASES = _cases()
