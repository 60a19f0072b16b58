"""Exemplars: which values are offered, which are kept, with what, and that they never cost anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.core.exemplars import Exemplar, ExemplarCell, Reservoir, Sampler
from metrics_sdk.view import Aggregation, View

START = 1_000_000.0


def made(chosen: Any, *views: View, **given: Any) -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(START)
    return MetricsSDK(Config(background=False, clock=clock, exemplar_filter=chosen, views=views, **given)), clock


def exemplars(sdk: MetricsSDK, name: str) -> dict[Any, tuple[Exemplar, ...]]:
    return {p.attributes: p.exemplars for m in sdk.snapshot().metrics if m.name == name for p in m.points}


def numbers(sdk: MetricsSDK, name: str) -> list[float]:
    return [one.value for kept in exemplars(sdk, name).values() for one in kept]


def span(sampled: bool = True) -> Any:
    return TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF).get_tracer("t").start_span("s")


# ---- filters --------------------------------------------------------------------------------------------------------


def test_always_on_keeps_a_value_with_its_time_and_without_a_span() -> None:
    sdk, clock = made("always_on")
    clock.advance(3)
    sdk.counter("c").add(5)
    assert {(): (Exemplar(5, START + 3, (), 0, 0),)} == exemplars(sdk, "c")
    assert 5 == sdk.query("c").sum


def test_trace_based_keeps_what_is_recorded_in_a_sampled_span_alone() -> None:
    sdk, _clock = made("trace_based")
    counter = sdk.counter("c")
    counter.add(1)
    with trace.use_span(span(sampled=False)):
        counter.add(2)
    assert [] == numbers(sdk, "c")
    one = span()
    with trace.use_span(one):
        counter.add(3)
    counter.add(4)
    where = one.get_span_context()
    assert {(): (Exemplar(3, START, (), where.trace_id, where.span_id),)} == exemplars(sdk, "c")
    assert 10 == sdk.query("c").sum


def test_always_on_knows_the_span_where_there_is_one() -> None:
    sdk, _clock = made("always_on")
    one = span(sampled=False)
    with trace.use_span(one):
        sdk.histogram("h").record(1.5)
    [[kept]] = exemplars(sdk, "h").values()
    assert (1.5, one.get_span_context().trace_id) == (kept.value, kept.trace_id)


@pytest.mark.parametrize("chosen", ["always_off", None])
def test_off_makes_no_cell_of_exemplars_and_is_the_default(chosen: Any) -> None:
    sdk = MetricsSDK(Config(background=False)) if chosen is None else made(chosen)[0]
    counter = sdk.counter("c")
    with trace.use_span(span()):
        counter.add(1, {"k": 1})
    assert not any(isinstance(cell, ExemplarCell) for cell in (counter.route.bare, counter.find({"k": 1})))
    assert counter.route.bare.series.reservoir is None
    assert {(("k", 1),): ()} == exemplars(sdk, "c")


# ---- the context ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "verb"), [("counter", "add"), ("up_down_counter", "add"), ("gauge", "set"), ("histogram", "record")]
)
def test_a_context_that_is_given_counts_more_than_the_current_one(kind: str, verb: str) -> None:
    sdk, _clock = made("trace_based")
    instrument = getattr(sdk, kind)("x")
    inner, outer = span(), span()
    with trace.use_span(outer):
        getattr(instrument, verb)(1, {"k": 1}, trace.set_span_in_context(inner))
        getattr(instrument, verb)(2, {"k": 2}, contexts.Context())
    getattr(instrument, verb)(3, None, trace.set_span_in_context(inner))
    found = exemplars(sdk, "x")
    ids = {key: [one.span_id for one in kept] for key, kept in found.items()}
    mine = inner.get_span_context().span_id
    assert {(("k", 1),): [mine], (("k", 2),): [], (): [mine]} == ids
    assert 3 == sdk.query("x").count


def test_a_context_is_accepted_and_ignored_where_exemplars_are_off() -> None:
    sdk, _clock = made("always_off")
    sdk.counter("c").add(1, None, trace.set_span_in_context(span()))
    sdk.histogram("h").record(1, {"k": 1}, object())
    assert (1, 1) == (sdk.query("c").sum, sdk.query("h").count)


class Hostile:
    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def get(self, *_args: object) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("given", [object(), 3, "context", Hostile(), {"wrong": 1}])
def test_a_context_that_is_none_costs_nothing_but_the_exemplar(given: Any) -> None:
    sdk, _clock = made("trace_based")
    sdk.counter("c").add(2, {"k": 1}, given)
    assert ({(("k", 1),): ()}, 2) == (exemplars(sdk, "c"), sdk.query("c").sum)


@pytest.mark.parametrize("raises", ["context", "span", "now"])
def test_a_tracer_or_clock_that_raises_costs_nothing_but_the_exemplar(raises: str) -> None:
    def failing(*_args: object) -> Any:
        raise RuntimeError("no")

    parts: dict[str, Callable[..., Any]] = {"context": lambda: "c", "span": lambda _: (1, 2, True), "now": lambda: START}
    sdk, _clock = made("always_off")
    sdk._scope.sampler = Sampler(False, **{**parts, raises: failing})
    counter = sdk.counter("c")
    counter.add(2)
    counter.add(3, None, "given")
    assert 5 == sdk.query("c").sum
    assert [] == numbers(sdk, "c") or raises == "context"


@pytest.mark.parametrize("value", [None, "1", float("nan"), float("inf"), -1, 10**400])
def test_what_is_dropped_becomes_no_exemplar(value: Any) -> None:
    sdk, _clock = made("always_on")
    counter = sdk.counter("c")
    counter.add(1)
    for _ in range(20):  # each of which could take the place of the first one
        counter.add(value)
    assert [1] == numbers(sdk, "c")
    assert 20 == sum(sdk.health().dropped.values())


# ---- reservoirs -----------------------------------------------------------------------------------------------------


def test_an_explicit_histogram_keeps_the_latest_of_each_bucket() -> None:
    sdk, _clock = made("always_on")
    histogram = sdk.histogram("h", boundaries=[1, 10])
    for value in (0.5, 1, 2, 10, 11, 12):
        histogram.record(value)
    assert [1, 10, 12] == numbers(sdk, "h")


@pytest.mark.parametrize(("size", "max_buckets"), [(20, 160), (20, 20), (7, 7), (2, 2)])
def test_an_exponential_histogram_keeps_as_many_as_it_has_buckets_and_at_most_20(size: int, max_buckets: int) -> None:
    sdk, _clock = made("always_on", View("h", aggregation=Aggregation("exponential", max_buckets=max_buckets)))
    for value in range(1, 200):
        sdk.histogram("h").record(value)
    found = numbers(sdk, "h")
    assert (size, size) == (len(found), len(set(found)))


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge"])
def test_a_sum_or_a_gauge_keeps_one(kind: str) -> None:
    sdk, _clock = made("always_on")
    for value in range(50):
        getattr(sdk, kind)("x").put(value)
    assert 1 == len(numbers(sdk, "x"))


def test_each_value_is_as_likely_to_be_kept() -> None:
    counts = [0] * 10
    for _ in range(4000):
        reservoir = Reservoir(3, None)
        for value in range(10):
            reservoir.offer(Exemplar(value, 0.0, (), 0, 0))
        for one in reservoir.kept():
            counts[int(one.value)] += 1
    assert 12_000 == sum(counts)
    assert all(1000 < count < 1400 for count in counts), counts  # 1200 expected, with a deviation of 29


def test_a_reading_begins_a_new_sample_and_what_is_kept_stays_until_it_is_replaced() -> None:
    reservoir = Reservoir(2, None)
    for value in range(100):
        reservoir.offer(Exemplar(value, 0.0, (), 0, 0))
    kept = reservoir.kept()
    reservoir.begin()
    assert kept == reservoir.kept()
    reservoir.offer(Exemplar(1000, 0.0, (), 0, 0))
    assert (Exemplar(1000, 0.0, (), 0, 0), kept[1]) == reservoir.kept()


# ---- what they come with --------------------------------------------------------------------------------------------


def test_attributes_that_a_view_leaves_out_are_kept_with_the_exemplar() -> None:
    sdk, _clock = made("always_on", View("c", attribute_keys=["route"]))
    counter = sdk.counter("c")
    for number in range(3):  # by a way that is new, and by one that is learnt
        counter.add(number, {"route": "/a", "user": 7})
    counter.bind({"user": 8}).add(9, {"route": "/b"})
    counter.add(4, {"route": "/c"})
    assert {
        (("route", "/a"),): [(("user", 7),)],
        (("route", "/b"),): [(("user", 8),)],
        (("route", "/c"),): [()],
    } == {key: [one.attributes for one in kept] for key, kept in exemplars(sdk, "c").items()}


def test_each_stream_keeps_its_own_with_what_it_leaves_out() -> None:
    sdk, _clock = made("always_on", View("c", name="total", attribute_keys=[]), View("c"))
    sdk.counter("c").add(4, {"k": 1})
    sdk.counter("c").add(5, {"k": 1}, contexts.Context())
    assert [(5 if one.value == 5 else 4, (("k", 1),)) for one in exemplars(sdk, "total")[()]] == [
        (one.value, one.attributes) for one in exemplars(sdk, "total")[()]
    ]
    assert [()] == [one.attributes for one in exemplars(sdk, "c")[("k", 1),]]
    assert (9, 9) == (sdk.query("total").sum, sdk.query("c").sum)


def test_a_delta_comes_with_exemplars_of_its_own_interval() -> None:
    sdk, clock = made("always_on")
    reader = sdk.collector("delta")
    told = []
    for value in (1, 2):
        clock.advance(10)
        sdk.histogram("h", boundaries=[1]).record(value)
        clock.advance(1)
        [metric] = sdk.collect(reader).metrics
        told.append([one.value for one in metric.points[0].exemplars])
        reader.acknowledge()
    assert [[1], [2]] == told


def test_exemplars_of_what_has_expired_do_not_come_back() -> None:
    sdk, clock = made("always_on", series_ttl_seconds=10)
    sdk.counter("c").add(1, {"k": 1})
    cell = sdk.counter("c").find({"k": 1})
    for _ in range(6):
        sdk.flush()
        clock.advance(3)
    cell.record(5)
    assert {(("k", 1),): [5]} == {key: [one.value for one in kept] for key, kept in exemplars(sdk, "c").items()}


def test_how_far_an_observed_total_has_moved_is_no_exemplar() -> None:
    sdk, _clock = made("always_on")
    total = 0
    sdk.observable_counter("o", lambda: total)
    for total in (100, 107):
        assert [] == numbers(sdk, "o")


def test_without_opentelemetry_always_on_still_keeps_values(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    sdk, _clock = made("always_on")
    sdk.counter("c").add(1)
    assert [1] == numbers(sdk, "c")
    other, _clock = made("trace_based")
    assert other._scope.sampler is None
