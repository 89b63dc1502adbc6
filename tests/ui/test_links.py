"""The XComs that a task pushes for the link and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.page.record import RECORD_KEY, BuildRecord, TaskInstanceKey
from tests.ui.conftest import connection, published

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

LINK_KEY = "buildpixel_build_url"


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the page needs Airflow 3.1")
def test_the_page_in_airflow(sandbox: Sandbox) -> None:
    """Without a dashboard the link is the relative URL of the page, which names the task."""
    xcoms = published(map_index=1)
    link = urlsplit(xcoms[LINK_KEY])
    assert link.path == f"buildpixel/builds/bp/{xcoms['build_id']}"
    ti_key = TaskInstanceKey("pipeline", "manual", "build", 1)
    assert TaskInstanceKey.from_query(dict(parse_qsl(link.query))) == ti_key
    record = BuildRecord.from_json(xcoms[RECORD_KEY])
    assert record is not None
    assert record.is_valid_for(ti_key, sandbox.token)
    assert (record.build_id, record.platform) == (xcoms["build_id"], "Win64")
    assert sandbox.token not in str(xcoms)


@pytest.mark.skipif(AIRFLOW_V_3_1_PLUS, reason="since 3.1 there is a page in Airflow")
def test_no_page_in_airflow(sandbox: Sandbox) -> None:
    """If Airflow has no page, there is no link to it."""
    assert set(published()) == {"build_id"}


def test_the_dashboard(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dashboard the link leads there; the record for the tab is pushed too."""
    template = "?build_url=https%3A%2F%2Fdash%2F{build_id}"
    monkeypatch.setenv("AIRFLOW_CONN_BP", f"{connection(sandbox)}/{template}")
    xcoms = published()
    assert xcoms[LINK_KEY] == f"https://dash/{xcoms['build_id']}"
    assert (RECORD_KEY in xcoms) is AIRFLOW_V_3_1_PLUS
