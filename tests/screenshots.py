"""`make screenshots`: pictures of the pages with the demo data, in both sizes and themes, into folder $1.

Fails as the tests of the pages do: if something is cut off or a script complains.
"""

import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from selenium.webdriver.common.keys import Keys

from server import demo
from server.commands import tokens
from tests.stack import running_stack
from tests.test_pages import SIZES, THEMES, Browser, chromium

SETTLED_SECONDS = 1.0
"""How long what moves into its place may take."""


def take(browser: Browser, token: str, folder: Path, suffix: str) -> None:
    """Write a picture of each page."""

    def keep(name: str) -> None:
        time.sleep(SETTLED_SECONDS)
        browser.check()
        path = folder / f"{name}-{suffix}.png"
        assert browser.driver.save_screenshot(str(path)), path

    browser.open("/")
    browser.await_text("#lists", "A token shows")
    keep("console-empty")
    browser.one("#token").send_keys(token, Keys.ENTER)
    browser.one("#lists li .title")
    browser.await_text("#health-store", "up")
    keep("console")
    browser.click("#lists li button")
    browser.one("dialog pre")
    keep("console-record")

    browser.open("/docs")
    browser.one(".opblock")
    keep("docs")
    browser.click("#operations-Sessions-listSessions .opblock-summary-control")
    browser.click("#operations-Sessions-listSessions .try-out__btn")
    keep("docs-call")


def main() -> None:
    """Run the service and take all pictures."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_stack(Path(scratch) / "data", arguments=()) as stack,
    ):
        token = tokens.sign(stack.settings, demo.CALLER, timedelta(hours=1))
        for width in SIZES:
            for theme in THEMES:
                suffix = f"{width}-{theme}"
                with chromium(stack.rest, Path(scratch) / suffix, width, theme) as browser:
                    take(browser, token, folder, suffix)


if __name__ == "__main__":
    main()
