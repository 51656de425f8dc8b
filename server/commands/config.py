"""The effective settings, as TOML and as JSON: what holds, and where it was said."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from server import settings_rules as rules
from server.settings import SECRETS, Settings

GROUPS: Mapping[str, str] = {
    "mongodb_uri": "MongoDB",
    "grpc_host": "Listening",
    "tls_cert": "TLS",
    "jwt_secret": "Credentials",
    "rate_limit": "Rate limits",
    "page_token_keys": "Page tokens",
    "cors_origins": "Browsers",
    "log_level": "Logs, metrics, traces",
    "request_seconds": "Time limits",
}
"""The setting that begins a group, and its title; the others follow in the order of the class."""


def check(settings: Settings) -> None:
    """Raise SettingsError if a secret cannot be read or is too short, as the start would."""
    for name in SECRETS:
        settings.secret(name)


def as_toml(settings: Settings) -> str:
    """Return the settings as a TOML file that gives the same ones, each with its source as a comment.

    What is not set, and what must not be shown, is a comment as a whole.
    """
    lines = []
    for name, shown, value in _shown(settings):
        if name in GROUPS:
            lines += ["", f"# {GROUPS[name]}"]
        origin = settings.origin(name)
        if not shown:
            lines.append(f'# {name} = "{rules.HIDDEN}"  # {origin}, hidden')
        elif value is None:
            lines.append(f"# {name} =  # not set")
        else:
            # A MongoDB of one's own is another thing than the default to `rollcall up`.
            comment = "# " if isinstance(getattr(settings, name), SecretStr) else ""
            lines.append(f"{comment}{name} = {_literal(value)}  # {origin}")
    return "\n".join(lines).lstrip("\n") + "\n"


def as_json(settings: Settings) -> str:
    """Return the settings as one JSON object: each with its value, source and line, and if it is hidden."""
    found = {}
    for name, shown, value in _shown(settings):
        origin = settings.origin(name)
        found[name] = {
            "value": value if shown else None,
            "hidden": not shown,
            "source": origin.source,
            "line": origin.line,
        }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _shown(settings: Settings) -> Iterator[tuple[str, bool, Any]]:
    """Yield each setting's name, whether it may be shown, and its value as JSON has it."""
    schema = Settings.model_json_schema()["properties"]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Path):
            value = str(value)
        is_given = name in settings.model_fields_set and value is not None
        # A URL may hold a password although the setting is no secret.
        has_password = isinstance(value, str) and rules.without_password(value) != value
        hidden = is_given and (has_password or rules.is_secret(schema[name]))
        yield name, not hidden, list(value) if isinstance(value, tuple) else value


def _literal(value: Any) -> str:
    """Return a value as TOML writes it, which is as JSON does but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
