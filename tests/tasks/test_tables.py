"""The tables of the documentation hold, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import (
    BuildInFlight,
    BuildSuperseded,
    DispatchUncertain,
)
from tests.docs.tables import read_table
from tests.tasks import in_flight_table, retry_table
from tests.tasks.in_flight_table import ADOPTS, CANCELS, FAILS, IGNORES, POLICIES, WAITS
from tests.tasks.retry_table import CONTINUES, RETURNS, STARTS, SUPERSEDED, UNCERTAIN, EarlierTry
from tests.tasks.stage import (
    MODES,
    Store,
    TaskInstance,
    concurrently,
    context_of,
    count_trigger_requests,
    dispatched_builds,
    operator_factory,
    run_task,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

NEXT_TRY: dict[str, dict[str, Any]] = {
    "retry": {"try_number": 2, "max_tries": 2},
    "clear": {"try_number": 2, "max_tries": 3},
}


@pytest.mark.parametrize("module", [retry_table, in_flight_table])
def test_documentation(module: Any) -> None:
    """The pages show the tables as they are tested."""
    assert read_table(module.PAGE, module.TABLE) == module.table()


@pytest.mark.usefixtures("short_search_pauses")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", NEXT_TRY)
@pytest.mark.parametrize("row", retry_table.ROWS, ids=lambda row: row.situation)
def test_next_try(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    row: retry_table.Row,
    kind: str,
    mode: str,
) -> None:
    """A retry, and a try after a Clear, do with the earlier build what the table says."""
    earlier = EarlierTry(sandbox, monkeypatch)
    row.prepare(earlier)
    known = dispatched_builds(sandbox)
    expected = getattr(row, kind)
    ti = TaskInstance(**NEXT_TRY[kind])
    make = operator_factory(
        mode, retries=2, **{"build_setting": earlier.setting_id, **earlier.parameters}
    )
    context = context_of(ti, earlier.store)
    if expected == UNCERTAIN:
        with pytest.raises(DispatchUncertain):
            run_task(make, context)
    elif expected == SUPERSEDED:
        with pytest.raises(BuildSuperseded):
            run_task(make, context)
    elif expected in (CONTINUES, RETURNS):
        with concurrently(lambda: _complete_when_read(sandbox, known[-1])):
            assert run_task(make, context)["build_id"] == known[-1]
    else:
        assert expected == STARTS
        facts = run_task(make, context)
        assert dispatched_builds(sandbox) == [*known, facts["build_id"]]
        return
    assert dispatched_builds(sandbox) == known


def _complete_when_read(sandbox: Sandbox, build_id: str) -> None:
    before = len(sandbox.requests)
    wait_until(lambda: any(build_id in request.path for request in sandbox.requests[before:]))
    if sandbox.build(build_id)["finishedAt"] is None:
        sandbox.set_status(build_id, "complete")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("row", in_flight_table.ROWS, ids=lambda row: row.live_build)
def test_live_build(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, row: in_flight_table.Row, policy: str
) -> None:
    """Each policy does about a live build what the table says."""
    monkeypatch.setattr("airflow_provider_buildpixel.tasks.dispatcher.MAX_DELAY_AFTER_WAIT", 0.1)
    live = row.start(sandbox)
    expected = row.ends[POLICIES.index(policy)]
    setting = sandbox.settings("MyGame")[0]["id"]
    make = operator_factory("blocking", build_setting=setting, on_in_flight=policy, **row.wanted)
    context = context_of(TaskInstance(), Store())
    if expected == FAILS:
        with pytest.raises(BuildInFlight, match=live):
            run_task(make, context)
        assert count_trigger_requests(sandbox) == 0
        return

    def steps() -> None:
        if expected in (ADOPTS, WAITS):
            _complete_when_read(sandbox, live)

    with concurrently(steps):
        facts = run_task(make, context)
    assert count_trigger_requests(sandbox) == (expected != ADOPTS)
    assert (facts["build_id"] == live) == (expected == ADOPTS)
    ended = {CANCELS: "superseded", ADOPTS: "complete", WAITS: "complete", IGNORES: "running"}
    assert sandbox.build(live)["status"] == ended[expected]
