"""Which URLs of an artifact are requested at all: a server that lies may name any."""

from __future__ import annotations

import pytest

from airflow_provider_buildpixel.downloads.artifacts import checked_artifact_url
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

SAFE, CLEAR = "https://api.buildpixel.io", "http://127.0.0.1:8765"
FILE = "file:///etc/passwd"


@pytest.mark.parametrize(
    ("url", "base_url"),
    [("https://x/y?sig=z", SAFE), ("HTTPS://x/y", SAFE), ("http://x/y", CLEAR)],
)
def test_trusted(url: str, base_url: str) -> None:
    """An address that is as safe as the API is asked."""
    assert checked_artifact_url(url, base_url) == url


@pytest.mark.parametrize(
    "url", ["http://x/y?sig=z", FILE, "ftp://x", "/y", "", "x", "data:,", "\x1b[2Jhttps://x"]
)
def test_not_trusted(url: str) -> None:
    """Any other is refused, with an error that neither shows it nor harms a terminal."""
    with pytest.raises(UnexpectedAnswer, match="where https was expected") as caught:
        checked_artifact_url(url, SAFE)
    assert "sig" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
