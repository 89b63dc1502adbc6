"""Which addresses of an artifact are asked at all: a BuildPixel that lies may name any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.client.destinations import LocalFile
from airflow_provider_buildpixel.core.artifacts import trusted
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.download.shop import Shop

SAFE, CLEAR = "https://api.buildpixel.io", "http://127.0.0.1:8765"
FILE = "file:///etc/passwd"


@pytest.mark.parametrize(
    ("url", "base_url"),
    [("https://x/y?sig=z", SAFE), ("HTTPS://x/y", SAFE), ("http://x/y", CLEAR)],
)
def test_trusted(url: str, base_url: str) -> None:
    """An address that is as safe as the API is asked."""
    assert trusted(url, base_url) == url


@pytest.mark.parametrize(
    "url", ["http://x/y?sig=z", FILE, "ftp://x", "/y", "", "x", "data:,", "\x1b[2Jhttps://x"]
)
def test_not_trusted(url: str) -> None:
    """Any other is refused, with an error that neither shows it nor harms a terminal."""
    with pytest.raises(UnexpectedAnswer, match="where https was expected") as caught:
        trusted(url, SAFE)
    assert "sig" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("when", ["at-first", "renewed"])
def test_a_file_is_not_fetched(shop: Shop, tmp_path: Path, when: str) -> None:
    """No address leads a download to a file of the worker: neither the first nor a fresh one."""
    shop.content = b"x" * 1000
    job = shop.download(LocalFile(tmp_path / "a.tar.gz"))
    good = shop.artifact()
    bad = replace(good, url=FILE)
    answers = iter([bad] if when == "at-first" else [good, bad])
    job.fresh = lambda: next(answers)
    shop.before = lambda _: 403
    with pytest.raises(UnexpectedAnswer, match="where https was expected"):
        job.run()
    assert not (tmp_path / "a.tar.gz").exists()
