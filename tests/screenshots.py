"""`make screenshots`: pictures of the pages with the demo data, in both sizes and themes, into folder $1.

Fails as the tests of the pages do: if something is cut off or a script complains.
"""

import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event, Thread

from selenium.webdriver.common.keys import Keys

from server import demo
from server.commands import tokens
from tests.browser import HEIGHT, SIZES, THEMES, Browser, chromium
from tests.stack import Stack, running_stack
from tests.test_pages import CALL

SETTLE = """
const done = arguments[0];
const ending = document.getAnimations().filter((each) => each.effect.getTiming().iterations < Infinity);
Promise.all(ending.map((each) => each.finished.catch(() => 0)))
  .then(() => requestAnimationFrame(() => requestAnimationFrame(() => done())));
"""
"""Waits until what moves is in its place and drawn."""


@contextmanager
def traffic(stack: Stack, token: str) -> Iterator[None]:
    """Make calls meanwhile, so that there is something to plot."""
    dice, stop = Random(1), Event()  # noqa: S311 # no secret comes of it

    def call() -> None:
        while not stop.wait(dice.uniform(0.05, 0.4)):
            stack.get("/v1/sessions", token)

    thread = Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def take(browser: Browser, token: str, folder: Path, suffix: str) -> None:
    """Write a picture of each page."""

    def keep(name: str, refused: int | None = None) -> None:
        browser.driver.execute_async_script(SETTLE)
        browser.check(refused)
        path = folder / f"{name}-{suffix}.png"
        assert browser.driver.save_screenshot(str(path)), path

    browser.open("/docs")
    browser.one(".opblock")
    keep("docs")
    browser.authorize(token)
    browser.click(f"{CALL} .opblock-summary-control")
    browser.click(f"{CALL} .try-out__btn")
    keep("docs-call")
    browser.click(f"{CALL} .execute")
    browser.await_text(f"{CALL} .live-responses-table .response-col_status", "200")
    keep("docs-answer")

    browser.open("/")
    browser.await_text("#health-server", "up")
    keep("console-empty")
    browser.one("#token").send_keys("nonsense", Keys.ENTER)
    browser.one("#refusal:not(:empty)")
    keep("console-refused", refused=401)
    browser.hold()
    browser.one("#token").send_keys(token, Keys.ENTER)
    browser.one("#lists .waiting .title")
    keep("console-loading", refused=401)
    browser.open("/")
    browser.one("#lists button .title")
    browser.await_text("#health-store", "up")
    browser.one("#rate path.line")
    browser.driver.execute_script("document.activeElement.blur()")
    if browser.width == max(SIZES):  # with all four lists
        browser.resize(browser.driver.execute_script("return document.documentElement.scrollHeight"))
    keep("console")
    browser.resize(HEIGHT)
    browser.click("#lists button.row")
    browser.one("dialog pre")
    keep("console-record")


def main() -> None:
    """Run the service and take all pictures."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_stack(Path(scratch) / "data", arguments=()) as stack,
    ):
        token = tokens.sign(stack.settings, demo.CALLER, timedelta(hours=1))
        # The large ones last: they have more to plot.
        with traffic(stack, token):
            for width, theme in itertools.product(sorted(SIZES), THEMES):
                suffix = f"{width}-{theme}"
                with chromium(stack.rest, Path(scratch) / suffix, width, theme) as browser:
                    take(browser, token, folder, suffix)


if __name__ == "__main__":
    main()
