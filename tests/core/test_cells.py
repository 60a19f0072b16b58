"""Cells and instruments: what is accepted, what is counted as dropped, and that every value lands in its own series."""

from __future__ import annotations

import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import metrics_sdk as metrics
from metrics_sdk.config import Config
from metrics_sdk.core.build import COMPILED
from metrics_sdk.sdk import MetricsSDK


@pytest.fixture(params=[1, 8], ids=["1 shard", "8 shards"])
def sdk(request: pytest.FixtureRequest) -> MetricsSDK:
    return MetricsSDK(Config(background=False, shards=request.param))


class Loud(float):
    def __add__(self, other: object) -> float:
        raise RuntimeError("no")

    __radd__ = __add__


class Floating:
    def __float__(self) -> float:
        return 1.0


@pytest.mark.parametrize("value", [2, 2.0, Decimal(2), Fraction(2), Loud(2), True + 1])
def test_numbers_of_every_type_count(sdk: MetricsSDK, value: Any) -> None:
    sdk.counter("c").add(value)
    sdk.histogram("h").record(value)
    sdk.gauge("g").set(value)
    assert (2, 2, 2) == (sdk.query("c").sum, sdk.query("h").sum, sdk.query("g").last)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "invalid_value"),
        ("1", "invalid_value"),
        (b"1", "invalid_value"),
        (1j, "invalid_value"),
        (object(), "invalid_value"),
        (Floating(), "invalid_value"),
        ([1], "invalid_value"),
        (10**400, "invalid_value"),
        (Decimal("sNaN"), "invalid_value"),
        (float("nan"), "non_finite"),
        (float("inf"), "non_finite"),
        (float("-inf"), "non_finite"),
        (Decimal("Infinity"), "non_finite"),
        (-1, "negative"),
        (-0.5, "negative"),
        (Fraction(-1, 3), "negative"),
    ],
)
def test_what_cannot_be_counted_is_dropped_with_the_reason(sdk: MetricsSDK, value: Any, reason: str) -> None:
    counter = sdk.counter("c")
    counter.add(value)
    counter.add(1)
    sdk.flush()
    health = sdk.health()
    assert ({reason: 1}, 2, 1, 0) == (health.dropped, health.received, health.merged, health.pending)
    assert sdk.query("c").sum == 1


def test_minus_zero_and_the_largest_values_are_accepted(sdk: MetricsSDK) -> None:
    counter, histogram = sdk.counter("c"), sdk.histogram("h")
    for value in (-0.0, 1.7e308, 1.7e308):
        counter.add(value)
        histogram.record(value)
    assert 3 == sdk.query("h").count
    assert 1.7976931348623157e308 == sdk.query("c").sum == sdk.query("h").sum


def test_ints_add_up_as_ints_and_beyond_64_bits_as_doubles(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    counter.add(2**62)
    counter.add(2**62 - 1)
    assert (int, 2**63 - 1) == (type(sdk.query("c").sum), sdk.query("c").sum)
    counter.add(1)
    assert (float, 2.0**63) == (type(sdk.query("c").sum), sdk.query("c").sum)
    counter.add(2**70)
    assert 2.0**70 + 2.0**63 == sdk.query("c").sum


def test_a_gauge_keeps_the_value_set_last(sdk: MetricsSDK) -> None:
    gauge = sdk.gauge("g")
    for value in (1, 5, 3):
        gauge.set(value)
    found = sdk.query("g")
    assert (3, 1, 5, 3) == (found.last, found.min, found.max, found.count)
    gauge.set(2)
    assert sdk.query("g").last == 2


def test_an_up_down_counter_goes_down(sdk: MetricsSDK) -> None:
    depth = sdk.up_down_counter("d")
    depth.add(5)
    depth.add(-7)
    assert sdk.query("d").sum == -2


def test_attribute_order_and_repetition_find_the_same_series(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    for _ in range(3):
        counter.add(1, {"a": "x", "b": 2})
        counter.add(1, {"b": 2, "a": "x"})
    counter.bind({"b": 2}).add(1, {"a": "x"})
    counter.bind({"b": 2, "a": "x"}).add()
    assert {(("a", "x"), ("b", 2)): 8} == {pairs: found.sum for pairs, found in sdk.query_all()["c"].items()}


def test_values_that_are_equal_for_python_stay_apart(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    for _ in range(2):
        for value in (True, 1, 1.0, "1"):
            counter.add(1, {"k": value})
    assert [6, 2] == [found.sum for found in sdk.query_all()["c"].values()]  # 1, 1.0 and True are one key of a dict
    assert 2 == sdk.query("c", {"k": True}).sum == sdk.query("c", {"k": 1}).sum == sdk.query("c", {"k": 1.0}).sum


def test_calls_with_different_keys_take_turns_without_mixing(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    for i in range(300):
        counter.add(1, {"a": str(i % 3)})
        counter.add(1, {"b": str(i % 3)})
        counter.add(1, {"a": str(i % 3), "b": "x"})
        counter.add(1)
    assert {100} == {found.sum for pairs, found in sdk.query_all()["c"].items() if pairs}
    assert 10 == len(sdk.query_all()["c"])
    assert 300 == sdk.query("c", {}).sum


def test_the_callers_dict_may_change_afterwards(sdk: MetricsSDK) -> None:
    attributes = {"k": "before"}
    sdk.counter("c").add(1, attributes)
    attributes["k"] = "after"
    assert 1 == sdk.query("c", {"k": "before"}).sum


def test_attributes_that_raise_cost_nothing_but_themselves(sdk: MetricsSDK) -> None:
    class Key:
        def __hash__(self) -> int:
            return hash("a")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

    counter = sdk.counter("c")
    counter.add(1, {"a": "x"})
    counter.add(1, {Key(): "y"})  # type: ignore[dict-item]
    counter.add(1, {"a": "x"})
    assert (3, 2) == (sdk.query("c").sum, sdk.query("c", {"a": "x"}).sum)


def test_series_past_the_limit_share_the_overflow_series_and_every_value_is_in_one() -> None:
    sdk = MetricsSDK(Config(background=False, max_series_per_instrument=10))
    counter = sdk.counter("c")
    for round_ in range(2):
        for i in range(100):
            counter.add(1, {"user": i})
    assert 200 == sdk.query("c").sum
    assert 11 >= len(sdk.query_all()["c"])
    assert 200 - 2 * (len(sdk.query_all()["c"]) - 1) == sdk.query("c", {"otel.metric.overflow": True}).sum


def test_recording_into_the_overflow_series_remembers_nothing() -> None:
    sdk = MetricsSDK(Config(background=False, max_series_per_instrument=3))
    counter = sdk.counter("c")

    def flood() -> None:
        for i in range(1000):
            counter.add(1, {"user": i})
            counter.add(1, {"otel.metric.overflow": True})
            counter.bind({"user": i}).add(1)

    def remembered() -> tuple[int, ...]:
        steps = sum(len(step.others or ()) for step in counter.route.shapes.values())
        return len(sdk._scope.cells), steps, len(counter.bound), len(sdk.query_all()["c"])

    flood()
    before = remembered()
    flood()
    assert before == remembered()
    assert (6000, 6000 - 4) == (sdk.query("c").sum, sdk.query("c", {"otel.metric.overflow": True}).sum)


def test_binding_the_same_attributes_again_returns_the_same_instrument(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    assert counter.bind({"a": 1, "b": 2}) is counter.bind({"b": 2, "a": 1})


def test_record_uses_the_declared_instrument_whatever_the_case_of_its_name(sdk: MetricsSDK) -> None:
    sdk.counter("Orders")
    sdk.record("Orders", 1)
    sdk.record("orders", 2, {"k": "v"})
    assert 3 == sdk.query("orders").sum == sdk.query("ORDERS").sum


@pytest.mark.parametrize("name", ["", "1x", "a b", None, 7, [], "x" * 300, "é"])
def test_record_counts_values_under_impossible_names(sdk: MetricsSDK, name: Any) -> None:
    sdk.record(name, 1.0)
    sdk.flush()
    health = sdk.health()
    assert ({"invalid_name": 1}, 1, 0) == (health.dropped, health.received, health.merged)


def test_record_counts_values_under_names_past_the_limit() -> None:
    sdk = MetricsSDK(Config(background=False, max_instruments=2))
    for name in ("a", "b", "c", "c"):
        sdk.record(name, 1.0)
    sdk.flush()
    assert ({"instrument_limit": 2}, 2) == (sdk.health().dropped, sdk.health().merged)


def test_a_record_in_a_cell_that_is_being_taken_is_appended_and_not_lost() -> None:
    if not COMPILED:
        pytest.skip("the interpreted cell always appends")
    sdk = MetricsSDK(Config(background=False))
    counter, gauge, histogram = sdk.counter("c"), sdk.gauge("g"), sdk.histogram("h")
    cells = [instrument.route.bare for instrument in (counter, gauge, histogram)]
    gauge.set(1)
    for cell in cells:
        cell.hold()  # type: ignore[attr-defined]
    for value in (2, 3.5, 4):
        counter.add(value)
        gauge.set(value)
        histogram.record(value)
    assert (0, 9) == (sdk.query("c").count, sdk.health().contended)
    assert 10 == sdk.health().pending
    for cell in cells:
        cell.release()  # type: ignore[attr-defined]
    assert (9.5, 4, 9.5) == (sdk.query("c").sum, sdk.query("g").last, sdk.query("h").sum)
    assert (10, 10, 0) == (sdk.health().received, sdk.health().merged, sdk.health().pending)


def test_each_thread_records_into_a_shard_and_the_query_sees_them_all() -> None:
    sdk = MetricsSDK(Config(background=False, shards=4))
    counter = sdk.counter("c")
    threads = [threading.Thread(target=lambda: [counter.add(1) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 80 == sdk.query("c").sum
    assert 1 < len(counter.route.bare.series.cell.parts()) <= 4


def test_the_package_exports_what_it_lists() -> None:
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_a_bool_counts_as_a_float_whatever_came_before(sdk: MetricsSDK) -> None:
    first, second = sdk.counter("a"), sdk.counter("b")
    first.add(1)
    first.add(True)
    second.add(True)
    second.add(1)
    assert [(2.0, float)] * 2 == [(sdk.query(name).sum, type(sdk.query(name).sum)) for name in ("a", "b")]


def test_attributes_and_names_that_raise_when_they_are_looked_at_do_not_reach_the_host(sdk: MetricsSDK) -> None:
    class Ambiguous:
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise RuntimeError("no")

    sdk.counter("c").add(1, Ambiguous())  # type: ignore[arg-type]
    sdk.record(Name("c"), 2)
    with pytest.raises(LookupError), sdk.histogram("h").time(Ambiguous()):  # type: ignore[arg-type]
        raise LookupError
    assert (3, 1) == (sdk.query("c").sum, sdk.query("h").count)


def test_handles_past_the_limit_are_one(sdk: MetricsSDK) -> None:
    sdk = MetricsSDK(Config(background=False, max_series_per_instrument=5))
    counter = sdk.counter("c")
    for i in range(100):
        counter.bind({"user": i}).add(1)
    assert (100, True) == (sdk.query("c").sum, len(counter.bound) <= 6)


def test_a_name_is_found_in_any_spelling_and_few_of_them_are_remembered() -> None:
    sdk = MetricsSDK(Config(background=False, max_instruments=3))
    for i in range(2**8):
        sdk.record("".join(c.upper() if i >> k & 1 else c for k, c in enumerate("checkout")), 1)
    assert (2**8, True) == (sdk.query("checkout").count, len(sdk.registry.directory.instruments) <= 13)
