"""TLS of the gRPC server: its certificate, its clients' CA, both read again when they change.

gRPC speaks TLS 1.2 and 1.3, and nothing older.
"""

import logging
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from server.settings import Settings, SettingsError
from server.watched import WatchedFile

log = logging.getLogger(__name__)


class _Files:
    """PEM files on disk, which renew themselves one after the other."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._watched = [WatchedFile(path) for path in (cert, key, client_ca) if path is not None]

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold; raise SettingsError if it does not go together."""
        cert, key = _read("TLS_CERT", self._cert), _read("TLS_KEY", self._key)
        authorities = None if self._client_ca is None else _read("TLS_CLIENT_CA", self._client_ca)
        try:
            public = x509.load_pem_x509_certificates(cert)[0].public_key()
        except (ValueError, UnsupportedAlgorithm):
            raise SettingsError(f"ROLLCALL_TLS_CERT: {self._cert}: must be a PEM certificate") from None
        try:
            fits = load_pem_private_key(key, password=None).public_key() == public
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SettingsError(f"ROLLCALL_TLS_KEY: {self._key}: must be a PEM key, not encrypted") from None
        if not fits:
            raise SettingsError(f"ROLLCALL_TLS_KEY: {self._key}: must be the certificate's key")
        if authorities is not None:
            try:
                x509.load_pem_x509_certificates(authorities)
            except ValueError:
                named = f"{self._client_ca}: must have PEM certificates"
                raise SettingsError(f"ROLLCALL_TLS_CLIENT_CA: {named}") from None
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=authorities)

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what new connections are to use, None if that is what they use already."""
        if not [file for file in self._watched if file.changed()]:
            return None
        try:
            return self.read()
        except SettingsError as error:
            # The other half may not be there yet; until it is, the certificate from before is good.
            log.warning("%s; the certificate stays as it was", error)
            return None


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"ROLLCALL_{name}: {path}: {error.strerror}") from None


def name_in(cert: Path) -> str | None:
    """Return a name or address that a certificate has, None if it has none; raise SettingsError."""
    try:
        names = x509.load_pem_x509_certificate(_read("TLS_CERT", cert)).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ValueError, x509.ExtensionNotFound):
        return None
    named = names.value.get_values_for_type(x509.DNSName)
    addresses = names.value.get_values_for_type(x509.IPAddress)
    return next((name.replace("*", "any", 1) for name in (*named, *map(str, addresses))), None)


def server_credentials_of(settings: Settings) -> grpc.ServerCredentials | None:
    """Return the server's TLS, None if it has none; raise SettingsError.

    With a CA of clients only they are let in.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    files = _Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.read_if_changed,  # type: ignore[arg-type] # None is legal, whatever its stubs say
        require_client_authentication=settings.tls_client_ca is not None,
    )


def channel_credentials_of(settings: Settings) -> grpc.ChannelCredentials | None:
    """Return what a client on this machine, such as Envoy, needs; None if the server has no TLS."""
    if settings.envoy_tls_ca is None:
        return None
    authorities = _read("ENVOY_TLS_CA", settings.envoy_tls_ca)
    if settings.envoy_tls_cert is None or settings.envoy_tls_key is None:
        return grpc.ssl_channel_credentials(authorities)
    key, cert = (
        _read("ENVOY_TLS_KEY", settings.envoy_tls_key),
        _read("ENVOY_TLS_CERT", settings.envoy_tls_cert),
    )
    return grpc.ssl_channel_credentials(authorities, key, cert)
