"""opentelemetry-sdk's views and readers' wishes on our engine, those that only newer versions have by hand."""

from __future__ import annotations

from typing import Any

import pytest
from metrics_sdk_opentelemetry.views import Wishes, aggregation_of, kind_of, view_of
from opentelemetry import metrics as api
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export, view

from metrics_sdk import ConfigurationError

OVERFLOW = {"otel.metric.overflow": True}


def told(reader: Any) -> dict[str, list[Any]]:
    """Return the points of each metric."""
    data = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics if data else []
    return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


def test_the_cardinality_limit_of_a_view_of_a_newer_version_holds_for_its_instruments_alone(provider: Any) -> None:
    limited: Any = view.View(instrument_name="limited")
    limited._aggregation_cardinality_limit = 3
    reader = export.InMemoryMetricReader()
    meter = provider([reader], views=[limited]).get_meter("lib")
    for name in ("limited", "other"):
        counter = meter.create_counter(name)
        for i in range(10):
            counter.add(1, {"user": i})
    found = told(reader)
    assert 10 == len(found["other"])
    assert [point.value for point in found["limited"] if point.attributes == OVERFLOW] != []
    assert (True, 10) == (len(found["limited"]) <= 4, sum(point.value for point in found["limited"]))


def test_the_cardinality_limit_of_a_reader_of_a_newer_version_holds_for_its_kind_and_for_it_alone(provider: Any) -> None:
    limited: Any = export.InMemoryMetricReader()
    limited._instrument_class_cardinality_limit = {sdk.Counter: 3, sdk.Histogram: None}
    other = export.InMemoryMetricReader()
    meter = provider([limited, other]).get_meter("lib")
    counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
    for i in range(10):
        counter.add(1, {"user": i})
        histogram.record(1, {"user": i})
    found = told(limited)
    assert [point.value for point in found["c"] if point.attributes == OVERFLOW] != []
    assert (True, 10) == (len(found["c"]) <= 4, sum(point.value for point in found["c"]))
    assert 10 == len(found["h"])
    assert [10, 10] == [len(points) for points in told(other).values()]


def test_a_reader_with_a_limit_or_an_aggregation_has_wishes_and_one_with_a_temporality_has_none() -> None:
    limited: Any = export.InMemoryMetricReader()
    limited._instrument_class_cardinality_limit = {sdk.Counter: 3}
    wishes = Wishes(limited)
    assert (3, None, False) == (wishes.cardinality_limit("counter"), wishes.cardinality_limit("gauge"), wishes.are_default)
    limited._instrument_class_cardinality_limit = {sdk.Counter: None}
    assert Wishes(limited).are_default
    for given, are_default in (
        ({"preferred_temporality": {sdk.Counter: export.AggregationTemporality.DELTA}}, True),
        ({"preferred_aggregation": {sdk.Counter: view.DropAggregation()}}, False),
    ):
        reader: Any = export.InMemoryMetricReader(**given)
        reader._instrument_class_cardinality_limit = {}
        assert Wishes(reader).are_default is are_default


@pytest.mark.parametrize(
    "criteria",
    [{"meter_version": "1.0"}, {"meter_schema_url": "https://example.org/1"}, {"meter_name": "lib"}],
    ids=lambda one: next(iter(one)),
)
def test_a_view_holds_for_the_meters_of_that_name_version_and_schema_url_alone(provider: Any, criteria: Any) -> None:
    reader = export.InMemoryMetricReader()
    dropped = view.View(instrument_name="c*", aggregation=view.DropAggregation(), **criteria)
    made = provider([reader], views=[dropped])
    made.get_meter("lib", "1.0", "https://example.org/1").create_counter("c1").add(1)
    made.get_meter("other", "2.0", "https://example.org/2").create_counter("c2").add(1)
    made.get_meter("another").create_counter("c3").add(1)
    assert ["c2", "c3"] == sorted(told(reader))


def test_a_view_of_theirs_is_one_of_ours_in_every_field() -> None:
    given = view.View(
        instrument_type=sdk.ObservableGauge,
        instrument_name="Name",
        instrument_unit="s",
        meter_name="lib",
        meter_version="1.0",
        meter_schema_url="https://example.org",
        name="renamed",
        description="text",
        attribute_keys={"route"},
        aggregation=view.LastValueAggregation(),
    )
    made = vars(view_of(given))
    assert made.pop("aggregation").kind == "last_value"
    assert made == {
        "instrument_name": "name",
        "instrument_kind": "observable_gauge",
        "instrument_unit": "s",
        "meter_name": "lib",
        "meter_version": "1.0",
        "meter_schema_url": "https://example.org",
        "name": "renamed",
        "description": "text",
        "attribute_keys": frozenset({"route"}),
        "excluded_attribute_keys": frozenset(),
        "cardinality_limit": None,
    }


def test_what_is_no_aggregation_and_no_class_of_instruments_raises() -> None:
    with pytest.raises(ConfigurationError, match="no aggregation"):
        aggregation_of("sum")
    with pytest.raises(ConfigurationError, match="no class of instruments"):
        kind_of(int)


@pytest.mark.parametrize("made", [sdk.Counter, api.Counter], ids=["sdk", "api"])
def test_a_kind_is_known_by_the_classes_of_the_sdk_and_of_the_api(made: Any) -> None:
    assert kind_of(made) == "counter"
