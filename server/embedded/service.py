"""What `rollcall up` leaves in the data folder, for the other commands to find it."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from server.settings import Settings, SettingsError, checked
from server.sources import Given, Origin

FILE = "service.json"

_KEPT = (
    "mongodb_uri",
    "mongodb_database",
    "mongodb_driver",
    "mongo_port",
    "grpc_host",
    "grpc_port",
    "rest_host",
    "rest_port",
    "jwt_secret_file",
    "jwt_issuer",
    "jwt_audience",
    "page_token_keys_file",
    "api_key_secret_file",
)

_HOSTS = "mongodb_hosts"
"""What tells its store from others, also where the URI is not kept."""

KEY_SETTINGS = {
    "jwt_secret_file": frozenset(("jwt_secret", "jwt_secret_file", "jwks")),
    "page_token_keys_file": frozenset(("page_token_keys", "page_token_keys_file")),
    "api_key_secret_file": frozenset(("api_key_secret", "api_key_secret_file")),
}
"""A secret file of the data folder, and the settings that take its place."""


def keep(settings: Settings) -> None:
    """Write down the service that runs by these settings; secrets only as the names of their files."""
    kept = {name: _plain(getattr(settings, name)) for name in _KEPT}
    if "@" in settings.mongodb_uri.get_secret_value():
        kept["mongodb_uri"] = None
    kept[_HOSTS] = hosts_of(settings.mongodb_uri.get_secret_value())
    path = settings.data_dir / FILE
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), **kept}, indent=2) + "\n")
    new.chmod(0o600)
    new.replace(path)


def _plain(value: Any) -> str | int | None:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def find_service(settings: Settings, needs: Literal["mongodb_uri", "jwt_secret"] = "mongodb_uri") -> Settings:
    """Return the settings of the service in the data folder; those set explicitly win.

    Where they name another store than the service's, its database and secrets are not taken.
    Raises SettingsError if neither the folder nor the environment has what the command needs.
    """
    path = settings.data_dir / FILE
    explicit = settings.given()
    kept = _read(path)
    variable = f"ROLLCALL_{needs}".upper()
    if kept is None and not explicit.keys() & {needs, f"{needs}_file"}:
        raise SettingsError(
            f"there is no service in the folder {settings.data_dir}: start one with `rollcall up`, "
            f"name its folder by --data-dir or ROLLCALL_DATA_DIR, or set {variable}"
        )
    for name, others in KEY_SETTINGS.items():
        if kept and explicit.keys() & others:
            kept.pop(name, None)
    hosts = (kept or {}).pop(_HOSTS, None)
    if kept and "mongodb_uri" in explicit and hosts_of(settings.mongodb_uri.get_secret_value()) != hosts:
        for name in ("mongodb_database", *KEY_SETTINGS):
            kept.pop(name, None)
    origin = Origin(str(path))
    found = checked({name: Given(value, origin) for name, value in (kept or {}).items()} | explicit)
    if needs == "mongodb_uri" and needs not in found.model_fields_set:
        raise SettingsError(
            f"{path} does not keep a URI with credentials: set {variable} as for `rollcall up`"
        )
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError:
        kept = None
    if not isinstance(kept, dict):
        raise SettingsError(f"{path} is damaged: `rollcall up` writes it anew")
    found = {name: kept[name] for name in (*_KEPT, _HOSTS) if kept.get(name) is not None}
    if isinstance(found.get("mongodb_uri"), str):
        found.setdefault(_HOSTS, hosts_of(found["mongodb_uri"]))
    return found


def hosts_of(uri: str) -> str:
    """Return the hosts of a MongoDB URI, without its credentials and options."""
    return uri.partition("://")[2].rpartition("@")[2].partition("/")[0]
