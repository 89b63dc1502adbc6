"""All readings of the contract together: the main path under each, and what readings there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


FOLLOWED = ["running", "complete"]


@pytest.mark.parametrize("variants", [*Variants.every(), *map(Variants.random, range(8))], ids=str)
def test_main_path(
    make_sandbox: Callable[..., Sandbox],
    make_api: Callable[..., Any],
    make_ear: Callable[..., Any],
    until: Callable[..., None],
    variants: Variants,
) -> None:
    """Under every reading a build is triggered, followed, read and its artifact downloaded."""
    sandbox = make_sandbox(variants=variants)
    api = make_api(sandbox)
    sandbox.plan(outcome="stays_pending", artifact_bytes=5000)
    build_id = api.trigger().json()["buildId"]
    ear = make_ear(sandbox).connect().join(build_id)
    for status in FOLLOWED:
        sandbox.set_status(build_id, status)
    # A join may be told the status too, so how many events there are is a matter of the reading.
    until(lambda: [event["status"] for event in ear.of("build:status")][-2:] == FOLLOWED)
    assert api.get(f"/builds/{build_id}")["status"] == "complete"
    assert api.get("/builds")["items"][0]["id"] == build_id
    download = api.get(f"/builds/{build_id}/download")
    del api.session.headers["Authorization"]
    assert len(api.session.get(download["url"], timeout=5).content) == download["sizeBytes"]


def test_one_deviation_each() -> None:
    """`every` deviates in one point at a time and leaves none out."""
    usual = Variants()
    found = set()
    for reading in Variants.every():
        (odd,) = [n for n in Variants.points() if getattr(reading, n) != getattr(usual, n)]
        found.add((odd, getattr(reading, odd)))
    points = Variants.points().items()
    assert found == {(name, value) for name, all_ in points for value in all_[1:]}
    assert set(Variants.meanings()) == set(Variants.points())


def test_by_lot() -> None:
    """`random` gives the same reading for the same seed, and another for another."""
    assert Variants.random(1) == Variants.random(1) != Variants.random(2)


def test_unknown_reading() -> None:
    """A value that no one has thought of is refused."""
    with pytest.raises(ValueError, match="builds_order"):
        Variants(builds_order="sideways")
