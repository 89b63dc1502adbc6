"""What people see: a real Airflow, in a real browser.

With BUILDPIXEL_PICTURES set, these tests take the pictures of the documentation; pngquant makes
them small enough to be kept with the sources.
"""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="Airflow 2.11 has no such pages")
pytest.importorskip("psutil", reason="needs the extra sandbox")
playwright = pytest.importorskip("playwright.sync_api")
browsing = pytest.importorskip("tests.ui.browsing")
stages = pytest.importorskip("tests.ui.stage")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FrameLocator, Locator, Page

    from tests.ui.browsing import Watcher
    from tests.ui.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEMO, NIGHTLY = stages.DEMO, stages.NIGHTLY
QUEUED, LINE_EVERY = 20.0, 9.0
"""Seconds that the demo's build is pending, and from one of its lines to the next."""

NEVER = 1_000_000.0
FAILING: dict[str, Any] = {"outcome": "failed", "queue": 5}
NIGHTLIES: dict[str, dict[str, Any]] = {
    "failed": FAILING | {"branch": "feature/gravity", "run": 720.0, "lines": 45},
    "hostile": FAILING | {"branch": "feature/doors", "run": 300.0, "lines": stages.HOSTILE},
    "long": {"branch": "release/1.2", "run": NEVER, "lines": 9000},
}


def expect(found: Any) -> Any:
    """Expect something of an element, with the patience of all these tests."""
    playwright.expect.set_options(timeout=browsing.PATIENCE)
    return playwright.expect(found)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An Airflow in which builds run, will fail, and say hostile things."""
    browsing.chromium()
    with stages.staged(tmp_path_factory.mktemp("ui") / "dags") as stage:
        stage.runs["demo"] = stage.start(DEMO, queue=QUEUED, run=1800.0, lines=200)
        for name, plan in NIGHTLIES.items():
            stage.runs[name] = stage.start(NIGHTLY, **plan)
            # The next plan is for the next build of the setting, whichever task asks for it.
            stage.wait_for_build(NIGHTLY, stage.runs[name])
        stage.wait_for_build(DEMO, stage.runs["demo"], 0)
        yield stage


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser."""
    with browsing.browsing(browsing.chromium()) as browser:
        yield browser


@pytest.fixture(scope="module")
def session(stage: Stage, browser: Browser) -> Any:
    """Open a page of ours without being logged in, log in, and be back at the page."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(browsing.PATIENCE)
    page.goto(f"{stage.airflow.url}/buildpixel/builds")
    page.fill("input[name=username]", stage.airflow.user)
    page.fill("input[name=password]", stage.airflow.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/af/buildpixel/builds*", timeout=browsing.PATIENCE)
    expect(page.get_by_role("heading", name="BuildPixel builds")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def watcher(stage: Stage, browser: Browser, session: Any) -> Iterator[Watcher]:
    """A page of somebody who is logged in; nothing may go wrong in it, whatever is shown."""
    context = browser.new_context(
        storage_state=session, viewport=browsing.SIZE, color_scheme="light"
    )
    watcher: Watcher = browsing.Watcher(context, stage.airflow.url, stage.secrets)
    yield watcher
    watcher.look()
    context.close()
    assert watcher.wrong == []


@pytest.fixture
def page(watcher: Watcher) -> Page:
    """Its page."""
    return watcher.page


def tab(page: Page) -> FrameLocator:
    """Return the frame of the tab."""
    return page.frame_locator("iframe[title=BuildPixel]")


def status(frame: FrameLocator | Page) -> Locator:
    """Return the element that says the build's status."""
    return frame.locator("header .pill")


def _top(element: Any) -> float:
    """Tell how far down an element is on our own page, whatever Airflow's does around it."""
    top: float = element.evaluate("element => element.getBoundingClientRect().top + scrollY")
    return top


def test_a_build_is_followed(stage: Stage, watcher: Watcher) -> None:
    """The tab follows a build to its end, keeps what it learnt, and downloads the artifact."""
    page = watcher.page
    page.goto(stage.task_page(DEMO, stage.runs["demo"], 0))
    page.locator("a[href$='/plugin/buildpixel']").click()
    frame = tab(page)
    expect(status(frame)).to_have_text(re.compile("pending|running"))
    top = _top(frame.locator(".log"))
    for seconds in (10, 280, 550, 820, 1090):
        _advance(stage, frame, seconds)
    expect(status(frame)).to_have_text("running")
    phases = frame.locator(".names li")
    expect(phases.nth(0)).to_have_text(re.compile("source sync3 min 0 s"))
    expect(phases.nth(1)).to_have_text(re.compile("compile12 min 0 s"))
    expect(phases.nth(2)).to_have_class("now")
    expect(frame.locator(".gap")).to_have_count(0)
    assert frame.locator(".line").count() > 100  # twice as many as BuildPixel shows at once
    assert _top(frame.locator(".log")) == top
    watcher.picture("tab-running")
    _switches_to_dark(watcher, frame)
    _is_searched(page, frame)
    stage.sandbox.advance(900)
    expect(status(frame)).to_have_text("complete")
    _is_downloaded(stage, watcher, frame)


def _advance(stage: Stage, frame: FrameLocator, seconds: float) -> None:
    """Put BuildPixel's clock to so long after the build's start, and wait for the line of then."""
    build_id = stage.wait_for_build(DEMO, stage.runs["demo"], 0)
    begun = stage.sandbox.world.builds[build_id].created_at + QUEUED
    stage.sandbox.advance(max(0.0, begun + seconds - stage.sandbox.now()))
    expect(frame.locator(".line").nth(int(seconds // LINE_EVERY))).to_be_attached()


def _switches_to_dark(watcher: Watcher, frame: FrameLocator) -> None:
    """The theme of the tab is Airflow's, also when it changes."""
    page = watcher.page
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    watcher.picture("tab-dark")
    page.emulate_media(color_scheme="light")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")


def _is_searched(page: Page, frame: FrameLocator) -> None:
    """The log is filtered by level and searched, with the keyboard alone."""
    frame.locator(".lines").focus()
    page.keyboard.press("/")
    expect(frame.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("logcook: display: cooking")
    expect(frame.locator(".line:visible").first).to_contain_text("LogCook: Display: Cooking /Game")
    expect(frame.locator("mark:visible").first).to_have_text("LogCook: Display: Cooking")
    expect(frame.locator(".log output")).to_have_text(re.compile(r"^\d+ of \d+ lines$"))
    page.keyboard.press("Escape")
    expect(frame.locator(".log output")).to_have_text(re.compile(r"^\d+ lines$"))
    frame.get_by_label("All", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(frame.get_by_label("Warnings")).to_be_checked()
    expect(frame.locator(".line:visible")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(frame.locator(".line:visible")).not_to_have_count(0)


def _is_downloaded(stage: Stage, watcher: Watcher, frame: FrameLocator) -> None:
    """The button downloads the artifact, from the store that the signed address leads to."""
    watcher.allowed.add(urlsplit(stage.sandbox.store_url).netloc)
    page = watcher.page
    with page.expect_download() as downloading:
        frame.get_by_role("button", name="Download artifact").click()
    download = downloading.value
    assert download.suggested_filename.endswith(".tar.gz")
    with tarfile.open(download.path()) as archive:
        assert archive.getnames()


def test_a_failed_build_is_read(stage: Stage, watcher: Watcher) -> None:
    """A failed build shows where and why it failed, at the top."""
    page = watcher.page
    stage.wait_for_build(NIGHTLY, stage.runs["failed"])
    stage.sandbox.advance(800)
    page.goto(f"{stage.task_page(NIGHTLY, stage.runs['failed'])}/plugin/buildpixel")
    frame = tab(page)
    expect(status(frame)).to_have_text("failed")
    failure = frame.get_by_role("region", name="Why it failed")
    expect(failure).to_contain_text("Failed in compile")
    expect(failure).to_contain_text("error C2065: 'Gravity': undeclared")
    expect(failure).to_contain_text("What to do: mend the code")
    expect(frame.get_by_role("button", name="Download artifact")).to_have_count(0)
    watcher.picture("tab-failed")


def test_markup_stays_text(stage: Stage, page: Page) -> None:
    """Markup in a log line is shown as it is, and nothing of it runs."""
    stage.wait_for_build(NIGHTLY, stage.runs["hostile"])
    stage.sandbox.advance(400)
    page.goto(f"{stage.task_page(NIGHTLY, stage.runs['hostile'])}/plugin/buildpixel")
    frame = tab(page)
    expect(status(frame)).to_have_text("failed")
    expect(frame.locator(".line .text").first).to_have_text(stages.HOSTILE[0])
    expect(frame.locator(".failure pre")).to_contain_text("<b>Failed to cook</b>")
    expect(frame.locator("main script, main img, main b:not(.names b), svg[onload]")).to_have_count(
        0
    )


def test_the_extra_link(stage: Stage, page: Page) -> None:
    """The link of a task leads to the page of its build, and that one back to the task."""
    stage.wait_for_build(NIGHTLY, stage.runs["long"])
    page.goto(f"{stage.task_page(NIGHTLY, stage.runs['long'])}/details")
    page.get_by_role("link", name="BuildPixel build", exact=True).click()
    page.wait_for_url(f"{stage.airflow.url}/buildpixel/builds/buildpixel_default/*")
    expect(page.get_by_role("heading", name="Win64 Development")).to_be_visible()
    expect(page.get_by_text("release/1.2")).to_be_visible()
    page.get_by_role("link", name="Task build in Airflow").click()
    page.wait_for_url(re.compile(re.escape(f"{stage.airflow.url}/dags/{NIGHTLY}/runs/")))


def test_the_list(stage: Stage, watcher: Watcher) -> None:
    """Airflow's menu leads to the builds that tasks wait for, and from there to each of them."""
    page = watcher.page
    stage.wait_for_build(NIGHTLY, stage.runs["long"])
    stage.sandbox.advance(60)
    page.goto(f"{stage.airflow.url}/")
    page.get_by_role("button", name="Browse").click()
    page.locator("a[href$='/plugin/buildpixel-builds']").click()
    frame = page.frame_locator("iframe[title='BuildPixel builds']")
    row = frame.get_by_role("region", name="Builds that tasks wait for").get_by_role("row")
    expect(row.filter(has_text="release/1.2")).to_contain_text("running")
    page.set_viewport_size({"width": 1400, "height": 620})
    watcher.picture("nav")
    row.filter(has_text="release/1.2").get_by_role("link").click()
    expect(status(frame)).to_have_text("running")
    frame.get_by_role("link", name="All builds").click()
    expect(row.filter(has_text="release/1.2")).to_be_visible()


def test_the_connection_form(stage: Stage, watcher: Watcher) -> None:
    """The form is filled and saved, and Airflow's button tests the connection."""
    page = watcher.page
    page.set_viewport_size({"width": 1100, "height": 1090})
    page.goto(f"{stage.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    _choose_type(page, form)
    _fill(form, stage)
    assert "buildpixel_form" in watcher.shown()  # what is in the fields, too
    watcher.picture("connection-form")
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="buildpixel_form")
    with page.expect_response("**/api/v2/connections/test") as testing:
        row.get_by_role("button", name="Test Connection").click()
    assert testing.value.json()["status"] is True
    assert "Pixel Studio" in testing.value.json()["message"]
    saved = stage.airflow.api.call("GET", "/connections/buildpixel_form")
    assert saved["conn_type"] == "buildpixel"
    assert '"run_per_build": "promote, notify"' in saved["extra"]
    assert stages.WEBHOOK_SECRET not in saved["extra"]  # masked by its name
    assert saved["password"] == "***"


def _choose_type(page: Page, form: Locator) -> None:
    form.locator("input[name=connection_id]").fill("buildpixel_form")
    form.locator("input:not([name])").first.click()
    page.keyboard.type("BuildPixel")
    page.get_by_role("option", name="BuildPixel", exact=True).click()


def _fill(form: Locator, stage: Stage) -> None:
    address = urlsplit(stage.sandbox.url)
    expect(form.get_by_text("API token")).to_be_visible()
    form.locator("input[name=host]").fill(f"http://{address.hostname}")
    form.locator("input[name=port]").fill(str(address.port))
    form.locator("input[name=password]").fill(stage.sandbox.token)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    secret = form.locator("#element_webhook_secret")
    secret.fill(stages.WEBHOOK_SECRET)
    assert secret.get_attribute("type") == "password"
    expect(form.locator("#element_build_url")).to_be_visible()
    form.locator("#element_run_per_build").fill("promote, notify")
