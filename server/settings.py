"""Settings: each from the nearest of its sources.  A variable is `ROLLCALL_` and the name in capitals."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server import settings_rules as rules
from server import sources
from server.sources import Given, Givens, Origin, SettingsError, variable

__all__ = [
    "PREFIX",
    "SECRETS",
    "Secret",
    "Settings",
    "SettingsError",
    "checked",
    "load",
    "load_environment",
]

PREFIX = sources.PREFIX
MIN_SECRET_BYTES = 32

Secret = Literal["jwt_secret", "page_token_keys", "api_key_secret", "introspection_secret"]
SECRETS: tuple[Secret, ...] = get_args(Secret)
_TWINS = tuple((name, f"{name}_file") for name in SECRETS)
_FOREIGN_SECRETS = frozenset(("introspection_secret",))
"""Those that somebody else has made, of whatever length."""
_ROTATED_SECRETS = frozenset(("page_token_keys", "api_key_secret"))
"""Those of which there may be several, comma-separated."""

_TLS_NEEDS = (
    ("tls_cert", "tls_key"),
    ("tls_key", "tls_cert"),
    ("tls_client_ca", "tls_cert"),
    ("rest_tls_cert", "rest_tls_key"),
    ("rest_tls_key", "rest_tls_cert"),
    ("envoy_tls_cert", "envoy_tls_key"),
    ("envoy_tls_key", "envoy_tls_cert"),
    ("envoy_tls_cert", "envoy_tls_ca"),
)
"""A setting, and one without which it means nothing."""

Rate = Annotated[
    str,
    Field(
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$",
        json_schema_extra={"rule": "a number from 1 and a time, such as 100/minute (second, hour, day)"},
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Settings(BaseSettings):
    """What an operator decides.  A secret may come from a file: its name and `_FILE`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    mongodb_uri: SecretStr = SecretStr("mongodb://127.0.0.1:27018/?replicaSet=rollcall")
    """A replica set or sharded cluster; `rollcall up` uses its own unless this is set."""
    mongodb_database: str = Field(
        "rollcall",
        pattern=r'^[^/\\. "$\x00]+$',
        max_length=38,
        json_schema_extra={"rule": r'text of 1 to 38 characters other than space, /, \, ., " and $'},
    )
    """Its database."""
    mongodb_driver: Literal["motor", "pymongo"] = "motor"
    """`motor`, or `pymongo`, which new installations should choose."""

    grpc_host: str = "127.0.0.1"
    """Where the server listens."""
    grpc_port: Port = 50051
    """The server's port."""
    workers: int = Field(default_factory=_cores, ge=1, le=256)
    """Server processes, which share the port."""
    share_port: bool = False
    """Whether other servers may listen on the same port."""
    rest_host: str = "127.0.0.1"
    """Where Envoy listens; `rollcall serve` does not use it."""
    rest_port: Port = 8080
    """Envoy's port."""
    mongo_port: Port = 27018
    """The port of the MongoDB that `rollcall up` runs."""
    data_dir: Path = Path(".rollcall")
    """The folder of `rollcall up`: MongoDB's data, secrets, logs."""

    tls_cert: Path | None = None
    """PEM file of the gRPC server's certificate and its chain: turns TLS on; read again when it changes."""
    tls_key: Path | None = None
    """PEM file of its key."""
    tls_client_ca: Path | None = None
    """PEM file of the CAs whose clients alone are let in (mTLS)."""
    envoy_tls_ca: Path | None = None
    """PEM file of the CAs by which Envoy verifies the server: it then speaks TLS to it."""
    envoy_tls_cert: Path | None = None
    """PEM file of the certificate that Envoy shows the server."""
    envoy_tls_key: Path | None = None
    """PEM file of its key."""
    rest_tls_cert: Path | None = None
    """PEM file of the certificate that Envoy shows its callers: turns HTTPS on."""
    rest_tls_key: Path | None = None
    """PEM file of its key."""

    jwt_secret: SecretStr | None = None
    """Shared secret of HS256 tokens, at least 32 bytes; for development."""
    jwt_secret_file: Path | None = None
    """The file that has it."""
    jwks: str | None = None
    """File or URL of the keys that sign tokens: RS256, ES256, EdDSA."""
    jwt_issuer: str = "rollcall"
    """The `iss` that tokens must have."""
    jwt_audience: str = "rollcall"
    """The `aud` that tokens must have."""
    jwt_leeway_seconds: float = Field(0, ge=0, le=60)
    """How far the issuer's clock may be off when `exp`, `nbf` and `iat` are judged."""
    jwt_deny_list: Path | None = None
    """File of the `jti`s of revoked tokens, one a line; read again when it changes."""
    api_key_secret: SecretStr | None = None
    """Secrets that hash imported API keys, comma-separated: the first hashes, all find. Unset: none."""
    api_key_secret_file: Path | None = None
    """The file that has it."""
    introspection_url: str | None = Field(
        None, pattern="^https?://", json_schema_extra={"rule": "a URL that begins with http:// or https://"}
    )
    """The issuer's RFC 7662 endpoint, asked about tokens that are neither JWTs nor API keys."""
    introspection_client_id: str | None = None
    """The client as which it is asked."""
    introspection_secret: SecretStr | None = None
    """That client's secret."""
    introspection_secret_file: Path | None = None
    """The file that has it."""
    credential_cache_seconds: float = Field(30, ge=0, le=300)
    """How long an API key or introspected token is taken as known: a revocation shows after it."""

    rate_limit: Rate | None = None
    """How often each caller may call: `100/minute`, or so many a second, hour or day."""
    tenant_rate_limit: Rate | None = None
    """How often all callers of a tenant may call together."""
    rate_limit_storage: SecretStr = SecretStr("memory://")
    """Where calls are counted: in each worker's memory, or for all in a `mongodb://…` or `redis://…`."""

    page_token_keys: SecretStr | None = None
    """Secrets that seal page tokens, comma-separated: the first seals, all open."""
    page_token_keys_file: Path | None = None
    """The file that has them."""
    page_token_hours: int = Field(24, ge=1, le=24 * 365)
    """How long a page token is good for."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000",)
    """Origins of browsers that may call, comma-separated."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Which log lines are written; `info` has one for each call."""
    metrics_host: str = "127.0.0.1"
    """Where Prometheus finds the metrics."""
    metrics_port: int = Field(0, ge=0, le=65535)
    """The metrics' port; 0 serves none."""
    envoy_metrics_host: str = "127.0.0.1"
    """Where Prometheus finds Envoy's own metrics, at `/stats/prometheus`."""
    envoy_metrics_port: int = Field(0, ge=0, le=65535)
    """Their port; 0 serves none."""
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^http://[^/?#@\s]+:[0-9]+$",
        json_schema_extra={"rule": "http:// with a host and a port, such as http://127.0.0.1:4317"},
    )
    """OTLP/gRPC collector of the traces, such as `http://127.0.0.1:4317`; none without it."""
    trace_ratio: float = Field(1.0, ge=0, le=1)
    """Part of the calls that is traced, where the caller's `traceparent` has not decided."""

    request_seconds: float = Field(8.0, gt=0, le=9)
    """A call ends after this long, if its deadline is not nearer; Envoy answers for it after 9.5."""
    mongodb_seconds: float = Field(5.0, gt=0, le=9)
    """How long a call waits for MongoDB at a time: to find a node, to answer, and to try again."""

    max_calls: int = Field(32, ge=1, le=10_000)
    """Calls that work at a time in each server process; others wait in line."""
    max_waiting: int = Field(256, ge=0, le=100_000)
    """Calls in line; one more is shed with RESOURCE_EXHAUSTED, over REST 429."""
    wait_seconds: float = Field(0.5, ge=0, le=5)
    """How long a call waits in line before it is shed; 0.1 s at most where the line lasts."""
    max_stream_mb: int = Field(256, ge=1, le=100_000)
    """Megabytes that `/session` and `/sessions` hold for slow readers in each process; more are shed."""
    drain_seconds: float = Field(3.0, ge=0, le=300)
    """How long a server that stops still takes calls after its health went down; `rollcall up` uses 0."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("*", mode="before")  # the last of them is asked first
    @classmethod
    def _plain(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        annotation = cls.model_fields[name].annotation
        if isinstance(value, bool) and bool not in {annotation, *get_args(annotation)}:
            raise ValueError(rules.TYPE)  # else true would be a port: 1
        if isinstance(value, str) and ("\0" in value or not (value or name == "cors_origins")):
            raise ValueError(rules.TYPE)  # else no host would be every host
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for name in SECRETS:
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"{variable(name)} and {variable(name)}_FILE must not both be set")
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        for needs, needed in _TLS_NEEDS:
            if getattr(self, needs) is not None and getattr(self, needed) is None:
                raise ValueError(f"{variable(needs)} needs {variable(needed)}")
        return self

    @classmethod
    def of(cls, givens: Givens) -> Self:
        """Return the settings that are given; raise pydantic's ValidationError."""
        made = cls(**{name: given.value for name, given in givens.items()})
        made._origins |= {name: given.origin for name, given in givens.items()}
        return made

    def origin(self, name: str) -> Origin:
        """Return where a setting's value stands."""
        return self._origins.get(
            name, sources.ENVIRONMENT if name in self.model_fields_set else sources.DEFAULT
        )

    def given(self) -> dict[str, Given]:
        """Return what is not left to its default."""
        return {name: Given(getattr(self, name), self.origin(name)) for name in self.model_fields_set}

    def secret(self, name: Secret) -> str | None:
        """Return a secret, wherever it is kept; None if it is not set.

        Raises SettingsError if its file cannot be read or it is too short.
        """
        file: Path | None = getattr(self, f"{name}_file")
        held: SecretStr | None = getattr(self, name)
        where = f"{variable(name)}: "
        origin = self.origin(name)
        if file is not None:
            where, origin = f"{variable(name)}_FILE: {file}: ", self.origin(f"{name}_file")
            try:
                text = file.read_text("utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{where}{error.strerror} ({origin})") from None
            except UnicodeDecodeError:
                raise SettingsError(f"{where}must be UTF-8 ({origin})") from None
        elif held is not None:
            text = held.get_secret_value()
        else:
            return None
        parts = _parts(text) if name in _ROTATED_SECRETS else [text]
        if name not in _FOREIGN_SECRETS and any(len(part.encode()) < MIN_SECRET_BYTES for part in parts):
            raise SettingsError(f"{where}must be at least {MIN_SECRET_BYTES} bytes ({origin})")
        return text

    def secrets(self, name: Secret) -> list[str]:
        """Return the secrets of a setting that may have several, the newest first; raise SettingsError."""
        text = self.secret(name)
        return [] if text is None else _parts(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def load(**overrides: object) -> Settings:
    """Return the settings of all sources, the overrides before them.

    Raises SettingsError that names what is wrong and where it stands.
    """
    found = sources.gather(Settings.model_fields, _TWINS)
    return checked(found | {name: Given(value, sources.COMMAND_LINE) for name, value in overrides.items()})


def load_environment() -> Settings:
    """Return the settings of the environment alone, as another process of rollcall has put them there."""
    return checked(sources.gather(Settings.model_fields, _TWINS, files=False))


def checked(givens: Givens) -> Settings:
    """Return the settings that are given; raise SettingsError that names every one that is wrong."""
    try:
        return Settings.of(givens)
    except ValidationError as error:
        schemas = Settings.model_json_schema()["properties"]
        raise SettingsError("\n".join(rules.explained(error, givens, schemas))) from None
