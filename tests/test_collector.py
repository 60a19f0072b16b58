"""Collectors: what each is told is its own; deltas abut, add up to the totals, and come again until they are acknowledged."""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.collector import Collector
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point
from metrics_sdk.view import Aggregation, View

START = 1_000_000.0
DELTA: Any = {"counter": "delta", "up_down_counter": "delta", "gauge": "delta", "histogram": "delta"}


def made(**given: Any) -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(START)
    return MetricsSDK(Config(**{"background": False, "clock": clock, **given})), clock


def collected(sdk: MetricsSDK, collector: Collector, acknowledge: bool = True) -> dict[str, Metric]:
    found = {metric.name: metric for metric in sdk.collect(collector).metrics}
    if acknowledge:
        collector.acknowledge()
    return found


def values(found: dict[str, Metric], name: str) -> dict[Any, Any]:
    points = found[name].points if name in found else ()
    made = {point.attributes: point.value for point in points}
    assert len(made) == len(points)
    return made


# ---- readers are independent ----------------------------------------------------------------------------------------


def test_readers_of_either_temporality_do_not_see_each_other() -> None:
    sdk, _clock = made()
    total, one, other = sdk.collector(), sdk.collector("delta"), sdk.collector("delta")
    counter = sdk.counter("c")
    counter.add(1)
    assert ({(): 1}, {(): 1}) == (values(collected(sdk, total), "c"), values(collected(sdk, one), "c"))
    counter.add(2)
    assert ({(): 3}, {(): 2}) == (values(collected(sdk, total), "c"), values(collected(sdk, one), "c"))
    assert {(): 3} == values(collected(sdk, other), "c")
    counter.add(4)
    assert [{(): 4}] * 2 == [values(collected(sdk, reader), "c") for reader in (one, other)]
    assert 7 == sdk.query("c").sum


def test_a_reader_that_is_never_asked_disturbs_nobody() -> None:
    sdk, _clock = made()
    _silent, reader = sdk.collector("delta"), sdk.collector("delta")
    for number in range(50):
        sdk.counter("c").add(number, {"k": number % 3})
        assert {(("k", number % 3),): number} == values(collected(sdk, reader), "c")
    assert 1225 == sdk.query("c").sum


def test_a_reader_that_begins_later_begins_with_nothing() -> None:
    sdk, clock = made()
    total = 10
    sdk.observable_counter("o", lambda: total)
    for name in ("counter", "histogram", "gauge"):
        getattr(sdk, name)(name).put(1)
    sdk.flush()
    sdk.counter("counter").add(1)  # not drained yet
    clock.advance(5)
    reader = sdk.collector("delta")
    assert ({"o"}, {(): 0}) == (set(found := collected(sdk, reader)), values(found, "o"))
    sdk.counter("counter").add(3)
    total = 12
    clock.advance(5)
    found = collected(sdk, reader)
    assert ({(): 3}, {(): 2}, START + 5) == (
        values(found, "counter"),
        values(found, "o"),
        found["counter"].points[0].start_time,
    )


def test_a_cumulative_reader_that_begins_later_is_told_the_totals() -> None:
    sdk, _clock = made()
    sdk.counter("c").add(1)
    sdk.flush()
    assert {(): 1} == values(collected(sdk, sdk.collector()), "c")


def test_a_reader_with_wishes_has_streams_of_its_own_of_the_instruments_that_there_are_too() -> None:
    sdk, _clock = made()
    before = sdk.histogram("before")
    bound = before.bind({"k": 1})
    before.record(1)

    def wished(kind: str) -> Aggregation | None:
        return Aggregation("explicit", boundaries=[2]) if kind == "histogram" else None

    reader = sdk.collector("delta", wished)
    plain = sdk.collector("delta")
    after = sdk.histogram("after")
    for histogram in (before, bound, after):
        histogram.record(1)
        histogram.record(3)
    found = collected(sdk, reader)
    assert {(): (1, 1), (("k", 1),): (1, 1)} == {key: one.bucket_counts for key, one in values(found, "before").items()}
    assert {(): (1, 1)} == {key: one.bucket_counts for key, one in values(found, "after").items()}
    assert isinstance(values(collected(sdk, plain), "after")[()], ExponentialBuckets)
    assert (5, 2) == (sdk.query("before").count, sdk.query("after").count)
    assert all(len(names) == 1 for names in [[m for m in sdk.snapshot().metrics if m.name == n] for n in ("before", "after")])


def test_a_wish_for_a_limit_counts_for_this_reader_alone() -> None:
    sdk, _clock = made()
    reader, plain = sdk.collector("delta", None, lambda kind: 2), sdk.collector("delta")
    for number in range(5):
        sdk.counter("c").add(1, {"k": number})
    assert {(("otel.metric.overflow", True),): 4, (("k", 0),): 1} == values(collected(sdk, reader), "c")
    assert 5 == len(values(collected(sdk, plain), "c"))


def test_a_view_counts_more_than_a_wish() -> None:
    sdk, _clock = made(views=[View("h", aggregation=Aggregation("sum"))])
    reader = sdk.collector("delta", lambda kind: Aggregation("drop"))
    sdk.histogram("h").record(2)
    sdk.counter("c").add(1)
    assert ({"h"}, {(): 2}) == (set(found := collected(sdk, reader)), values(found, "h"))


# ---- intervals ------------------------------------------------------------------------------------------------------


def test_delta_intervals_abut_and_so_does_an_empty_one() -> None:
    sdk, clock = made()
    reader = sdk.collector("delta")
    intervals = []
    for amount in (1, 2, None, None, 3):
        clock.advance(10)
        if amount is not None:
            sdk.counter("c").add(amount)
        for metric in collected(sdk, reader).values():
            intervals += [(point.start_time - START, point.time - START, point.value) for point in metric.points]
    assert [(0, 10, 1), (10, 20, 2), (40, 50, 3)] == intervals


def test_an_interval_that_was_not_acknowledged_is_part_of_the_next() -> None:
    sdk, clock = made()
    reader = sdk.collector("delta")
    told = []
    for acknowledge in (True, False, False, True, True):
        clock.advance(10)
        sdk.counter("c").add(1)
        [point] = collected(sdk, reader, acknowledge)["c"].points
        told.append((point.start_time - START, point.time - START, point.value))
    assert [(0, 10, 1), (10, 20, 1), (10, 30, 2), (10, 40, 3), (40, 50, 1)] == told


def test_totals_repeat_their_start() -> None:
    sdk, clock = made()
    reader = sdk.collector()
    sdk.counter("c")
    told = []
    for _ in range(3):
        clock.advance(10)
        sdk.counter("c").add(1)
        told += [(point.start_time - START, point.time - START, point.value) for point in collected(sdk, reader)["c"].points]
    assert [(0, 10, 1), (0, 20, 2), (0, 30, 3)] == told


# ---- acknowledging --------------------------------------------------------------------------------------------------


def test_what_was_not_acknowledged_comes_again_with_what_has_come_since() -> None:
    sdk, _clock = made()
    reader = sdk.collector("delta")
    sdk.counter("c").add(1, {"k": 1})
    for count in range(100):  # more than are held apart
        sdk.counter("c").add(1, {"k": 2})
        assert {(("k", 1),): 1, (("k", 2),): count + 1} == values(collected(sdk, reader, acknowledge=False), "c")
    collected(sdk, reader)
    assert {} == values(collected(sdk, reader), "c")


def test_an_acknowledgement_covers_what_was_collected_and_nothing_that_came_later() -> None:
    sdk, _clock = made()
    reader = sdk.collector("delta")
    sdk.counter("c").add(1)
    sdk.collect(reader)
    sdk.counter("c").add(2)
    sdk.flush()
    for _ in range(2):  # the second one has nothing to say
        reader.acknowledge()
    assert {(): 2} == values(collected(sdk, reader), "c")


def test_parts_that_are_cut_between_a_collection_and_its_acknowledgement_stay() -> None:
    sdk, _clock = made()
    reader = sdk.collector("delta")
    counter = sdk.counter("c")
    series = counter.bind({"k": 1}).route.bare.series
    table = counter.route.table
    for _ in range(70):
        counter.add(1, {"k": 1})
        sdk.flush()
        reader.settle(table, series)  # as the flusher does before a series expires
    sdk.collect(reader)
    counter.add(1, {"k": 1})
    sdk.flush()
    reader.settle(table, series)
    reader.acknowledge()
    assert {(("k", 1),): 1} == values(collected(sdk, reader), "c")


def test_a_reader_that_was_released_keeps_nothing() -> None:
    sdk, clock = made(series_ttl_seconds=60)
    reader = sdk.collector("delta", lambda kind: None)
    sdk.counter("c").add(1, {"k": 1})
    sdk.collect(reader)
    sdk.release(reader)
    sdk.counter("c").add(1, {"k": 2})
    for _ in range(3):
        clock.advance(61)
        sdk.flush()
    assert (2, 0) == (sdk.health().expired, sdk.health().series)


# ---- observed totals ------------------------------------------------------------------------------------------------


def test_observed_totals_are_told_as_differences_and_a_reset_is_never_negative() -> None:
    sdk, _clock = made()
    total = 0
    sdk.observable_counter("o", lambda: [(total, {"k": 1})])
    delta, cumulative, slow = sdk.collector("delta"), sdk.collector(), sdk.collector("delta")
    key = (("k", 1),)
    seen = []
    for total in (5, 8, 8, 2, 3):
        seen.append((values(collected(sdk, delta), "o")[key], values(collected(sdk, cumulative), "o")[key]))
    assert [(5, 5), (3, 8), (0, 8), (2, 2), (1, 3)] == seen
    assert {key: 3} == values(collected(sdk, slow), "o")


def test_observed_totals_that_were_not_acknowledged_are_told_from_where_they_were() -> None:
    sdk, _clock = made()
    total = 0
    sdk.observable_counter("o", lambda: total)
    reader = sdk.collector("delta")
    seen = []
    for total, acknowledge in ((5, False), (7, True), (9, False), (12, True)):
        seen.append(values(collected(sdk, reader, acknowledge), "o")[()])
    assert [5, 7, 2, 5] == seen


def test_observed_up_down_totals_may_fall() -> None:
    sdk, _clock = made()
    total = 0
    sdk.observable_up_down_counter("o", lambda: total)
    reader = sdk.collector({"observable_up_down_counter": "delta"})
    seen = []
    for total in (5, 2, -4):
        seen.append(values(collected(sdk, reader), "o")[()])
    assert [5, -3, -6] == seen


def test_a_negative_observed_total_of_a_counter_is_dropped() -> None:
    sdk, _clock = made()
    sdk.observable_counter("o", lambda: [(-5, {"k": 1}), (3, {"k": 2})])
    reader = sdk.collector("delta")
    assert {(("k", 2),): 3} == values(collected(sdk, reader), "o")
    assert {"negative": 1} == sdk.health().dropped


# ---- deltas add up to the totals ------------------------------------------------------------------------------------

STREAMS = {
    "counter": ("sum", "explicit", "exponential"),
    "up_down_counter": ("sum", "last_value"),
    "gauge": ("last_value", "exponential"),
    "histogram": ("sum", "explicit", "exponential"),
}
VIEWS = [
    View(kind, name=f"{kind}.{aggregation}", aggregation=Aggregation(aggregation))  # type: ignore[arg-type]
    for kind, aggregations in STREAMS.items()
    for aggregation in aggregations
]
plans = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.sampled_from(sorted(STREAMS)), st.integers(0, 2**20)),
        st.tuples(st.just("collect"), st.sampled_from([0, 1, 2]), st.booleans()),
        st.tuples(st.just("expire"), st.none(), st.none()),
    ),
    max_size=40,
)


class Added:
    """What a reader that adds up deltas has, by stream and attributes."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, Any], Any] = {}
        self.last: dict[tuple[str, Any], float] = {}
        self.buckets: dict[tuple[str, Any], dict[Any, int]] = {}

    def add(self, metric: Metric) -> None:
        assert len({point.attributes for point in metric.points}) == len(metric.points)
        for point in metric.points:
            key = (metric.name, point.attributes)
            if isinstance(point.value, (ExplicitBuckets, ExponentialBuckets)):
                self._add_buckets(key, point.value)
            elif metric.kind == "gauge":
                self.last[key] = point.value
            else:
                self.sums[key] = self.sums.get(key, 0) + point.value

    def _add_buckets(self, key: tuple[str, Any], value: ExplicitBuckets | ExponentialBuckets) -> None:
        counts = self.buckets.setdefault(key, {})
        for bucket, count in counted(value).items():
            counts[bucket] = counts.get(bucket, 0) + count


def counted(value: ExplicitBuckets | ExponentialBuckets) -> dict[Any, int]:
    """Return the counts by bucket, exponential ones at a scale that all of them have or are finer than."""
    if isinstance(value, ExplicitBuckets):
        return {bucket: count for bucket, count in enumerate(value.bucket_counts) if count}
    counts = {"zero": value.zero_count} if value.zero_count else {}
    for bucket, count in value.positive:
        counts[bucket >> (value.scale + 4)] = counts.get(bucket >> (value.scale + 4), 0) + count  # type: ignore[index, call-overload]
    return counts


@given(plans, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_deltas_of_every_reader_add_up_to_the_totals_bucket_by_bucket(plan: list[Any], windows: bool) -> None:
    sdk, clock = made(views=VIEWS, resolutions=[(10, 60)] if windows else (), series_ttl_seconds=40)
    instruments = {kind: getattr(sdk, kind)(kind) for kind in STREAMS}
    readers = [sdk.collector(DELTA) for _ in range(3)]
    added = [Added() for _ in readers]
    given: dict[str, list[int]] = {kind: [] for kind in STREAMS}

    def collect(number: int, arrives: bool) -> None:
        clock.advance(1)
        metrics = sdk.collect(readers[number]).metrics
        if arrives:
            for metric in metrics:
                added[number].add(metric)
            readers[number].acknowledge()

    for what, first, second in plan:
        if what == "record":
            instruments[first].put(second, {"k": second % 3})
            given[first].append(second)
        elif what == "collect":
            collect(first, second)
        else:
            for _ in range(3):
                clock.advance(21)
                sdk.flush()
    for number in range(3):
        collect(number, arrives=True)
        told = added[number]
        for kind, numbers in given.items():
            for key in range(3):
                mine = [one for one in numbers if one % 3 == key]
                if not mine:
                    continue
                at = (("k", key),)
                for aggregation in STREAMS[kind]:
                    name = f"{kind}.{aggregation}"
                    if aggregation == "sum":
                        assert sum(mine) == told.sums[name, at]
                    elif aggregation == "last_value":
                        assert mine[-1] == told.last[name, at]
                    else:
                        assert expected(aggregation, mine) == told.buckets[name, at]
    for kind, numbers in given.items():
        for aggregation in STREAMS[kind]:
            assert (len(numbers), sum(numbers)) == (
                sdk.query(f"{kind}.{aggregation}").count,
                sdk.query(f"{kind}.{aggregation}").sum,
            )


def expected(aggregation: str, numbers: list[int]) -> dict[Any, int]:
    other, _clock = made(views=[View("h", aggregation=Aggregation(aggregation))])  # type: ignore[arg-type]
    for number in numbers:
        other.histogram("h").record(number)
    value: Any = next(metric for metric in other.snapshot().metrics if metric.name == "h").points[0].value
    return counted(value)


# ---- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 4])
def test_threads_record_while_readers_collect_and_each_is_told_every_value_once(shards: int) -> None:
    sdk = MetricsSDK(Config(shards=shards, flush_interval_seconds=0.01, series_ttl_seconds=0.02, resolutions=[(0.1, 1)]))
    readers = [sdk.collector("delta") for _ in range(2)]
    counter, histogram = sdk.counter("c"), sdk.histogram("h")
    stop = threading.Event()
    sums: list[dict[Any, float]] = [{}, {}]
    seen = [0, 0]
    errors: list[BaseException] = []

    def add(number: int) -> None:
        for metric in sdk.collect(readers[number], 10).metrics:
            assert len({point.attributes for point in metric.points}) == len(metric.points)
            for point in metric.points:
                value: Any = point.value
                if metric.name == "c":
                    sums[number][point.attributes] = sums[number].get(point.attributes, 0) + value
                elif metric.name == "h":
                    seen[number] += value.count
        readers[number].acknowledge()

    def read(number: int) -> None:
        try:
            while not stop.is_set():
                add(number)
        except BaseException as error:
            errors.append(error)

    def record(seed: int) -> None:
        for number in range(4000):
            counter.add(1, {"k": (number // 50 + seed) % 7})
            if not number % 4:
                histogram.record(number, {"k": number % 3})

    collecting = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    recording = [threading.Thread(target=record, args=(seed,)) for seed in range(8)]
    for thread in (*collecting, *recording):
        thread.start()
    for thread in recording:
        thread.join()
    stop.set()
    for thread in collecting:
        thread.join()
    assert not errors
    for number in range(2):
        add(number)
    assert [32_000, 32_000] == [sum(one.values()) for one in sums]
    assert sums[0] == sums[1]
    assert [8000, 8000] == seen
    assert (32_000, 8000) == (sdk.query("c").sum, sdk.query("h").count)
    sdk.shutdown()
    health = sdk.health()
    assert (40_000, 40_000, {}, 0) == (health.received, health.merged, health.dropped, health.pending)


def test_a_second_thread_waits_for_a_collection_and_gives_up_in_time() -> None:
    sdk, _clock = made()
    reader = sdk.collector("delta")
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            sdk.collect(reader, 0.01)
        except TimeoutError as error:
            errors.append(error)

    with reader.lock:
        thread = threading.Thread(target=collect)
        thread.start()
        thread.join()
    assert ["this reader is collecting already"] == [str(error).partition(",")[0] for error in errors]


# ---- fork -----------------------------------------------------------------------------------------------------------


def test_a_forked_child_tells_only_its_own(run_python: Callable[..., str]) -> None:
    program = """
    import os
    from metrics_sdk import Config, MetricsSDK
    from metrics_sdk.clock import ManualClock
    clock = ManualClock(1000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    total = 50
    sdk.observable_counter("o", lambda: total)
    counter = sdk.counter("c")
    held, told, totals = sdk.collector("delta"), sdk.collector("delta"), sdk.collector()
    def collect(reader):
        return {m.name: [(p.value, p.start_time, p.time) for p in m.points] for m in sdk.collect(reader).metrics}
    counter.add(1, {"k": 1})
    collect(held)
    collect(told)
    told.acknowledge()
    counter.add(2, {"k": 1})
    clock.advance(10)
    sdk.flush()
    def show():
        counter.add(4, {"k": 1})
        clock.advance(10)
        for reader in (held, told, totals):
            found = collect(reader)
            reader.acknowledge()
            print(found["c"], found["o"], flush=True)
    pid = os.fork()
    if not pid:
        total += 5
        show()
        os._exit(0)
    os.waitpid(pid, 0)
    show()
    """
    child, parent = [(4, 1010, 1020)], [(7, 1000, 1020)]
    expected = [
        (child, [(5, 1010, 1020)]),
        (child, [(5, 1010, 1020)]),
        (child, [(55, 1010, 1020)]),
        (parent, [(50, 1000, 1020)]),
        ([(6, 1000, 1020)], [(0, 1000, 1020)]),
        (parent, [(50, 1000, 1020)]),
    ]
    found = [line.replace(".0", "") for line in run_python(program).splitlines()]
    assert [f"{counted} {observed}" for counted, observed in expected] == found


# ---- what others have to tell ---------------------------------------------------------------------------------------


class Producer:
    def __init__(self, metrics: list[Metric], error: Exception | None = None) -> None:
        self.metrics = metrics
        self.error = error

    def produce(self) -> list[Metric]:
        if self.error is not None:
            raise self.error
        return self.metrics


def test_a_producer_that_fails_costs_its_own_metrics_alone(caplog: pytest.LogCaptureFixture) -> None:
    foreign = Metric("foreign", "gauge", "", "", None, (Point((), 3, START, START),))
    sdk, _clock = made(producers=[Producer([], RuntimeError("no")), Producer([foreign])])
    sdk.counter("c").add(1)
    assert {"c", "foreign"} == set(collected(sdk, sdk.collector()))
    assert {"c", "foreign"} < {metric.name for metric in sdk.snapshot().metrics}
    assert 2 == sdk.health().faults["producer:Producer"]
    assert "the producer Producer failed: RuntimeError: no" in caplog.text


def test_a_collection_of_nothing_is_an_empty_snapshot() -> None:
    sdk, clock = made(resource={"service.name": "shop"})
    snapshot = sdk.collect(sdk.collector("delta"))
    assert ((), clock.time(), "shop") == (snapshot.metrics, snapshot.time, snapshot.resource["service.name"])


def test_minimum_and_maximum_of_a_delta_are_those_of_its_interval() -> None:
    sdk, _clock = made()
    reader = sdk.collector("delta")
    told = []
    for numbers in ((5, 9), (1, 2), (7,)):
        for number in numbers:
            sdk.histogram("h").record(number)
        [value] = values(collected(sdk, reader), "h").values()
        told.append((value.min, value.max, value.count, math.fsum(numbers) == value.sum))
    assert [(5, 9, 2, True), (1, 2, 2, True), (7, 7, 1, True)] == told


@settings(max_examples=int(os.environ.get("METRICS_SDK_EXAMPLES", "100")), deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("record"), st.integers(0, 5), st.integers(1, 9)),
            st.tuples(st.just("observe"), st.integers(0, 5), st.integers(1, 9)),
            st.tuples(st.just("collect"), st.integers(0, 14), st.just(0)),  # of which so many tenths arrive
            st.tuples(st.just("arrived"), st.just(0), st.just(0)),
        ),
        max_size=40,
    )
)
def test_whatever_part_of_the_points_arrives_the_deltas_of_each_series_add_up_and_do_not_overlap(
    operations: list[tuple[str, int, int]],
) -> None:
    sdk, clock = made()
    expected: Counter[tuple[str, int]] = Counter()
    observed: Counter[int] = Counter()
    counter, histogram = sdk.counter("c"), sdk.histogram("h")
    sdk.observable_counter("o", lambda: [(total, {"k": key}) for key, total in observed.items()])
    reader = sdk.collector("delta")
    delivered: Counter[tuple[str, int]] = Counter()
    until: dict[tuple[str, int], float] = {}

    def collect(tenths: int | None) -> None:
        clock.advance(1)
        points = [(metric.name, point) for metric in sdk.collect(reader).metrics for point in metric.points]
        arrive = None if tenths is None else tenths * len(points) // 10
        for name, point in points[:arrive]:
            key = (name, dict(point.attributes)["k"])
            delivered[key] += int(point.value.sum if name == "h" else point.value)
            assert until.get(key, 0.0) <= point.start_time < point.time == clock.time()
            until[key] = point.time
        assert reader.acknowledge(arrive) == (arrive is None or arrive >= len(points))

    for what, key, amount in operations:
        clock.advance(1)
        if what == "record":
            counter.add(amount, {"k": key})
            histogram.record(amount, {"k": key})
            expected["c", key] += amount
            expected["h", key] += amount
        elif what == "observe":
            observed[key] += amount
            expected["o", key] += amount
        else:
            collect(key if what == "collect" else None)
    collect(None)
    assert expected == Counter({key: total for key, total in delivered.items() if total})
    sdk.shutdown()


def test_intervals_do_not_overlap_after_a_part_arrived_and_the_series_expired() -> None:
    sdk, clock = made(series_ttl_seconds=4)
    counter = sdk.counter("c")
    reader = sdk.collector("delta")
    told: list[tuple[float, float]] = []

    def collect(arrive: int | None) -> None:
        for metric in sdk.collect(reader).metrics:
            for point in metric.points[:arrive]:
                if ("k", "a") in point.attributes:
                    told.append((point.start_time - START, point.time - START))
        reader.acknowledge(arrive)

    counter.add(1, {"k": "a"})
    counter.add(1, {"k": "b"})
    clock.advance(10)
    collect(1)
    for _ in range(10):
        clock.advance(1)
        sdk.flush()
    counter.add(1, {"k": "a"})
    clock.advance(1)
    collect(None)
    assert [(0, 10), (10, 21)] == told
    sdk.shutdown()
