"""Which addresses of an artifact are asked at all: a BuildPixel that lies may name any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.downloads.integration.stores import Shop

SAFE, CLEAR = "https://api.buildpixel.io", "http://127.0.0.1:8765"
FILE = "file:///etc/passwd"


@pytest.mark.parametrize("when", ["at-first", "renewed"])
def test_a_file_is_not_fetched(shop: Shop, tmp_path: Path, when: str) -> None:
    """No address leads a download to a file of the worker: neither the first nor a fresh one."""
    shop.content = b"x" * 1000
    job = shop.download(LocalFile(tmp_path / "a.tar.gz"))
    good = shop.artifact()
    bad = replace(good, url=FILE)
    answers = iter([bad] if when == "at-first" else [good, bad])
    job.get_artifact = lambda: next(answers)
    shop.before = lambda _: 403
    with pytest.raises(UnexpectedAnswer, match="where https was expected"):
        run_download(job)
    assert not (tmp_path / "a.tar.gz").exists()
