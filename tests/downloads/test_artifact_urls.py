"""Which artifact URLs are accepted: a hostile server may send any."""

from __future__ import annotations

import pytest

from airflow_provider_buildpixel.downloads.artifacts import checked_artifact_url
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

HTTPS_API, HTTP_API = "https://api.buildpixel.io", "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("url", "base_url"),
    [("https://x/y?sig=z", HTTPS_API), ("HTTPS://x/y", HTTPS_API), ("http://x/y", HTTP_API)],
)
def test_accepted(url: str, base_url: str) -> None:
    """A URL that is as secure as the API's is accepted."""
    assert checked_artifact_url(url, base_url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://x/y?sig=z",
        "file:///etc/passwd",
        "ftp://x",
        "/y",
        "",
        "x",
        "data:,",
        "\x1b[2Jhttps://x",
    ],
)
def test_refused(url: str) -> None:
    """Any other URL is refused, with an error without the URL and without terminal escapes."""
    with pytest.raises(UnexpectedAnswer, match="where https was expected") as caught:
        checked_artifact_url(url, HTTPS_API)
    assert "sig" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
