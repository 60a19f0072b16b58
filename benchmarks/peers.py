"""The libraries we are compared with, each set up as its own documentation does it. One that is not installed is None."""

from __future__ import annotations

import importlib
import socket
from typing import Any

# UDP clients need somebody to send to: a socket of ours takes the datagrams, and the kernel drops what does not fit in it.
_sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def sink_port() -> int:
    """Return the port of the socket that takes what UDP clients send."""
    if _sink.getsockname()[1] == 0:
        _sink.bind(("127.0.0.1", 0))
    return int(_sink.getsockname()[1])


class Prometheus:
    """prometheus_client with a registry of its own."""

    def __init__(self) -> None:
        self.client = _installed("prometheus_client")
        self.registry = self.client.CollectorRegistry() if self.client else None

    def counter(self, name: str, labels: tuple[str, ...] = ()) -> Any:
        return self.client.Counter(name, name, labels, registry=self.registry)

    def gauge(self, name: str) -> Any:
        return self.client.Gauge(name, name, registry=self.registry)

    def histogram(self, name: str, labels: tuple[str, ...] = (), **options: Any) -> Any:
        return self.client.Histogram(name, name, labels, registry=self.registry, **options)

    def value(self, sample: str, labels: dict[str, str] | None = None) -> float:
        return float(self.registry.get_sample_value(sample, labels or {}) or 0.0)


class OpenTelemetry:
    """opentelemetry-sdk with its in-memory reader."""

    def __init__(self, exponential: bool = False) -> None:
        self.metrics = _installed("opentelemetry.sdk.metrics")
        if not self.metrics:
            return
        export = importlib.import_module("opentelemetry.sdk.metrics.export")
        view = importlib.import_module("opentelemetry.sdk.metrics.view")
        self.reader = export.InMemoryMetricReader()
        views = []
        if exponential:
            aggregation = view.ExponentialBucketHistogramAggregation(max_size=160)
            views = [view.View(instrument_type=self.metrics.Histogram, aggregation=aggregation)]
        provider = self.metrics.MeterProvider(metric_readers=[self.reader], views=views, shutdown_on_exit=False)
        self.meter = provider.get_meter("benchmarks")

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        found = []
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += metric.data.data_points
        return found


def statsd() -> Any:
    """Return the client of `statsd`: one datagram per call."""
    module = _installed("statsd")
    return module.StatsClient("127.0.0.1", sink_port()) if module else None


def datadog(**options: Any) -> Any:
    """Return the DogStatsD client of `datadog`; by default one datagram per call."""
    module = _installed("datadog.dogstatsd.base")
    return module.DogStatsd("127.0.0.1", sink_port(), **options) if module else None


def spectator() -> Any:
    """Return a registry of `netflix-spectator-py` that sends one datagram per call."""
    module = _installed("spectator")
    return module.Registry(module.Config(f"udp://127.0.0.1:{sink_port()}")) if module else None
