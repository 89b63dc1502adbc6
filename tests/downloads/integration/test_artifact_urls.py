"""Which artifact URLs a download requests: a hostile server may send any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.downloads.integration.stores import FakeStore

FILE_URL = "file:///etc/passwd"


@pytest.mark.parametrize("when", ["first", "refreshed"])
def test_file_url_is_not_read(store: FakeStore, tmp_path: Path, when: str) -> None:
    """No URL makes a download read a file of the worker: neither the first nor a fresh one."""
    store.content = b"x" * 1000
    job = store.job(LocalFile(tmp_path / "a.tar.gz"))
    good = store.artifact()
    bad = replace(good, url=FILE_URL)
    answers = iter([bad] if when == "first" else [good, bad])
    job.get_artifact = lambda: next(answers)
    store.on_request = lambda _: 403
    with pytest.raises(UnexpectedAnswer, match="where https was expected"):
        run_download(job)
    assert not (tmp_path / "a.tar.gz").exists()
