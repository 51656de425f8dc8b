"""The pages for people: what is served, and what a person sees in a browser."""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from server.records.caller import READ, WRITE
from server.rest import site
from tests.browser import HEIGHT, SECONDS, SIZES, THEMES, Browser, chromium, in_chromium
from tests.documents import here, run
from tests.parts import (
    ROBOTS,
    SCOPE,
    agent_line,
    agent_session,
    line,
    robot_session,
    session,
    user_session,
    xid,
)
from tests.stack import Stack, frozen

USER = "pages"
SITUATION = "The parcel is late."
MANY, ROWS = 20, 8
PAGES = {
    "/": "text/html; charset=utf-8",
    "/docs": "text/html; charset=utf-8",
    "/openapi.json": "application/json",
}
FILES = {
    f"/{folder}/{file.name}": file
    for folder in ("docs", "console")
    for file in (Path(site.__file__).parents[1] / "site" / folder).iterdir()
}

CALL = "#operations-Sessions-listSessions"


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Stack:
    # Robot sessions are shared: those of other tests would fill the first page.
    stack.clear()
    numbers = range(1, MANY + 1)
    stack.load(
        *(line("user_session", user_session(name=f"Turtle {number:02}"), user_id=USER) for number in numbers),
        *(
            line("session", session(situation=f"{SITUATION} No.{number:02}"), developer_id=USER)
            for number in numbers
        ),
        line("robot_session", robot_session(id=xid(888_001), name="Which <b>robot</b>?")),
        agent_line("pages", "*"),
        line("agent_session", agent_session("pages", "pages"), user_id=USER, client_id="c"),
    )
    return stack


def token(stack: Stack) -> str:
    return stack.token(USER, scopes=[SCOPE, READ], permissions=[ROBOTS], client_id="c")


# --- what is served ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_page_is_public_and_safe(stack: Stack, path: str) -> None:
    answer = stack.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == PAGES.get(path) or path in FILES
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] in {site.PASSING, site.LASTING}
    if path in FILES:
        assert answer.content == FILES[path].read_bytes()


@pytest.mark.parametrize("path", ["/", "/docs", *FILES])
def test_only_the_viewer_s_own_files_may_be_of_the_version_before(stack: Stack, path: str) -> None:
    kept = site.LASTING if "/swagger-ui" in path else site.PASSING
    assert stack.get(path).headers["cache-control"] == kept


@pytest.mark.parametrize(
    "path", ["/docs/nope", "/docs/..%2Fopenapi.yaml", "/docs/a/b", "/openapi", "/console"]
)
def test_what_is_no_page_has_no_body_but_the_error(stack: Stack, path: str) -> None:
    answer = stack.get(path)

    assert answer.status_code == 404
    error = {"message": "Route not found", "type": "NOT_FOUND", "status": 404}
    assert answer.json() == {"error": error}


def test_large_files_are_compressed(stack: Stack) -> None:
    for name in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json"):
        headers = {"accept-encoding": "gzip"}
        with httpx.stream("GET", stack.rest + name, headers=headers, timeout=30) as answer:
            body = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert len(body) < len(gzip.decompress(body)) / 2


def test_pages_name_no_other_host() -> None:
    for name, file in FILES.items():
        if "swagger-ui" not in name:
            named = re.findall(r"https?://[^\s\"'<]+", file.read_text())
            assert set(named) <= {"http://www.w3.org/2000/svg"}, name


# --- what a person sees -----------------------------------------------------------------------------


@pytest.fixture(params=[(width, theme) for theme in THEMES for width in SIZES], ids=str)
def browser(request: pytest.FixtureRequest, loaded: Stack, tmp_path: Path) -> Iterator[Browser]:
    width, theme = request.param
    with chromium(loaded.rest, tmp_path, width, theme) as running:
        yield running


@in_chromium
def test_docs_show_every_call_and_make_it(browser: Browser, loaded: Stack) -> None:
    document = loaded.get("/openapi.json").json()
    browser.open("/docs")
    browser.one(".opblock")
    assert len(browser.all(".opblock")) == sum(len(item) for item in document["paths"].values())
    browser.check()

    browser.authorize(token(loaded))
    browser.click(f"{CALL} .opblock-summary-control")
    browser.click(f"{CALL} .try-out__btn")
    browser.click(f"{CALL} .execute")
    browser.await_text(f"{CALL} .live-responses-table .response-col_status", "200")
    browser.await_text(f"{CALL} .live-responses-table", SITUATION)
    browser.check()


@in_chromium
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_page_follows_the_theme(browser: Browser, path: str) -> None:
    browser.open(path)
    browser.one("h1, .opblock")
    dark = browser.driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    red, green, blue = re.findall(r"\d+", browser.one("body").value_of_css_property("background-color"))[:3]
    assert (int(red) + int(green) + int(blue) < 3 * 128) == dark


@in_chromium
def test_docs_keep_no_token(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/docs")
        browser.authorize("secret")
        stored = browser.driver.execute_script(
            "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        )
    assert stored == '[{},{},""]'


@in_chromium
@pytest.mark.parametrize("theme", THEMES)
def test_docs_show_where_the_focus_is_and_what_a_filter_finds(
    loaded: Stack, tmp_path: Path, theme: str
) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], theme) as browser:
        browser.open("/docs")
        filter_ = browser.one(".operation-filter-input")
        filter_.send_keys("/v1/robots")
        browser.waiting.until(lambda _: 0 < len(browser.all(".opblock")) < 15)
        for _ in range(5):
            focused, shown = browser.driver.execute_script(FOCUSED)
            assert shown, focused.get_attribute("outerHTML")
            focused.send_keys(Keys.TAB)
        filter_.send_keys("zzz")
        browser.await_text("#docs h3", "Nothing has this in its tag or path.")
        browser.check()


LISTS = ("user", "session", "robot", "agent")


def list_of(name: str) -> str:
    """The selector of a list."""
    return f"#lists section:nth-child({LISTS.index(name) + 1})"


def titles(browser: Browser, name: str) -> list[str]:
    shown: list[str] = browser.driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)",
        f"{list_of(name)} button .title",
    )
    return shown


def await_titles(browser: Browser, name: str, count: int) -> list[str]:
    browser.waiting.until(lambda _: len(titles(browser, name)) == count, name)
    return titles(browser, name)


@in_chromium
def test_console_lists_searches_and_pages(browser: Browser, loaded: Stack) -> None:
    browser.open("/")
    browser.await_text("#who", "A token shows what its owner may see")
    assert not browser.all("#seen:not([hidden])")
    browser.check()
    browser.one("#token").send_keys(token(loaded), Keys.ENTER)
    browser.await_text("#caller", f"{USER}, until ")

    first = await_titles(browser, "user", ROWS)
    await_titles(browser, "session", ROWS)
    # Robots are the whole installation's: other tests have some too.
    browser.await_text(f"{list_of('robot')} ol", "Which <b>robot</b>?")
    assert await_titles(browser, "agent", 1)
    for part in ("proxy", "server", "store"):
        browser.await_text(f"#health-{part}", "up")
    for name, text in (("rate", "now; at most"), ("latency", "95 % under")):
        browser.await_text(f"#{name}-text", text)
        browser.one(f"#{name} svg[role=img][aria-labelledby='{name}-title {name}-now {name}-text'] path.line")
        browser.one(f"#{name} .key.line")
        browser.await_text(f"#{name} footer", "ago")
        drawn = browser.one(f"#{name} path.line").value_of_css_property("stroke")
        link = browser.one("a").value_of_css_property("color")  # of the theme
        assert re.findall(r"\d+", drawn)[:3] == re.findall(r"\d+", link)[:3]
    browser.check()

    seen = set(first)
    for count in (ROWS, MANY - 2 * ROWS):
        browser.click(f"{list_of('user')} .on")
        seen |= set(await_titles(browser, "user", count))
    assert seen == {f"Turtle {number:02}" for number in range(1, MANY + 1)}
    assert not browser.one(f"{list_of('user')} .on").is_enabled()

    browser.one("#search").send_keys("parcel no.07")
    assert await_titles(browser, "session", 1) == [f"{SITUATION} No.07"]
    browser.await_text(f"{list_of('user')} ol", "Nothing has these words.")
    browser.check()
    browser.click(f"{list_of('session')} button.row")
    assert json.loads(browser.one("dialog pre").text)["situation"] == f"{SITUATION} No.07"
    browser.check()


CONTROLS = """
return [...document.querySelectorAll("a, button, input, summary, svg[tabindex]")]
  .filter((each) => !each.disabled && each.checkVisibility());
"""
FOCUSED = """
const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
return [document.activeElement, outlineStyle === "solid" && parseFloat(outlineWidth) >= 2];
"""


@in_chromium
def test_tab_reaches_every_control_of_the_console_in_order_and_shows_where_it_is(
    loaded: Stack, tmp_path: Path
) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[1]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        for name, count in (("user", ROWS), ("session", ROWS), ("agent", 1)):
            await_titles(browser, name, count)
        browser.await_text(f"{list_of('robot')} ol", "Which <b>robot</b>?")

        controls = browser.driver.execute_script(CONTROLS)
        assert len(controls) > 2 * ROWS
        browser.driver.execute_script("arguments[0].focus()", controls[1])
        for control in controls:
            keys = (Keys.SHIFT, Keys.TAB) if control == controls[0] else (Keys.TAB,)
            browser.driver.switch_to.active_element.send_keys(*keys)
            focused, shown = browser.driver.execute_script(FOCUSED)
            assert focused == control, focused.get_attribute("outerHTML")
            assert shown, control.get_attribute("outerHTML")


@in_chromium
@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE], ids=["enter", "space"])
def test_console_is_used_by_keyboard(loaded: Stack, tmp_path: Path, key: str) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(token(loaded), Keys.TAB, key)
        await_titles(browser, "session", ROWS)

        browser.one(f"{list_of('session')} .on").send_keys(key)
        browser.await_text(f"{list_of('session')} footer", f"{ROWS + 1}")
        title = titles(browser, "session")[0]
        record = browser.one(f"{list_of('session')} button.row")
        record.send_keys(key)
        assert browser.one("#record-title").text == title
        assert json.loads(browser.one("dialog pre").text)["situation"] == title
        browser.check()
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.waiting.until(lambda _: not browser.all("dialog[open]"))
        assert browser.driver.switch_to.active_element == record


@in_chromium
def test_console_plots_its_own_calls_for_a_token_that_may_not_see_the_services(
    loaded: Stack, tmp_path: Path
) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(loaded.token(USER), Keys.ENTER)
        browser.await_text("#rate-text", "shown to a token with the scope sessions:read")
        browser.await_text("#latency-text", "for this page's last call")
        browser.one("#latency path.own")
        assert not browser.all("#rate path")
        assert not any(key.is_displayed() for key in browser.all("figure .key"))


def test_activity_counts_calls_errors_and_durations(loaded: Stack) -> None:
    reader = loaded.token("reader", scopes=[READ])
    end = time.monotonic() + SECONDS
    body = loaded.get("/activity", reader).json()
    while not any(point["calls"] for point in body["points"]):
        assert time.monotonic() < end
        time.sleep(0.2)
        body = loaded.get("/activity", reader).json()
    assert len(body["points"]) * body["seconds"] == 15 * 60
    assert [point["time"] % body["seconds"] for point in body["points"]] == [0] * len(body["points"])
    for point in body["points"]:
        assert point["errors"] <= point["calls"]
        assert (point["median_ms"] is None) == (point["p95_ms"] is None) == (point["calls"] == 0)
        assert point["calls"] == 0 or 0 < point["median_ms"] <= point["p95_ms"]


@pytest.mark.parametrize(("scopes", "status"), [(None, 401), ([], 403), ([READ], 200), ([WRITE], 200)])
def test_activity_is_for_those_who_serve_users(stack: Stack, scopes: list[str] | None, status: int) -> None:
    credential = None if scopes is None else stack.token("someone", scopes=scopes)
    assert stack.get("/activity", credential).status_code == status


STORED = "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"


@in_chromium
def test_console_says_why_a_token_is_refused_and_keeps_it_no_longer(loaded: Stack, tmp_path: Path) -> None:
    expired = loaded.token(USER, expires_in=timedelta(seconds=-1))
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        for bad in ("nonsense", expired):
            browser.one("#token").send_keys(bad, Keys.ENTER)
            message = loaded.get("/v1/sessions", bad).json()["message"]
            browser.await_text("#refusal[role=alert]", message)
            assert browser.driver.execute_script(STORED) == '[{},{},""]'
            assert browser.driver.switch_to.active_element == browser.one("#token")
            browser.check(refused=401)


@in_chromium
def test_token_that_expires_meanwhile_takes_what_it_showed_with_it(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        short = loaded.token(USER, expires_in=timedelta(seconds=12))
        browser.one("#token").send_keys(short, Keys.ENTER)
        browser.click(f"{list_of('user')} button.row")
        assert browser.all("dialog[open]")
        browser.await_text("#refusal[role=alert]", "The token has expired")
        assert not browser.all("dialog[open]")
        assert titles(browser, "user") == []
        assert browser.driver.switch_to.active_element == browser.one("#token")


@in_chromium
def test_console_sends_no_token_that_is_none_and_does_not_keep_it(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        for bad in ("caf\u00e9", "\u2026abc"):
            browser.one("#token").send_keys(bad, Keys.ENTER)
            browser.await_text("#refusal[role=alert]", "This is not a valid token")
            assert browser.driver.execute_script(STORED) == '[{},{},""]'
            assert browser.driver.switch_to.active_element == browser.one("#token")
        browser.check()
        assert not [url for url in browser.asked if "/v1/" in url]
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        await_titles(browser, "user", ROWS)
        assert browser.one("#refusal, #caller").text.startswith(USER)


@in_chromium
def test_console_takes_a_token_that_ends_after_the_last_date(loaded: Stack, tmp_path: Path) -> None:
    secret = loaded.settings.secret("jwt_secret")
    assert secret
    claims = jwt.decode(token(loaded), options={"verify_signature": False})
    endless = jwt.encode(claims | {"exp": 9_999_999_999_999}, secret, "HS256")
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(endless, Keys.ENTER)
        await_titles(browser, "user", ROWS)
        assert browser.one("#caller").text == USER
        browser.check()


CLAIMS = (
    "null",
    "7",
    '"text"',
    "[]",
    '{"sub": {"toString": 1}, "developer_id": {"a": 1}, "exp": "soon"}',
    "{",
)


@in_chromium
def test_console_hears_the_refusal_of_a_token_with_any_claims(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        for claims in CLAIMS:
            bad = f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.e30"
            browser.open("/")
            browser.one("#token").send_keys(bad, Keys.ENTER)
            browser.await_text("#refusal[role=alert]", loaded.get("/v1/sessions", bad).json()["message"])
            assert browser.driver.execute_script(STORED) == '[{},{},""]', claims
            browser.check(refused=401)


def test_command_that_the_console_shows_signs_a_token_that_may_see_all(stack: Stack, tmp_path: Path) -> None:
    (command,) = re.findall(
        r"<pre[^>]*>(\.venv.*?)</pre>", FILES["/console/index.html"].read_text(), re.DOTALL
    )
    signed = run(["bash", "-euo", "pipefail", "-c", here(command, stack)], stack.environment, folder=tmp_path)
    for path in ("/v1/userSessions", "/v1/sessions", "/v1/robotSessions", "/v1/agentSessions", "/activity"):
        assert stack.get(path, signed.strip()).status_code == 200, path


@in_chromium
def test_console_forgets_a_token_when_it_is_told_to(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        credential = token(loaded)
        browser.one("#token").send_keys(credential, Keys.ENTER)
        await_titles(browser, "user", ROWS)
        stored = json.loads(browser.driver.execute_script(STORED))
        assert stored == [{}, {"rollcall.token": credential}, ""]
        browser.click("#forget")
        browser.await_text("#who", "A token shows what its owner may see")
        assert browser.driver.execute_script(STORED) == '[{},{},""]'
        assert titles(browser, "user") == []


PLACES = """return ["search", "refresh", "forget"].map((id) => {
  const { left, top } = document.getElementById(id).getBoundingClientRect();
  return [left, top + scrollY].map(Math.round);
})"""
SAY = """for (const figure of ["rate", "latency"]) {
  for (const [index, part] of ["now", "text"].entries()) {
    document.getElementById(`${figure}-${part}`).textContent = arguments[index];
  }
}"""
SAID = [
    ("", ""),
    ("0", "at 10:04:05 AM; no call"),
    ("0", "shown to a token with the scope sessions:read"),
    ("9,999", "now; at most 9,999, and 9999 errors, in 60 min"),
    ("9,999", "for this page's last call; at most 9,999 in 300 s"),
]


@in_chromium
@pytest.mark.parametrize("width", SIZES)
def test_what_a_plot_says_moves_no_button_under_the_pointer(
    width: int, loaded: Stack, tmp_path: Path
) -> None:
    with chromium(loaded.rest, tmp_path, width, THEMES[0]) as browser:
        browser.open("/")
        browser.hold()
        browser.one("#token").send_keys(loaded.token(USER), Keys.ENTER)
        browser.one("#forget")
        places = []
        for now, text in SAID:
            browser.driver.execute_script(SAY, now, text)
            places.append(browser.driver.execute_script(PLACES))
        assert places == [places[0]] * len(SAID)


@in_chromium
def test_console_takes_an_api_key(loaded: Stack, tmp_path: Path) -> None:
    key = loaded.command("key", "add", "--sub", USER).stdout.decode().strip()
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(key, Keys.ENTER)
        await_titles(browser, "user", ROWS)
        browser.await_text("#caller", "Your API key")


@in_chromium
def test_console_says_which_list_a_token_may_not_see_without_alarm(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(loaded.token(USER), Keys.ENTER)
        await_titles(browser, "user", ROWS)
        browser.await_text(f"{list_of('robot')} .note", "USE_ROBOTS")
        assert not browser.all(f"{list_of('robot')} .wrong, {list_of('robot')} .note button")


@in_chromium
def test_console_shows_that_it_waits_and_offers_to_try_again(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.hold()
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        assert browser.one(f"{list_of('user')} ol[aria-busy=true] .waiting")
        browser.driver.refresh()
        await_titles(browser, "user", ROWS)
        assert browser.one(f"{list_of('user')} ol[aria-busy=false]")

        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/v1/userSessions*"]})
        browser.driver.refresh()
        browser.await_text(f"{list_of('user')} .note.wrong", "The service does not answer.")
        await_titles(browser, "session", ROWS)
        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        browser.click(f"{list_of('user')} .note button")
        await_titles(browser, "user", ROWS)


MANY_MORE, RARE = 2_050, 30
"""More than a search looks through without being told to; each of so many is rare."""


@pytest.fixture(scope="module")
def long(loaded: Stack) -> str:
    """Return the token of one who has many sessions."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    bodies = (
        session(
            situation=f"Long n{number:04} {'' if number % RARE else 'rare'}",
            created_at=(first + timedelta(seconds=number)).isoformat(),
        )
        for number in range(MANY_MORE)
    )
    loaded.load(*(line("session", body, developer_id="long") for body in bodies))
    return loaded.token("long")


@in_chromium
def test_search_says_how_far_it_looked_and_goes_on_when_told_to(
    loaded: Stack, long: str, tmp_path: Path
) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(long, Keys.ENTER)
        await_titles(browser, "session", ROWS)
        browser.one("#search").send_keys("n0007")
        browser.await_text(f"{list_of('session')} .note", "None of the first 2,000 has these words.")
        browser.one(f"{list_of('session')} .note button").send_keys(Keys.ENTER)
        assert await_titles(browser, "session", 1) == ["Long n0007 "]
        assert browser.driver.switch_to.active_element == browser.one(f"{list_of('session')} ol")


HOLD = """
const real = window.fetch;
window.held = [];
window.fetch = async (path, options) => {
  if (String(path).startsWith("/v1/sessions?pageSize=100")) await new Promise((go) => window.held.push(go));
  return real(path, options);
};
"""
LET_GO = "for (const go of window.held.splice(0)) go()"


def await_held(browser: Browser, count: int) -> None:
    browser.waiting.until(lambda driver: driver.execute_script("return window.held.length") == count)


@in_chromium
def test_late_answer_to_an_older_question_is_not_shown(loaded: Stack, long: str, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.driver.execute_script(HOLD)
        browser.one("#token").send_keys(long, Keys.ENTER)
        await_held(browser, 1)
        browser.click("#forget")
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        await_held(browser, 2)
        browser.one("#search").send_keys("no.0")
        browser.driver.execute_script(LET_GO)
        shown = await_titles(browser, "session", ROWS)
        assert all(each.startswith(f"{SITUATION} No.0") for each in shown)


@in_chromium
def test_row_that_stays_keeps_the_focus_while_others_arrive(loaded: Stack, long: str, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(long, Keys.ENTER)
        await_titles(browser, "session", ROWS)
        browser.driver.execute_script(HOLD)
        browser.one("#search").send_keys("rare")
        await_held(browser, 1)
        assert len(titles(browser, "session")) < ROWS
        row = browser.one(f"{list_of('session')} button.row")
        browser.driver.execute_script("arguments[0].focus()", row)
        browser.waiting.until(
            lambda driver: driver.execute_script(LET_GO) or len(titles(browser, "session")) == ROWS
        )
        assert browser.driver.switch_to.active_element == row


@in_chromium
def test_console_refreshes_its_lists(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(loaded.token("fresh"), Keys.ENTER)
        browser.await_text(f"{list_of('session')} .note", "There are none.")
        loaded.load(line("session", session(situation="Just now"), developer_id="fresh"))
        browser.click("#refresh")
        assert await_titles(browser, "session", 1) == ["Just now"]


@in_chromium
def test_console_tells_a_silent_server_from_a_silent_proxy(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        await_titles(browser, "user", ROWS)
        with frozen(loaded.part("serve")):
            browser.click("#refresh")
            browser.await_text("#health-server", "down")
            browser.await_text("#health-proxy", "up")
        await_titles(browser, "user", ROWS)


@in_chromium
def test_console_sees_a_proxy_that_is_silent_and_lists_come_back_with_it(
    loaded: Stack, tmp_path: Path
) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        await_titles(browser, "user", ROWS)
        with frozen(loaded.part("envoy")):
            browser.click("#refresh")
            browser.await_text("#health-proxy", "down")
            browser.await_text("#health-store", "unknown")
            browser.await_text("#rate-text", "not known while the service does not answer")
            browser.await_text(f"{list_of('user')} .note.wrong", "The service does not answer.")
        await_titles(browser, "user", ROWS)
        browser.await_text("#health-store", "up")


@in_chromium
def test_plots_tell_of_each_point(loaded: Stack, tmp_path: Path) -> None:
    with chromium(loaded.rest, tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/")
        browser.one("#token").send_keys(token(loaded), Keys.ENTER)
        browser.await_text("#rate-text", "now; at most")
        for name in ("rate", "latency"):
            plot = browser.one(f"#{name} svg")
            plot.send_keys(Keys.ARROW_LEFT)
            assert browser.one(f"#{name}-text").text.startswith("at ")
            plot.send_keys(Keys.ARROW_LEFT)
            plot.send_keys(Keys.ARROW_RIGHT)
            assert browser.all(f"#{name} .guide")
        ActionChains(browser.driver).move_to_element(browser.one("#latency svg")).perform()
        browser.await_text("#latency-text", "at ")
        browser.click("#search")
        ActionChains(browser.driver).move_to_element(browser.one("#search")).perform()
        assert not browser.all("figure .guide")


@in_chromium
def test_title_of_any_length_leaves_the_record_in_sight(loaded: Stack, tmp_path: Path) -> None:
    loaded.load(line("session", session(situation="Word " * 5_000), developer_id="wordy"))
    for width in SIZES:
        with chromium(loaded.rest, tmp_path / str(width), width, THEMES[0]) as browser:
            browser.open("/")
            browser.one("#token").send_keys(loaded.token("wordy"), Keys.ENTER)
            browser.click(f"{list_of('session')} button.row")
            browser.one("dialog pre")
            browser.check(refused=403)
            bottom = "return arguments[0].getBoundingClientRect().bottom"
            assert browser.driver.execute_script(bottom, browser.one("#close")) < HEIGHT / 2
