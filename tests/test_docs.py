"""docs/: every command of a page works when it is followed from its top, and every link leads somewhere."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from server.auth.jwks import REFRESH_SECONDS
from server.auth.jwts import CACHED_SECONDS
from tests.documents import BIN, ROOT, SECONDS, blocks, broken_links, here, long_lines, make_targets, run
from tests.parts import wait_until
from tests.stack import Stack, free_port

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
README = (ROOT / "README.md").read_text()
LANGUAGES = {"sh", "python"}
SERVE = "rollcall serve\n"
END = "--- end of a block ---"

PRINTS = {
    "export TOKEN=$(.venv/bin/rollcall token --sub grace --developer-id shop": r'^\{"items":\[\]\}$',
    "cat > shop.jsonl": r"shop\.jsonl:3: system_template: .*\n(.*\n)*imported 2 records, refused 1 lines\n",
    "metadata_filter.plan=pro": r'^\{"items":\[.*"A drill.*"Order.*\]\}\{"items":\[\{[^\[]*"Order[^\[]*\]\}$',
    'order_by="updated_at desc"': r"^2026-03-02T09:10:00Z A drill came broken\. \{'plan': 'free'\}\n2026-03",
    '{"id": "0b0f6a52-6f4e-4c55-9d43-0d2b6f0a1c01"}': r'"situation": "Order 7 is late\."',
    "?updateMask=summary": r'"summary":"It arrives on Tuesday\.".*\{"items":\[\{[^\[]*"It arrives on T',
    "--sub reporter": r'added key [0-9a-f]{16}\n(.*\n)*\{"items":\[\]\}$',
    "sk-from-the-system-before": r'\{"items":\[\]\}$',
    "OKPAlgorithm": "",
    "127.0.0.1:50061": r"^\{\s*\}\n$",
    "mv page_token_keys.new": "",
    "openssl req -x509": "",
    "-cert client.pem": r'"status": "SERVING"\n\}\n[\s\S]*refused\n$',
    "agents.jsonl": r"imported 2 records, refused 0 lines\n",
    "backup.jsonl.gz\ngunzip -c backup.jsonl.gz | wc -l": r"exported 2 records\n2\n$",
    "ROLLCALL_MONGODB_DATABASE=restored": r"the same\n$",
    '{"service": "live"}': r'"status": "SERVING"',
    "list rollcall.v1.RobotService": r"RobotService\.ListRobots\n[\s\S]*message ListRobotSessionsRequest \{",
    "-format-error": r'"reason":"CREDENTIALS_MISSING"',
    "for target in": r'^(\{\s*("robot_sessions": [\s\S]*)?\}\n){2}$',
    "RestService/ListRobotSessions": r'"data": "',
}
"""A part of each block that runs, and what it prints."""

ELSEWHERE = {
    "rollcall pull": "test_pull.py: from a second rollcall that plays the old system",
    "/metrics": "test_observability.py: it asks a server for every metric",
    "/stats/prometheus": "test_envoy.py: it asks an Envoy for its figures",
    "make run\n": "test_readme.py: it is `rollcall up`",
    "ROLLCALL_JWKS=https://issuer.example": "the reader's issuer; the next blocks of the page run with one",
}
"""A part of each block that does not run, and why."""

ENVIRONMENTS = {"how-to/records.md": {"ROLLCALL_MONGODB_DATABASE": "moved"}}
"""A database of its own for a page that exports everything."""


def followed() -> list[str]:
    """The pages that have commands."""
    return [
        name for name, text in PAGES.items() if any(language in LANGUAGES for language, _ in blocks(text))
    ]


def is_run(text: str) -> bool:
    return SERVE in text or not any(part in text for part in ELSEWHERE)


def test_every_block_is_run_or_has_a_reason() -> None:
    texts = [text for page in PAGES.values() for language, text in blocks(page) if language in LANGUAGES]
    shown = [text for text in texts if is_run(text) and SERVE not in text]

    for text in shown:
        assert sum(part in text for part in PRINTS) == 1, text
    for part in (*PRINTS, *ELSEWHERE):
        assert any(part in text for text in texts), part
    assert not {text for _, text in blocks(README)} & set(shown), "the README's tests run it"


@pytest.mark.parametrize("name", followed())
def test_page_can_be_followed(name: str, stack: Stack, tmp_path: Path) -> None:
    environment = stack.environment | ENVIRONMENTS.get(name, {})
    ports = {port: str(free_port()) for port in set(re.findall(r"\b5006\d\b", PAGES[name]))}
    with ExitStack() as running:
        for language, text in blocks(PAGES[name]):
            if language not in LANGUAGES or not is_run(text):
                continue
            script = here(text, stack)
            for port, free in ports.items():
                script = script.replace(port, free)
            if SERVE in text:
                mongodb = stack.settings.mongodb_uri.get_secret_value()
                running.enter_context(serving(script, environment, mongodb, tmp_path, ports.values()))
                continue
            part = next(part for part in PRINTS if part in text)
            printed, environment = follow(language, script, environment, tmp_path)
            while "NOT_SERVING" in printed:  # A server listens before it has asked its store.
                printed, environment = follow(language, script, environment, tmp_path)
            assert re.search(PRINTS[part], printed), printed


def follow(
    language: str, script: str, environment: dict[str, str], folder: Path
) -> tuple[str, dict[str, str]]:
    """Run a block; return what it prints, and the environment that it leaves to the next."""
    if language == "python":
        return run([f"{BIN}/python", "-"], environment, script, folder), environment
    whole = f"exec 2>&1\nset -a\n{script}\nprintf '%s\\0' '{END}'\nenv -0\n"
    printed, _, left = run(["bash", "-euo", "pipefail", "-c", whole], environment, folder=folder).partition(
        f"{END}\0"
    )
    return printed, dict(line.split("=", 1) for line in left.split("\0") if "=" in line)


@contextmanager
def serving(
    script: str, environment: dict[str, str], mongodb: str, folder: Path, ports: Iterable[str]
) -> Iterator[None]:
    """Run a block that serves, as in another terminal, until the page has ended."""
    process = re.sub(r"^(\S*rollcall serve)$", r"exec \1", script, flags=re.MULTILINE)
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", process],  # noqa: S607 # the reader's shell
        env=environment | {"ROLLCALL_MONGODB_URI": mongodb},
        cwd=folder,
        stdout=subprocess.DEVNULL,
    ) as server:
        try:
            wait_until(lambda: server.poll() is not None or all(map(listens, ports)))
            assert server.poll() is None, "the server has ended"
            yield
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0


def listens(port: str) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert broken_links(DOCS / name) == []


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("reference/")])
def test_prose_is_wrapped(name: str) -> None:
    assert [line for line in long_lines(PAGES[name]) if not line.startswith("[![")] == []


def test_how_long_a_token_outlives_its_key_is_as_the_code_has_it() -> None:
    known, longest = CACHED_SECONDS / 60, (CACHED_SECONDS + 2 * REFRESH_SECONDS) / 60
    page = " ".join(PAGES["how-to/rotate-secrets.md"].split())
    readme = " ".join(README.split())

    assert f"taken as known for {known:.0f} minutes" in page
    assert f"{longest:.0f} minutes at most" in page
    assert f"verified again after {known:.0f} minutes: it may outlive its key by as much" in readme
    assert f"by {longest:.0f} minutes at most if the JWKS is a URL" in readme


def test_every_page_is_reached_from_the_first() -> None:
    reached, new = set[Path](), {DOCS / "README.md"}
    while new:
        reached |= new
        links = {
            (page.parent / target.partition("#")[0]).resolve()
            for page in new
            for target in re.findall(r"\]\(([^)]+\.md[^)]*)\)", page.read_text())
            if not target.startswith("https://")
        }
        new = {link for link in links if DOCS in link.parents} - reached

    assert {str(page.relative_to(DOCS)) for page in reached} == set(PAGES)
    assert "](docs/README.md)" in README


def test_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set[str]().union(*map(make_targets, PAGES.values())) <= targets


@pytest.mark.parametrize("path", sorted((DOCS / "images").glob("*.svg")), ids=lambda path: path.name)
def test_diagram_tells_what_it_shows(path: Path) -> None:
    drawing = ET.parse(path).getroot()  # noqa: S314 # our own file
    spaces = {"svg": "http://www.w3.org/2000/svg"}

    assert drawing.findtext("svg:title", namespaces=spaces)
    assert drawing.findtext("svg:desc", namespaces=spaces)
    assert drawing.get("role") == "img"
    assert path.suffix == ".svg"
