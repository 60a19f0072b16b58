"""Views: which streams an instrument feeds, under which name, by which attributes, and how they aggregate."""

from __future__ import annotations

from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, MetricsSDK, UnknownInstrument
from metrics_sdk.clock import ManualClock
from metrics_sdk.core import kinds
from metrics_sdk.core.instruments import WAYS_PER_SERIES
from metrics_sdk.core.table import Description
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric
from metrics_sdk.view import DEFAULT_BOUNDARIES, Aggregation, View


def made(*views: View, **given: Any) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=ManualClock(), views=views, **given))


def told(sdk: MetricsSDK) -> dict[str, list[Metric]]:
    found: dict[str, list[Metric]] = {}
    for metric in sdk.snapshot().metrics:
        if not metric.name.startswith("metrics_sdk."):
            found.setdefault(metric.name, []).append(metric)
    return found


def values(metric: Metric) -> dict[Any, Any]:
    return {point.attributes: point.value for point in metric.points}


# ---- which instruments ----------------------------------------------------------------------------------------------

LIBRARY = Meter("library", "1.2", "https://example.org/schema")


@pytest.mark.parametrize(
    ("matches", "view"),
    [
        (True, View("*")),
        (True, View("http.server.duration")),
        (True, View("HTTP.Server.*")),
        (True, View("http.server.duratio?")),
        (False, View("http.server.durati?")),
        (False, View("http.server")),
        (False, View("")),
        (True, View(instrument_kind="histogram")),
        (False, View(instrument_kind="counter")),
        (True, View(instrument_unit="s")),
        (False, View(instrument_unit="ms")),
        (True, View(meter_name="library", meter_version="1.2", meter_schema_url="https://example.org/schema")),
        (False, View(meter_name="lib")),
        (False, View(meter_version="1.3")),
        (False, View(meter_schema_url="https://example.org")),
        (True, View("http.*", instrument_kind="histogram", instrument_unit="s", meter_name="library")),
        (False, View("http.*", instrument_kind="histogram", instrument_unit="s", meter_name="other")),
    ],
)
def test_a_view_selects_where_all_its_criteria_hold(matches: bool, view: View) -> None:
    described = Description("Http.server.Duration", kinds.HISTOGRAM, "s", "", None, "", "", LIBRARY)
    assert matches is view.matches(described)


def test_a_view_for_a_meter_leaves_the_sdks_own_instruments_alone() -> None:
    assert not View(meter_name="library").matches(Description("c", kinds.COUNTER, "", "", None, "", ""))


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("needs a criterion", {}),
        ("needs a criterion", {"name": "x"}),
        ("instrument_kind must be one of counter", {"instrument_kind": "timer"}),
        ("select one instrument", {"instrument_name": "http.*", "name": "x"}),
        ("select one instrument", {"instrument_name": "http?", "name": "x"}),
        ("select one instrument", {"instrument_kind": "counter", "name": "x"}),
        ("texts", {"instrument_name": 3}),
        ("texts", {"instrument_name": "c", "name": 3}),
        ("attribute_keys", {"instrument_name": "c", "attribute_keys": "route"}),
        ("attribute_keys", {"instrument_name": "c", "attribute_keys": 3}),
        ("excluded_attribute_keys", {"instrument_name": "c", "excluded_attribute_keys": "route"}),
        ("must be an Aggregation", {"instrument_name": "c", "aggregation": "sum"}),
        ("at least 1, not 0", {"instrument_name": "c", "cardinality_limit": 0}),
        ("at least 1, not True", {"instrument_name": "c", "cardinality_limit": True}),
        ("at least 1, not 1.5", {"instrument_name": "c", "cardinality_limit": 1.5}),
    ],
)
def test_a_view_that_cannot_be_is_refused_with_what_is_wrong(message: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=message):
        View(**given)


@pytest.mark.parametrize(
    ("message", "kind", "given"),
    [
        ("not 'mean'", "mean", {}),
        ("only an explicit histogram", "exponential", {"boundaries": [1]}),
        ("must be numbers", "explicit", {"boundaries": ["a"]}),
        ("must be numbers", "explicit", {"boundaries": 3}),
        ("strictly ascending", "explicit", {"boundaries": [1, 1]}),
        ("finite", "explicit", {"boundaries": [1, float("inf")]}),
        ("at least 2, not 1", "exponential", {"max_buckets": 1}),
        ("at least 2, not True", "exponential", {"max_buckets": True}),
    ],
)
def test_an_aggregation_that_cannot_be_is_refused_with_what_is_wrong(message: str, kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Aggregation(kind, **given)


# ---- name and description -------------------------------------------------------------------------------------------


def test_a_stream_is_told_and_asked_for_by_the_name_that_its_view_gives_it() -> None:
    sdk = made(View("Orders", name="shop.orders", description="Orders of all shops"))
    sdk.counter("orders", unit="{order}", description="Orders").add(3)
    [metric] = told(sdk)["shop.orders"]
    assert ("shop.orders", "{order}", "Orders of all shops") == (metric.name, metric.unit, metric.description)
    assert ("shop.orders", 3) == (sdk.query("Shop.Orders").name, sdk.query("shop.orders").sum)
    assert {"shop.orders"} == set(sdk.query_all()) == {name for name in sdk.health().instruments}
    with pytest.raises(UnknownInstrument):
        sdk.query("orders")


def test_an_instrument_that_no_view_selects_is_as_without_views() -> None:
    sdk = made(View("other", name="another"))
    sdk.counter("orders").add(3)
    assert 3 == sdk.query("orders").sum


# ---- attributes -----------------------------------------------------------------------------------------------------

A, B = (("a", 1),), (("b", 2),)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ({A: 2, (): 4}, {"attribute_keys": ["a"]}),
        ({(): 6}, {"attribute_keys": []}),
        ({A: 1, (("a", 1), ("b", 2)): 1, B: 4}, {"attribute_keys": ["a", "b", "c"]}),
        ({A: 2, (): 4}, {"excluded_attribute_keys": {"b"}}),
        ({(): 6}, {"attribute_keys": ["a"], "excluded_attribute_keys": ["a"]}),
    ],
)
def test_series_that_differ_in_filtered_attributes_alone_become_one(expected: Any, given: dict[str, Any]) -> None:
    sdk = made(View("c", **given))
    counter = sdk.counter("c")
    for _ in range(2):  # the second time by the way that was learnt
        counter.add(0.5, {"a": 1})
        counter.add(0.5, {"b": 2, "a": 1})
        counter.bind({"b": 2}).add(2)
    assert expected == values(told(sdk)["c"][0])
    assert 6 == sdk.query("c").sum


def test_filtered_attributes_of_unbounded_variety_keep_memory_bounded() -> None:
    sdk = made(View("c", attribute_keys=["route"], cardinality_limit=4))
    counter = sdk.counter("c")
    for number in range(1000):
        counter.add(1, {"route": number % 3, "request": number})
    assert 4 * WAYS_PER_SERIES == counter.route.ways
    assert {334, 333} == {point.value for point in told(sdk)["c"][0].points}
    assert 3 == sdk.health().series


# ---- aggregation ----------------------------------------------------------------------------------------------------


def declare(sdk: MetricsSDK, kind: str) -> Any:
    return getattr(sdk, kind)("x")


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge", "histogram"])
def test_any_aggregation_may_be_given_to_any_kind_that_is_recorded_into(kind: str) -> None:
    for chosen, told_as, check in (
        ("sum", None, lambda value: value == 13),
        ("last_value", "gauge", lambda value: value == 8),
        ("explicit", "histogram", lambda value: value.bucket_counts == (0, 1, 1)),
        ("exponential", "histogram", lambda value: isinstance(value, ExponentialBuckets) and value.count == 2),
    ):
        aggregation = Aggregation(chosen, boundaries=[2, 6] if chosen == "explicit" else None)  # type: ignore[arg-type]
        sdk = made(View("x", aggregation=aggregation))
        instrument = declare(sdk, kind)
        for value in (5, 8):
            instrument.put(value)
        [metric] = told(sdk)["x"]
        assert check(metric.points[0].value), (kind, chosen, metric)
        assert told_as in (None, metric.kind)
        assert metric.kind == sdk.query("x").kind


def test_the_sum_of_a_histogram_only_grows_and_negative_values_are_dropped_there_alone() -> None:
    sdk = made(View("h", name="total", aggregation=Aggregation("sum")), View("h"))
    histogram = sdk.histogram("h")
    for value in (5, -1, 8):
        histogram.record(value)
    assert ("counter", 13) == (told(sdk)["total"][0].kind, sdk.query("total").sum)
    assert (3, 12) == (sdk.query("h").count, sdk.query("h").sum)
    assert {"negative": 1} == sdk.health().instruments["total"].dropped


def test_a_counter_seen_as_a_histogram_refuses_negative_amounts_as_before() -> None:
    sdk = made(View("c", aggregation=Aggregation("explicit", boundaries=[])))
    sdk.counter("c").add(-1)
    sdk.counter("c").add(2)
    assert (1, 2) == (sdk.query("c").count, sdk.query("c").sum)
    assert {"negative": 1} == sdk.health().dropped


def test_boundaries_are_those_of_the_view_else_of_the_instrument_else_of_the_specification() -> None:
    for boundaries, declared, given in (
        ((1.0, 2.0), [5], Aggregation("explicit", boundaries=[1, 2])),
        ((5.0,), [5], Aggregation("explicit")),
        (DEFAULT_BOUNDARIES, None, Aggregation("explicit")),
        (None, [5], Aggregation("exponential")),
        ((5.0,), [5], None),
        (None, None, None),
    ):
        sdk = made(View("h", aggregation=given))
        sdk.histogram("h", boundaries=declared).record(1)
        assert boundaries == told(sdk)["h"][0].boundaries


def test_histograms_are_explicit_where_the_configuration_says_so() -> None:
    sdk = made(histogram_aggregation="explicit")
    sdk.histogram("h").record(1)
    assert DEFAULT_BOUNDARIES == told(sdk)["h"][0].boundaries


def test_an_exponential_histogram_has_no_more_buckets_than_its_view_allows() -> None:
    sdk = made(View("h", aggregation=Aggregation("exponential", max_buckets=4)))
    for power in range(-40, 40):
        sdk.histogram("h").record(2.0**power)
    value: Any = told(sdk)["h"][0].points[0].value
    assert (80, True) == (value.count, len(value.positive) <= 4)


def test_min_and_max_are_left_out_where_a_view_does_not_want_them() -> None:
    sdk = made(View("h", aggregation=Aggregation("explicit", extremes=False)))
    sdk.histogram("h").record(1)
    value: Any = told(sdk)["h"][0].points[0].value
    assert (1, None, None) == (value.count, value.min, value.max)


def test_a_dropped_instrument_is_not_told_and_its_values_are_counted_as_disabled() -> None:
    sdk = made(View("c", aggregation=Aggregation("drop")))
    counter = sdk.counter("c")
    bound = counter.bind({"k": 1})
    for _ in range(2):
        counter.add(1, {"k": 1})
    bound.add()
    counter.put_at(sdk.config.clock.time(), 1)
    sdk.observable_gauge("g", lambda: 1)
    sdk.flush()
    assert {"g"} == set(told(sdk))
    health = sdk.health()
    assert ({"disabled": 4}, 4, 0) == (health.instruments["c"].dropped, health.instruments["c"].received, health.pending)
    with pytest.raises(UnknownInstrument):
        sdk.query("c")


# ---- several streams ------------------------------------------------------------------------------------------------


def test_each_view_that_matches_makes_a_stream_and_every_value_is_in_each() -> None:
    sdk = made(
        View("h", name="by.route", attribute_keys=["route"]),
        View("h", name="total", attribute_keys=[], aggregation=Aggregation("sum")),
        View("h", name="gone", aggregation=Aggregation("drop")),
        View(instrument_kind="histogram"),
    )
    histogram = sdk.histogram("h", boundaries=[5])
    bound = histogram.bind({"route": "/b", "code": 3})
    for _ in range(3):
        histogram.record(4, {"route": "/a", "code": 1})
        histogram.record(6, {"route": "/a", "code": 2})
        bound.record(1)
    histogram.record("no")  # type: ignore[arg-type]
    found = told(sdk)
    assert {"by.route", "total", "h"} == set(found)
    assert {(("route", "/a"),): (3, 3), (("route", "/b"),): (3, 0)} == {
        attributes: value.bucket_counts for attributes, value in values(found["by.route"][0]).items()
    }
    assert {(): 33} == values(found["total"][0])
    assert 3 == len(found["h"][0].points)
    for name in found:
        assert (9, 33) == (sdk.query(name).count, sdk.query(name).sum)
        health = sdk.health().instruments[name]
        assert (10, 9, {"invalid_value": 1}) == (health.received, health.merged, health.dropped)


def test_two_views_that_come_to_the_same_make_one_stream() -> None:
    sdk = made(View("c"), View("*"))
    sdk.counter("c").add(1)
    assert 1 == len(told(sdk)["c"])
    assert 1 == sdk.health().received


@pytest.mark.parametrize("kind", ["observable_counter", "observable_up_down_counter", "observable_gauge"])
def test_a_histogram_of_an_observable_is_not_applied_and_that_is_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    view = View("o", aggregation=Aggregation("explicit"))
    sdk = made(view)
    getattr(sdk, kind)("o", lambda: 7)
    assert {(): 7} == values(told(sdk)["o"][0])
    assert kind == told(sdk)["o"][0].kind
    assert 1 == sdk.health().faults["view"]
    assert "'o'" in caplog.text
    assert "no histogram of observed totals" in caplog.text


def test_an_observed_total_goes_through_several_views() -> None:
    sdk = made(View("o", name="total", attribute_keys=[]), View("o", name="last", aggregation=Aggregation("last_value")))
    sdk.observable_counter("o", lambda: [(3, {"k": 1}), (4, {"k": 2})])
    for _ in range(2):
        found = told(sdk)
        assert {(): 7} == values(found["total"][0])
        assert {(("k", 1),): 3, (("k", 2),): 4} == values(found["last"][0])
    assert ("observable_counter", "gauge") == (found["total"][0].kind, found["last"][0].kind)


def test_streams_of_one_instrument_have_limits_of_their_own() -> None:
    sdk = made(View("c", name="narrow", cardinality_limit=3), View("c", name="wide"))
    for number in range(10):
        sdk.counter("c").add(1, {"k": number})
    found = told(sdk)
    assert (10, 10) == (sum(values(found["narrow"][0]).values()), sum(values(found["wide"][0]).values()))
    assert {1, 8} == set(values(found["narrow"][0]).values())
    assert 8 == sdk.health().instruments["narrow"].overflow
    assert 0 == sdk.health().instruments["wide"].overflow


# ---- windows and values with a time of their own --------------------------------------------------------------------


def test_every_stream_has_windows_and_takes_values_with_a_time_of_their_own() -> None:
    sdk = made(View("c", name="one", attribute_keys=[]), View("c", name="two"), resolutions=[(10, 600)])
    clock: Any = sdk.config.clock
    clock.advance(100)
    sdk.flush()
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    sdk.flush()
    clock.advance(10)
    sdk.flush()
    counter.add(2, {"k": 2})
    counter.put_at(clock.time() - 30, 4, {"k": 1})
    for name in ("one", "two"):
        assert [4, 1, 2] == [window.sum for window in sdk.query(name, last=60).series()]
        assert 7 == sdk.query(name).sum
    assert 5 == sdk.query("two", {"k": 1}).sum


def test_an_explicit_stream_is_told_in_its_own_buckets() -> None:
    sdk = made(View("h", aggregation=Aggregation("explicit", boundaries=[1, 10])), resolutions=())
    for value in (1, 2, 10, 11):
        sdk.histogram("h").record(value)
    value = told(sdk)["h"][0].points[0].value
    assert isinstance(value, ExplicitBuckets)
    assert (1, 2, 1) == value.bucket_counts
