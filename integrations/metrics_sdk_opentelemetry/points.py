"""Our snapshots as opentelemetry-sdk's metrics data: what its exporters take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Point, Snapshot
from metrics_sdk.snapshot import Metric as OurMetric

_TEMPORALITIES = {"cumulative": AggregationTemporality.CUMULATIVE, "delta": AggregationTemporality.DELTA}
_OWN = Meter("metrics_sdk")  # the scope of what is recorded with the SDK's own instruments


def metrics_data(snapshot: Snapshot, resource: Resource) -> MetricsData | None:
    """Return a snapshot as opentelemetry-sdk has it, in its order of meters and instruments; None if there is nothing in it."""
    by_meter: dict[Meter, list[Metric]] = {}
    for metric in snapshot.metrics:
        data = _data(metric)
        if data is not None:
            made = Metric(name=metric.name, description=metric.description, unit=metric.unit, data=data)
            by_meter.setdefault(metric.meter or _OWN, []).append(made)
    if not by_meter:
        return None
    scopes = [
        ScopeMetrics(
            scope=InstrumentationScope(meter.name, meter.version, meter.schema_url, dict(meter.attributes) or None),
            metrics=metrics,
            schema_url=meter.schema_url or "",
        )
        for meter, metrics in by_meter.items()
    ]
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=scopes, schema_url=resource.schema_url)])


def _data(metric: OurMetric) -> Any:
    points = metric.points
    if not points:
        return None
    temporality = _TEMPORALITIES[metric.temporality]
    value = points[0].value
    if isinstance(value, ExplicitBuckets):
        return Histogram([_explicit(point) for point in points], temporality)
    if isinstance(value, ExponentialBuckets):
        return ExponentialHistogram([_exponential(point) for point in points], temporality)
    if metric.kind in ("gauge", "observable_gauge"):
        return Gauge([_number(point, None) for point in points])
    return Sum([_number(point, _nanoseconds(point.start_time)) for point in points], temporality, "up_down" not in metric.kind)


def _number(point: Point, start: int | None) -> NumberDataPoint:
    value: Any = point.value
    return NumberDataPoint(dict(point.attributes), start, _nanoseconds(point.time), value, _exemplars(point.exemplars))  # type: ignore[arg-type]


def _explicit(point: Point) -> HistogramDataPoint:
    value: Any = point.value
    return HistogramDataPoint(
        dict(point.attributes),
        _nanoseconds(point.start_time),
        _nanoseconds(point.time),
        value.count,
        value.sum,
        value.bucket_counts,
        value.boundaries,
        value.min,
        value.max,
        _exemplars(point.exemplars),
    )


def _exponential(point: Point) -> ExponentialHistogramDataPoint:
    value: Any = point.value
    return ExponentialHistogramDataPoint(
        dict(point.attributes),
        _nanoseconds(point.start_time),
        _nanoseconds(point.time),
        value.count,
        value.sum,
        value.scale,
        value.zero_count,
        _buckets(value.positive),
        _buckets(value.negative),
        0,
        value.min,
        value.max,
        _exemplars(point.exemplars),
    )


def _buckets(used: Sequence[tuple[int, int]]) -> Buckets:
    if not used:
        return Buckets(0, ())
    first = used[0][0]
    counts = [0] * (used[-1][0] - first + 1)
    for index, count in used:
        counts[index - first] = count
    return Buckets(first, counts)


def _exemplars(given: tuple[Any, ...]) -> list[Exemplar]:
    if not given:
        return []
    return [
        Exemplar(dict(one.attributes), one.value, _nanoseconds(one.time), one.span_id or None, one.trace_id or None)
        for one in given
    ]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
