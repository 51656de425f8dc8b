"""TLS: callers to Envoy, Envoy and others to the server, with certificates of a throw-away CA."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server import tls, watched
from server.embedded import child, envoy
from server.settings import Settings, SettingsError, load
from tests.parts import wait_until
from tests.stack import ROLLCALL, Stack, free_port, running_stack

HOST = "127.0.0.1"
CA = trustme.CA()
OTHER_CA = trustme.CA()


class Files:
    """Certificates on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other_ca.pem"
        CA.cert_pem.write_to_path(self.ca)
        OTHER_CA.cert_pem.write_to_path(self.other_ca)

    def issue(self, name: str, host: str = HOST, ca: trustme.CA = CA) -> tuple[Path, Path]:
        """Write a certificate and its key as renewals do: each at once."""
        made = ca.issue_cert(host)
        pems = made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes()
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        for path, pem in zip(paths, pems, strict=True):
            new = path.with_suffix(".new")
            new.write_bytes(pem)
            new.replace(path)
        return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Stack]:
    named = {"TLS_CLIENT_CA": files.ca, "ENVOY_TLS_CA": files.ca}
    for prefix in ("TLS", "ENVOY_TLS", "REST_TLS"):
        named[f"{prefix}_CERT"], named[f"{prefix}_KEY"] = files.issue(prefix)
    environment = {f"ROLLCALL_{name}": str(path) for name, path in named.items()}
    with running_stack(tmp_path_factory.mktemp("secured") / "data", environment=environment) as stack:
        yield stack


def context(files: Files, name: str | None = None) -> ssl.SSLContext:
    """Return a client's context, with a certificate if it is named."""
    made = ssl.create_default_context(cafile=files.ca)
    if name is not None:
        made.load_cert_chain(files.folder / f"{name}.pem", files.folder / f"{name}.key")
    return made


def get(stack: Stack, files: Files) -> httpx.Response:
    url = f"https://{HOST}:{stack.settings.rest_port}/session"
    headers = {"authorization": f"Bearer {stack.token('ada')}"}
    return httpx.get(url, headers=headers, verify=context(files), timeout=10)


def serving(stack: Stack, credentials: grpc.ChannelCredentials | None) -> bool:
    """Return whether the server lets a caller in."""
    channel = (
        grpc.insecure_channel(stack.grpc)
        if credentials is None
        else grpc.secure_channel(stack.grpc, credentials)
    )
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)  # type: ignore[attr-defined] # missing in its stubs
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 # whether it fails is the question
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def pair(paths: tuple[Path, Path]) -> dict[str, bytes]:
    cert, key = paths
    return {"private_key": key.read_bytes(), "certificate_chain": cert.read_bytes()}


def shown(port: int, using: ssl.SSLContext) -> bytes:
    """Return the certificate that a port shows."""
    plain = socket.create_connection((HOST, port), timeout=5)
    with plain, using.wrap_socket(plain, server_hostname=HOST) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_callers_and_envoy_and_server_speak_tls_to_each_other(secured: Stack, files: Files) -> None:
    assert get(secured, files).json() == []


def test_native_grpc_comes_through_envoy_with_tls(secured: Stack, files: Files) -> None:
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
    with grpc.secure_channel(secured.envoy_grpc, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)  # type: ignore[attr-defined] # missing in its stubs
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_only_clients_with_a_certificate_of_the_ca_are_let_in(secured: Stack, files: Files) -> None:
    ca = files.ca.read_bytes()
    strangers = pair(files.issue("stranger", ca=OTHER_CA))
    friends = pair(files.issue("friend"))
    assert serving(secured, grpc.ssl_channel_credentials(ca, **friends))
    assert not serving(secured, grpc.ssl_channel_credentials(ca, **strangers))
    assert not serving(secured, grpc.ssl_channel_credentials(ca))
    assert not serving(secured, None)


def test_rollcall_health_asks_by_mtls(secured: Stack, files: Files) -> None:
    files.issue("friend")
    environment = secured.environment | {
        "ROLLCALL_TLS_CERT": str(files.folder / "TLS.pem"),
        "ROLLCALL_TLS_KEY": str(files.folder / "TLS.key"),
    }
    trusting = environment | {"ROLLCALL_ENVOY_TLS_CA": str(files.ca)}
    known = trusting | {
        "ROLLCALL_ENVOY_TLS_CERT": str(files.folder / "friend.pem"),
        "ROLLCALL_ENVOY_TLS_KEY": str(files.folder / "friend.key"),
    }
    said = [
        health(known),
        health(known, "--live", "--server-name", "another.example"),
        health(trusting, "--live"),
        health(environment, "--live"),
    ]
    assert [status for status, _ in said] == [0, 1, 1, 2]
    assert said[0][1] == ""
    assert said[3][1] == "rollcall: ROLLCALL_ENVOY_TLS_CA: must be set, as the server speaks TLS\n"


def test_rollcall_health_takes_any_name_where_the_server_listens_on_every_address(
    secured: Stack, files: Files
) -> None:
    cert, key = files.issue("friend")
    named = {"TLS_CERT": files.folder / "TLS.pem", "TLS_KEY": files.folder / "TLS.key"}
    named |= {"ENVOY_TLS_CA": files.ca, "ENVOY_TLS_CERT": cert, "ENVOY_TLS_KEY": key}
    everywhere = secured.environment | {f"ROLLCALL_{name}": str(path) for name, path in named.items()}
    everywhere["ROLLCALL_GRPC_HOST"] = "0.0.0.0"  # noqa: S104 # asked at, not bound
    assert health(everywhere) == (0, "")
    assert health(everywhere | {"ROLLCALL_ENVOY_TLS_CA": str(files.other_ca)})[0] == 1


def health(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit status of `rollcall health` and what it says."""
    ran = subprocess.run(
        [ROLLCALL, "health", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stderr


def test_envoy_does_not_answer_without_tls(secured: Stack) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secured.rest}/session", timeout=5)


VERSIONS = {
    "TLS 1.0": (ssl.TLSVersion.TLSv1, False),
    "TLS 1.1": (ssl.TLSVersion.TLSv1_1, False),
    "TLS 1.2": (ssl.TLSVersion.TLSv1_2, True),
    "TLS 1.3": (ssl.TLSVersion.TLSv1_3, True),
}


@pytest.mark.parametrize("door", ["grpc_port", "rest_port"])
@pytest.mark.parametrize(("version", "good"), VERSIONS.values(), ids=VERSIONS)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nothing_older_than_tls_1_2_is_spoken(
    version: ssl.TLSVersion, good: bool, door: str, secured: Stack, files: Files
) -> None:
    files.issue("friend")
    using = context(files, "friend")
    using.set_ciphers("ALL:@SECLEVEL=0")
    using.set_alpn_protocols(["h2"])
    using.minimum_version = using.maximum_version = version
    port = getattr(secured.settings, door)
    if good:
        assert shown(port, using)
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(port, using)


@pytest.mark.parametrize(("door", "name"), [("grpc_port", "TLS"), ("rest_port", "REST_TLS")])
def test_a_new_certificate_is_shown_without_a_restart(
    door: str, name: str, secured: Stack, files: Files
) -> None:
    files.issue("friend")
    using = context(files, "friend")
    using.set_alpn_protocols(["h2"])
    port = getattr(secured.settings, door)
    before = shown(port, using)
    begun = secured.part("serve").create_time(), secured.part("envoy").create_time()

    new, _ = files.issue(name)

    expected = ssl.PEM_cert_to_DER_cert(new.read_text())
    assert before != expected
    wait_until(lambda: shown(port, using) == expected, 10)
    assert get(secured, files).status_code == 200
    assert (secured.part("serve").create_time(), secured.part("envoy").create_time()) == begun


def test_a_certificate_without_its_key_is_not_shown(secured: Stack, files: Files) -> None:
    files.issue("friend")
    using = context(files, "friend")
    using.set_alpn_protocols(["h2"])
    port = secured.settings.grpc_port
    before = shown(port, using)
    time.sleep(watched.LOOK_SECONDS)
    key = (files.folder / "TLS.key").read_bytes()
    files.issue("TLS")
    (files.folder / "TLS.key").write_bytes(key)
    time.sleep(watched.LOOK_SECONDS)
    assert shown(port, using) == before
    files.issue("TLS")
    wait_until(lambda: shown(port, using) != before, 10)


@contextlib.contextmanager
def upstream(cert: tuple[Path, Path], client_ca: Path) -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Give a port that speaks TLS, and what came in first."""
    using = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    using.load_cert_chain(*cert)
    using.load_verify_locations(client_ca)
    using.verify_mode = ssl.CERT_REQUIRED
    using.set_alpn_protocols(["h2"])
    came: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), plain, using.wrap_socket(plain, server_side=True) as secure:
                came.append(secure.recv(16))

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], lambda: came[0] if came else b""
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@contextlib.contextmanager
def proxy(folder: Path, settings: Settings) -> Iterator[str]:
    envoy.write_config(settings, folder / "envoy.yaml")
    binary = str(Path(sys.executable).with_name("envoy"))
    command = [binary, "-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *command], stdout=log, stderr=log
        )
    try:
        yield f"http://{HOST}:{settings.rest_port}"
    finally:
        process.terminate()
        process.wait()


SERVERS: dict[str, tuple[dict[str, Any], bool]] = {
    "the right one": ({}, True),
    "one of another name": ({"host": "other.example"}, False),
    "one of another CA": ({"ca": OTHER_CA}, False),
}


@pytest.mark.parametrize(("changes", "good"), SERVERS.values(), ids=SERVERS)
def test_envoy_talks_to_no_other_server_than(
    changes: dict[str, Any], good: bool, tmp_path: Path, files: Files
) -> None:
    cert, key = files.issue("envoy")
    with upstream(files.issue("upstream", **changes), files.ca) as (port, first):
        settings = load(
            rest_port=free_port(),
            grpc_port=port,
            envoy_tls_ca=files.ca,
            envoy_tls_cert=cert,
            envoy_tls_key=key,
        )
        with proxy(tmp_path, settings) as url:

            def answered() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return httpx.get(f"{url}/session", timeout=15).status_code == 503
                return False

            wait_until(answered)
            if good:
                wait_until(lambda: bool(first()))
        # The start of HTTP/2: the other side is trusted.
        assert first().startswith(b"PRI") is good


def test_a_configuration_for_another_machine_has_tls_too(tmp_path: Path, files: Files) -> None:
    cert, key = files.issue("portable")
    pairs = {f"{prefix}_cert": cert for prefix in ("envoy_tls", "rest_tls")}
    pairs |= {f"{prefix}_key": key for prefix in ("envoy_tls", "rest_tls")}
    config = tmp_path / "envoy.yaml"
    config.write_text(envoy.portable_config(load(envoy_tls_ca=files.ca, **pairs)))
    assert config.read_text().count("TLSv1_2") == 2
    binary = str(Path(sys.executable).with_name("envoy"))
    subprocess.run([binary, "--mode", "validate", "-c", config], check=True, capture_output=True)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Path]:
    files = Files(tmp_path)
    cert, key = files.issue("server")
    return {"tls_cert": cert, "tls_key": key, "tls_client_ca": files.ca}


WRONG: dict[str, tuple[str, bytes | None, str]] = {
    "no certificate": ("tls_cert", None, "ROLLCALL_TLS_CERT: .*: No such file"),
    "no PEM certificate": ("tls_cert", b"x", "ROLLCALL_TLS_CERT: .*: must be a PEM certificate"),
    "no key": ("tls_key", None, "ROLLCALL_TLS_KEY: .*: No such file"),
    "no PEM key": ("tls_key", b"x", "ROLLCALL_TLS_KEY: .*: must be a PEM key"),
    "another's key": (
        "tls_key",
        CA.issue_cert(HOST).private_key_pem.bytes(),
        "ROLLCALL_TLS_KEY: .*: must be the certificate's key",
    ),
    "no CA": ("tls_client_ca", b"x", "ROLLCALL_TLS_CLIENT_CA: .*: must have PEM certificates"),
}


@pytest.mark.parametrize(("name", "content", "rule"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_stops_the_start(
    name: str, content: bytes | None, rule: str, good: dict[str, Path]
) -> None:
    if content is None:
        good[name].unlink()
    else:
        good[name].write_bytes(content)
    with pytest.raises(SettingsError, match=rule):
        tls.server_credentials_of(load(**good))
