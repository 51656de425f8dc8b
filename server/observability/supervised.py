"""What whoever serves the metrics knows by itself: its workers, and when certificates expire."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.observability.metrics import Workers
from server.settings import Settings

CERTIFICATES = ("tls_cert", "envoy_tls_cert", "rest_tls_cert")


class Supervised(Collector):
    """Reads it at each scrape."""

    def __init__(self, workers: Workers, settings: Settings) -> None:
        self._workers = workers
        named: Mapping[str, Path | None] = {name: getattr(settings, name) for name in CERTIFICATES}
        self._certificates = {name: path for name, path in named.items() if path is not None}

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield GaugeMetricFamily("rollcall_workers", "Server processes that run.", self._workers.alive)
        yield CounterMetricFamily(
            "rollcall_worker_restarts",
            "Server processes that have ended by themselves.",
            self._workers.restarts,
        )
        expiry = GaugeMetricFamily(
            "rollcall_certificate_expiry_timestamp_seconds",
            "When a certificate of the settings expires, in seconds since 1970.",
            labels=["certificate"],
        )
        for name, path in self._certificates.items():
            try:
                certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
            except (OSError, ValueError, IndexError):
                continue  # Half a renewal; the next scrape sees it whole.
            expiry.add_metric([name], certificate.not_valid_after_utc.timestamp())
        yield expiry
