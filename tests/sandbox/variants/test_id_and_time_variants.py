"""Every unspecified point of ids and times, with each of its values."""

from __future__ import annotations

import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox import Variants
from tests.sandbox.clients import push_build
from tests.sandbox.variants.test_rest_variants import each_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

    StartVariant = Callable[..., tuple[Sandbox, Any]]


@each_value("ids")
def test_ids(start_variant: StartVariant, ids: str) -> None:
    """Ids sort by creation time with either alphabet."""
    sandbox, _ = start_variant(ids=ids)
    made = [push_build(sandbox) for _ in range(200)]
    assert made == sorted(made)
    assert {len(each) for each in made} == {24}
    assert (set("".join(made)) & set("-_") != set()) == (ids == "punctuated")


@each_value("id_order")
def test_id_order(make_sandbox: Callable[..., Sandbox], id_order: str) -> None:
    """Ids of one second sort by creation time or not; those of different seconds always do."""
    # A slow clock, so that the builds are of one second.
    sandbox = make_sandbox(speed=0.001, variants=Variants(id_order=id_order))
    sandbox.advance(1 - sandbox.now() % 1)
    seconds = []
    for _ in range(3):
        at = int(sandbox.now())
        made = [push_build(sandbox) for _ in range(30)]
        assert {len(each) for each in made} == {24}
        assert (made == sorted(made)) == (id_order == "created")
        if id_order == "same-second":
            assert {int(each[:8], 16) for each in made} == {at}
        seconds.append(made)
        sandbox.advance(1)
    assert all(max(one) < min(other) for one, other in pairwise(seconds))
    assert sandbox.world.build_ids == [each for made in seconds for each in made]


@each_value("date_header")
def test_date_header(
    start_variant: StartVariant, make_client: Callable[..., Any], date_header: str
) -> None:
    """All responses have a Date header, or none has one."""
    sandbox, api = start_variant(date_header=date_header)
    build_id = push_build(sandbox)
    sandbox.set_status(build_id, "complete")
    url = api.get(f"/builds/{build_id}/download")["url"]
    responses = [
        api("GET", "/builds"),
        api("GET", "/builds/none"),
        api("GET", "/socket.io/?EIO=4&transport=polling"),
        api.session.get(url, headers={"Authorization": None}, timeout=5),
    ]
    assert [response.status_code for response in responses] == [200, 404, 200, 200]
    assert {"Date" in response.headers for response in responses} == {date_header == "sent"}
    assert make_client(sandbox).connect().sio.connected


@each_value("clock_skew")
def test_clock_skew(start_variant: StartVariant, clock_skew: int) -> None:
    """The Date header and all timestamps are those of a clock that is ahead or behind."""
    earliest = time.time()
    _, api = start_variant(clock_skew=clock_skew)
    response = api.trigger()
    build = api.get(f"/builds/{response.json()['buildId']}")
    latest = time.time()
    date = parsedate_to_datetime(response.headers["Date"]).timestamp()
    created_at = datetime.fromisoformat(build["createdAt"]).timestamp()
    # A Date header has whole seconds, a timestamp has whole milliseconds.
    assert earliest - 1 <= date - clock_skew <= latest
    assert earliest - 0.001 <= created_at - clock_skew <= latest
