"""The pages in a real Airflow and a real browser.

With BUILDPIXEL_PICTURES set, these tests save the screenshots of the documentation; compress them
with pngquant before you commit them.
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

    from tests.ui.browsing import CheckedPage
    from tests.ui.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEMO, NIGHTLY = stages.DEMO, stages.NIGHTLY
QUEUED, LINE_EVERY = 20.0, 9.0
"""Seconds that the demo's build is pending, and between its log lines."""

ENDLESS = 1_000_000.0
FAILING: dict[str, Any] = {"outcome": "failed", "queue": 5}
NIGHTLIES: dict[str, dict[str, Any]] = {
    "failed": FAILING | {"branch": "feature/gravity", "run": 720.0, "lines": 45},
    "hostile": FAILING | {"branch": "feature/doors", "run": 300.0, "lines": stages.HOSTILE},
    "long": {"branch": "release/1.2", "run": ENDLESS, "lines": 9000},
}


def expect(found: Any) -> Any:
    """Return Playwright's assertions for an element, with the timeout of these tests."""
    playwright.expect.set_options(timeout=browsing.TIMEOUT_MS)
    return playwright.expect(found)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An Airflow with running builds, failing builds, and hostile log lines."""
    browsing.chromium()
    with stages.start_stage(tmp_path_factory.mktemp("ui") / "dags") as stage:
        stage.runs["demo"] = stage.start(DEMO, queue=QUEUED, run=1800.0, lines=200)
        for name, plan in NIGHTLIES.items():
            stage.runs[name] = stage.start(NIGHTLY, **plan)
            # A plan applies to the next build of the setting, whichever task starts it.
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
    """Open a page without a login, log in, and return to the page."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(browsing.TIMEOUT_MS)
    page.goto(f"{stage.airflow.url}/buildpixel/builds")
    page.fill("input[name=username]", stage.airflow.user)
    page.fill("input[name=password]", stage.airflow.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/af/buildpixel/builds*", timeout=browsing.TIMEOUT_MS)
    expect(page.get_by_role("heading", name="BuildPixel builds")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def checked_page(stage: Stage, browser: Browser, session: Any) -> Iterator[CheckedPage]:
    """A page of a logged-in user; the test fails if it shows a secret or raises an error."""
    context = browser.new_context(
        storage_state=session, viewport=browsing.SIZE, color_scheme="light"
    )
    checked_page: CheckedPage = browsing.CheckedPage(context, stage.airflow.url, stage.secrets)
    yield checked_page
    checked_page.check_secrets()
    context.close()
    assert checked_page.problems == []


@pytest.fixture
def page(checked_page: CheckedPage) -> Page:
    """The Playwright page of ``checked_page``."""
    return checked_page.page


def tab(page: Page) -> FrameLocator:
    """Return the frame of the tab."""
    return page.frame_locator("iframe[title=BuildPixel]")


def status(frame: FrameLocator | Page) -> Locator:
    """Return the element with the build's status."""
    return frame.locator("header .pill")


def _top(element: Any) -> float:
    """Return the distance of an element from the top of our page, in pixels."""
    top: float = element.evaluate("element => element.getBoundingClientRect().top + scrollY")
    return top


def test_a_build_is_followed(stage: Stage, checked_page: CheckedPage) -> None:
    """The tab follows a build to its end, keeps times and lines, and downloads the artifact."""
    page = checked_page.page
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
    expect(phases.nth(2)).to_have_class("running")
    expect(frame.locator(".gap")).to_have_count(0)
    assert frame.locator(".line").count() > 100  # twice as many as one response has
    assert _top(frame.locator(".log")) == top
    checked_page.picture("tab-running")
    _check_dark_theme(checked_page, frame)
    _check_log_search(page, frame)
    stage.sandbox.advance(900)
    expect(status(frame)).to_have_text("complete")
    _check_download(stage, checked_page, frame)


def _advance(stage: Stage, frame: FrameLocator, seconds: float) -> None:
    """Set BuildPixel's clock to some seconds after the build's start, and wait for its log line."""
    build_id = stage.wait_for_build(DEMO, stage.runs["demo"], 0)
    started_at = stage.sandbox.world.builds[build_id].created_at + QUEUED
    stage.sandbox.advance(max(0.0, started_at + seconds - stage.sandbox.now()))
    expect(frame.locator(".line").nth(int(seconds // LINE_EVERY))).to_be_attached()


def _check_dark_theme(checked_page: CheckedPage, frame: FrameLocator) -> None:
    """The tab has Airflow's theme, also after a change."""
    page = checked_page.page
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    checked_page.picture("tab-dark")
    page.emulate_media(color_scheme="light")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")


def _check_log_search(page: Page, frame: FrameLocator) -> None:
    """The log can be filtered by level and searched with the keyboard."""
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


def _check_download(stage: Stage, checked_page: CheckedPage, frame: FrameLocator) -> None:
    """The button downloads the artifact from the store of the signed URL."""
    checked_page.allowed.add(urlsplit(stage.sandbox.store_url).netloc)
    page = checked_page.page
    with page.expect_download() as downloading:
        frame.get_by_role("button", name="Download artifact").click()
    download = downloading.value
    assert download.suggested_filename.endswith(".tar.gz")
    with tarfile.open(download.path()) as archive:
        assert archive.getnames()


def test_a_failed_build(stage: Stage, checked_page: CheckedPage) -> None:
    """The page of a failed build shows at the top where and why it failed."""
    page = checked_page.page
    stage.wait_for_build(NIGHTLY, stage.runs["failed"])
    stage.sandbox.advance(800)
    page.goto(f"{stage.task_page(NIGHTLY, stage.runs['failed'])}/plugin/buildpixel")
    frame = tab(page)
    expect(status(frame)).to_have_text("failed")
    failure = frame.get_by_role("region", name="Why it failed")
    expect(failure).to_contain_text("Failed in compile")
    expect(failure).to_contain_text("error C2065: 'Gravity': undeclared")
    expect(failure).to_contain_text("What to do: fix the code")
    expect(frame.get_by_role("button", name="Download artifact")).to_have_count(0)
    checked_page.picture("tab-failed")


def test_markup_stays_text(stage: Stage, page: Page) -> None:
    """Markup in a log line is shown as text and not executed."""
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
    """The link of a task leads to the page of its build, which links back to the task."""
    stage.wait_for_build(NIGHTLY, stage.runs["long"])
    page.goto(f"{stage.task_page(NIGHTLY, stage.runs['long'])}/details")
    page.get_by_role("link", name="BuildPixel build", exact=True).click()
    page.wait_for_url(f"{stage.airflow.url}/buildpixel/builds/buildpixel_default/*")
    expect(page.get_by_role("heading", name="Win64 Development")).to_be_visible()
    expect(page.get_by_text("release/1.2")).to_be_visible()
    page.get_by_role("link", name="Task build in Airflow").click()
    page.wait_for_url(re.compile(re.escape(f"{stage.airflow.url}/dags/{NIGHTLY}/runs/")))


def test_the_list(stage: Stage, checked_page: CheckedPage) -> None:
    """Airflow's menu opens the list of builds, which links to each build."""
    page = checked_page.page
    stage.wait_for_build(NIGHTLY, stage.runs["long"])
    stage.sandbox.advance(60)
    page.goto(f"{stage.airflow.url}/")
    page.get_by_role("button", name="Browse").click()
    page.locator("a[href$='/plugin/buildpixel-builds']").click()
    frame = page.frame_locator("iframe[title='BuildPixel builds']")
    row = frame.get_by_role("region", name="Builds that tasks wait for").get_by_role("row")
    expect(row.filter(has_text="release/1.2")).to_contain_text("running")
    page.set_viewport_size({"width": 1400, "height": 620})
    checked_page.picture("nav")
    row.filter(has_text="release/1.2").get_by_role("link").click()
    expect(status(frame)).to_have_text("running")
    frame.get_by_role("link", name="All builds").click()
    expect(row.filter(has_text="release/1.2")).to_be_visible()


def test_the_connection_form(stage: Stage, checked_page: CheckedPage) -> None:
    """The connection form can be filled and saved, and the connection tested."""
    page = checked_page.page
    page.set_viewport_size({"width": 1100, "height": 1090})
    page.goto(f"{stage.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    _choose_type(page, form)
    _fill(form, stage)
    assert "buildpixel_form" in checked_page.content()  # field values are included
    checked_page.picture("connection-form")
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
