"""Requests of OTLP, read by OpenTelemetry's own classes."""

from __future__ import annotations

from collections.abc import Iterator

from catalogue.libraries.book import Series
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


def read(body: bytes) -> Iterator[Series]:
    """Yield the counters of a request."""
    request = ExportMetricsServiceRequest.FromString(body)
    for metric in [
        metric for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]:
        for point in metric.sum.data_points:
            labels = {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in point.attributes}
            yield metric.name, labels, getattr(point, point.WhichOneof("value") or "as_int")
