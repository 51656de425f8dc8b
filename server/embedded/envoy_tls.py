"""TLS in Envoy's configuration: towards callers, and towards the server."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from server.settings import Settings

JSON = dict[str, Any]

_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_PARAMETERS = {"tls_minimum_protocol_version": "TLSv1_2"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """Turns certificate files into configuration.

    Envoy reads again only what it got as a secret of its own.  So each becomes a file in
    `folder`; without one, the certificates are those of Envoy's start.
    """

    folder: Path | None

    def certificate(self, name: str, cert: Path, key: Path) -> JSON:
        """Return a part of a CommonTlsContext: what is shown to the other side."""
        pair = {"certificate_chain": _file(cert), "private_key": _file(key)}
        if self.folder is None:
            return {"tls_certificates": [pair]}
        watched = pair | {"watched_directory": {"path": str(cert.absolute().parent)}}
        kept = _kept(self.folder, name, tls_certificate=watched)
        return {"tls_certificate_sds_secret_configs": [kept]}

    def validation(self, name: str, authorities: Path, host: str) -> JSON:
        """Return a part of a CommonTlsContext: the other side must be `host`, by these authorities."""
        match = {"san_type": "IP_ADDRESS" if _is_address(host) else "DNS", "matcher": {"exact": host}}
        context = {"trusted_ca": _file(authorities), "match_typed_subject_alt_names": [match]}
        if self.folder is None:
            return {"validation_context": context}
        watched = context | {"watched_directory": {"path": str(authorities.absolute().parent)}}
        kept = _kept(self.folder, name, validation_context=watched)
        return {"validation_context_sds_secret_config": kept}


def _kept(folder: Path, name: str, **secret: JSON) -> JSON:
    """Return a reference to a secret, which is now a file in `folder`."""
    path = folder.absolute() / f"{name}.yaml"
    resource = {"@type": f"{_TYPE}Secret", "name": name, **secret}
    path.write_text(yaml.safe_dump({"resources": [resource]}, sort_keys=False))
    source = {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}
    return {"name": name, "sds_config": source}


def downstream(settings: Settings, secrets: Secrets) -> JSON | None:
    """Return the listener's transport socket, None if callers come without TLS."""
    if settings.rest_tls_cert is None or settings.rest_tls_key is None:
        return None
    shown = secrets.certificate("rest_tls", settings.rest_tls_cert, settings.rest_tls_key)
    common = {"tls_params": dict(_PARAMETERS), "alpn_protocols": ["h2", "http/1.1"], **shown}
    return _socket("DownstreamTlsContext", common_tls_context=common)


def upstream(settings: Settings, secrets: Secrets) -> JSON | None:
    """Return the cluster's transport socket, None if the server has no TLS."""
    if settings.envoy_tls_ca is None:
        return None
    host = settings.grpc_host
    common: JSON = {"tls_params": dict(_PARAMETERS), "alpn_protocols": ["h2"]}
    common |= secrets.validation("server_ca", settings.envoy_tls_ca, host)
    if settings.envoy_tls_cert is not None and settings.envoy_tls_key is not None:
        common |= secrets.certificate("envoy_tls", settings.envoy_tls_cert, settings.envoy_tls_key)
    name = {} if _is_address(host) else {"sni": host}
    return _socket("UpstreamTlsContext", common_tls_context=common, **name)


def _socket(kind: str, **context: Any) -> JSON:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": _TYPE + kind, **context}}


def _file(path: Path) -> JSON:
    return {"filename": str(path.absolute())}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
