"""The system's own Chromium, driven by Playwright, and what it must never see."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = {"width": 1400, "height": 860}
PATIENCE = 45_000.0
"""Milliseconds: the machine may be busy, and nothing is shown too late but what is broken."""


def chromium() -> str:
    """Find Chromium; without it the tests are skipped, or fail where it is required."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is not None:
        return found
    reason = "no Chromium on this machine: install it, on Debian with `apt-get install chromium`"
    if os.environ.get("BUILDPIXEL_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def browsing(path: str) -> Iterator[Browser]:
    """Start the browser, with a profile of its own that is gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


READ = """() => [
    location.href, document.title, document.body?.innerText,
    ...[...document.querySelectorAll("input, textarea")].map(
        field => field.type === "password" ? "" : field.value
    ),
    location.pathname.includes("/buildpixel/") ? document.documentElement.outerHTML : "",
].join("\\n")"""
"""Gives all that a page can show: its address, its text, what is in its fields; of our own pages
the whole markup. Airflow's form has in its markup the password that it shows as dots."""


class Watcher:
    """A page, and all that happened in it which should not have.

    :param secrets: gives what must never be shown.
    """

    def __init__(
        self, context: BrowserContext, origin: str, secrets: Callable[[], Iterable[str]]
    ) -> None:
        self.allowed = {urlsplit(origin).netloc}
        self._secrets = secrets
        self.wrong: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", self._said)
        self.page.on("request", self._requested)

    def _said(self, message: ConsoleMessage) -> None:
        ours = "/buildpixel/" in message.location.get("url", "")
        if message.type == "error" and (ours or "Content Security Policy" in message.text):
            self.wrong.append(f"console: {message.text}")

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https"} and parts.netloc not in self.allowed:
            self.wrong.append(f"request: {parts.scheme}://{parts.netloc}{parts.path}")

    def shown(self) -> str:
        """Give what the page and its frames can show now, and so any picture of it."""
        return "\n".join(frame.evaluate(READ) for frame in self.page.frames)

    def look(self) -> None:
        """Make sure that no secret can be seen."""
        shown = self.shown()
        self.wrong += [
            f"a secret is shown: {secret[:8]}" for secret in self._secrets() if secret in shown
        ]

    def picture(self, name: str) -> None:
        """Look, and take a picture for the documentation, if that was asked for."""
        self.look()
        if os.environ.get("BUILDPIXEL_PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            self.page.mouse.move(700, 5)
            self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
