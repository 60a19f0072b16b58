"""Streams: how many series there may be, what takes the rest, and which tables a reader reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.core.attributes import OVERFLOW
from metrics_sdk.view import Aggregation, View


def made(**given: Any) -> MetricsSDK:
    return MetricsSDK(Config(**{"background": False, "clock": ManualClock(), **given}))


def points(sdk: MetricsSDK, name: str) -> dict[Any, Any]:
    found = [metric for metric in sdk.snapshot().metrics if metric.name == name]
    made = {point.attributes: point.value for metric in found for point in metric.points}
    assert len(made) == sum(len(metric.points) for metric in found)
    return made


# ---- cardinality ----------------------------------------------------------------------------------------------------


def test_past_the_limit_of_a_stream_the_rest_shares_one_series_and_sums_are_exact() -> None:
    sdk = made(max_series_per_instrument=3)
    counter = sdk.counter("c")
    for _ in range(2):
        for number in range(10):
            counter.add(number, {"k": number})
    # The series without attributes is one of the three.
    assert {(("k", 0),): 0, (("k", 1),): 2, OVERFLOW: 2 * sum(range(2, 10))} == points(sdk, "c")
    assert 90 == sdk.query("c").sum
    assert (16, 88) == (sdk.query("c", {"otel.metric.overflow": True}).count, sdk.query("c", dict(OVERFLOW)).sum)


def test_a_series_without_attributes_has_room_even_past_the_limit() -> None:
    sdk = made(max_series_per_instrument=1, max_series=1)
    for name in ("c", "d"):
        sdk.counter(name).add(1, {"k": 1})
        sdk.counter(name).add(2)
        assert {(): 2, OVERFLOW: 1} == points(sdk, name)


def test_the_limit_of_the_process_bounds_all_streams_together() -> None:
    sdk = made(max_series=10)
    for name in ("a", "b", "c"):
        for number in range(6):
            sdk.counter(name).add(1, {"k": number})
    assert [(6, False), (6, True), (6, True)] == [
        (sum(points(sdk, name).values()), OVERFLOW in points(sdk, name)) for name in ("a", "b", "c")
    ]
    assert sum(len(points(sdk, name)) for name in ("a", "b", "c")) <= 10 + 2


def test_bound_instruments_past_the_limit_share_the_overflow_series() -> None:
    sdk = made(max_series_per_instrument=2)
    counter = sdk.counter("c")
    bound = [counter.bind({"k": number}) for number in range(5)]
    for one in bound:
        one.add(1)
    assert {(("k", 0),): 1, OVERFLOW: 4} == points(sdk, "c")
    assert bound[1] is bound[4]


def test_health_and_one_line_of_the_log_name_the_instrument_and_the_key_that_explodes(caplog: pytest.LogCaptureFixture) -> None:
    sdk = made(max_series_per_instrument=20)
    counter, quiet = sdk.counter("requests"), sdk.counter("quiet")
    for number in range(50):
        counter.add(1, {"user": number, "region": number % 3, "method": "GET"})
        quiet.add(1, {"k": number % 3})
        sdk.flush()
    health = sdk.health().instruments
    assert (31, "user") == (health["requests"].overflow, health["requests"].overflow_key)
    assert (0, "") == (health["quiet"].overflow, health["quiet"].overflow_key)
    lines = [record.getMessage() for record in caplog.records if "series" in record.getMessage()]
    assert 1 == len(lines)
    assert "'requests'" in lines[0]
    assert "'user'" in lines[0]


NAMES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 6) | st.sampled_from(["x", "y", True, 1.0]), max_size=3)


@given(
    st.lists(st.tuples(NAMES, st.integers(1, 1000)), max_size=80),
    st.integers(1, 12),
    st.integers(1, 30),
    st.sampled_from([1, 4]),
)
@settings(max_examples=100, deadline=None)
def test_every_value_is_in_exactly_one_series_whatever_the_attributes(plan: Any, limit: int, total: int, shards: int) -> None:
    sdk = made(
        shards=shards,
        max_series=total,
        views=[View("c", cardinality_limit=limit), View("c", name="narrow", attribute_keys=["a"], cardinality_limit=2)],
    )
    counter = sdk.counter("c")
    own: dict[Any, int] = {}
    for attributes, amount in plan:
        counter.add(amount, attributes)
        key = tuple(sorted((key, repr(value)) for key, value in attributes.items()))
        own[key] = own.get(key, 0) + amount
    everything = sum(own.values())
    for name, most in (("c", limit), ("narrow", 2)):
        [metric] = [metric for metric in sdk.snapshot().metrics if metric.name == name] or [None]
        found = () if metric is None else metric.points
        assert everything == sum(point.value for point in found) == sdk.query(name).sum
        assert len(plan) == sdk.query(name).count
        assert len(found) <= most + 2
        if name == "c":
            for point in found:
                key = tuple((key, repr(value)) for key, value in point.attributes)
                assert point.attributes == OVERFLOW or own[key] == point.value
    health = sdk.health()
    assert (2 * len(plan), 2 * len(plan), {}, 0) == (health.received, health.merged, health.dropped, health.pending)


def test_observed_sets_past_the_limit_add_up_in_the_overflow_series() -> None:
    sdk = made(max_series_per_instrument=3)
    sdk.observable_counter("o", lambda: [(number, {"k": number}) for number in range(10)])
    for _ in range(3):
        found = points(sdk, "o")
        assert (45, True) == (sum(found.values()), OVERFLOW in found)


# ---- readers --------------------------------------------------------------------------------------------------------


class Explicit:
    """Wishes for explicit histograms."""

    def aggregation(self, kind: str) -> Aggregation | None:
        return Aggregation("explicit", boundaries=[1]) if kind == "histogram" else None

    def cardinality_limit(self, kind: str) -> int | None:
        return None


def test_queries_are_answered_from_the_streams_of_the_first_reader() -> None:
    sdk = made()
    sdk.histogram("h").record(1)
    sdk.streams.add_reader(Explicit(), first=True)
    sdk.histogram("h").record(2)
    assert (True, 1) == (sdk.query("h").interpolated, sdk.query("h").count)
    metric = next(metric for metric in sdk.snapshot().metrics if metric.name == "h")
    assert (None, 2) == (metric.boundaries, metric.points[0].value.count)  # type: ignore[union-attr]


def test_a_reader_without_wishes_reads_what_snapshots_show_whoever_is_first() -> None:
    sdk = made()
    sdk.streams.add_reader(Explicit(), first=True)
    reader = sdk.collector("delta")
    sdk.histogram("h").record(2)
    assert [None] == [metric.boundaries for metric in sdk.collect(reader).metrics]


def test_an_observable_is_never_a_histogram_even_if_a_reader_wishes_it() -> None:
    sdk = made()
    reader = sdk.collector("delta", lambda kind: Aggregation("explicit"))
    sdk.observable_gauge("g", lambda: 3)
    sdk.counter("c").add(1)
    found = {metric.name: metric for metric in sdk.collect(reader).metrics}
    assert (3, "histogram") == (found["g"].points[0].value, found["c"].kind)


def test_an_instrument_that_one_reader_drops_is_there_for_the_others() -> None:
    sdk = made()
    dropping, plain = sdk.collector("delta", lambda kind: Aggregation("drop")), sdk.collector("delta")
    sdk.counter("c").add(1)
    assert () == sdk.collect(dropping).metrics
    assert {"c"} == {metric.name for metric in sdk.collect(plain).metrics}
    assert {} == sdk.health().dropped


def test_a_turned_off_instrument_stays_off_when_a_reader_is_added_and_comes_back_with_all_streams() -> None:
    sdk = made(disabled=["c"])
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    reader = sdk.collector("delta", lambda kind: Aggregation("last_value"))
    counter.add(1, {"k": 1})
    assert () == sdk.collect(reader).metrics
    assert {"disabled": 2} == sdk.health().dropped
    sdk.reconfigure(disabled=[])
    counter.add(4, {"k": 1})
    assert (4, "gauge") == (sdk.query("c").sum, sdk.collect(reader).metrics[0].kind)
