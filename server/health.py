"""Asks a server of this machine for its health, by the TLS that it is set to speak."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server import tls
from server.settings import Settings, SettingsError

_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # read, not bound
"""Hosts that are every address, and the address of this machine among them."""

LIVE = "live"
"""The health of the process itself, whether or not MongoDB answers."""


def is_serving(settings: Settings, seconds: float, service: str = "", server_name: str | None = None) -> bool:
    """Return whether the server answers within `seconds` that it serves.

    `service` is whose health, "" the whole server's. `server_name` is what its certificate must name,
    ROLLCALL_GRPC_HOST by default; any name will do where that is every address. Raises SettingsError if a
    file cannot be read.
    """
    with _channel(settings, server_name or _name(settings)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = stub.Check(request, timeout=seconds)  # type: ignore[attr-defined] # missing in its stubs
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _name(settings: Settings) -> str:
    """Return what the certificate must name: no certificate names every address, so then what it does name.

    The CA has to fit all the same; gRPC has no other way to leave the name open.
    """
    every = settings.grpc_host in _LOOPBACKS
    return (tls.name_in(settings.tls_cert) if every and settings.tls_cert else None) or settings.grpc_host


def _channel(settings: Settings, server_name: str) -> grpc.Channel:
    target = f"{reachable(settings.grpc_host)}:{settings.grpc_port}"
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    credentials = tls.channel_credentials_of(settings)
    if credentials is None:
        if settings.tls_cert is not None:
            raise SettingsError("ROLLCALL_ENVOY_TLS_CA: must be set, as the server speaks TLS")
        return grpc.insecure_channel(target, options=options)
    options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.secure_channel(target, credentials, options=options)


def reachable(host: str) -> str:
    """Return the address by which this machine reaches a server that listens on `host`."""
    return bracketed(_LOOPBACKS.get(host, host))


def bracketed(host: str) -> str:
    """Return a host as it stands before a port (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host else host
