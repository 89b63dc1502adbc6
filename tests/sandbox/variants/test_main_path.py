"""The main path under all variants, and the methods of `Variants`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants
from tests.sandbox.clients import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox


FOLLOWED = ["running", "complete"]


@pytest.mark.parametrize("variants", [*Variants.every(), *map(Variants.random, range(8))], ids=str)
def test_main_path(
    make_sandbox: Callable[..., Sandbox],
    make_api: Callable[..., Any],
    make_client: Callable[..., Any],
    variants: Variants,
) -> None:
    """With every variant a build is triggered, followed and read, and its artifact downloaded."""
    sandbox = make_sandbox(variants=variants)
    api = make_api(sandbox)
    sandbox.plan(outcome="stays_pending", artifact_bytes=5000)
    build_id = api.trigger().json()["buildId"]
    client = make_client(sandbox).connect().join(build_id)
    for status in FOLLOWED:
        sandbox.set_status(build_id, status)
    # With some variants a join is followed by a status event, so only the last two are compared.
    until(lambda: [event["status"] for event in client.payloads("build:status")][-2:] == FOLLOWED)
    assert api.get(f"/builds/{build_id}")["status"] == "complete"
    sandbox.advance(variants.list_lag)
    extra_rows = int(variants.list_rows != "good")
    assert api.get("/builds")["items"][extra_rows]["id"] == build_id
    download = api.get(f"/builds/{build_id}/download")
    del api.session.headers["Authorization"]
    assert len(api.session.get(download["url"], timeout=5).content) == download["sizeBytes"]


def test_every() -> None:
    """`every` changes one point at a time, and covers every value."""
    default = Variants()
    found = set()
    for variants in Variants.every():
        (changed,) = [n for n in Variants.points() if getattr(variants, n) != getattr(default, n)]
        found.add((changed, getattr(variants, changed)))
    points = Variants.points().items()
    assert found == {(name, value) for name, all_ in points for value in all_[1:]}
    assert set(Variants.meanings()) == set(Variants.points())


def test_random() -> None:
    """`random` returns the same variants for the same seed, and others for another seed."""
    assert Variants.random(1) == Variants.random(1) != Variants.random(2)


def test_unknown_value() -> None:
    """A value that is not one of the possible ones is rejected."""
    with pytest.raises(ValueError, match="builds_order"):
        Variants(builds_order="sideways")
