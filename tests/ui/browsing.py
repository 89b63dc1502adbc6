"""The system's Chromium, driven by Playwright, and checks of what it shows and requests."""

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
TIMEOUT_MS = 45_000.0
"""Limit of each wait in milliseconds, long enough for a busy machine."""


def chromium() -> str:
    """Return the path of Chromium; without it skip the test, or fail if it is required."""
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
    """Start the browser with a temporary profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


READ_PAGE = """() => [
    location.href, document.title, document.body?.innerText,
    ...[...document.querySelectorAll("input, textarea")].map(
        field => field.type === "password" ? "" : field.value
    ),
    location.pathname.includes("/buildpixel/") ? document.documentElement.outerHTML : "",
].join("\\n")"""
"""Returns everything that a page shows: URL, text, field values, and our pages' markup.

The markup of Airflow's form is not included: it contains the password that is content as dots."""


class CheckedPage:
    """A browser page that records dialogs, errors, other sites and visible secrets.

    :param secrets: returns the texts that must never be content.
    """

    def __init__(
        self, context: BrowserContext, origin: str, secrets: Callable[[], Iterable[str]]
    ) -> None:
        self.allowed = {urlsplit(origin).netloc}
        self._secrets = secrets
        self.problems: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._on_console)
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        ours = "/buildpixel/" in message.location.get("url", "")
        if message.type == "error" and (ours or "Content Security Policy" in message.text):
            self.problems.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https"} and parts.netloc not in self.allowed:
            self.problems.append(f"request: {parts.scheme}://{parts.netloc}{parts.path}")

    def content(self) -> str:
        """Return everything that the page and its frames show now."""
        return "\n".join(frame.evaluate(READ_PAGE) for frame in self.page.frames)

    def check_secrets(self) -> None:
        """Record the secrets that the page shows."""
        content = self.content()
        self.problems += [
            f"a secret is shown: {secret[:8]}" for secret in self._secrets() if secret in content
        ]

    def picture(self, name: str) -> None:
        """Check for secrets, and save a screenshot for the documentation if requested."""
        self.check_secrets()
        if os.environ.get("BUILDPIXEL_PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            self.page.mouse.move(700, 5)
            self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
