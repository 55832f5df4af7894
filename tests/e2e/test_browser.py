"""The web pages in a real browser: signing in by keyboard, both colour schemes, a phone's width, nothing from elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from helpers import page_data
from helpers.page_data import PASSWORD, Site, uuid

CHROMIUM = "/usr/bin/chromium"
# A browser that asks nobody but the page's own server.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
FINISHED, FAILED, RUNNING, QUEUED, HOSTILE = uuid(0xA1), uuid(0xB2), uuid(0xC3), uuid(0xD4), uuid(0x17)

# WCAG 2.2, 1.4.3: the relative luminance of text and of the first opaque ground below it.
CONTRAST = """selector => [...document.querySelectorAll(selector)].filter(e => e.getClientRects().length).map(e => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let under = e; while (under && rgb(getComputedStyle(under).backgroundColor)[3] < 255) under = under.parentElement;
  const a = light(rgb(getComputedStyle(e).color)), b = light(rgb(getComputedStyle(under || document.body).backgroundColor));
  return {text: e.textContent.trim().slice(0, 40), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)};
})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("pages")
    services = page_data.services_in(folder)
    page_data.fill(services)
    with Site(page_data.app_of(services, folder)) as site:
        site.services = services
        yield site
    services.store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


class Look:
    """A signed-in window that notes what went wrong in it."""

    def __init__(
        self, browser: Browser, site: Any, name: str = "ann", width: int = 1200, scheme: str = "light"
    ) -> None:
        self.site = site
        self.wrong: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(site.url + "/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_label("Password").press("Enter")
        self.page.get_by_role("heading", name="Jobs", exact=True).wait_for()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.site.url + "/"):
            self.wrong.append("asked elsewhere: " + request.url)

    def go(self, path: str) -> Page:
        self.page.goto(self.site.url + path)
        return self.page


@pytest.fixture
def look(browser: Browser, site: Any) -> Iterator[Any]:
    opened: list[Look] = []

    def open_one(**options: Any) -> Look:
        opened.append(Look(browser, site, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()
    assert [problem for one in opened for problem in one.wrong] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_every_page_fits_and_can_be_read(look, scheme, width):
    window = look(width=width, scheme=scheme, name="root" if width == 360 else "ann")
    for path in (
        "/",
        "/clusters",
        "/mails",
        f"/jobs/{FINISHED}",
        f"/jobs/{FAILED}",
        f"/jobs/{RUNNING}",
        f"/jobs/{HOSTILE}",
    ):
        page = window.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.title().endswith("· jobferry"), path
        faint = [
            one
            for one in page.evaluate(CONTRAST, "a, p, b, td, dd, dt, h1, h2, small, time, .pill, .note, button")
            if one["ratio"] < 4.5
        ]
        assert faint == [], path


def test_the_pages_can_be_used_by_keyboard(look):
    page = look().page
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.get_by_role("link", name="turbulence sweep 12").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("turbulence sweep 12")
    summary = page.locator("summary", has_text="output")
    summary.press("Enter")
    expect(page.get_by_text("unused variable")).to_be_visible()


def test_a_search_finds_a_job(look):
    page = look().page
    page.get_by_role("searchbox").fill("mesh refinement")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("State").select_option("FINISHED")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No job fits")).to_be_visible()


def test_a_job_is_cancelled_from_its_page(look, site):
    page = look().go(f"/jobs/{QUEUED}")
    page.get_by_text("Cancel this job…").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("Cancelling was asked for")).to_be_visible()
    assert site.services.store.job(QUEUED).document["cancel_requested"] is True


def test_a_page_follows_its_job_without_being_loaded_again(look, site):
    page = look().go(f"/jobs/{RUNNING}")
    page.evaluate("window.same = true")
    page.locator("summary", has_text="As it was submitted").click()
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    page_data.Story(site.services, RUNNING, 0).tell("state", 0, state="FINISHED", condition="ok", exit_code=0)
    expect(page.locator(".head .pill")).to_contain_text("finished")
    assert page.evaluate("window.same") is True
    expect(page.locator("#input pre")).to_be_visible()
    assert page.title().startswith("protein folding: finished")


def test_signing_out(look, site):
    page = look().page
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(site.url + "/clusters")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
