"""opentelemetry-sdk: a periodic reader with an exporter of ours, totals as it tells them by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from catalogue.libraries.book import Series, Wire
from catalogue.libraries.exit_on_sigterm import exit_on_sigterm
from catalogue.libraries.library import Counter, Settings
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
)

CAN = frozenset({"delivers", "exporter", "attributes", "keys", "reliable"})


class Told(MetricExporter):
    """Writes the counters into the book."""

    def __init__(self, wire: Wire, encoded: bool) -> None:
        super().__init__()
        self._wire = wire
        self._encoded = encoded

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Write it; a server that is not there is a failure, as of its own exporters."""
        try:
            self._wire.send(encoded(metrics_data) if self._encoded else counters(metrics_data), totals_of=str(os.getpid()))
        except OSError:
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is held."""


def counters(data: MetricsData) -> list[Series]:
    """Return its counters."""
    found = [metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
    points = [(metric.name, point) for metric in found for point in metric.data.data_points]
    return [(name, dict(point.attributes or {}), point.value) for name, point in points if isinstance(point, NumberDataPoint)]


def encoded(data: MetricsData) -> list[Series]:
    """Return its counters, as a collector reads them from what its own exporter would send."""
    from catalogue.libraries.otlp import read
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    return list(read(encode_metrics(data).SerializeToString()))


class OpenTelemetry:
    """The global meter provider."""

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self.interval = settings.interval
        reader = PeriodicExportingMetricReader(Told(wire, settings.encoded), export_interval_millis=settings.interval * 1000)
        self._provider = MeterProvider(metric_readers=[reader])
        metrics.set_meter_provider(self._provider)
        self._meter = metrics.get_meter("catalogue")

    def counter(self, name: str, *keys: str) -> Counter:
        """Declare it."""
        return self._meter.create_counter(name).add

    def flush(self) -> bool:
        """Deliver now."""
        return self._provider.force_flush()

    def deliver_on_sigterm(self) -> None:
        """It offers nothing."""
        exit_on_sigterm()


def side(folder: Path) -> Wire:
    """Return the way to the other side."""
    return Wire(folder)


def start(wire: Wire, settings: Settings) -> OpenTelemetry:
    """Configure it."""
    return OpenTelemetry(wire, settings)
