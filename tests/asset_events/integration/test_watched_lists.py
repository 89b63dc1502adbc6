"""A watcher with every list that the documentation leaves open, and with many other builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants
from tests.asset_events.integration.watching import Store, Watcher, push, started

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

POINTS = Variants.points()
LISTS = [
    {name: value}
    for name in ("builds_order", "cursor", "list_rows", "last_page", "list_items", "id_order")
    for value in POINTS[name]
]


def _add_others(sandbox: Sandbox) -> list[str]:
    """Add old builds of many projects, settings and branches; return the build settings."""
    settings = [*sandbox.settings("MyGame"), *sandbox.settings("Shooter")]
    setting_ids = [str(setting["id"]) for setting in settings]
    for number, setting_id in enumerate(setting_ids):
        sandbox.add_builds(setting_id, 30, status="failed", age=600 + 7 * number)
        sandbox.add_builds(setting_id, 5, age=650 + 7 * number)
    for branch in ("aaa", "zzz"):
        sandbox.add_builds(setting_ids[0], 130, branch=branch, age=900)
    return setting_ids


@pytest.mark.parametrize("variants", LISTS, ids=lambda one: str(Variants(**one)))
async def test_every_build_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, variants: dict[str, Any]
) -> None:
    """Each build that ends is reported once, in whatever group of a long list it is."""
    with started(monkeypatch, **variants) as sandbox:
        setting_ids = _add_others(sandbox)
        early = [sandbox.push(one, branch=f"early-{one}") for one in setting_ids]
        push(sandbox, "complete")
        store, pushed = Store(), []
        for lap in range(2):
            async with Watcher(store) as watcher:
                await watcher.wait_for_start()
                before = len(watcher.ids)
                for setting_id in setting_ids:
                    pushed.append(sandbox.push(setting_id, branch=f"{lap}-{setting_id}"))
                    sandbox.set_status(pushed[-1], "complete")
                ended = early[lap::2]
                for build_id in ended:
                    sandbox.set_status(build_id, "complete")
                found = await watcher.wait_for(before + len(setting_ids) + len(ended))
                await watcher.wait_for_polls(sandbox, 8)
                assert sorted(watcher.ids) == sorted(found)
                assert set(found) == {*pushed[-len(setting_ids) :], *ended}


@pytest.mark.parametrize("items", POINTS["list_items"])
async def test_branch(monkeypatch: pytest.MonkeyPatch, items: str) -> None:
    """A branch may be spelled as a Git reference; rows that lack it are read by id."""
    with started(monkeypatch, list_items=items) as sandbox:
        async with Watcher(project="MyGame", branch="refs/heads/line-1") as watcher:
            await watcher.wait_for_start()
            push(sandbox, "complete")
            wanted = push(sandbox, "complete")
            assert await watcher.wait_for(1) == [wanted]
            await watcher.wait_for_polls(sandbox, 3)
            assert watcher.ids == [wanted]


@pytest.mark.parametrize("stream_field", POINTS["stream_field"])
async def test_stream(monkeypatch: pytest.MonkeyPatch, stream_field: str) -> None:
    """The stream of a build that does not tell its own is that of its build setting."""
    with started(monkeypatch, stream_field=stream_field) as sandbox:
        one, *_ = settings = sandbox.settings("Shooter")
        other = "//depot/another/stream"
        async with (
            Watcher(branch=one["streamPath"]) as watcher,
            Watcher(branch=other) as elsewhere,
        ):
            await watcher.wait_for_start()
            await elsewhere.wait_for_start()
            wanted = sandbox.push(one["id"])
            sandbox.set_status(wanted, "complete")
            assert await watcher.wait_for(1) == [wanted]
            sandbox.update_setting(settings[-1]["id"], streamPath=other)
            moved = sandbox.push(settings[-1]["id"])
            sandbox.set_status(moved, "complete")
            assert await elsewhere.wait_for(1) == [moved]
            assert watcher.ids == [wanted]


async def test_builds_that_a_stale_list_hid_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ended before the watcher started is not reported when it appears later."""
    with started(monkeypatch, list_lag=5) as sandbox:
        live = push(sandbox)
        sandbox.advance(10)
        push(sandbox, "complete")
        hidden = push(sandbox)
        sandbox.advance(3)
        async with Watcher() as watcher:
            await watcher.wait_for_start()
            sandbox.advance(10)
            await watcher.wait_for_polls(sandbox, 3)
            for build_id in (hidden, live):
                sandbox.set_status(build_id, "complete")
            new = push(sandbox, "complete")
            sandbox.advance(10)
            assert set(await watcher.wait_for(3)) == {hidden, live, new}


@pytest.mark.parametrize("skew", POINTS["clock_skew"])
@pytest.mark.parametrize("date", POINTS["date_header"])
async def test_clocks(monkeypatch: pytest.MonkeyPatch, skew: int, date: str) -> None:
    """Builds that end right after the start are reported, whatever the server's clock shows."""
    with started(monkeypatch, clock_skew=skew, date_header=date) as sandbox:
        live = push(sandbox)
        async with Watcher(Store()) as watcher:
            await watcher.wait_for_start()
            sandbox.set_status(live, "complete")
            new = push(sandbox, "complete")
            assert set(await watcher.wait_for(2)) == {live, new}


@pytest.mark.parametrize("first_seen", ["live", "ended"])
async def test_a_build_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    first_seen: str,
) -> None:
    """A build whose own read always fails does not stop the others; it is read later."""
    with started(monkeypatch) as sandbox:
        async with Watcher(Store()) as watcher:
            await watcher.wait_for_start()
            broken = push(sandbox)
            stored = sandbox.world.builds[broken]
            logs, stored.logs = stored.logs, None  # type: ignore[assignment]  # makes it answer 500
            if first_seen == "live":
                await watcher.wait_until_seen(broken)
            sandbox.set_status(broken, "complete")
            others = [push(sandbox, "complete") for _ in range(3)]
            assert await watcher.wait_for(3) == others
            others.append(push(sandbox, "complete"))
            assert await watcher.wait_for(4) == others
            await watcher.wait_for_polls(sandbox, 3)
            logged = caplog.text + capsys.readouterr().out  # it depends on the Airflow version
            assert logged.count(f"Cannot read build {broken}") == 1
            stored.logs = logs
            assert await watcher.wait_for(5) == [*others, broken]


async def test_a_long_grouped_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a list that is too long for each poll, builds that were seen live are reported."""
    with started(monkeypatch, builds_order="by-branch") as sandbox:
        setting_id = sandbox.settings("MyGame")[0]["id"]
        for branch in ("aaa", "bbb"):
            sandbox.add_builds(setting_id, 600, branch=branch, age=5000)
        async with Watcher(Store()) as watcher:
            await watcher.wait_for_start()
            new = push(sandbox)
            await watcher.wait_until_seen(new)
            sandbox.forget_requests()
            sandbox.set_status(new, "complete")
            assert await watcher.wait_for(1) == [new]
            await watcher.wait_for_polls(sandbox, 6)
            assert not any("cursor" in one.query for one in sandbox.requests_to("GET /builds"))
            assert watcher.ids == [new]
