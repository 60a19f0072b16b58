"""A meter provider as the environment says: for `OTEL_PYTHON_METER_PROVIDER=metrics_sdk` and `opentelemetry-instrument`."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points
from typing import Any

from .provider import MeterProvider

logger = logging.getLogger("metrics_sdk_opentelemetry")

#: Which exporters to use, in the place of `OTEL_METRICS_EXPORTER`: the distro turns that off for opentelemetry-sdk.
EXPORTERS = "METRICS_SDK_OTEL_EXPORTER"


def meter_provider() -> MeterProvider:
    """Return a meter provider with the exporters of `OTEL_METRICS_EXPORTER` (`otlp`, `console`, `prometheus`, …, `none`).

    These are opentelemetry-sdk's and others', by their entry points, each driven as `OTEL_METRIC_EXPORT_INTERVAL` and
    `OTEL_METRIC_EXPORT_TIMEOUT` say. One that is not there, or fails, is logged. What is not set is `none`.
    """
    chosen = os.environ.get(EXPORTERS) or os.environ.get("OTEL_METRICS_EXPORTER") or "none"
    readers = [_reader(name.strip()) for name in chosen.split(",") if name.strip() not in ("", "none")]
    return MeterProvider([reader for reader in readers if reader is not None])


def _reader(name: str) -> Any:
    wanted = _otlp() if name == "otlp" else [name]
    try:
        from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

        for one in wanted:
            for found in entry_points(group="opentelemetry_metrics_exporter", name=one):
                made = found.load()()
                return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)
        shown = " or ".join(wanted)
        logger.error("OTEL_METRICS_EXPORTER=%s is ignored: no package that is installed has the exporter %s", name, shown)
    except Exception:
        logger.exception("OTEL_METRICS_EXPORTER=%s is ignored: it cannot be used", name)
    return None


def _otlp() -> list[str]:
    """Return the names of the exporters for OTLP, by protocol. Where none is set, it is what is installed, first gRPC."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if not protocol:
        return ["otlp_proto_grpc", "otlp_proto_http"]
    return ["otlp_proto_http" if protocol == "http/protobuf" else "otlp_proto_grpc"]
