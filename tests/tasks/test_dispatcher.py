"""Starting a build exactly once on a server that loses answers and shows stale lists."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.blocking import Client
from airflow_provider_buildpixel.api.endpoints import get_build_setting, trigger_build
from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.builds.dispatch import WaitFor
from airflow_provider_buildpixel.builds.request import BuildRequest
from airflow_provider_buildpixel.exceptions import (
    BuildInFlight,
    DispatchUncertain,
    Forbidden,
    InvalidRequest,
)
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants
from airflow_provider_buildpixel.tasks import (
    build_starter,
    dispatch_lock,
    dispatcher,
    lost_requests,
)
from airflow_provider_buildpixel.tasks.build_starter import BuildStarter, Dispatched
from airflow_provider_buildpixel.tasks.dispatcher import Dispatcher
from airflow_provider_buildpixel.tasks.state import TaskState
from tests.tasks.stage import Killed, Store, TaskInstance, context_of, count_trigger_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.exceptions import BuildPixelError


@dataclass
class Clock:
    """Takes the place of the module ``time``: a sleep advances the sandbox's clock instead.

    :param interruptions: functions that the next sleeps call, one each, before time passes.
    """

    sandbox: Sandbox
    slept: float = 0.0
    interruptions: list[Callable[[], object]] = field(default_factory=list)

    def time(self) -> float:
        """Return the seconds since the epoch on the worker's clock."""
        return time.time() + self.slept

    def monotonic(self) -> float:
        """Return the seconds since some instant."""
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        if self.interruptions:
            self.interruptions.pop(0)()
        self.slept += seconds
        self.sandbox.advance(seconds)


@dataclass
class Task:
    """A task that starts MyGame on Linux, with its store over all tries."""

    sandbox: Sandbox
    clock: Clock
    hook: BuildPixelHook
    setting: BuildSetting
    project_id: str
    store: Store = field(default_factory=Store)

    def dispatch(
        self, policy: str = "supersede", *, try_number: int = 1, max_tries: int = 2, **request: Any
    ) -> Dispatched | WaitFor:
        """Run one try until its build is known, or the live build that has to end first."""
        context: Any = context_of(TaskInstance(try_number, max_tries), self.store)
        starter = BuildStarter(
            self.hook,
            BuildRequest(self.project_id, self.setting.id, **request),
            self.setting,
            TaskState(context, retries=2),
            policy,
            logging.getLogger("task"),
        )
        return Dispatcher(starter).dispatch()

    def start(self, policy: str = "supersede", **kwargs: Any) -> str:
        """Run one try; return the id of its build."""
        result = self.dispatch(policy, **kwargs)
        assert isinstance(result, Dispatched)
        return result.build.id

    def start_another(self, **request: Any) -> str:
        """Start a build with the same token that is not the task's; return its id."""
        call = trigger_build(self.project_id, self.setting.id, **request)
        return self.hook.client.perform(call).id

    def push(self, **kwargs: Any) -> str:
        """Start a build of the same kind as others do; return its id."""
        return self.sandbox.push(self.setting.id, **kwargs)

    def die_before_the_request(self, **kwargs: Any) -> None:
        """Run a try whose worker is killed when it has stored that it will send a request."""
        self.store.dies_at = 1
        with pytest.raises(Killed):
            self.dispatch(**kwargs)
        assert self.requests == 0

    @property
    def requests(self) -> int:
        """The number of trigger requests of the task so far."""
        return count_trigger_requests(self.sandbox)

    @property
    def builds(self) -> list[str]:
        """The ids of all builds, the oldest first."""
        return [build["id"] for build in self.sandbox.builds()]


LONG_TIMEOUT, SHORT_TIMEOUT = 5.0, 0.5


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Yield a sandbox whose builds stay queued."""
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(outcome="stays_pending")) as running:
        yield running


@pytest.fixture
def request_timeout() -> float:
    """Return the request timeout in seconds."""
    return LONG_TIMEOUT


@pytest.fixture
def task(
    sandbox: Sandbox, request_timeout: float, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Task]:
    """Yield a task whose pauses advance the sandbox's clock."""
    clock = Clock(sandbox)
    for module in (build_starter, dispatch_lock, dispatcher, lost_requests):
        monkeypatch.setattr(module, "time", clock)
    settings = Settings(sandbox.url, sandbox.token, request_timeout=request_timeout)
    hook = BuildPixelHook()
    hook.client = Client(settings, sleep=clock.sleep, jitter=lambda: 0.0)
    raw = sandbox.setting("MyGame", platform="Linux")
    setting = hook.client.perform(get_build_setting(raw["projectId"], raw["id"]))
    yield Task(sandbox, clock, hook, setting, raw["projectId"])
    hook.close()


LOST = [
    pytest.param(how, SHORT_TIMEOUT if how == "timeout" else LONG_TIMEOUT, id=how)
    for how in ("reset", "close", "timeout", "502")
]
NOT_RUN = ["reset", "close", "500", "502-html", "503-empty"]


@pytest.mark.parametrize(("how", "request_timeout"), LOST)
def test_an_answer_lost_after_the_build_started(task: Task, how: str) -> None:
    """If the build was started and the answer lost, the build is found and not started again."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    build_id = task.start()
    assert task.builds == [build_id]
    assert task.requests == 1


@pytest.mark.parametrize("fault", NOT_RUN)
def test_a_request_that_started_no_build(task: Task, fault: str) -> None:
    """If searches find no build until the request has surely ended, it is sent once more."""
    task.sandbox.fault(fault, "POST trigger", times=1)
    build_id = task.start()
    assert task.builds == [build_id]
    assert task.requests == 2
    assert task.clock.slept > 20


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_all_requests_are_lost(task: Task, fault: str) -> None:
    """After two requests without a build, the try fails; a retry searches, then sends again."""
    task.sandbox.fault(fault, "POST trigger")
    with pytest.raises(DispatchUncertain, match="no build of it is listed"):
        task.start()
    assert (task.requests, task.builds) == (2, [])
    task.sandbox.heal()
    assert task.start(try_number=2) == task.builds[0]
    assert task.requests == 3


@pytest.mark.parametrize("request_timeout", [SHORT_TIMEOUT])
def test_a_request_that_hangs(task: Task) -> None:
    """A request that timed out may still run, so that no retry repeats it until a user clears."""
    task.sandbox.fault("hang", "POST trigger", times=1)
    for try_number in (1, 2, 3):
        with pytest.raises(DispatchUncertain):
            task.start(try_number=try_number)
    assert task.requests == 1
    assert task.start(try_number=4, max_tries=5) == task.builds[0]
    assert task.requests == 2


@pytest.mark.parametrize("request_timeout", [SHORT_TIMEOUT])
def test_the_build_of_a_request_that_hung_may_appear_late(task: Task) -> None:
    """A build that a request may have started long after it timed out is named."""
    task.sandbox.fault("hang", "POST trigger", times=1)
    with pytest.raises(DispatchUncertain):
        task.start()
    late = task.start_another()
    with pytest.raises(DispatchUncertain, match=late) as caught:
        task.start(try_number=2)
    assert [build.id for build in caught.value.candidates] == [late]
    assert task.builds == [late]


@pytest.mark.parametrize("lag", [1.0, 5.0, 12.0])
def test_a_stale_list(task: Task, lag: float) -> None:
    """A build that the lists show late is found."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.sandbox.fault("stale", "GET /builds", lag=lag)
    build_id = task.start()
    assert task.builds == [build_id]
    assert task.requests == 1


@pytest.mark.parametrize("by", [None, "cron", "user:them"])
def test_others_at_the_same_time(task: Task, by: str | None) -> None:
    """A build that others have started meanwhile is not mistaken for ours."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.clock.interruptions = [lambda: task.push(triggered_by=by)]
    assert task.start() == task.builds[0]
    assert len(task.builds) == 2
    assert task.requests == 1


def test_another_token_at_the_same_time(task: Task) -> None:
    """As long as our token is not known, a build of another one may be ours as well."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.clock.interruptions = [lambda: task.push(triggered_by="api_token:other")]
    with pytest.raises(DispatchUncertain) as caught:
        task.start()
    assert {build.id for build in caught.value.candidates} == {*task.builds}
    assert task.requests == 1


def test_a_build_in_flight_before_a_repeated_request(task: Task) -> None:
    """The policy holds before each request: a push's build that came meanwhile is live then."""
    task.sandbox.fault("reset", "POST trigger", times=1)
    task.clock.interruptions = [task.push]
    with pytest.raises(BuildInFlight):
        task.start("fail")
    assert len(task.builds) == 1
    assert task.requests == 1


def test_a_build_that_a_repeated_request_supersedes(task: Task) -> None:
    """With the policy supersede, a request that did not run is repeated whatever is live."""
    task.sandbox.fault("reset", "POST trigger", times=1)
    task.clock.interruptions = [task.push]
    assert task.start() == task.builds[1]
    assert task.requests == 2


@pytest.mark.parametrize("policy", ["fail", "wait", "adopt"])
def test_a_build_in_flight_in_a_retry(task: Task, policy: str) -> None:
    """The policy holds in a retry, too, after a worker that was killed before its request."""
    task.die_before_the_request(policy=policy)
    pushed = task.push()
    if policy == "fail":
        with pytest.raises(BuildInFlight):
            task.start(policy, try_number=2)
    elif policy == "wait":
        waits = task.dispatch(policy, try_number=2)
        assert isinstance(waits, WaitFor)
        assert waits.build.id == pushed
    else:
        assert task.start(policy, try_number=2) == pushed
    assert task.requests == 0


def test_another_build_of_the_same_token(task: Task) -> None:
    """If two builds of the token match, the error lists both and the request is not repeated."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.clock.interruptions = [task.start_another]
    with pytest.raises(DispatchUncertain) as caught:
        task.start()
    assert len(caught.value.candidates) == 2
    assert task.requests == 2


def test_another_commit_of_the_same_token(task: Task) -> None:
    """A build of the same token for another commit is not mistaken for ours."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.clock.interruptions = [lambda: task.start_another(commit="cd" * 20)]
    build_id = task.start(commit="ab" * 20)
    assert task.sandbox.build(build_id)["commit"] == "ab" * 20


def test_a_build_that_was_live_before(task: Task) -> None:
    """A build that was live before the request is superseded, and not mistaken for the new one."""
    live = task.push(triggered_by="api_token:other")
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    assert task.start() != live
    assert task.sandbox.build(live)["status"] == "superseded"


def test_a_retry_after_a_kill_finds_the_build(task: Task) -> None:
    """A retry finds the build of a worker that was killed while it waited for the answer."""
    task.die_before_the_request()
    build_id = task.start_another()
    assert task.start(try_number=2) == build_id
    assert task.builds == [build_id]


def test_a_retry_after_a_kill_finds_no_build(task: Task) -> None:
    """A retry sends the request if a worker was killed before it did."""
    task.die_before_the_request()
    assert task.builds == []
    assert task.start(try_number=2) == task.builds[0]
    assert task.requests == 1


def test_another_token_much_later(task: Task) -> None:
    """A build that others start long after a kill is not the task's."""
    task.die_before_the_request()
    task.sandbox.advance(1200.0)
    task.clock.slept += 1200.0
    other = task.push(triggered_by="api_token:other")
    assert task.start(try_number=2) != other


def test_a_retry_continues_with_its_build(task: Task) -> None:
    """A later try continues with the build that an earlier one has started."""
    build_id = task.start()
    assert task.start(try_number=2) == build_id
    task.sandbox.set_status(build_id, "failed")
    assert task.start(try_number=3) == task.builds[1]


def test_a_search_that_fails(task: Task) -> None:
    """If both the answer and the search fail, the request is not repeated."""
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    task.sandbox.fault("401", "GET /builds", after=1)
    with pytest.raises(DispatchUncertain):
        task.start()
    assert task.requests == 1


@pytest.mark.parametrize(("fault", "expected"), [("403", Forbidden), ("refuse", InvalidRequest)])
def test_a_refusal(task: Task, fault: str, expected: type[BuildPixelError]) -> None:
    """A refusal is raised unchanged, as no build was started, and nothing stays stored."""
    task.sandbox.fault(fault, "POST trigger")
    with pytest.raises(expected):
        task.start()
    assert task.requests == 1
    assert task.store.values == {}


def test_a_refusal_after_a_lost_request(task: Task) -> None:
    """A refused second request does not make the first one certain: a retry searches again."""
    task.sandbox.fault("reset", "POST trigger", times=1)
    task.sandbox.fault("403", "POST trigger")
    with pytest.raises(Forbidden):
        task.start()
    slept = task.clock.slept
    task.sandbox.heal()
    assert task.start(try_number=2) == task.builds[0]
    assert task.requests == 3
    assert task.clock.slept - slept > 20


ORDERS = [Variants(builds_order=order) for order in Variants.points()["builds_order"]]


@pytest.mark.parametrize("sandbox", ORDERS, indirect=True, ids=str)
def test_many_builds(task: Task) -> None:
    """The new build is found among hundreds, whatever the order of the list."""
    task.sandbox.add_builds(task.setting.id, 120, branch="feature", age=60.0)
    task.sandbox.add_builds(task.setting.id, 120, branch="zeta", status="failed", age=30.0)
    live = task.push()
    task.sandbox.fault("lost-answer", "POST trigger", times=1)
    with pytest.raises(BuildInFlight):
        task.start("fail")
    assert task.start() == task.builds[-1]
    assert task.requests == 1
    assert task.sandbox.build(live)["status"] == "superseded"
