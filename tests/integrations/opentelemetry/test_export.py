"""The way out, read at opentelemetry-sdk's meter provider."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from metrics_sdk_opentelemetry.export import OpenTelemetryExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Snapshot

START, NOW = 100.5, 200.5


class There:
    """The other provider, and what is read there."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[tuple[str, str], Any]:
        """Return the metrics by the name of their meter and their own."""
        data = self.reader.get_metrics_data()
        found: dict[tuple[str, str], Any] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert (scope.scope.name, metric.name) not in found
                    found[scope.scope.name, metric.name] = metric
        return found

    def values(self) -> dict[str, dict[Any, float]]:
        """Return the values by metric and attributes."""
        return {
            name: {frozenset(point.attributes.items()): point.value for point in metric.data.data_points}
            for (_, name), metric in self.metrics().items()
        }


@pytest.fixture
def there() -> Iterator[There]:
    made = There()
    yield made
    made.provider.shutdown()


def metric(
    name: str,
    kind: str,
    *series: tuple[dict[str, Any], Any],
    unit: str = "",
    description: str | None = None,
    temporality: Literal["cumulative", "delta"] = "cumulative",
    meter: Meter | None = None,
) -> Metric:
    points = tuple([Point(tuple(sorted(attributes.items())), value, START, NOW) for attributes, value in series])
    return Metric(name, kind, unit, f"About {name}." if description is None else description, None, points, temporality, meter)


def snapshot(*metrics: Metric) -> Snapshot:
    return Snapshot({}, NOW, metrics)


def explicit(count: int, sum: float, min: float | None, max: float | None) -> ExplicitBuckets:
    return ExplicitBuckets(count, sum, min, max, (1.0,), (count, 0))


NONE: frozenset[Any] = frozenset()


@pytest.mark.parametrize(
    ("kind", "shape", "monotonic"),
    [
        ("counter", "Sum", True),
        ("observable_counter", "Sum", True),
        ("up_down_counter", "Sum", False),
        ("observable_up_down_counter", "Sum", False),
        ("gauge", "Gauge", None),
        ("observable_gauge", "Gauge", None),
    ],
)
def test_numbers_are_reported_by_the_observable_instrument_of_their_kind(
    there: There, kind: str, shape: str, monotonic: bool | None
) -> None:
    given = metric("orders", kind, ({"currency": "EUR", "paid": True}, 3), ({}, 1.5), unit="{order}")
    OpenTelemetryExporter(there.provider).export(snapshot(given), 1.0)
    ((scope, found),) = [(scope, found) for (scope, _), found in there.metrics().items()]
    assert ("metrics_sdk", "orders", "{order}", "About orders.") == (scope, found.name, found.unit, found.description)
    assert (shape, monotonic) == (type(found.data).__name__, getattr(found.data, "is_monotonic", None))
    assert {frozenset({("currency", "EUR"), ("paid", True)}): 3, NONE: 1.5} == there.values()["orders"]


@pytest.mark.parametrize(
    "value", [explicit(3, 12.5, 0.5, 9.0), ExponentialBuckets(3, 12.5, 0.5, 9.0, 0, 0, ((-1, 1), (2, 1), (3, 1)), ())]
)
def test_a_histogram_is_reported_as_count_and_sum_that_grow_and_as_gauges_of_the_extremes(there: There, value: Any) -> None:
    OpenTelemetryExporter(there.provider).export(snapshot(metric("latency", "histogram", ({"a": "b"}, value), unit="s")), 1.0)
    found = {name: metric for (_, name), metric in there.metrics().items()}
    series = frozenset({("a", "b")})
    expected = {"latency.count": 3, "latency.sum": 12.5, "latency.min": 0.5, "latency.max": 9.0}
    assert {name: {series: number} for name, number in expected.items()} == there.values()
    assert ["", "s", "s", "s"] == [found[name].unit for name in expected]
    assert [True, True, None, None] == [getattr(found[name].data, "is_monotonic", None) for name in expected]


@pytest.mark.parametrize("value", [explicit(2, 3.0, -1.0, 4.0), explicit(2, -3.0, None, None)])
def test_the_sum_of_a_histogram_with_values_below_zero_is_an_up_down_counter(there: There, value: Any) -> None:
    OpenTelemetryExporter(there.provider).export(snapshot(metric("offset", "histogram", ({}, value))), 1.0)
    found = there.metrics()["metrics_sdk", "offset.sum"]
    assert (False, value.sum) == (found.data.is_monotonic, found.data.data_points[0].value)


def test_a_sum_that_may_fall_suddenly_is_left_out_and_the_rest_of_the_histogram_stays(
    there: There, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("offset", "histogram", ({}, explicit(1, 4.0, 4.0, 4.0)))), 1.0)
    fallen = snapshot(metric("offset", "histogram", ({}, explicit(2, 3.0, -1.0, 4.0))))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            exporter.export(fallen, 1.0)
    values = there.values()
    assert {"offset.count": {NONE: 2}, "offset.min": {NONE: -1.0}, "offset.max": {NONE: 4.0}} == values
    assert ["metric 'offset.sum' is not reported: its kind is up_down_counter now, its instrument's is counter"] == [
        record.getMessage() for record in caplog.records if record.name == "metrics_sdk_opentelemetry"
    ]


def test_a_sum_that_may_fall_goes_on_when_only_values_above_zero_are_left(there: There) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("offset", "histogram", ({}, explicit(1, -4.0, -4.0, -4.0)))), 1.0)
    exporter.export(snapshot(metric("offset", "histogram", ({}, explicit(1, 4.0, 4.0, 4.0)))), 1.0)
    assert {NONE: 4.0} == there.values()["offset.sum"]


def test_a_histogram_that_has_no_extremes_is_reported_without(there: There) -> None:
    OpenTelemetryExporter(there.provider).export(snapshot(metric("h", "histogram", ({}, explicit(1, 4.0, None, None)))), 1.0)
    assert {"h.count", "h.sum"} == there.values().keys()


def test_each_read_tells_the_values_of_the_last_export(there: There) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    for value in (1, 5):
        exporter.export(snapshot(metric("c", "counter", ({}, value))), 1.0)
        assert [{"c": {NONE: value}}] * 2 == [there.values(), there.values()]


def test_what_is_not_in_the_last_snapshot_any_more_is_not_reported(there: There) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("g", "gauge", ({"x": 1}, 1), ({"x": 2}, 2)), metric("gone", "gauge", ({}, 1))), 1.0)
    exporter.export(snapshot(metric("g", "gauge", ({"x": 2}, 3))), 1.0)
    assert {"g": {frozenset({("x", 2)}): 3}} == there.values()


def test_a_metric_is_declared_once_and_when_it_has_a_series(there: There, caplog: pytest.LogCaptureFixture) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("c", "counter")), 1.0)
    assert {} == there.metrics()
    with caplog.at_level(logging.WARNING):
        for value in range(3):
            exporter.export(snapshot(metric("c", "counter", ({}, value))), 1.0)
    assert {"c": {NONE: 2}} == there.values()
    assert [] == caplog.records  # opentelemetry-sdk complains of an instrument that is declared twice


def test_what_a_meter_has_recorded_keeps_the_meter(there: There) -> None:
    meter = Meter("http.lib", "1.2", "https://example.org/schema", (("team", "web"),))
    given = snapshot(metric("c", "counter", ({}, 1), meter=meter), metric("c", "counter", ({}, 2)))
    OpenTelemetryExporter(there.provider, meter_name="shop").export(given, 1.0)
    data = there.reader.get_metrics_data()
    assert data is not None
    scopes = [one.scope for one in data.resource_metrics[0].scope_metrics]
    assert {"http.lib", "shop"} == {scope.name for scope in scopes}
    (scope,) = [scope for scope in scopes if scope.name == "http.lib"]
    assert ("1.2", "https://example.org/schema", {"team": "web"}) == (scope.version, scope.schema_url, dict(scope.attributes))


@pytest.mark.parametrize(
    ("one", "other"), [({"unit": "By"}, {"unit": "s"}), ({"description": "One."}, {"description": "Other."})]
)
def test_instruments_with_one_name_that_differ_in_unit_or_description_are_not_added_up(
    there: There, one: dict[str, str], other: dict[str, str]
) -> None:
    given = snapshot(metric("c", "counter", ({}, 3), **one), metric("c", "counter", ({}, 5), **other))  # type: ignore[arg-type]
    OpenTelemetryExporter(there.provider).export(given, 1.0)
    data = there.reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    found = [(one.unit, one.description, [point.value for point in one.data.data_points]) for one in metrics]  # type: ignore[union-attr]
    assert [(first.unit, first.description, [value]) for first, value in zip(given.metrics, (3, 5))] == found


def test_of_two_streams_that_are_called_the_very_same_the_first_is_reported_and_the_other_is_logged_once(
    there: There, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            exporter.export(snapshot(metric("c", "counter", ({}, 1), ({"a": 1}, 1)), metric("c", "counter", ({}, 2))), 1.0)
    assert {"c": {NONE: 1, frozenset({("a", 1)}): 1}} == there.values()
    assert 1 == len([record for record in caplog.records if record.name == "metrics_sdk_opentelemetry"])


@pytest.mark.parametrize("name", ["", "1st", "with space", "ü", "a" * 300, '"} 1\nforged{x="y"} 2', "\ud800", "\x00"])
def test_an_odd_name_costs_itself_alone_and_is_logged_once(there: There, name: str, caplog: pytest.LogCaptureFixture) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            exporter.export(snapshot(metric(name, "counter", ({}, 1)), metric("c", "counter", ({}, 2))), 1.0)
    assert {"c": {NONE: 2}} == there.values()
    assert 1 == len([record for record in caplog.records if record.name == "metrics_sdk_opentelemetry"])


def test_a_unit_that_is_refused_costs_its_metric_alone(there: There) -> None:
    given = snapshot(metric("odd", "counter", ({}, 1), unit="µ" * 99), metric("c", "counter", ({}, 2)))
    OpenTelemetryExporter(there.provider).export(given, 1.0)
    assert {"c": {NONE: 2}} == there.values()


def test_a_metric_of_a_kind_that_there_is_not_costs_itself_alone(there: There) -> None:
    given = snapshot(metric("odd", "histogram", ({}, 1)), metric("odder", "nonsense", ({}, 1)), metric("c", "counter", ({}, 2)))
    OpenTelemetryExporter(there.provider).export(given, 1.0)
    assert {"c": {NONE: 2}} == there.values()


def test_a_metric_that_becomes_another_kind_is_left_out_from_then_on(there: There) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("m", "counter", ({}, 5))), 1.0)
    exporter.export(snapshot(metric("m", "gauge", ({}, -5))), 1.0)
    assert {} == there.values()


def test_deltas_are_not_reported_as_totals_and_gauges_are_no_deltas(there: There) -> None:
    given = snapshot(
        metric("c", "counter", ({}, 1), temporality="delta"),
        metric("h", "histogram", ({}, explicit(1, 4.0, 4.0, 4.0)), temporality="delta"),
        metric("g", "gauge", ({}, 2), temporality="delta"),
    )
    OpenTelemetryExporter(there.provider).export(given, 1.0)
    assert {"g": {NONE: 2}} == there.values()


@pytest.mark.parametrize(("value", "expected"), [(2**63 - 1, 2**63 - 1), (2**63, 2.0**63), (-(2**70), -(2.0**70))])
def test_an_integer_that_does_not_fit_into_64_bits_is_reported_as_a_float(there: There, value: int, expected: float) -> None:
    OpenTelemetryExporter(there.provider).export(snapshot(metric("g", "gauge", ({}, value))), 1.0)
    ((found,),) = [series.values() for series in there.values().values()]
    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400)], ids=["nan", "inf", "-inf", "10**400", "-10**400"]
)
def test_what_is_not_finite_costs_its_series_alone_and_no_log_line_at_each_read(
    there: There, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    OpenTelemetryExporter(there.provider).export(snapshot(metric("g", "gauge", ({}, value), ({"x": 1}, 2))), 1.0)
    with caplog.at_level(logging.WARNING):
        assert {"g": {frozenset({("x", 1)}): 2}} == there.values()
    assert [] == caplog.records


def test_after_shutdown_nothing_is_reported(there: There) -> None:
    exporter = OpenTelemetryExporter(there.provider)
    exporter.export(snapshot(metric("c", "counter", ({}, 1))), 1.0)
    exporter.shutdown()
    assert {} == there.metrics()
    exporter.export(snapshot(metric("c", "counter", ({}, 2)), metric("new", "gauge", ({}, 2))), 1.0)
    assert {} == there.metrics()


def test_what_comes_back_to_the_exporter_is_not_exported_again(there: There) -> None:
    back = metric("c", "observable_counter", ({}, 1), meter=Meter("metrics_sdk", ""))
    OpenTelemetryExporter(there.provider).export(snapshot(back, metric("d", "counter", ({}, 2))), 1.0)
    assert {"d": {NONE: 2}} == there.values()


def test_without_a_provider_the_global_one_of_the_time_is_used(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = OpenTelemetryExporter()
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: there.provider)
    exporter.export(snapshot(metric("c", "counter", ({}, 1))), 1.0)
    assert {"c": {NONE: 1}} == there.values()


def test_arguments_that_cannot_be_raise_when_the_exporter_is_made() -> None:
    with pytest.raises(ConfigurationError, match="meter_provider"):
        OpenTelemetryExporter(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="meter_name"):
        OpenTelemetryExporter(meter_name="")


def test_what_an_sdk_records_is_read_at_the_other_provider_after_a_flush(there: There) -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[Export(OpenTelemetryExporter(there.provider))]))
    sdk.counter("orders", unit="{order}").add(2, {"items": (1, 2)})
    sdk.histogram("latency").record(0.25)
    sdk.gauge("queue").set(7)
    sdk.flush()
    values = {name: series for name, series in there.values().items() if not name.startswith("metrics_sdk.")}
    latency = {
        f"latency.{part}": {NONE: number} for part, number in (("count", 1), ("sum", 0.25), ("min", 0.25), ("max", 0.25))
    }
    assert {"orders": {frozenset({("items", (1, 2))}): 2}, "queue": {NONE: 7}, **latency} == values
    sdk.shutdown()
    assert {} == there.metrics()
