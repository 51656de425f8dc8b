"""Envoy's configuration for this machine: `envoy.yaml` with the settings put in."""

import base64
import socket
from collections.abc import Sequence
from functools import reduce
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from server.embedded import envoy_tls, envoy_traces
from server.settings import Settings, SettingsError

_HERE = Path(__file__).parent
_PLACES = (_HERE.parents[1] / "envoy.yaml", _HERE / "envoy.yaml")
"""In the repository, and in an installed package."""

_Step = str | int
_LISTENERS: tuple[_Step, ...] = ("static_resources", "listeners")
_LISTENER = (*_LISTENERS, 0)
_METRICS = (*_LISTENERS, "metrics")
_MANAGER = (*_LISTENER, "filter_chains", 0, "filters", 0, "typed_config")
_TRANSCODER = (*_MANAGER, "http_filters", "envoy.filters.http.grpc_json_transcoder", "typed_config")
_CORS = (
    *_MANAGER,
    *("route_config", "virtual_hosts", 0),
    *("typed_per_filter_config", "envoy.filters.http.cors"),
)
_CLUSTERS: tuple[_Step, ...] = ("static_resources", "clusters")
_SERVERS = ("rollcall", "watches")
"""The clusters of the servers, which have one list of addresses."""
_SERVER = (*_CLUSTERS, _SERVERS[0])
_ADMIN = (*_CLUSTERS, "admin")
"""The cluster of Envoy's own admin interface, which only the metrics' listener asks."""
_ADDRESS = ("address", "socket_address")
_ENDPOINT = ("load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", *_ADDRESS)
"""Where a cluster has its address."""


def write_config(settings: Settings, path: Path) -> None:
    """Write Envoy's configuration to `path`.

    Raises SettingsError if `envoy.yaml` is not there, or not of the shape that this knows.
    """
    config = _configured(settings, envoy_tls.Secrets(path.parent))
    _put(config, _TRANSCODER, proto_descriptor=str(descriptor_set()))
    admin_port = _free_port()
    _put(config, ("admin", *_ADDRESS), port_value=admin_port)
    if settings.envoy_metrics_port:
        _put(config, (*_ADMIN, *_ENDPOINT), port_value=admin_port)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def portable_config(settings: Settings) -> str:
    """Return Envoy's configuration for another machine: it needs no file beside it but certificates.

    Raises SettingsError as `write_config` does.
    """
    config = _configured(settings, envoy_tls.Secrets(None))
    _put(config, _TRANSCODER, proto_descriptor="")
    transcoder = _at(config, _TRANSCODER)
    del transcoder["proto_descriptor"]
    transcoder["proto_descriptor_bin"] = base64.b64encode(descriptor_set().read_bytes()).decode()
    return yaml.safe_dump(config, sort_keys=False)


def _configured(settings: Settings, secrets: envoy_tls.Secrets) -> Any:
    config = _load()
    _put(config, (*_LISTENER, *_ADDRESS), address=settings.rest_host, port_value=settings.rest_port)
    _put(config, (*_SERVER, *_ENDPOINT), address=settings.grpc_host, port_value=settings.grpc_port)
    _put_metrics(config, settings.envoy_metrics_host, settings.envoy_metrics_port)
    _put(config, _CORS, allow_origin_string_match=[{"exact": origin} for origin in settings.cors_origins])
    upstream = envoy_tls.upstream(settings, secrets)
    for steps, tls in (
        ((*_LISTENER, "filter_chains", 0), envoy_tls.downstream(settings, secrets)),
        *(((*_CLUSTERS, name), upstream) for name in _SERVERS),
    ):
        if tls is not None:
            _at(config, steps)["transport_socket"] = tls
            # Envoy takes secrets from files only if it has a name.
            config["node"] = {"id": "rollcall", "cluster": "rollcall"}
    if settings.otlp_endpoint is not None:
        _at(config, _MANAGER)["tracing"] = envoy_traces.tracing(settings)
        _at(config, _CLUSTERS).append(envoy_traces.collector(settings))
        config["layered_runtime"]["layers"].append(envoy_traces.runtime_layer())
    return config


def _put_metrics(config: Any, host: str, port: int) -> None:
    """Put in where Envoy's own metrics are served; port 0 takes out what serves them."""
    _put(config, (*_METRICS, *_ADDRESS), address=host, port_value=port)
    if not port:
        for place, unused in ((_LISTENERS, _METRICS), (_CLUSTERS, _ADMIN)):
            _at(config, place).remove(_at(config, unused))


def descriptor_set() -> Path:
    """Return where the descriptor set is that Envoy transcodes by."""
    return Path(str(files("rollcall.v1"))).resolve() / "descriptors.binpb"


def _load() -> Any:
    for place in _PLACES:
        if place.is_file():
            try:
                return yaml.safe_load(place.read_text())
            except yaml.YAMLError as error:
                raise SettingsError(f"{place}: {error}") from None
    raise SettingsError(f"{_PLACES[0]}: there is no such file")


def _put(config: Any, steps: Sequence[_Step], **values: object) -> None:
    """Replace values, which must be there, in the mapping that the steps lead to."""
    found = _at(config, steps)
    if not isinstance(found, dict) or not values.keys() <= found.keys():
        expected = ".".join(str(step) for step in steps)
        raise SettingsError(f"envoy.yaml: {expected} must have {', '.join(values)}")
    found.update(values)


def _at(config: Any, steps: Sequence[_Step]) -> Any:
    return reduce(_below, steps, config)


def _below(found: Any, step: _Step) -> Any:
    """Return what is at a key, an index, or in a list under a name; None if it is not there."""
    if isinstance(found, dict):
        return found.get(step)
    if not isinstance(found, list):
        return None
    if isinstance(step, int):
        return found[step] if step < len(found) else None
    return next((item for item in found if isinstance(item, dict) and item.get("name") == step), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
