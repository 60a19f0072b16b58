"""Snapshots as opentelemetry-sdk's metrics data: every field arrives, and in its own place."""

from __future__ import annotations

from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from metrics_sdk_opentelemetry.points import metrics_data
from opentelemetry.sdk.metrics import Exemplar, export
from opentelemetry.sdk.resources import Resource

from metrics_sdk import Config
from metrics_sdk.clock import ManualClock
from metrics_sdk.snapshot import Exemplar as OurExemplar
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Snapshot

RESOURCE = Resource({"service.name": "shop"})
EXPLICIT = ExplicitBuckets(3, 6.0, 1.0, 3.0, (2.0,), (2, 1))
EXPONENTIAL = ExponentialBuckets(6, -5.0, -7.0, 3.0, 4, 1, ((-2, 1), (1, 2)), ((5, 3),))
EXEMPLAR = OurExemplar(1.5, 15.75, (("user", "me"),), 0xABC, 0xDEF)


def scopes(*metrics: Metric) -> list[Any]:
    data = metrics_data(Snapshot({}, 20.0, metrics), RESOURCE)
    assert data is not None
    return list(data.resource_metrics[0].scope_metrics)


def converted(kind: str, value: Any, exemplars: tuple[OurExemplar, ...] = (), meter: Meter | None = None) -> Any:
    """Return the only metric that becomes of a metric with one point."""
    point = Point((("route", "/cart"),), value, 10.5, 20.25, exemplars)
    (scope,) = scopes(Metric("m", kind, "s", "what it is", None, (point,), "delta", meter))
    (metric,) = scope.metrics
    return metric


def test_nothing_becomes_of_a_snapshot_without_points() -> None:
    empty = Metric("m", "counter", "", "", None, ())
    assert metrics_data(Snapshot({}, 20.0, (empty,)), RESOURCE) is None


@pytest.mark.parametrize(
    ("kind", "value", "start"),
    [
        ("counter", 5, 10_500_000_000),
        ("observable_up_down_counter", 5, 10_500_000_000),
        ("gauge", 5, None),  # as there: the last value has no start
        ("histogram", EXPLICIT, 10_500_000_000),
        ("histogram", EXPONENTIAL, 10_500_000_000),
    ],
)
def test_a_point_has_its_attributes_and_its_two_times_in_nanoseconds(kind: str, value: Any, start: int | None) -> None:
    (point,) = converted(kind, value).data.data_points
    assert (start, 20_250_000_000) == (point.start_time_unix_nano, point.time_unix_nano)
    assert dict(point.attributes) == {"route": "/cart"}


def test_times_are_those_of_the_series_and_of_the_collection() -> None:
    clock = ManualClock(1000.0)
    reader = export.InMemoryMetricReader()
    made = MeterProvider([reader], shutdown_on_exit=False, config=Config(clock=clock, background=False))
    counter, histogram = [getattr(made.get_meter("lib"), f"create_{kind}")(kind) for kind in ("counter", "histogram")]
    clock.advance(5)
    counter.add(1, {"k": "v"})
    histogram.record(1, {"k": "v"})
    clock.advance(7)
    data: Any = reader.get_metrics_data()
    found = [point for metric in data.resource_metrics[0].scope_metrics[0].metrics for point in metric.data.data_points]
    assert [(1005 * 10**9, 1012 * 10**9)] * 2 == [(one.start_time_unix_nano, one.time_unix_nano) for one in found]
    made.shutdown()


@pytest.mark.parametrize(("kind", "monotonic"), [("counter", True), ("up_down_counter", False)])
def test_a_sum_is_told_with_its_value_temporality_and_whether_it_only_grows(kind: str, monotonic: bool) -> None:
    data = converted(kind, 5).data
    assert (export.Sum, 5, monotonic) == (type(data), data.data_points[0].value, data.is_monotonic)
    assert data.aggregation_temporality is export.AggregationTemporality.DELTA


def test_an_explicit_histogram_arrives_with_all_its_fields() -> None:
    (point,) = converted("histogram", EXPLICIT).data.data_points
    found = (point.count, point.sum, point.min, point.max, point.explicit_bounds, point.bucket_counts)
    assert found == (3, 6.0, 1.0, 3.0, (2.0,), (2, 1))


def test_an_exponential_histogram_arrives_with_all_its_fields_and_the_gaps_between_its_buckets() -> None:
    (point,) = converted("histogram", EXPONENTIAL).data.data_points
    assert (6, -5.0, -7.0, 3.0, 4, 1) == (point.count, point.sum, point.min, point.max, point.scale, point.zero_count)
    assert (-2, [1, 0, 0, 2]) == (point.positive.offset, list(point.positive.bucket_counts))
    assert (5, [3]) == (point.negative.offset, list(point.negative.bucket_counts))


@pytest.mark.parametrize("value", [5, EXPLICIT, EXPONENTIAL], ids=["number", "explicit", "exponential"])
def test_an_exemplar_keeps_its_time_attributes_span_and_trace(value: Any) -> None:
    kind = "counter" if value == 5 else "histogram"
    (point,) = converted(kind, value, (EXEMPLAR, EXEMPLAR._replace(trace_id=0, span_id=0))).data.data_points
    expected = Exemplar({"user": "me"}, 1.5, 15_750_000_000, span_id=0xDEF, trace_id=0xABC)
    assert [expected, Exemplar({"user": "me"}, 1.5, 15_750_000_000, span_id=None, trace_id=None)] == list(point.exemplars)


def test_a_scope_has_all_four_parameters_of_its_meter() -> None:
    meter = Meter("lib", "1.0", "https://example.org/schema", (("team", "a"),))
    (scope,) = scopes(Metric("m", "counter", "", "", None, (Point((), 5, 10.5, 20.25),), meter=meter))
    assert ("lib", "1.0", "https://example.org/schema") == (scope.scope.name, scope.scope.version, scope.scope.schema_url)
    assert dict(scope.scope.attributes) == {"team": "a"}
    assert scope.schema_url == "https://example.org/schema"


def test_a_metric_keeps_name_unit_and_description_and_those_of_one_meter_are_together() -> None:
    point = Point((), 5, 10.5, 20.25)
    given = [("a", Meter("one")), ("b", None), ("c", Meter("one")), ("d", Meter("one", "2.0"))]
    found = scopes(*[Metric(name, "counter", "s", "text", None, (point,), meter=meter) for name, meter in given])
    told = [(one.scope.name, one.scope.version, [metric.name for metric in one.metrics]) for one in found]
    assert told == [("one", None, ["a", "c"]), ("metrics_sdk", None, ["b"]), ("one", "2.0", ["d"])]
    assert {("s", "text")} == {(metric.unit, metric.description) for one in found for metric in one.metrics}
