"""Pages as a person sees them: in a real Chromium without a screen, where it is installed."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="THE PAGES ARE NOT TESTED: apt-get install chromium chromium-driver",
)
SIZES = (1280, 390)
HEIGHT = 900
THEMES = ("light", "dark")
SECONDS = 30


class Browser:
    """A Chromium of one size and theme."""

    def __init__(self, driver: Chrome, host: str, width: int) -> None:
        self.driver = driver
        self.host = host
        self.width = width
        self.asked: list[str] = []
        # A page may replace an element between the look for it and the look at it.
        self.waiting = WebDriverWait(driver, SECONDS, ignored_exceptions=[StaleElementReferenceException])

    def resize(self, height: int) -> None:
        size = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, path: str) -> None:
        self.driver.get(self.host + path)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Wait for an element that can be seen."""

        def seen(_: Any) -> WebElement | None:
            return next((each for each in self.all(selector) if each.is_displayed()), None)

        found = self.waiting.until(seen, selector)
        assert found is not None
        return found

    def click(self, selector: str) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.one(selector))
        self.one(selector).click()

    def await_text(self, selector: str, text: str) -> None:
        self.waiting.until(
            lambda _: any(text in each.text for each in self.all(selector)), f"{text} in {selector}"
        )

    def hold(self) -> None:
        """Have no call of this page answered, until it is loaded again."""
        self.driver.execute_script("window.fetch = () => new Promise(() => {})")

    def authorize(self, token: str) -> None:
        """Give `/docs` a token."""
        self.click(".auth-wrapper .authorize")
        field = self.one("input[aria-label='auth-bearer-value']")
        assert self.driver.switch_to.active_element == field
        field.send_keys(token)
        self.click(".auth-container:first-of-type .modal-btn.authorize")
        self.click(".btn-done")

    def check(self, refused: int | None = None) -> None:
        """Nothing is cut off, nothing went wrong, nobody else was asked.

        Chromium itself reports calls that are `refused`, by their status.
        """
        wide, seen = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= seen
        driver: Any = self.driver
        for entry in driver.get_log("browser"):
            assert entry["source"] == "network", entry
            assert f"status of {refused} " in entry["message"], entry
        asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        self.asked += [
            each["params"]["request"]["url"]
            for each in asked
            if each["method"] == "Network.requestWillBeSent"
        ]
        assert self.asked
        assert all(url.startswith((f"{self.host}/", "data:")) for url in self.asked), self.asked


@contextmanager
def chromium(host: str, profile: Path, width: int, theme: str) -> Iterator[Browser]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(DRIVER))
    try:
        browser = Browser(driver, host, width)
        browser.resize(HEIGHT)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        # What Chromium's own first page asked for is not ours.
        driver.get("about:blank")
        logs: Any = driver
        for name in ("browser", "performance"):
            logs.get_log(name)
        yield browser
    finally:
        driver.quit()
