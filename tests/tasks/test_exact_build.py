"""A task gets exactly the build that it asks for, whatever lists show and other people do."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.exceptions import (
    BuildInFlight,
    BuildPixelError,
    BuildSuperseded,
    BuildTimeout,
    DispatchUncertain,
    InvalidRequest,
)
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.sandbox import Variants
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor
from tests.tasks.stage import (
    AIRFLOW_3,
    WIN64,
    Killed,
    Store,
    TaskInstance,
    concurrently,
    context_of,
    count_trigger_requests,
    dispatched_builds,
    operator_factory,
    run_task,
    task_in_dag,
    wait_for_dispatch,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}
MORE_THAN_ONE_PAGE = 120
LISTS: tuple[Variants, ...] = (
    *(Variants(builds_order=order) for order in Variants.points()["builds_order"]),
    Variants(builds_order="by-branch", cursor="offset"),
    Variants(builds_order="live-first", cursor="offset"),
    Variants(list_items="brief"),
    Variants(builds_order="by-branch", list_items="minimal"),
    Variants(list_rows="no-status"),
    Variants(list_rows="no-id"),
    Variants(list_rows="null"),
    Variants(id_order="same-second"),
    Variants(builds_order="by-branch", last_page="empty"),
)
if not AIRFLOW_3:
    LISTS = (Variants(), Variants(builds_order="by-branch", cursor="offset"))
    """A few are enough there: what reads lists does not depend on Airflow."""

each_list = pytest.mark.parametrize("sandbox", LISTS, indirect=True, ids=str)


def setting_id(sandbox: Sandbox) -> str:
    """Return the id of the build setting that the tasks use."""
    found: str = sandbox.setting("MyGame", **WIN64)["id"]
    return found


def start_live_build(sandbox: Sandbox, **kwargs: Any) -> str:
    """Start a build of somebody else that stays live; return its id."""
    sandbox.plan(**HANGS)
    build_id: str = sandbox.push(setting_id(sandbox), **kwargs)
    return build_id


def add_other_builds(sandbox: Sandbox) -> None:
    """Add more than one page of ended builds of another branch, with mixed statuses."""
    for number in range(MORE_THAN_ONE_PAGE // 5):
        sandbox.add_builds(
            setting_id(sandbox),
            5,
            branch="a/feature",
            status="failed" if number % 2 else "complete",
            age=5.0 * (MORE_THAN_ONE_PAGE // 5 - number),
        )


def run(
    mode: str = "blocking",
    store: Store | None = None,
    ti: TaskInstance | None = None,
    **kwargs: Any,
) -> Any:
    """Run one try of a task; return its result."""
    clear_number = kwargs.pop("clear_number", 0)
    context = context_of(ti or TaskInstance(), store)
    context["dag_run"].clear_number = clear_number
    return run_task(operator_factory(mode, **kwargs), context)


def kill_before_the_request(store: Store, **kwargs: Any) -> None:
    """Run a first try whose worker is killed just before it sends its request."""
    store.dies_at = 1
    with pytest.raises(Killed):
        run(store=store, ti=TaskInstance(max_tries=1), **kwargs)


RETRY = partial(TaskInstance, try_number=2, max_tries=1)


class TestLists:
    """A list proves only what it shows."""

    @pytest.mark.parametrize(
        ("sandbox", "policy"),
        [*((variants, "fail") for variants in LISTS), (LISTS[0], "wait"), (LISTS[0], "adopt")],
        indirect=["sandbox"],
        ids=str,
    )
    def test_old_live_build(self, sandbox: Sandbox, policy: str) -> None:
        """A live build that is older than a page of other builds is not superseded."""
        live = start_live_build(sandbox)
        sandbox.advance(3000)
        add_other_builds(sandbox)
        with pytest.raises((BuildInFlight, BuildTimeout), match=live):
            run(on_in_flight=policy, timeout=1.0)
        assert count_trigger_requests(sandbox) == 0

    @each_list
    @pytest.mark.usefixtures("short_search_pauses")
    def test_lost_answer(self, sandbox: Sandbox) -> None:
        """The build of a lost answer is found in every list, and not started again."""
        add_other_builds(sandbox)
        sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
        assert [run(store=Store())["build_id"]] == dispatched_builds(sandbox)
        assert count_trigger_requests(sandbox) == 1

    @pytest.mark.parametrize(
        ("sandbox", "deferrable"),
        [*((variants, True) for variants in LISTS), (LISTS[0], False)],
        indirect=["sandbox"],
        ids=str,
    )
    def test_sensor(self, sandbox: Sandbox, *, deferrable: bool) -> None:
        """A sensor finds a queued build whose commit becomes known after many newer builds."""
        wanted = start_live_build(sandbox)
        stored = sandbox.world.builds[wanted]
        commit, stored.commit = stored.commit, None
        sandbox.advance(600)
        add_other_builds(sandbox)
        make = partial(
            task_in_dag,
            BuildPixelBuildSensor,
            project="MyGame",
            commit=f"{commit}\n",
            poke_interval=0.1,
            timeout=20,
            deferrable=deferrable,
            channel="polling",
        )

        def steps() -> None:
            wait_until(lambda: sandbox.requests_to("GET /builds/:id"))
            stored.commit = commit
            sandbox.set_status(wanted, "complete")

        with concurrently(steps):
            assert run_task(make, context_of(TaskInstance()))["build_id"] == wanted

    @pytest.mark.parametrize("policy", ["fail", "supersede"])
    def test_build_that_cannot_be_read(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, policy: str
    ) -> None:
        """A live build whose own GET fails for good counts as it is listed."""
        monkeypatch.setattr(Retries, "pause", lambda *_: None)
        live = start_live_build(sandbox)
        sandbox.fault("500", "GET /builds/:id", times=1)
        if policy == "fail":
            with pytest.raises(BuildInFlight, match=live):
                run(on_in_flight=policy)
            assert count_trigger_requests(sandbox) == 0
        else:
            assert run(on_in_flight=policy)["status"] == "complete"
            assert sandbox.build(live)["status"] == "superseded"

    @pytest.mark.parametrize("sandbox", [Variants(cursor="offset")], indirect=True, ids=str)
    def test_repeated_rows(self, sandbox: Sandbox) -> None:
        """A row that a cursor repeats is yielded once."""
        sandbox.add_builds(setting_id(sandbox), MORE_THAN_ONE_PAGE)
        hook = BuildPixelHook()
        builds = hook.list_builds()
        ids = [next(builds).id]
        sandbox.push(setting_id(sandbox))
        ids += [build.id for build in builds]
        hook.close()
        assert len(ids) == len({*ids}) == MORE_THAN_ONE_PAGE


class TestPolicies:
    """Policies hold before every request, not only before the first."""

    @pytest.mark.usefixtures("short_search_pauses")
    @pytest.mark.parametrize("policy", ["fail", "wait", "adopt"])
    @pytest.mark.parametrize("mode", ["blocking", "deferrable"])
    def test_retry_after_a_kill(self, sandbox: Sandbox, policy: str, mode: str) -> None:
        """A live build that came after the first try was killed is not superseded."""
        store = Store()
        kill_before_the_request(store, on_in_flight=policy)
        sandbox.advance(120)
        live = start_live_build(sandbox)
        with pytest.raises((BuildInFlight, BuildTimeout), match=live):
            run(mode, store, RETRY(), on_in_flight=policy, timeout=1.0)
        assert count_trigger_requests(sandbox) == 0

    @pytest.mark.usefixtures("short_search_pauses")
    @pytest.mark.parametrize("fault", [{"name": "reset"}, {"name": "429", "retry_after": 1}])
    def test_second_request(self, sandbox: Sandbox, fault: dict[str, Any]) -> None:
        """A live build that came after the first request is not superseded by the second."""
        sandbox.fault(route="POST trigger", times=1, **fault)

        def steps() -> None:
            wait_until(lambda: count_trigger_requests(sandbox))
            start_live_build(sandbox)

        with concurrently(steps), pytest.raises(BuildInFlight):
            run(store=Store(), on_in_flight="fail")
        assert count_trigger_requests(sandbox) == 1


class TestUncertainty:
    """What is uncertain stays uncertain."""

    @pytest.mark.usefixtures("short_search_pauses")
    @pytest.mark.parametrize("mode", ["blocking", "deferrable"])
    def test_request_that_timed_out(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        """A request that timed out is not repeated, in no try."""
        monkeypatch.setenv(
            "AIRFLOW_CONN_BUILDPIXEL_DEFAULT", f"{sandbox.connection_uri}&request_timeout=0.5"
        )
        sandbox.fault("hang", "POST trigger", times=1)
        store = Store()
        for number in (1, 2, 3):
            with pytest.raises(DispatchUncertain):
                run(mode, store, TaskInstance(try_number=number, max_tries=2))
        assert count_trigger_requests(sandbox) == 1
        # The user has checked, and clears the task.
        facts = run(mode, store, TaskInstance(try_number=4, max_tries=5))
        assert [facts["build_id"]] == dispatched_builds(sandbox)

    @pytest.mark.usefixtures("short_search_pauses")
    def test_refused_second_request(self, sandbox: Sandbox) -> None:
        """A refused second request does not make the first one certain."""
        store = Store()
        sandbox.fault("reset", "POST trigger", times=1)
        sandbox.fault("refuse", "POST trigger", times=1)
        with pytest.raises(InvalidRequest):
            run(store=store, ti=TaskInstance(max_tries=1))
        assert count_trigger_requests(sandbox) == 2
        late = start_live_build(sandbox, triggered_by="api_token:ours")
        with concurrently(lambda: _complete_when_read(sandbox, late)):
            assert run(store=store, ti=RETRY())["build_id"] == late
        assert count_trigger_requests(sandbox) == 2

    @pytest.mark.usefixtures("short_search_pauses")
    @pytest.mark.parametrize("policy", ["supersede", "fail"])
    def test_build_of_another_token(self, sandbox: Sandbox, policy: str) -> None:
        """A build that another token has started much later is not taken for the task's."""
        store = Store()
        kill_before_the_request(store)
        sandbox.advance(1200)
        other = start_live_build(sandbox, triggered_by="api_token:other")
        if policy == "fail":
            with pytest.raises(BuildInFlight, match=other):
                run(store=store, ti=RETRY(), on_in_flight=policy)
            assert count_trigger_requests(sandbox) == 0
        else:
            facts = run(store=store, ti=RETRY())
            assert facts["build_id"] != other
            assert sandbox.build(other)["status"] == "superseded"


def _complete_when_read(sandbox: Sandbox, build_id: str) -> None:
    wait_until(lambda: any(build_id in request.path for request in sandbox.requests))
    sandbox.set_status(build_id, "complete")


class TestClear:
    """What the task asks for is compared with what it has."""

    @pytest.mark.parametrize("mode", ["blocking", "deferrable"])
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param((1, 2, 2, 0), (2, 2, 1, 1), id="retries lowered by one"),
            pytest.param((2, 2, 2, 0), (3, 2, 0, 1), id="retries lowered to nothing"),
            pytest.param((1, 1, 1, 0), (2, 2, 1, 1), id="retries unchanged"),
            pytest.param((1, 2, 2, 0), (2, 2, 2, 1), id="cleared while its end was reported"),
        ],
    )
    def test_clear_after_success(
        self,
        sandbox: Sandbox,
        mode: str,
        first: tuple[int, int, int, int],
        second: tuple[int, int, int, int],
    ) -> None:
        """A Clear after success starts a new build, also if ``max_tries`` is the same."""
        store, results = Store(), []
        for try_number, max_tries, retries, clear_number in (first, second):
            ti = TaskInstance(try_number=try_number, max_tries=max_tries)
            facts = run(mode, store, ti, retries=retries, clear_number=clear_number)
            results.append(facts["build_id"])
        assert results == dispatched_builds(sandbox)
        assert len(results) == 2

    def test_marked_success_then_cleared(self, sandbox: Sandbox) -> None:
        """A task that was marked success while it ran, and cleared later, starts a new build."""
        store = Store()
        old = _start_and_lose(sandbox, store, retries=1)
        sandbox.set_status(old, "complete")
        facts = run(store=store, ti=TaskInstance(2, 2), retries=1, clear_number=1)
        assert [old, facts["build_id"]] == dispatched_builds(sandbox)

    def test_another_task_was_cleared(self, sandbox: Sandbox) -> None:
        """A Clear of another task of the run starts no second build."""
        store = Store()
        own = _start_and_lose(sandbox, store, retries=1)
        sandbox.set_status(own, "complete")
        facts = run(store=store, ti=RETRY(), retries=1, clear_number=1)
        assert [facts["build_id"]] == dispatched_builds(sandbox) == [own]

    @pytest.mark.parametrize(
        "edit",
        [{"branch": "release/5.4"}, {"platform": "Linux"}, {"buildType": "Development"}],
        ids=str,
    )
    @pytest.mark.parametrize("cleared", [False, True])
    def test_edited_setting(self, sandbox: Sandbox, edit: dict[str, str], *, cleared: bool) -> None:
        """A build from before the setting was edited is not returned."""
        store = Store()
        setting = setting_id(sandbox)
        old = _start_and_lose(sandbox, store, build_setting=setting, retries=1)
        sandbox.set_status(old, "complete")
        sandbox.update_setting(setting, **edit)
        ti = TaskInstance(2, 2) if cleared else RETRY()
        facts = run(store=store, ti=ti, build_setting=setting, retries=1, clear_number=int(cleared))
        assert [old, facts["build_id"]] == dispatched_builds(sandbox)

    @pytest.mark.parametrize("wanted", [{"commit": "4be7a1c"}, {"branch": "next"}], ids=str)
    def test_edited_task(self, sandbox: Sandbox, wanted: dict[str, str]) -> None:
        """A build from before the task was edited is not returned."""
        store = Store()
        old = _start_and_lose(sandbox, store)
        sandbox.set_status(old, "complete")
        facts = run(store=store, ti=RETRY(), **wanted)
        assert [old, facts["build_id"]] == dispatched_builds(sandbox)


def _start_and_lose(sandbox: Sandbox, store: Store, **kwargs: Any) -> str:
    """Start a build and lose the worker right after that; return the build's id."""
    sandbox.plan(**HANGS)
    store.dies_at = 3
    with pytest.raises(Killed):
        run(store=store, ti=TaskInstance(max_tries=1), **kwargs)
    return dispatched_builds(sandbox)[-1]


NO_STREAM = Variants(stream_field="none")


class TestLines:
    """Where a build does not tell its branch or stream, its setting does."""

    @pytest.fixture
    def settings(self, sandbox: Sandbox) -> tuple[str, str]:
        """Return the ids of two settings of the same platform and type, of two streams."""
        main = sandbox.setting("Shooter", platform="Win64")
        hook = BuildPixelHook()
        other = hook.create_build_setting(
            main["projectId"],
            platform="Win64",
            build_type=main["buildType"],
            ue_version="5.4",
            stream_path="//shooter/release",
            trigger="manual",
        )
        hook.close()
        return main["id"], other.id

    @pytest.mark.parametrize("sandbox", [NO_STREAM], indirect=True, ids=str)
    def test_in_flight(self, sandbox: Sandbox, settings: tuple[str, str]) -> None:
        """A live build of another stream is not in the way; one of the same stream is."""
        main, other = settings
        sandbox.plan(**HANGS)
        sandbox.push(other)
        facts = run(project="Shooter", build_setting=main, on_in_flight="fail")
        assert facts["status"] == "complete"
        with pytest.raises(BuildInFlight):
            run(project="Shooter", build_setting=other, on_in_flight="fail")

    @pytest.mark.parametrize("sandbox", [NO_STREAM], indirect=True, ids=str)
    @pytest.mark.usefixtures("short_search_pauses")
    def test_follow(self, sandbox: Sandbox, settings: tuple[str, str]) -> None:
        """A newer build of another stream is not followed."""
        main, other = settings
        sandbox.plan(**HANGS)

        def steps() -> None:
            sandbox.set_status(wait_for_dispatch(sandbox), "superseded")
            sandbox.push(other)

        with concurrently(steps), pytest.raises(BuildSuperseded) as raised:
            run(project="Shooter", build_setting=main, on_superseded="follow")
        assert raised.value.newer is None

    @pytest.mark.parametrize("sandbox", [NO_STREAM], indirect=True, ids=str)
    def test_follow_same_stream(self, sandbox: Sandbox, settings: tuple[str, str]) -> None:
        """A newer build of the same stream is followed."""
        main, other = settings
        sandbox.plan(**HANGS)
        newer: list[str] = []

        def steps() -> None:
            wait_for_dispatch(sandbox)
            sandbox.push(other)
            newer.append(sandbox.push(main))

        with concurrently(steps):
            facts = run(project="Shooter", build_setting=main, on_superseded="follow")
        assert [facts["build_id"]] == newer

    @pytest.mark.parametrize("branch", ["refs/heads/release/5.4", "release/5.4", " release/5.4\n"])
    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.usefixtures("sandbox")
    def test_spellings_of_a_branch(self, branch: str, *, deferrable: bool) -> None:
        """Operator and sensor accept the same spellings, and find each other's builds."""
        commit = "abc123\n"
        facts = run(branch=branch, commit=commit)
        assert facts["branch"] == "release/5.4"
        make = partial(
            task_in_dag,
            BuildPixelBuildSensor,
            project="MyGame",
            branch=branch,
            commit=commit,
            timeout=20,
            poke_interval=0.1,
            deferrable=deferrable,
        )
        assert run_task(make, context_of(TaskInstance()))["build_id"] == facts["build_id"]

    @pytest.mark.parametrize("sandbox", [Variants(changelist_body="text")], indirect=True, ids=str)
    @pytest.mark.usefixtures("sandbox")
    def test_changelist(self) -> None:
        """A changelist is sent as text, however it was given."""
        facts = run(project="Shooter", build_setting={"platform": "Win64"}, changelist=4711)
        assert facts["changelist"] == "4711"

    def test_retry_after_a_followed_build(self, sandbox: Sandbox) -> None:
        """A newer build of another setting that was followed is continued with by a retry."""
        setting = sandbox.setting("MyGame", **WIN64)
        hook = BuildPixelHook()
        other = hook.create_build_setting(
            setting["projectId"],
            platform=setting["platform"],
            build_type=setting["buildType"],
            ue_version="5.3",
            branch=setting["branch"],
            trigger="manual",
        )
        hook.close()
        sandbox.plan(**HANGS, times=2)
        store, newer = Store(), list[str]()

        def steps() -> None:
            wait_for_dispatch(sandbox)
            newer.append(sandbox.push(other.id))

        wanted = {"build_setting": setting["id"], "on_superseded": "follow"}
        with concurrently(steps), pytest.raises(BuildTimeout):
            run(store=store, ti=TaskInstance(max_tries=1), timeout=1.0, **wanted)
        sandbox.set_status(newer[0], "complete")
        assert run(store=store, ti=RETRY(), **wanted)["build_id"] == newer[0]
        assert count_trigger_requests(sandbox) == 1

    def test_follow_with_a_commit(self, sandbox: Sandbox) -> None:
        """A task that asks for a commit does not return the newer build of another commit."""
        sandbox.plan(**HANGS)

        def steps() -> None:
            wait_for_dispatch(sandbox)
            sandbox.push(setting_id(sandbox), commit="fedcba98")

        with concurrently(steps), pytest.raises(BuildSuperseded, match="superseded by build "):
            run(commit="abc123", on_superseded="follow")


class TestClocks:
    """Ids of one second may not sort, and clocks may differ."""

    @pytest.mark.parametrize("sandbox", [Variants(id_order="same-second")], indirect=True, ids=str)
    def test_follow_within_a_second(self, sandbox: Sandbox) -> None:
        """The newer build is found, also if its id sorts before that of the older one."""
        for branch in ("a", "b", "c", "d"):
            sandbox.plan(**HANGS)
            newer: list[str] = []
            count = len(sandbox.builds()) + 1

            def steps(branch: str = branch, newer: list[str] = newer, count: int = count) -> None:
                wait_until(lambda: len(sandbox.builds()) == count)
                newer.append(sandbox.push(setting_id(sandbox), branch=branch))

            with concurrently(steps):
                assert [run(branch=branch, on_superseded="follow")["build_id"]] == newer

    @pytest.mark.parametrize(
        "sandbox",
        [
            Variants(date_header=header, clock_skew=skew)
            for header in Variants.points()["date_header"]
            for skew in Variants.points()["clock_skew"]
        ],
        indirect=True,
        ids=str,
    )
    def test_retry_without_a_store(self, sandbox: Sandbox) -> None:
        """Below Airflow 3.3, a retry does not supersede its own build, whatever the clocks say."""
        sandbox.plan(**HANGS)
        start = datetime.now(UTC)
        first = TaskInstance(max_tries=1, start_date=start)
        with pytest.raises(BuildPixelError):
            run(ti=first, timeout=0.5)
        (own,) = dispatched_builds(sandbox)
        second = TaskInstance(try_number=2, max_tries=1, start_date=start)
        with concurrently(lambda: _complete_later(sandbox, own)):
            assert run(ti=second)["build_id"] == own
        assert dispatched_builds(sandbox) == [own]


def _complete_later(sandbox: Sandbox, build_id: str) -> None:
    before = len(sandbox.requests)
    wait_until(lambda: len(sandbox.requests) > before + 3)
    sandbox.set_status(build_id, "complete")
