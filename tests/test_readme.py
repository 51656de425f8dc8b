"""The documents: every command of the README works, and its tables say what the code does."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import rest_pb2

from bench import summary
from deploy import settings_table
from deploy.reference.errors import HEADER, details, raised, rows
from server.app import SERVICES
from server.records.anyjson import MAX_DEPTH
from server.records.fields import MAX_LABEL_CHARS
from server.records.kind import MAX_DOCUMENT_BYTES
from server.services.paging import MAX_PAGE, PAGE_BYTES
from server.services.resources import MAX_BATCH
from server.settings import PREFIX, Settings
from tests.browser import SIZES, THEMES, chromium, in_chromium
from tests.documents import BIN, ROOT, SECONDS, blocks, broken_links, here, long_lines, make_targets, run
from tests.stack import Stack, free_port, running_stack

DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
PROSE = (*DOCUMENTS, "SECURITY.md", "bench/README.md", "deploy/README.md")
README = DOCUMENTS["README.md"]
CONTRIBUTING = DOCUMENTS["CONTRIBUTING.md"]

BLOCKS = blocks(README)
CODE = {text: language for language, text in BLOCKS if language != "text"}

TOKEN = "export TOKEN="
FETCH = "await fetch("
SERVE = "rollcall serve\n"
INSTALL = "pip install .\n"
ADOPT = "rollcall pull session"
PRINTS = {
    'Bearer $TOKEN" http://127.0.0.1:8080/session\n': r'^\[\{"uuid":".*\}\]$',
    "better-auth.session_token": r'^\[\{"uuid":".*\}\]$',
    "/sessions?limit=2": r'^\{"items":\[\{.*"plan":"pro".*"plan":"pro".*\}\]\}$',
    "/robots/sessions?page=1": r'^\{"page_size":20,.*"sessions":\[\{.*"d0vlmou9foa4085cnu50"',
    "&before=": r'^\{"id":"d8c62gqj4j01o3c2hntg",.*"message_list":\{"page_size":2,"results":2,"next_before":',
    "robots?page=2": r'^\{"page_size":50,.*"current_page":2,.*"robots":\[\{',
    "/robots/d6241lteg0vc65vcss60": r'^\{"id":"d6241lteg0vc65vcss60",.*"playbook":"',
    "pageSize=2": r'^\{"data":\[\{"rid":"ri\..*\],"nextPageToken":"v1\.',
    "Julep(": r"^[0-9a-f-]{36} .*\n[0-9a-f-]{36} ",
    "FoundryClient(": r"^(ri\.aip-agents\.\.session\.\S+ .*\n){51,}$",
    "CreateSessionRequest(": r"^[0-9a-f-]{36} It arrives on Tuesday\.\nNOT_FOUND RECORD_NOT_FOUND\n$",
    "asyncio.run(": r"^([0-9a-f-]{36} \S+Z \d+\n){3}$",
    "50051 list": r"^grpc\.health\.v1\.Health\n(.*\n)*rollcall\.v1\.UserSessionService\n$",
    "describe": r"message ListSessionsRequest \{",
    "SessionService/ListSessions": r'"situation": [\s\S]*"next_page_token": "v1\.',
    "/v1/sessions?pageSize=1": (
        r'^\{"sessions":\[\{.*"nextPageToken":"v1\..*\}'
        r'\{"situation":"Order 7 is late\.".*\}\{.*"summary":"It arrives on Tuesday\.".*\}\{.*"etag":"\w+"\}$'
    ),
    "sessions:search": r'^\{"sessions":\[\{.*"plan":"pro".*"nextPageToken":"v1\.',
    "Health/Check": r'"status": "SERVING"',
    "rollcall import -": r'^\{\n  "rid": "ri\.aip-agents\.\.session\.first",\n(.*\n)*\}\n$',
    "rollcall key add": r'^rck_[\w-]{43}\n(\{"id":"[0-9a-f]{16}","sub":.*\}\n){2}$',
    "rollcall config": r'^# MongoDB\n# mongodb_uri = "(.*\n)+grpc_port = \d+  # environment\n',
    "rollcall migrate": r"^renewed 0 records\n$",
    "rollcall export": r'^{"kind":"agent",',
    "envoy --mode validate": r"envoy\.yaml' OK",
}
"""A part of each block that runs as it is, and what it prints."""

ELSEWHERE = {
    TOKEN: "every other block runs with it",
    FETCH: "test_fetch_from_a_browser",
    SERVE: "test_serve: it runs until it is stopped",
    ADOPT: "test_adopt: it has an old system",
    INSTALL: "test_pip_installs_stubs_with_types: without the dependencies, which are there",
    "make run\n": "test_make_targets: it is `rollcall up`, on which all blocks here run",
    "make test\n": "test_make_targets: it is what runs this",
}
"""A part of each block that does not run as it is, and what stands for it."""


def block(part: str) -> str:
    """The block that has a part."""
    found = [text for text in CODE if part in text]
    assert len(found) == 1, f"{part!r} is in {len(found)} blocks"
    return found[0]


def test_every_block_is_run_or_has_a_reason() -> None:
    accounted = [block(part) for part in (*PRINTS, *ELSEWHERE)]

    assert sorted(accounted) == sorted(CODE)
    assert len(CODE) == sum(language != "text" for language, _ in BLOCKS)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Another service's page, as browsers see it."""

    class Blank(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as http.server has it
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href='data:,'>")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("localhost", 0), Blank) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[Stack]:
    """What `make run` starts."""
    folder = tmp_path_factory.mktemp("readme") / "data"
    with running_stack(folder, arguments=(), environment={"ROLLCALL_CORS_ORIGINS": origin}) as stack:
        yield stack


@pytest.fixture(scope="module")
def environment(demo: Stack) -> dict[str, str]:
    """A shell of the reader's, with the token."""
    script = f'{here(block(TOKEN), demo)}\nprintf %s "$TOKEN"'
    return demo.environment | {"TOKEN": run(["bash", "-euo", "pipefail", "-c", script], demo.environment)}


@pytest.mark.parametrize("part", PRINTS)
def test_block_works(part: str, demo: Stack, environment: dict[str, str]) -> None:
    text = block(part)
    if CODE[text] == "python":
        printed = run([sys.executable, "-"], environment, here(text, demo))
    else:
        assert CODE[text] == "sh"
        printed = run(["bash", "-euo", "pipefail", "-c", here(text, demo)], environment)

    assert re.search(PRINTS[part], printed), printed[:2000]


def test_fetch_is_open_to_the_origins_of_the_setting(
    demo: Stack, environment: dict[str, str], origin: str
) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }

    preflight = httpx.options(f"{demo.rest}/session", headers=asked)
    answer = demo.get("/session", environment["TOKEN"], headers={"origin": origin})

    for response in (preflight, answer):
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-credentials"] == "true"
    assert "authorization" in preflight.headers["access-control-allow-headers"]


IN_PAGE = """
const [token, done] = arguments;
(async () => {
%s
return `${answer.status} ${sessions.length}`;
})().then(done, (error) => done(String(error)));
"""
BEARER = "headers: { authorization: `Bearer ${token}` },"


@in_chromium
@pytest.mark.parametrize("by", ["header", "cookie"])
def test_fetch_from_a_browser(
    by: str, demo: Stack, environment: dict[str, str], origin: str, tmp_path: Path
) -> None:
    token = environment["TOKEN"]
    script = here(block(FETCH), demo)
    assert BEARER in script
    with chromium(origin, tmp_path, SIZES[0], THEMES[0]) as browser:
        if by == "cookie":
            # Cookies go along within a site: from a page on localhost to localhost.
            script = script.replace(BEARER, 'credentials: "include",').replace("//127.0.0.1", "//localhost")
            browser.driver.get(demo.rest.replace("127.0.0.1", "localhost") + "/openapi.json")
            browser.driver.add_cookie({"name": "better-auth.session_token", "value": token})
        browser.open("/")
        shown = browser.driver.execute_async_script(IN_PAGE % script, token)
    assert shown == f"200 {len(demo.get('/session', token).json())}"


@in_chromium
def test_fetch_from_a_page_of_another_origin_is_refused_by_the_browser(
    demo: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    script = here(block(FETCH), demo)
    with chromium(demo.rest.replace("127.0.0.1", "localhost"), tmp_path, SIZES[0], THEMES[0]) as browser:
        browser.open("/openapi.json")
        shown = browser.driver.execute_async_script(IN_PAGE % script, environment["TOKEN"])
    assert shown == "TypeError: Failed to fetch"


def test_serve(demo: Stack, tmp_path: Path) -> None:
    keys = tmp_path / "page_token_keys"
    keys.write_text("a secret of a good length for page tokens\n")
    script = here(block(SERVE), demo)
    for shown, used in {
        "mongodb://db1,db2,db3/?replicaSet=rs0": demo.settings.mongodb_uri.get_secret_value(),
        "/etc/rollcall/page_token_keys": str(keys),
        f"{BIN}/rollcall serve": f"exec {BIN}/rollcall serve",
    }.items():
        assert shown in script
        script = script.replace(shown, used)
    port = free_port()
    environment = os.environ | {"ROLLCALL_GRPC_PORT": str(port)}

    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 # the reader's shell
        env=environment,
        stderr=subprocess.PIPE,
    ) as server:
        try:
            await_serving(f"127.0.0.1:{port}", server)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0


def test_adopt(demo: Stack, environment: dict[str, str]) -> None:
    """The old system is played by the service itself."""
    shown = "https://julep.example/api"
    script = here(block(ADOPT), demo)
    assert shown in script
    script = script.replace(shown, f"{demo.rest}/api")

    printed = run(["bash", "-euo", "pipefail", "-c", script], environment | {"OLD_KEY": environment["TOKEN"]})

    assert printed == "nothing differs in the first 1,000\n"


def await_serving(target: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < end, "the server is not healthy"
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)  # type: ignore[attr-defined] # missing in its stubs
            except grpc.RpcError:
                answer = None
            if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.05)


def test_pip_installs_stubs_with_types(tmp_path: Path) -> None:
    """Into a folder that stands for a new environment."""
    command = [
        "-m",
        *block(INSTALL).split()[:-1],
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path),
        str(ROOT),
    ]
    run([sys.executable, *command], os.environ)
    stubs = tmp_path / "rollcall"

    assert (stubs / "py.typed").is_file()
    assert (stubs / "v1" / "service_config.json").is_file()
    for proto in (ROOT / "protos" / "rollcall" / "v1").glob("*.proto"):
        for ending in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"):
            assert (stubs / "v1" / f"{proto.stem}{ending}").is_file()
    for file in (ROOT / "server").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert (tmp_path / file.relative_to(ROOT)).is_file(), file
    assert (tmp_path / "server" / "embedded" / "envoy.yaml").is_file()
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from rollcall.v1 import session_pb2\n\nsession_pb2.Session(situation=7)\n")
    types = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(wrong)]
    environment = os.environ | {"MYPYPATH": str(tmp_path)}
    judged = subprocess.run(types, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (
        'Argument "situation" to "Session" has incompatible type "int"; expected "str | None"'
        in judged.stdout
    )


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set[str]().union(*map(make_targets, DOCUMENTS.values()))

    assert named <= targets
    assert {"run", "test"} <= named


@pytest.mark.parametrize("name", PROSE)
def test_links_lead_somewhere(name: str) -> None:
    assert broken_links(ROOT / name) == []


@pytest.mark.parametrize("name", PROSE)
def test_prose_is_wrapped(name: str) -> None:
    assert long_lines((ROOT / name).read_text()) == []


def test_limits_are_those_of_the_code() -> None:
    text = " ".join(README.split())

    assert f"A page ends at `page_size` ({MAX_PAGE:,} at most) or at {PAGE_BYTES / 1e6:.0f} MB." in text
    assert f"A batch has up to {MAX_BATCH:,} records" in text
    assert f"JSON deeper than {MAX_DEPTH} levels" in text
    assert f"an id over {MAX_LABEL_CHARS:,} characters" in text
    assert f"a record over {MAX_DOCUMENT_BYTES >> 20} MiB" in text


def test_throughput_and_cost_are_those_of_the_results() -> None:
    assert summary.renewed(README, (ROOT / "bench/RESULTS.md").read_text()) == README


def test_what_the_bench_says_of_first_pages_is_in_its_table() -> None:
    costs, floors = list[float](), list[float]()
    for line in (ROOT / "bench/GROWTH.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if "first page" in line and "the floor" not in line:
            costs.append(float(cells[2]))
        elif "the floor" in line:
            floors.append(float(cells[4]))
    text = (ROOT / "bench/README.md").read_text()
    assert f"A first page costs {min(costs):.2f} to {max(costs):.2f} ms in all." in text
    assert f"take {min(floors):.0f} to {max(floors):.0f} times that" in text


def test_what_is_said_of_growth_is_in_its_table() -> None:
    rows_of = [
        [cell.strip() for cell in line.split("|")]
        for line in (ROOT / "bench/GROWTH.md").read_text().splitlines()
        if " | ≤ 1" in line or "the floor" in line
    ]
    walks = [float(cells[4]) for cells in rows_of if "by number" in cells[1]]
    floors = [float(cells[4]) for cells in rows_of if "the floor" in cells[1]]
    text = " ".join(README.split())

    assert all(cells[9] == "✓" for cells in rows_of if "by number" not in cells[1] and cells[8])
    assert f"An offset of 100,000 takes {min(walks):.0f} to {max(walks):.0f} times a first page" in text
    assert f"of the shortest keys alone takes {min(floors):.0f} to {max(floors):.0f}." in text


def test_what_the_bench_says_of_two_workers_is_in_its_table() -> None:
    table = (
        (ROOT / "bench/RESULTS.md").read_text().partition("### gRPC, page of 20\n")[2].partition("\n###")[0]
    )
    rows_of = {cells[1].strip(" *"): cells for line in table.splitlines() if (cells := line.split("|"))[1:]}
    one, two = (
        (float(rows_of[name][2].replace(",", "")), float(rows_of[name][6]))
        for name in ("rollcall, motor", "rollcall, motor, two workers")
    )
    text = " ".join((ROOT / "bench/README.md").read_text().split())

    assert (
        f"{one[0]:,.0f} requests a second of {one[1]:.2f} ms are {one[0] * one[1] / 1000:.2f} cores" in text
    )
    assert two[0] > 0.9 * one[0]
    assert two[1] / one[1] == pytest.approx(1.2, abs=0.1)


def test_every_documented_path_and_service_is_described() -> None:
    for method in rest_pb2.DESCRIPTOR.services_by_name["RestService"].methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        assert f"{rule.get}`" in README, rule.get
    for service in SERVICES:
        name = service.rpartition(".")[2]
        assert name in README, name


def test_settings_table_is_that_of_the_code() -> None:
    table = rows("| variable | default | meaning |", README)
    named = [name for name, *_ in table if name.startswith("`")]

    assert settings_table.renewed(README) == README, "make generate"
    assert named == [f"`{PREFIX}{name}`".upper() for name in Settings.model_fields]
    assert all(meaning for name, _, meaning in table if name.startswith("`"))


def test_reasons_table_is_that_of_the_code() -> None:
    table = rows(HEADER, README)
    expected = {(f"`{reason}`", error.code.name, details(error)) for reason, error in raised(ROOT / "server")}

    assert sorted((reason, code, more) for reason, code, _, more in table) == sorted(expected)
    assert all(when for _, _, when, _ in table)


def imports_of(path: Path) -> set[str]:
    """The rooms that a module imports from, as the table names them; and motor."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "server":
            names |= {f"server.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    rooms = {name.split(".")[1] for name in names if name.startswith("server.")}
    folders = {room for room in rooms if (ROOT / "server" / room).is_dir()}
    outside = {"rollcall": "generated", "motor": "motor"}
    return (
        folders
        | ({"top files"} if rooms - folders else set())
        | {outside[top] for name in names if (top := name.partition(".")[0]) in outside}
    )


def test_rooms_import_what_the_table_allows() -> None:
    table = {
        room.strip("`"): may
        for room, _, may in rows("| where | what lives there | may import |", CONTRIBUTING)
    }
    for folder in sorted((ROOT / "server").iterdir()):
        if not (folder / "__init__.py").is_file():
            continue
        allowed = set(table[f"server/{folder.name}/"].replace("`", "").split(", ")) | {folder.name}
        if folder.name == "store":
            allowed.add("motor")
        for module in sorted(folder.rglob("*.py")):
            assert imports_of(module) <= allowed, module


def recipe() -> list[tuple[str, str, str]]:
    """The steps of the fifth system: the file that each is about, its language, its text."""
    text = CONTRIBUTING.partition("## A fifth system")[2]
    steps = re.findall(
        r"`([\w/.]+\.(?:proto|py|yaml))`(?:(?!```)[\s\S])*```(\w+)\n([\s\S]*?)^```$", text, re.MULTILINE
    )
    assert len(steps) == text.count("```") // 2
    return steps


def changed(text: str, diff: str) -> str:
    """A file after a change; every hunk has one place."""
    for hunk in diff.removeprefix("@@\n").split("\n@@\n"):
        lines = [line or " " for line in hunk.strip("\n").split("\n")]
        before = "\n".join(line[1:] for line in lines if line[0] == " ")
        assert text.count(f"{before}\n") == 1, before
        text = text.replace(f"{before}\n", "".join(f"{line[1:]}\n" for line in lines))
    return text


APP_IMPORTS = """\
from rollcall.v1 import note_pb2
from server.records import note
from server.rest.note import NoteRest
from server.services.note import NoteService

KINDS:"""


def test_recipe_of_a_fifth_system(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("deploy", "generated", "protos", "server"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "envoy.yaml", tree)
    (tree / ".venv").symlink_to(sys.prefix)
    for path, language, text in recipe():
        file = tree / path
        file.write_text(changed(file.read_text(), text) if language == "diff" else text)
    app = tree / "server" / "app.py"
    app.write_text(app.read_text().replace("KINDS:", APP_IMPORTS, 1))
    environment = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'generated'}"}
    subprocess.run([tree / "deploy" / "generate", "generated"], cwd=tree, check=True, timeout=SECONDS)

    with running_stack(tmp_path / "data", environment=environment) as stack:
        writer = {"authorization": f"Bearer {stack.token('ada', scopes=['sessions:write'])}"}
        made = httpx.post(f"{stack.rest}/v1/notes", json={"title": "Milk"}, headers=writer).json()
        answers = [stack.get("/notes", stack.token("ada")), stack.get("/notes"), stack.get("/notes/none")]

    assert [answer.status_code for answer in answers] == [200, 401, 404]
    note = {"id": made["id"], "title": "Milk", "pinnedTo": None, "createdAt": made["createdAt"]}
    assert [answer.json() for answer in answers] == [
        {"notes": [note]},
        {"fault": "who are you?"},
        {"fault": "Not found"},
    ]
