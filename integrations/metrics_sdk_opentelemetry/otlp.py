"""OTLP over HTTP: our own exporter, which needs neither opentelemetry-sdk nor any other package."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any, Literal

from metrics_sdk.errors import ConfigurationError
from metrics_sdk.http_target import TLS, Answer, HTTPTarget, Request, checked_size, shown
from metrics_sdk.protobuf import fields
from metrics_sdk.snapshot import Refused, Snapshot
from metrics_sdk.temporality import Preference

from .otlp_requests import Encoder

#: The OTLP specification's default, where a collector on the same machine listens.
DEFAULT_ENDPOINT = "http://localhost:4318/v1/metrics"

_HEADERS = {"Content-Type": "application/x-protobuf"}
_RETRYABLE = frozenset(
    (429, 502, 503, 504)
).__contains__  # OTLP specification, "Retryable Response Codes"; nothing else is tried again
_GZIP_LEVEL = 1


class OTLPExporter:
    """Exports to an OpenTelemetry collector, or to whatever else takes OTLP/HTTP in protobuf.

        Config(exporters=[Export(OTLPExporter("http://localhost:4318/v1/metrics"), interval_seconds=10)])

    `endpoint`: the URL as it is. `headers`: sent with each request, such as an API key. `tls`: for https. `compression`: "gzip"
    or "none". `max_request_bytes`: a snapshot that is larger than that, before compression, goes in several requests.
    Raises ConfigurationError for what cannot be. `OTLPExporter.from_env()` is as the environment says.

    An export has 10 seconds unless `Export` says otherwise. What fails for a time (429, 502, 503, 504, no connection, a broken
    one) is tried again, after what Retry-After says; what the receiver refuses, wholly or in part, is gone and counted in
    `health().exporters[…].refused`; a redirect is refused, too. With `temporality="delta"` a request that broke off may have
    arrived all the same, and then comes twice: OTLP has no way to tell.
    """

    interval_seconds: float | None = None
    timeout_seconds: float = 10.0
    temporality: Preference | None = None
    histogram_aggregation: Literal["explicit", "exponential"] | None = None

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        headers: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        compression: Literal["gzip", "none"] = "none",
        max_request_bytes: int = 4 << 20,
    ) -> None:
        if compression not in ("gzip", "none"):
            raise ConfigurationError(f'compression must be "gzip" or "none", not {compression!r}')
        self._target = HTTPTarget(endpoint, headers=headers, tls=tls)
        self._headers = dict(_HEADERS)
        self._compresses = compression == "gzip"
        if self._compresses:
            self._headers["Content-Encoding"] = "gzip"
        self._encoder = Encoder(checked_size(max_request_bytes))

    @classmethod
    def from_env(cls, **given: Any) -> OTLPExporter:
        """Return one as the environment says; arguments win over it.

        Read are `OTEL_EXPORTER_OTLP_` with `ENDPOINT`, `HEADERS`, `COMPRESSION`, `TIMEOUT`, `CERTIFICATE`, `CLIENT_KEY`,
        `CLIENT_CERTIFICATE`, `PROTOCOL`; each of them with `METRICS_` in between, which wins; `TEMPORALITY_PREFERENCE` and
        `DEFAULT_HISTOGRAM_AGGREGATION` with `METRICS_` alone; and `OTEL_METRIC_EXPORT_` with `INTERVAL` and `TIMEOUT`.
        """
        from .otlp_environment import preferences, settings

        made = cls(**settings(given))
        vars(made).update(preferences())
        return made

    def __repr__(self) -> str:
        return f"OTLPExporter({self._target.endpoint!r})"

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        """Send everything there is. Raises ExportError if not all of it was accepted."""
        requests = self._encoder.requests(snapshot)
        if self._compresses:
            requests = map(_compressed, requests)
        return self._target.deliver(requests, timeout, self._headers, _RETRYABLE, partial_success)

    def shutdown(self) -> None:
        """Close the connection."""
        self._target.close()


def _compressed(request: Request) -> Request:
    return request._replace(body=gzip.compress(request.body, _GZIP_LEVEL, mtime=0)) if request.body else request


def partial_success(answer: Answer) -> Refused | None:
    """Return what of a request was refused though the answer is 200: "Partial Success" in the OTLP specification.

    An answer that cannot be read is taken for a full success: nothing of it is tried again anyway.
    """
    rejected, why = 0, ""
    try:
        for number, partial in fields(answer.body):
            if number == 1 and isinstance(partial, bytes):
                for field, value in fields(partial):
                    if field == 1 and isinstance(value, int) and value < 2**63:
                        rejected = value
                    elif field == 2 and isinstance(value, bytes):
                        why = shown(value[:1000].decode("utf-8", "replace"))
    except ValueError:
        return None
    return Refused(rejected, f"the receiver says: {why}") if rejected or why else None
