"""Pages in a real browser, from a file and without a network."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 120_000
"""A cold browser on a busy machine takes longer than Playwright's half minute."""
PHONE, DESKTOP = (390, 844), (1440, 900)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """The installed Chromium; the test is skipped by name where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on the path; `apt-get install chromium` brings it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE_MS)
        yield started
        started.close()


@contextlib.contextmanager
def opened(started: Any, file: Path, size: tuple[int, int]) -> Iterator[Any]:
    """A file in a window of a width and a height.

    The page gets two lists: `asked`, whatever it wanted from elsewhere and did not get; `said`, what it complained of.
    """
    width, height = size
    # Without motion a page is where a link leads at once.
    context = started.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))

    def refuse(route: Any) -> None:
        if route.request.url == file.as_uri() or route.request.url.startswith("data:"):
            route.continue_()
        else:
            page.asked.append(route.request.url)
            route.abort()

    page.route("**/*", refuse)
    page.goto(file.as_uri())
    yield page
    context.close()


def is_no_wider_than_the_screen(page: Any) -> bool:
    """Whether a page needs no scrolling to the side, with everything unfolded."""
    for summary in page.locator("summary").all():
        summary.click()
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
