"""A meter provider as the environment says: for `OTEL_PYTHON_METER_PROVIDER=metrics_sdk` and `opentelemetry-instrument`."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points
from typing import Any

from metrics_sdk import Config

from .otlp import OTLPExporter
from .otlp_environment import wants_grpc
from .provider import MeterProvider

logger = logging.getLogger("metrics_sdk_opentelemetry")

#: Which exporters to use, in the place of `OTEL_METRICS_EXPORTER`: the distro turns that off for opentelemetry-sdk.
EXPORTERS = "METRICS_SDK_OTEL_EXPORTER"


def meter_provider() -> MeterProvider:
    """Return a meter provider with the exporters of `OTEL_METRICS_EXPORTER` (`otlp`, `console`, `prometheus`, …, `none`).

    `otlp` is our own, unless `OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`, which needs opentelemetry-exporter-otlp-proto-grpc. The
    others are opentelemetry-sdk's and other packages', by their entry points. Each is driven as `OTEL_METRIC_EXPORT_INTERVAL`
    and `OTEL_METRIC_EXPORT_TIMEOUT` say. One that is not there, or fails, is logged. What is not set is `none`.
    """
    chosen = os.environ.get(EXPORTERS) or os.environ.get("OTEL_METRICS_EXPORTER") or "none"
    names = [name.strip() for name in chosen.split(",") if name.strip() not in ("", "none")]
    ours = _own() if "otlp" in names and not wants_grpc() else None
    readers = [_reader(name) for name in names if name != "otlp" or wants_grpc()]
    config = None if ours is None else Config(exporters=[ours], histogram_aggregation=ours.histogram_aggregation)
    return MeterProvider([reader for reader in readers if reader is not None], config=config)


def _own() -> OTLPExporter | None:
    try:
        return OTLPExporter.from_env()
    except Exception:
        logger.exception("OTEL_METRICS_EXPORTER=otlp cannot be used as it is set up")
        return None


def _reader(name: str) -> Any:
    wanted = "otlp_proto_grpc" if name == "otlp" else name
    try:
        from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

        for found in entry_points(group="opentelemetry_metrics_exporter", name=wanted):
            made = found.load()()
            return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)
        logger.error("OTEL_METRICS_EXPORTER=%s is ignored: no package that is installed has the exporter %s", name, wanted)
    except Exception:
        logger.exception("OTEL_METRICS_EXPORTER=%s is ignored: it cannot be used", name)
    return None
