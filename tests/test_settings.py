"""Settings: their sources, what is refused and how, and `rollcall config`."""

import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from typer.main import get_command
from typer.testing import CliRunner, Result

from server import settings_rules as rules
from server.cli import app
from server.commands import config
from server.settings import SECRETS, Settings, SettingsError, load, load_environment
from server.sources import PREFIX, TOML_VARIABLE, environment_of, pull_token, variable
from tests.parts import wait_until
from tests.stack import ROLLCALL, Stack, free_port

SCHEMAS = Settings.model_json_schema()["properties"]
MARK = "hunter2"
"""A part of every secret here."""
LONG = f"{MARK}-and-enough-to-be-of-thirty-two-bytes"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without settings, and an environment without any."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error_of(call: Callable[[], object] = load) -> str:
    with pytest.raises(SettingsError) as caught:
        call()
    return str(caught.value)


def run(*arguments: str) -> Result:
    """What a command does, in this process."""
    return CliRunner().invoke(app, arguments)


def wrong_values(schema: Any) -> list[str]:
    """What a setting of this type must refuse."""
    (one,) = rules.alternatives(schema)
    wrong = ["", "a\nb\0"]
    if one.get("type") in {"integer", "number"}:
        wrong += [
            "abc",
            "nan",
            "inf",
            "-inf",
            "true",
            "0x10",
            str(one["minimum"] - 1 if "minimum" in one else 0),
        ]
        wrong += [str(one["maximum"] + 1)] if "maximum" in one else []
    if one.get("type") == "integer":
        wrong += ["1.5", "1e400"]
    if one.get("type") == "boolean" or "enum" in one:
        wrong += ["perhaps", "2"]
    if "pattern" in one:
        wrong += ["% "]
    if "maxLength" in one:
        wrong += ["x" * (one["maxLength"] + 1)]
    return wrong


WRONG = {
    name: [value for value in wrong_values(schema) if (name, value) != ("cors_origins", "")]
    for name, schema in SCHEMAS.items()
}


@pytest.mark.parametrize("number", range(max(map(len, WRONG.values()))))
def test_a_value_that_breaks_the_rule_of_its_type_is_refused_with_name_rule_and_place(
    number: int, here: Path
) -> None:
    values = {name: wrong[number] for name, wrong in WRONG.items() if number < len(wrong)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (here / "rollcall.toml").write_text("\n".join(lines))
    found = error_of().splitlines()
    assert {(line.partition(": ")[0], line.partition(" is not ")[2]) for line in found} == {
        (variable(name), f"{rules.rule(SCHEMAS[name])} (rollcall.toml, line {line})")
        for line, name in enumerate(values, 1)
    }


def test_true_is_no_number(here: Path) -> None:
    names = [name for name, schema in SCHEMAS.items() if schema.get("type") in {"integer", "number"}]
    (here / "rollcall.toml").write_text("".join(f"{name} = true\n" for name in names))
    found = error_of().splitlines()
    assert sorted(line.partition(": ")[0] for line in found) == sorted(map(variable, names))
    assert all(": true is not a " in line for line in found)


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_the_bounds_themselves_are_good(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {
        name: one[end] for name, schema in SCHEMAS.items() for one in rules.alternatives(schema) if end in one
    }
    for name, value in bounds.items():
        monkeypatch.setenv(variable(name), f"{value:g}")
    settings = load()
    assert {name: getattr(settings, name) for name in bounds} == bounds


GOOD: dict[str, tuple[str, object]] = {
    "share_port": ("true", True),
    "mongodb_driver": ("pymongo", "pymongo"),
    "data_dir": ("a b/c", Path("a b/c")),
    "jwks": ("https://issuer.example/jwks.json", "https://issuer.example/jwks.json"),
    "rate_limit": ("100/minute", "100/minute"),
    "introspection_url": ("http://issuer.example/", "http://issuer.example/"),
    "cors_origins": ("https://a.example, https://b.example,", ("https://a.example", "https://b.example")),
    "mongodb_uri": (f"mongodb://a:{MARK}@b/", SecretStr(f"mongodb://a:{MARK}@b/")),
    "request_seconds": ("0.5", 0.5),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("source", ["environment", ".env", "rollcall.toml"])
def test_a_value_is_the_same_from_every_source(
    source: str, name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = GOOD[name]
    if source == "environment":
        monkeypatch.setenv(variable(name), text)
    elif source == ".env":
        (here / ".env").write_text(f"export {variable(name)}='{text}' # with a comment\n")
    else:
        (here / "rollcall.toml").write_text(f"{name} = {json.dumps(text)}")
    settings = load()
    assert getattr(settings, name) == value
    assert settings.origin(name).source == source


def test_no_origin_may_call_if_the_list_of_them_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_CORS_ORIGINS", "")
    assert load().cors_origins == ()


ERRORS = {
    "a port": ("ROLLCALL_GRPC_PORT=abc", "'abc' is not a whole number from 1 to 65535"),
    "a truth": ("ROLLCALL_SHARE_PORT=x", "'x' is not true or false"),
    "a choice": ("ROLLCALL_LOG_LEVEL=x", "'x' is not debug, info, warning or error"),
    "a number": ("ROLLCALL_REQUEST_SECONDS=0", "'0' is not a number above 0 up to 9"),
    "a number from 0": ("ROLLCALL_JWT_LEEWAY_SECONDS=-1", "'-1' is not a number from 0 to 60"),
    "a length": (
        "ROLLCALL_MONGODB_DATABASE=",
        "'' is not text of 1 to 38 characters other than space, /, \\, ., \" and $",
    ),
    "a path": ("ROLLCALL_TLS_CERT=", "'' is not the path of a file or folder"),
    "a rate": (
        "ROLLCALL_RATE_LIMIT=5",
        "'5' is not a number from 1 and a time, such as 100/minute (second, hour, day)",
    ),
    "a URL": (
        f"ROLLCALL_INTROSPECTION_URL=ftp://a:{MARK}@b/c",
        "'ftp://…@b/c' is not a URL that begins with http:// or https://",
    ),
    "a long value": (f"ROLLCALL_WORKERS={'x' * 99}", f"'{'x' * 59}…' is not a whole number from 1 to 256"),
    "a secret": ("ROLLCALL_JWT_SECRET=", "text of 0 characters is not text of at least one character"),
}


@pytest.mark.parametrize(("line", "text"), ERRORS.values(), ids=ERRORS)
def test_an_error_has_the_name_the_value_the_rule_and_the_line(line: str, text: str, here: Path) -> None:
    (here / ".env").write_text(f"# settings\n\n{line}\n")
    assert error_of() == f"{line.partition('=')[0]}: {text} (.env, line 3)"


def test_every_wrong_setting_is_named_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_WORKERS", "0")
    (here / ".env").write_text("ROLLCALL_REST_PORT=0")
    (here / "rollcall.toml").write_text("\nshare_port = 3")
    assert sorted(error_of().splitlines()) == [
        "ROLLCALL_REST_PORT: '0' is not a whole number from 1 to 65535 (.env, line 1)",
        "ROLLCALL_SHARE_PORT: 3 is not true or false (rollcall.toml, line 2)",
        "ROLLCALL_WORKERS: '0' is not a whole number from 1 to 256 (environment)",
    ]


def test_the_nearest_source_decides(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "rollcall.toml").write_text('data_dir = "toml"')
    (here / ".env").write_text("ROLLCALL_DATA_DIR=dotenv")
    monkeypatch.setenv("ROLLCALL_DATA_DIR", "environment")

    found = [load(data_dir=Path("line")), load()]
    monkeypatch.delenv("ROLLCALL_DATA_DIR")
    found.append(load())
    (here / ".env").unlink()
    found.append(load())
    (here / "rollcall.toml").unlink()
    found.append(load())

    assert [(str(each.data_dir), str(each.origin("data_dir"))) for each in found] == [
        ("line", "command line"),
        ("environment", "environment"),
        ("dotenv", ".env, line 1"),
        ("toml", "rollcall.toml, line 1"),
        (".rollcall", "default"),
    ]


def test_a_secret_file_of_a_nearer_source_takes_the_place_of_a_farther_secret(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "secret").write_text(LONG[::-1])
    (here / ".env").write_text(f"ROLLCALL_JWT_SECRET={LONG}\n")
    monkeypatch.setenv("ROLLCALL_JWT_SECRET_FILE", "secret")
    assert load().secret("jwt_secret") == LONG[::-1]

    (here / ".env").write_text(f"ROLLCALL_JWT_SECRET={LONG}\nROLLCALL_JWT_SECRET_FILE=secret\n")
    monkeypatch.delenv("ROLLCALL_JWT_SECRET_FILE")
    assert error_of() == "ROLLCALL_JWT_SECRET and ROLLCALL_JWT_SECRET_FILE must not both be set"


def test_another_toml_file_may_be_named_and_must_be_there(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "rollcall.toml").write_text("workers = 2")
    (here / "other.toml").write_text("workers = 3")
    (here / ".env").write_text(f"{TOML_VARIABLE}=other.toml")
    assert load().workers == 3

    monkeypatch.setenv(TOML_VARIABLE, "nowhere.toml")
    assert error_of() == "ROLLCALL_CONFIG: nowhere.toml: No such file (environment)"
    monkeypatch.setenv(TOML_VARIABLE, "")
    assert error_of() == "ROLLCALL_CONFIG: '' is not the name of a file (environment)"


UNKNOWN = {
    ".env": (
        ".env",
        "ROLLCALL_GRPC_PROT=1",
        "ROLLCALL_GRPC_PROT: is not a setting; did you mean ROLLCALL_GRPC_PORT? (.env, line 1)",
    ),
    ".env, unlike any": (".env", "\nROLLCALL_X=1", "ROLLCALL_X: is not a setting (.env, line 2)"),
    "TOML": (
        "rollcall.toml",
        "grpc_prot = 1",
        "grpc_prot: is not a setting; did you mean grpc_port? (rollcall.toml, line 1)",
    ),
    "a variable in TOML": (
        "rollcall.toml",
        "ROLLCALL_GRPC_PORT = 1",
        "ROLLCALL_GRPC_PORT: is not a setting; did you mean grpc_port? (rollcall.toml, line 1)",
    ),
    "a table in TOML": (
        "rollcall.toml",
        "workers = 1\n[server]\ngrpc_port = 1",
        "server: is not a setting (rollcall.toml, line 2)",
    ),
}


@pytest.mark.parametrize(("name", "text", "error"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_name_in_a_file_that_is_no_setting_stops_the_start(
    name: str, text: str, error: str, here: Path
) -> None:
    (here / name).write_text(text)
    assert error_of() == error


def test_a_variable_that_resembles_a_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_RATE_LIMT", "1/day")
    assert error_of() == (
        "ROLLCALL_RATE_LIMT: is not a setting; did you mean ROLLCALL_RATE_LIMIT? (environment)"
    )


def test_a_foreign_variable_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ROLLCALL_GRPC_SERVICE_HOST", MARK)  # as Kubernetes has it for a Service
    assert load() == Settings()
    assert caplog.messages == ["ROLLCALL_GRPC_SERVICE_HOST: is not a setting, and is ignored"]


def looped(path: Path) -> None:
    path.symlink_to(path)


BROKEN: dict[str, tuple[str, bytes | Callable[[Path], None], str]] = {
    ".env line": (
        ".env",
        f'\nA=b\nROLLCALL_JWT_SECRET="{MARK}\n'.encode(),
        ".env, line 3: must be NAME=VALUE",
    ),
    ".env bytes": (".env", b"ROLLCALL_WORKERS=\xff", ".env: must be UTF-8"),
    ".env unreadable": (".env", looped, ".env: Too many levels of symbolic links"),
    "TOML value": (
        "rollcall.toml",
        f"workers = 2\njwt_secret = {MARK}".encode(),
        "rollcall.toml: is not TOML: Invalid value (at line 2, column 14)",
    ),
    "TOML bytes": ("rollcall.toml", b"jwks = '\xff'", "rollcall.toml: must be UTF-8"),
    "TOML unreadable": ("rollcall.toml", looped, "rollcall.toml: Too many levels of symbolic links"),
    "TOML folder": ("rollcall.toml", Path.mkdir, "rollcall.toml: Is a directory"),
}


@pytest.mark.parametrize(("name", "content", "error"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_read_stops_the_start(
    name: str, content: bytes | Callable[[Path], None], error: str, here: Path
) -> None:
    if isinstance(content, bytes):
        (here / name).write_bytes(content)
    else:
        content(here / name)
    result = run("config")
    assert (result.exit_code, result.stderr) == (2, f"rollcall: {error}\n")


def test_what_is_not_ours_in_dotenv_is_let_be(here: Path) -> None:
    (here / ".env").write_text("DATABASE_URL=x\nrollcallx=1\nBARE\n\nROLLCALL_WORKERS=3\n")
    assert load().workers == 3


def test_the_token_of_a_pull_may_be_in_dotenv_and_is_no_setting(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text(f"ROLLCALL_PULL_TOKEN={MARK}\nROLLCALL_WORKERS=3\n")
    assert load().workers == 3
    assert pull_token() == MARK
    monkeypatch.setenv("ROLLCALL_PULL_TOKEN", "nearer")
    assert pull_token() == "nearer"


def test_spaces_between_secrets_are_no_part_of_them() -> None:
    first, second = LONG, LONG[::-1]
    given = Settings(page_token_keys=SecretStr(f"{first}, {second} "))
    assert given.secrets("page_token_keys") == [first, second]
    with pytest.raises(SettingsError, match="at least 32 bytes"):
        Settings(page_token_keys=SecretStr(f"{first},{' ' * 40}")).secret("page_token_keys")


def test_a_folder_named_dotenv_is_no_file_of_settings(here: Path) -> None:
    (here / ".env").mkdir()
    assert load() == Settings()


@pytest.mark.parametrize("needs", ["tls_cert", "tls_key", "tls_client_ca", "envoy_tls_cert", "rest_tls_cert"])
def test_half_of_a_pair_stops_the_start(needs: str) -> None:
    text = error_of(lambda: load(**{needs: Path("x.pem")}))
    assert text.startswith(f"{variable(needs)} needs ROLLCALL_")


SECRET_TEXT = {name for name, schema in SCHEMAS.items() if rules.is_secret(schema)}
MISTAKES: dict[str, Callable[[str], str]] = {
    "a list": lambda name: f'{name} = ["{MARK}"]',
    "a table": lambda name: f'{name} = {{a = "{MARK}"}}',
    "no TOML": lambda name: f'{name} = "{MARK}" {MARK}',
    "no end": lambda name: f'{name} = "{MARK}',
    "short": lambda name: f'{name} = "{MARK}"\nworkers = 0',
    "twice": lambda name: f'{name} = "{LONG}"\n{name} = "{MARK}"',
    "with its file": lambda name: f'{name} = "{LONG}"\n{name}_file = "x"',
    "with a slip": lambda name: f'{name}s = "{LONG}"',
    "good": lambda name: f'{name} = "{LONG}"\nworkers = 0',
}


@pytest.mark.parametrize("name", sorted(SECRET_TEXT))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_error_shows_a_secret(mistake: str, name: str, here: Path) -> None:
    (here / "rollcall.toml").write_text(MISTAKES[mistake](name))
    result = run("config")
    assert result.exit_code == 2
    assert result.stderr.startswith("rollcall: ")
    assert MARK not in result.output + repr(result.exception)


def test_secrets_are_those_that_settings_hide() -> None:
    assert set(SECRETS) | {"mongodb_uri", "rate_limit_storage"} <= SECRET_TEXT


def written(name: str) -> str:
    """A good value that is not the default, and not easy to write."""
    (schema,) = rules.alternatives(SCHEMAS[name])
    if "enum" in schema:
        return str(schema["enum"][-1])
    special = {
        "cors_origins": 'https://a.example,https://"b".example',
        "mongodb_database": "r\N{LATIN SMALL LETTER O WITH DIAERESIS}ll#'call",
        "otlp_endpoint": "http://c.example:7",
        "trace_ratio": "0.7",
    }
    if name in special:
        return special[name]
    if "rule" in schema:
        return "7/hour" if "rate" in name else "https://issuer.example/?a=b#c"
    kinds = {"boolean": str(not schema.get("default")).lower(), "integer": "7", "number": "1.5"}
    text = "a\t\"b\" 'c' \\d #\N{EURO SIGN}\x7f"
    return kinds.get(schema.get("type", ""), text[: schema.get("maxLength", 99)])


def test_the_output_of_config_fed_back_gives_the_same_settings(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [name for name in SCHEMAS if name not in SECRET_TEXT and not name.endswith("secret_file")]
    shown.remove("page_token_keys_file")
    for name in shown:
        monkeypatch.setenv(variable(name), written(name))
    before = load()
    printed = run("config")
    assert printed.exit_code == 0, printed.output
    (here / "again.toml").write_text(printed.output)
    for name in shown:
        monkeypatch.delenv(variable(name))
    monkeypatch.setenv(TOML_VARIABLE, "again.toml")
    after = load()

    assert before.model_fields_set == set(shown)
    assert after.model_dump() == before.model_dump()
    assert all(after.origin(name).source == "again.toml" for name in shown)


def test_config_prints_each_setting_with_its_source_and_no_secret(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCALL_JWT_SECRET", LONG)
    monkeypatch.setenv("ROLLCALL_JWKS", f"https://a:{MARK}@issuer.example/")
    (here / ".env").write_text(f"ROLLCALL_MONGODB_URI=mongodb://a:{MARK}@b/\n")
    (here / "rollcall.toml").write_text("\nworkers = 3")
    text, found = run("config", "--data-dir", "d").output, json.loads(run("config", "--json").output)
    lines = text.splitlines()

    assert set(found) == set(Settings.model_fields)
    assert set(tomllib.loads(text)) < set(found)
    for line in (
        '# jwt_secret = "…"  # environment, hidden',
        '# jwks = "…"  # environment, hidden',
        '# mongodb_uri = "…"  # .env, line 1, hidden',
        "workers = 3  # rollcall.toml, line 2",
        'data_dir = "d"  # command line',
        "grpc_port = 50051  # default",
        "# tls_cert =  # not set",
    ):
        assert line in lines
    assert found["workers"] == {"value": 3, "hidden": False, "source": "rollcall.toml", "line": 2}
    assert found["jwt_secret"] == {"value": None, "hidden": True, "source": "environment", "line": None}
    assert MARK not in text + json.dumps(found)


def test_config_refuses_what_the_start_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_JWT_SECRET", "short")
    monkeypatch.setenv("ROLLCALL_PAGE_TOKEN_KEYS_FILE", "nowhere")
    result = run("config", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "rollcall: ROLLCALL_JWT_SECRET: must be at least 32 bytes (environment)\n"

    monkeypatch.delenv("ROLLCALL_JWT_SECRET")
    assert run("config").stderr == (
        "rollcall: ROLLCALL_PAGE_TOKEN_KEYS_FILE: nowhere: No such file or directory (environment)\n"
    )


def test_every_group_of_settings_begins_with_a_setting() -> None:
    assert set(config.GROUPS) <= set(Settings.model_fields)
    assert next(iter(Settings.model_fields)) in config.GROUPS


def test_another_process_is_given_the_same_settings(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "rollcall.toml").write_text(
        f'jwt_secret = "{LONG}"\nshare_port = true\nrequest_seconds = 0.25\ncors_origins = ["a", "b"]\n'
    )
    monkeypatch.setenv("ROLLCALL_FOREIGN_NAME", "1")
    before = load()
    given = environment_of(before.given())
    assert "ROLLCALL_FOREIGN_NAME" not in given
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    after = load_environment()
    assert after.model_dump() == before.model_dump()
    assert after.model_fields_set == before.model_fields_set


def test_workers_have_the_settings_of_the_start_though_the_files_have_changed(
    stack: Stack, here: Path
) -> None:
    port = free_port()
    uri = stack.settings.mongodb_uri.get_secret_value()
    (here / ".env").write_text(
        f"ROLLCALL_WORKERS=2\nROLLCALL_JWT_SECRET={LONG}\nROLLCALL_MONGODB_URI={uri}\n"
    )
    (here / "rollcall.toml").write_text(f'grpc_port = {port}\npage_token_keys = "{LONG}"\n')
    process = subprocess.Popen([ROLLCALL, "serve"], cwd=here, stdout=subprocess.DEVNULL)
    try:
        supervisor = psutil.Process(process.pid)
        wait_until(lambda: supervisor.children() != [])
        # The workers are still being loaded, and would now stop with status 2.
        (here / ".env").write_text("ROLLCALL_WORKERS=none")
        (here / "rollcall.toml").write_text("grpc_port")
        wait_until(lambda: sum(listens(each, port) for each in supervisor.children()) == 2)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(each.laddr[1] == port for each in process.net_connections("tcp"))
    except psutil.Error:
        return False


def helps(command: Any, *names: str) -> list[tuple[str, ...]]:
    """The names of every command below one."""
    below = getattr(command, "commands", {})
    return [names, *(found for name, each in below.items() for found in helps(each, *names, name))]


@pytest.mark.parametrize("names", helps(get_command(app)), ids=" ".join)
def test_help_keeps_the_lines_of_its_examples(names: tuple[str, ...]) -> None:
    result = run(*names, "--help")
    assert result.exit_code == 0
    assert "\\b" not in result.output
    assert "Examples:   " not in result.output
