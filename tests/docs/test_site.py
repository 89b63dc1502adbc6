"""The site builds without warnings and loads nothing from other hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from tests.docs.pages import ROOT, pages

if TYPE_CHECKING:
    from pathlib import Path


class Page(HTMLParser):
    """The resources, link targets and ids of an HTML page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the URLs and the id of a tag."""
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.linked.append(values["href"])
        elif tag == "link" and values.get("rel") not in {"index", "search", "next", "prev"}:
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site with ``make docs``, where every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [shutil.which("make") or "make", "docs", f"SITE={folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    return folder


@pytest.mark.timeout(180)
def test_every_page_is_there(site: Path) -> None:
    """Each page in docs/ becomes a page of the site."""
    sources = [page for page in pages() if page.is_relative_to(ROOT / "docs")]
    built = [site / page.relative_to(ROOT / "docs").with_suffix(".html") for page in sources]
    assert [str(page) for page in built if not page.exists()] == []
    assert len(built) > 20


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Styles, scripts and pictures are part of the site, so it works without a network."""
    for file in site.rglob("*.html"):
        loaded = Page(file.read_text()).loaded
        assert loaded
        for address in loaded:
            parts = urlsplit(address)
            assert parts.scheme in {"", "data"}, f"{file}: {address}"
            assert not parts.netloc, f"{file}: {address}"
    for file in site.rglob("*.css"):
        foreign = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]+", file.read_text())
        assert foreign == [], file


def test_links_lead_somewhere(site: Path) -> None:
    """Each link within the site leads to a file and, after a #, to an id in it."""
    known = {file.resolve(): Page(file.read_text()) for file in site.rglob("*.html")}
    for file, page in known.items():
        for link in page.linked:
            path, anchor = urldefrag(link)
            if urlsplit(path).scheme:
                continue
            target = (file.parent / unquote(path)).resolve() if path else file
            assert target.exists(), f"{file}: {link}"
            ids = known[target].ids if target in known else {anchor}
            assert not anchor or anchor in ids, f"{file}: {link}"
