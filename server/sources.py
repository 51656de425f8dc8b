"""Where settings come from: the environment, `.env` and a TOML file; and where each value stands in them."""

import logging
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr

PREFIX = "ROLLCALL_"
DOTENV = Path(".env")
TOML = Path("rollcall.toml")
TOML_VARIABLE = f"{PREFIX}CONFIG"
"""The variable that names another TOML file; no setting, as the file itself could not say it."""
PULL_TOKEN_VARIABLE = f"{PREFIX}PULL_TOKEN"
"""The variable of `rollcall pull`'s token; no setting, as it belongs to one call."""
_NO_SETTINGS = frozenset((PULL_TOKEN_VARIABLE,))
"""Variables of ours that are none."""

_SURE = 0.85
"""How like a setting a variable of the environment must look to be taken for a slip of the pen."""

log = logging.getLogger(__name__)


class SettingsError(Exception):
    """A setting is missing or wrong; the text says which, and its rule."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands: a source, and the line where it is a file and the line is known."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}, line {self.line}"


DEFAULT = Origin("default")
COMMAND_LINE = Origin("command line")
ENVIRONMENT = Origin("environment")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, not yet judged."""

    value: Any
    origin: Origin


Givens = Mapping[str, Given]


def variable(name: str) -> str:
    """Return the variable of a setting."""
    return f"{PREFIX}{name}".upper()


def gather(
    known: Collection[str], twins: Collection[tuple[str, str]], *, files: bool = True
) -> dict[str, Given]:
    """Return what the sources say: the environment before `.env` before the TOML file.

    Of `twins`, two settings of which one is to be set, the nearer source decides.  Raises SettingsError
    if a file cannot be read, or names what is not `known`.
    """
    environment = _environment(known)
    named = environment.pop(_CONFIG, None)
    sources = [environment]
    if files:
        dotenv = _dotenv(known)
        named = named or dotenv.pop(_CONFIG, None)
        dotenv.pop(_CONFIG, None)
        sources += [dotenv, _toml(known, named)]
    found: dict[str, Given] = {}
    for source in sources:
        taken = {twin for pair in twins for one, twin in (pair, pair[::-1]) if one in found}
        found = {name: given for name, given in source.items() if name not in taken} | found
    return found


_CONFIG = TOML_VARIABLE.removeprefix(PREFIX).lower()


def _environment(known: Collection[str]) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for name, value in os.environ.items():
        if not _is_setting(name):
            continue
        setting = name[len(PREFIX) :].lower()
        if setting in known or setting == _CONFIG:
            found[setting] = Given(value, ENVIRONMENT)
        elif get_close_matches(setting, known, 1, _SURE):
            raise SettingsError(f"{name}: {_unknown(setting, known, variable)} (environment)")
        else:
            # The environment is not ours alone: Kubernetes, say, puts the addresses of Services there.
            log.warning("%s: is not a setting, and is ignored", name)
    return found


def _dotenv(known: Collection[str]) -> dict[str, Given]:
    text = _dotenv_text()
    bindings = list(parse_stream(StringIO(text)))
    wrong = next((binding for binding in bindings if binding.error), None)
    if wrong is not None:
        raise SettingsError(f"{_dotenv_origin(wrong)}: must be NAME=VALUE")
    values = dotenv_values(stream=StringIO(text))
    found: dict[str, Given] = {}
    for binding in bindings:
        origin = _dotenv_origin(binding)
        if binding.key is None or not _is_setting(binding.key):
            continue
        setting = binding.key[len(PREFIX) :].lower()
        if setting not in known and setting != _CONFIG:
            raise SettingsError(f"{binding.key}: {_unknown(setting, known, variable)} ({origin})")
        found[setting] = Given(values[binding.key] or "", origin)
    return found


def _is_setting(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name not in _NO_SETTINGS


def pull_token() -> str:
    """Return the token of `rollcall pull`, from the environment before `.env`; "" if neither has it.

    Raises SettingsError if `.env` cannot be read.
    """
    held = os.environ.get(PULL_TOKEN_VARIABLE)
    if held is not None:
        return held
    return dotenv_values(stream=StringIO(_dotenv_text())).get(PULL_TOKEN_VARIABLE) or ""


def _dotenv_text() -> str:
    """Return what `.env` holds, "" if there is none: some virtual environments have its name."""
    return "" if DOTENV.is_dir() else _text(DOTENV, str(DOTENV)) or ""


def _dotenv_origin(binding: Binding) -> Origin:
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())].count("\n")
    return Origin(str(DOTENV), binding.original.line + blank)


def _toml(known: Collection[str], named: Given | None) -> dict[str, Given]:
    if named is not None and not named.value:
        raise SettingsError(f"{TOML_VARIABLE}: '' is not the name of a file ({named.origin})")
    path = TOML if named is None else Path(named.value)
    where = str(path) if named is None else f"{TOML_VARIABLE}: {path}"
    text = _text(path, where)
    if text is None:
        if named is None:
            return {}
        raise SettingsError(f"{where}: No such file ({named.origin})")
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # its text has the line and column, and no value
        raise SettingsError(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: nests too deep") from None
    lines = dict(_lines(text, values))
    found: dict[str, Given] = {}
    for name, value in values.items():
        origin = Origin(str(path), lines.get(name))
        if name not in known:
            raise SettingsError(f"{name}: {_unknown(name, known, str)} ({origin})")
        found[name] = Given(value, origin)
    return found


def _lines(text: str, names: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the line of each name that stands at the beginning of exactly one."""
    beginnings = [re.match(r"""[\s\[]*["']?([\w-]+)""", line) for line in text.split("\n")]
    found = [match[1] if match else None for match in beginnings]
    for name in names:
        if found.count(name) == 1:
            yield name, found.index(name) + 1


def _text(path: Path, where: str) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{where}: must be UTF-8") from None


def _unknown(name: str, known: Collection[str], form: Any) -> str:
    bare = name.lower().removeprefix(PREFIX.lower())
    close = get_close_matches(bare, known, 1)
    return f"is not a setting; did you mean {form(close[0])}?" if close else "is not a setting"


def environment_of(givens: Givens) -> dict[str, str]:
    """Return the environment by which another process is given the same, with no `ROLLCALL_` name beside.

    Secrets are in it, as in any environment.
    """
    held = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    values = ((name, given.value) for name, given in givens.items())
    return held | {variable(name): _written(value) for name, value in values if value is not None}


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
