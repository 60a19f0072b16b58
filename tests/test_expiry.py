"""Expiry: series that nobody records into make room, and what they amount to stays exact everywhere."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_sdk import Config, Export, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.core.attributes import OVERFLOW
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.snapshot import Point
from metrics_sdk.store import AggregateMap

START = 1_000_000.0
TTL = 100.0
K = (("k", 1),)


def made(**given: Any) -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(START)
    defaults: dict[str, Any] = {"background": False, "clock": clock, "series_ttl_seconds": TTL}
    return MetricsSDK(Config(**{**defaults, **given})), clock


def points(sdk: MetricsSDK, name: str) -> dict[Any, Point]:
    sdk.flush()
    found = [point for metric in sdk.frozen().metrics if metric.name == name for point in metric.points]
    made = {point.attributes: point for point in found}
    assert len(made) == len(found)
    return made


def pass_time(sdk: MetricsSDK, clock: ManualClock) -> None:
    """Let as much time pass as idle series live at most."""
    for _ in range(6):
        clock.advance(TTL / 4)
        sdk.flush()


def check(sdk: MetricsSDK, received: int | None = None) -> None:
    """The accounts add up."""
    health = sdk.health()
    assert health.received == health.merged + sum(health.dropped.values()) + health.pending
    assert received in (None, health.received)
    for one in health.instruments.values():
        assert one.received == one.merged + sum(one.dropped.values()) + one.pending
    assert sdk._scope.series == sum(len(table.series) for table in sdk.streams.all_tables())


# ---- what leaves and what stays -------------------------------------------------------------------------------------


def test_an_idle_series_leaves_the_exports_and_one_in_use_stays() -> None:
    sdk, clock = made()
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    for _ in range(6):
        counter.add(1, {"k": 2})
        assert (("k", 2),) in points(sdk, "c")
        clock.advance(TTL / 4)
    assert {(("k", 2),)} == set(points(sdk, "c"))
    assert (1, 1, 1) == (sdk.health().expired, sdk.health().series, sdk.health().instruments["c"].series)
    check(sdk, 7)


def test_a_series_lives_for_its_time_and_at_most_a_quarter_longer() -> None:
    sdk, clock = made()
    sdk.counter("c").add(1, {"k": 1})
    sdk.flush()
    for at in range(1, 200):
        clock.advance(1)
        if not points(sdk, "c"):
            break
    assert TTL <= at <= 1.25 * TTL + 1


def test_without_a_time_to_live_nothing_expires() -> None:
    sdk, clock = made(series_ttl_seconds=None)
    sdk.counter("c").add(1, {"k": 1})
    clock.advance(1e6)
    assert {K} == set(points(sdk, "c"))


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge", "histogram"])
def test_totals_of_queries_stay_exact_over_generations_of_series(kind: str) -> None:
    sdk, clock = made()
    instrument: Any = getattr(sdk, kind)("x")
    for generation in range(3):
        for number in range(5):
            instrument.put(10 * generation + number, {"k": number, "generation": generation})
        pass_time(sdk, clock)
        instrument.put("no", {"k": "junk"})
    pass_time(sdk, clock)
    found = sdk.query("x")
    assert (15, sum(range(5)) * 3 + 150) == (found.count, found.sum)
    if kind in ("gauge", "histogram"):
        assert (0, 24) == (found.min, found.max)
    if kind == "gauge":
        assert 24 == found.last
    assert (0, {"invalid_value": 3}) == (sdk.health().series, sdk.health().dropped)
    check(sdk, 18)


def test_a_legitimate_series_is_admitted_after_junk_has_filled_the_stream() -> None:
    sdk, clock = made(max_series_per_instrument=10)
    counter = sdk.counter("c")
    for number in range(50):
        counter.add(1, {"junk": number})
    counter.add(1, {"k": 1})
    assert OVERFLOW in points(sdk, "c")
    assert K not in points(sdk, "c")
    pass_time(sdk, clock)
    counter.add(1, {"k": 1})
    assert {K} == set(points(sdk, "c"))
    assert 52 == sdk.query("c").sum
    assert 0 == sdk.health().instruments["c"].overflow
    check(sdk, 52)


def test_the_limit_of_the_process_gets_its_room_back() -> None:
    sdk, clock = made(max_series=5)
    for generation in range(4):
        for number in range(4):
            sdk.counter("c").add(1, {"k": number, "generation": generation})
        assert OVERFLOW not in points(sdk, "c")
        pass_time(sdk, clock)
        check(sdk)
    assert 16 == sdk.query("c").sum


def test_windows_of_what_has_expired_still_answer_until_they_are_too_old() -> None:
    sdk, clock = made(resolutions=[(10, 200), (50, 1000)])
    histogram = sdk.histogram("h")
    for number in range(10):
        histogram.record(number, {"k": number % 2})
        clock.advance(10)
        sdk.flush()
    pass_time(sdk, clock)
    assert {} == points(sdk, "h")
    assert (10, 45) == (sdk.query("h", last=600).count, sdk.query("h", last=600).sum)
    assert (5, 20) == (sdk.query("h", {"k": 0}, last=600).count, sdk.query("h", {"k": 0}, last=600).sum)
    assert 10 == sum(window.count for window in sdk.query("h", last=600).series())
    table = sdk.streams.named("h")[0]
    assert 2 == len(table.expired)
    clock.advance(1100)
    for _ in range(6):
        clock.advance(TTL / 4)
        sdk.flush()
    assert {} == table.expired
    assert 0 == sdk.query("h", last=600).count
    assert 10 == sdk.query("h").count
    check(sdk, 10)


def test_bound_series_and_those_without_attributes_do_not_expire() -> None:
    sdk, clock = made()
    counter = sdk.counter("c")
    bound = counter.bind({"bound": 1})
    counter.add(1)
    bound.add(1)
    counter.add(1, {"k": 1})
    pass_time(sdk, clock)
    assert {(), (("bound", 1),)} == set(points(sdk, "c"))
    assert START == points(sdk, "c")[()].start_time


def test_a_series_that_comes_back_begins_later_and_from_zero() -> None:
    sdk, clock = made()
    counter = sdk.counter("c")
    counter.add(5, {"k": 1})
    before = points(sdk, "c")[K]
    pass_time(sdk, clock)
    last_told = clock.time()
    clock.advance(1)
    counter.add(2, {"k": 1})
    clock.advance(1)
    after = points(sdk, "c")[K]
    assert (5, 2, True) == (before.value, after.value, before.time < last_told < after.start_time <= after.time)
    assert 7 == sdk.query("c").sum


@pytest.mark.parametrize("shards", [1, 4])
def test_recording_through_a_cell_that_was_found_before_the_expiry_loses_nothing(shards: int) -> None:
    sdk, clock = made(shards=shards, resolutions=[(10, 600)])
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    cell = counter.find({"k": 1})
    before = points(sdk, "c")[K]
    pass_time(sdk, clock)
    assert {} == points(sdk, "c")
    clock.advance(1)
    cell.record(2)
    after = points(sdk, "c")[K]
    assert (2, True) == (after.value, after.start_time > before.time)
    cell.record(4)
    assert 6 == points(sdk, "c")[K].value
    counter.add(8, {"k": 1})  # the same series
    assert (14, 15) == (points(sdk, "c")[K].value, sdk.query("c").sum)
    assert 1 == len(sdk.streams.named("c")[0].series) - 1
    check(sdk, 4)


def test_a_series_that_comes_back_beside_another_one_is_told_with_it() -> None:
    sdk, clock = made(resolutions=[(1000, 10_000)])
    memory = MemoryExporter()
    delta = sdk.collector("delta")
    histogram = sdk.histogram("h", boundaries=[10])
    histogram.record(1, {"k": 1})
    cell = histogram.find({"k": 1})
    pass_time(sdk, clock)
    histogram.record(2, {"k": 1})
    cell.record(20)
    found: Any = points(sdk, "h")[K].value
    assert (2, 22, (1, 1)) == (found.count, found.sum, found.bucket_counts)
    [metric] = sdk.collect(delta).metrics
    assert [(3, (2, 1))] == [(point.value.count, point.value.bucket_counts) for point in metric.points]  # type: ignore[union-attr]
    assert {"h": 2} == {name: one.series for name, one in sdk.health().instruments.items()}
    assert (3, 3) == (sdk.query("h").count, sdk.query("h", {"k": 1}, last=2000).count)
    check(sdk, 3)
    pass_time(sdk, clock)  # held: the delta was not acknowledged, and yet both go
    assert {} == points(sdk, "h")
    [metric] = sdk.collect(delta).metrics
    assert [3] == [point.value.count for point in metric.points]  # type: ignore[union-attr]
    delta.acknowledge()
    assert () == sdk.collect(delta).metrics
    check(sdk, 3)
    assert not memory.snapshots


def test_a_value_with_a_time_of_its_own_brings_its_series_back() -> None:
    sdk, clock = made(resolutions=[(10, 6000)], allowed_lateness_seconds=5000)
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    series = counter.find({"k": 1}).series
    pass_time(sdk, clock)
    sdk._scope.put_point(counter.find({"k": 2}), 2, START + 5)
    sdk._scope.put_point(series.cell, 4, START + 5)
    sdk.flush()
    assert {K: 4, (("k", 2),): 2} == {key: point.value for key, point in points(sdk, "c").items()}
    assert (7, 7) == (sdk.query("c").sum, sdk.query("c", last=5000).sum)
    check(sdk, 3)


def test_windows_of_a_series_that_left_and_of_its_successor_are_handed_over_as_one() -> None:
    sdk, clock = made(resolutions=[(1000, 10_000)], series_ttl_seconds=TTL)
    windows: list[Any] = []
    sdk.subscribe(windows.append)
    for amount in (1, 2):
        sdk.counter("c").add(amount, {"k": 1})
        pass_time(sdk, clock)
    clock.advance(1000)
    sdk.flush()
    found = [item for window in windows for item in window.items()]
    assert (1, 3) == (len(found), sum(window.aggregates()["c"][K].sum for window in windows))


# ---- deltas ---------------------------------------------------------------------------------------------------------


def test_what_was_not_delivered_of_a_series_that_expires_is_delivered_once() -> None:
    sdk, clock = made()
    reader, other = sdk.collector("delta"), sdk.collector("delta")
    sdk.counter("c").add(5, {"k": 1})
    sdk.collect(reader)  # which fails
    pass_time(sdk, clock)
    assert (1, {}) == (sdk.health().expired, points(sdk, "c"))
    for one in (reader, other):
        assert [(K, 5)] == [(point.attributes, point.value) for point in sdk.collect(one).metrics[0].points]
        one.acknowledge()
        assert () == sdk.collect(one).metrics
    assert 5 == sdk.query("c").sum
    check(sdk, 1)


def test_a_series_that_expires_and_one_that_takes_its_place_are_told_as_one_point() -> None:
    sdk, clock = made()
    reader = sdk.collector("delta")
    sdk.counter("c").add(5, {"k": 1})
    pass_time(sdk, clock)
    sdk.counter("c").add(2, {"k": 1})
    assert [(K, 7)] == [(point.attributes, point.value) for point in sdk.collect(reader).metrics[0].points]


def test_what_nobody_acknowledges_is_bounded_and_delivered_in_the_end() -> None:
    sdk, clock = made(max_series_per_instrument=5, resolutions=())
    reader = sdk.collector("delta")
    for number in range(40):
        sdk.counter("c").add(1, {"k": number})
        sdk.collect(reader)
        pass_time(sdk, clock)
        assert len(reader._held) <= 12
    assert 40 == sum(point.value for point in sdk.collect(reader).metrics[0].points)  # type: ignore[misc]
    reader.acknowledge()
    pass_time(sdk, clock)
    assert () == sdk.collect(reader).metrics
    sdk.counter("c").add(1, {"k": "late"})
    assert [(("k", "late"),)] == [point.attributes for point in sdk.collect(reader).metrics[0].points]
    check(sdk, 41)
    assert len(reader._held) <= 12


def test_a_reader_of_other_streams_holds_nothing_of_a_series_that_expires() -> None:
    from metrics_sdk.view import Aggregation

    sdk, clock = made(resolutions=())
    reader = sdk.collector("delta", lambda kind: Aggregation("last_value"))
    sdk.counter("c").add(1, {"k": 1})
    sdk.collect(reader)
    reader.acknowledge()
    pass_time(sdk, clock)
    assert [{}, {}] == [table.expired for table in sdk.streams.all_tables()]
    assert 2 == sdk.health().expired


# ---- observed sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["observable_counter", "observable_up_down_counter", "observable_gauge"])
def test_what_is_not_observed_any_more_is_not_exported_and_is_released(kind: str) -> None:
    sdk, _clock = made(series_ttl_seconds=None)
    seen = [1, 2, 3]
    getattr(sdk, kind)("o", lambda: [(10 * number, {"k": number}) for number in seen])
    assert {(("k", number),): 10 * number for number in seen} == {key: one.value for key, one in points(sdk, "o").items()}
    seen = [2, 4]
    assert {(("k", number),): 10 * number for number in seen} == {key: one.value for key, one in points(sdk, "o").items()}
    assert 2 == sdk.health().instruments["o"].series
    assert 2 + 1 == len(sdk.streams.named("o")[0].series)
    seen = [1]
    assert {K: 10} == {key: one.value for key, one in points(sdk, "o").items()}
    check(sdk)


@pytest.mark.parametrize("kind", ["observable_counter", "observable_gauge"])
def test_churn_of_10_000_observed_sets_never_overflows(kind: str) -> None:
    sdk, clock = made(series_ttl_seconds=None, resolutions=())
    at = 0
    getattr(sdk, kind)("o", lambda: [(number, {"k": number}) for number in range(at, at + 500)])
    reader = sdk.collector("delta")
    for at in range(0, 10_000, 500):
        clock.advance(1)
        found = {point.attributes: point.value for point in sdk.collect(reader).metrics[0].points}
        reader.acknowledge()
        assert {(("k", number),): number for number in range(at, at + 500)} == found
    table = sdk.streams.named("o")[0]
    assert (0, 501, 0) == (sdk.health().instruments["o"].overflow, len(table.series), len(table.expired))
    check(sdk)


def test_a_closed_observable_is_released() -> None:
    sdk, _clock = made(series_ttl_seconds=None)
    handle = sdk.observable_gauge("o", lambda: [(1, {"k": 1})])
    assert {K} == set(points(sdk, "o"))
    handle.close()
    assert {} == points(sdk, "o")
    assert (1, 0) == (sdk.health().expired, sdk.health().series)


# ---- conservation ---------------------------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 5), st.integers(1, 100)),
        st.tuples(st.just("hold"), st.integers(0, 5), st.none()),
        st.tuples(st.just("through"), st.integers(0, 5), st.integers(1, 100)),
        st.tuples(st.just("point"), st.integers(0, 5), st.integers(1, 100)),
        st.tuples(st.just("pass"), st.sampled_from([1.0, 30.0, 130.0]), st.none()),
        st.tuples(st.just("collect"), st.booleans(), st.none()),
        st.tuples(st.just("drop"), st.integers(0, 5), st.none()),
    ),
    max_size=50,
)


@given(steps, st.sampled_from([1, 3]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_or_counted_twice_after_any_operations(plan: list[Any], shards: int, windows: bool) -> None:
    sdk, clock = made(
        shards=shards,
        max_series_per_instrument=4,
        resolutions=[(10, 60), (30, 600)] if windows else (),
        allowed_lateness_seconds=10_000,
    )
    reader = sdk.collector("delta")
    counter = sdk.counter("c")
    cells: dict[int, Any] = {}
    total = count = dropped = told = 0

    def collect(arrives: bool) -> None:
        nonlocal told
        metrics = sdk.collect(reader).metrics
        for metric in metrics:
            assert len({point.attributes for point in metric.points}) == len(metric.points)
            told += sum(point.value for point in metric.points) if arrives else 0  # type: ignore[misc]
        if arrives:
            reader.acknowledge()

    for what, first, second in plan:
        if what == "record":
            counter.add(second, {"k": first})
        elif what == "hold":
            cells[first] = counter.find({"k": first})
        elif what == "through" and first in cells:
            cells[first].record(second)
        elif what == "point":
            counter.put_at(clock.time(), second, {"k": first})
        elif what == "pass":
            clock.advance(first)
            sdk.flush()
        elif what == "collect":
            collect(first)
        elif what == "drop":
            counter.add(-1, {"k": first})
            dropped += 1
        if what in ("record", "point") or (what == "through" and first in cells):
            total, count = total + second, count + 1
        health = sdk.health()
        assert count + dropped == health.received == health.merged + sum(health.dropped.values()) + health.pending
    assert (total, count) == (sdk.query("c").sum, sdk.query("c").count)
    collect(arrives=True)
    assert total == told
    assert dropped == sdk.health().dropped.get("negative", 0)
    check(sdk, count + dropped)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 4])
def test_threads_record_while_series_expire_all_the_time_and_every_value_is_counted(shards: int) -> None:
    exported: list[Any] = []
    source = random.Random(shards)

    class Adding:
        def export(self, snapshot: Any, timeout: float) -> None:
            if source.random() < 0.3:
                raise OSError("down")
            exported.extend([point.value for metric in snapshot.metrics if metric.name == "c" for point in metric.points])

        def shutdown(self) -> None:
            pass

    sdk, clock = made(shards=shards, exporters=[Export(Adding(), temporality="delta")], resolutions=[(10, 100), (50, 500)])
    counter = sdk.counter("c")
    passes, passed = 0, threading.Condition()

    def record(seed: int) -> None:
        mine = random.Random(seed)
        cells: list[Any] = []
        for _ in range(30):
            for _ in range(10):
                counter.add(1, {"k": seed, "n": mine.randrange(3)})
                for cell in cells:
                    cell.record(1)
            cells = [counter.find({"k": seed, "n": number}) for number in range(2)]
            until = passes + mine.randrange(4, 8)  # what this thread records into expires in the meantime
            with passed:
                passed.wait_for(lambda: passes >= until)

    threads = [threading.Thread(target=record, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        clock.advance(TTL / 4)
        sdk.flush()
        with passed:
            passes += 1
            passed.notify_all()
    while not sdk.flush():
        pass
    expected = 8 * (30 * 10 + 29 * 10 * 2)
    assert sdk.health().expired > 200
    assert expected == sdk.query("c").sum == sum(exported)
    assert {} == sdk.health().dropped
    check(sdk, expected)


@pytest.mark.parametrize("asked", ["query", "query_by", "query_all"])
def test_a_query_counts_a_series_that_expires_while_it_reads_once(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    from metrics_sdk import reader

    sdk, clock = made()
    for number in range(4):
        sdk.counter("c").add(1, {"k": number})
        if number < 2:
            pass_time(sdk, clock)
    clock.advance(TTL / 4)
    sdk.flush()  # two have expired, and two are seen
    clock.advance(TTL)
    times = 0

    def interrupted(chosen: Any) -> Any:
        nonlocal times
        for number, series in enumerate(chosen):
            if number == 1 or len(chosen) == 1:
                times += 1
                sdk._expiry.sweep()
            yield series

    monkeypatch.setattr(reader, "in_slices", interrupted)
    if asked == "query":
        found = sdk.query("c").sum
    elif asked == "query_by":
        found = sum(one.sum for one in sdk.query_by("c", "k").values())
    else:
        found = sum(one.sum for one in sdk.query_all()["c"].values())
    assert (4, 4) == (found, sdk.health().expired)
    assert times >= 1


def test_two_threads_do_not_forget_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk, clock = made()
    for number in range(10):
        sdk.counter("c").add(1, {"k": number})
    sdk.flush()
    clock.advance(TTL)
    close, others = AggregateMap.close_now, []

    def meanwhile(store: AggregateMap, series: Any) -> None:
        sdk._expiry._sweep_at = 0.0  # it is due again
        thread = threading.Thread(target=sdk._expiry.sweep)
        thread.start()
        thread.join()
        others.append(sdk._expiry.expired)
        close(store, series)

    monkeypatch.setattr(AggregateMap, "close_now", meanwhile)
    sdk._expiry.sweep()
    assert list(range(10)) == others
    assert 10 == sdk.query("c").sum


# ---- interruption ---------------------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 8))
def test_an_exception_out_of_the_clock_in_the_middle_of_an_expiry_loses_and_doubles_nothing(at: int) -> None:
    calls = 0

    class Interrupting(ManualClock):
        armed = False

        def time(self) -> float:
            nonlocal calls
            calls += self.armed
            if self.armed and calls == at:
                raise Stop
            return super().time()

    clock = Interrupting(START)
    sdk = MetricsSDK(Config(background=False, clock=clock, series_ttl_seconds=TTL, resolutions=[(10, 600)]))
    reader = sdk.collector("delta")
    counter = sdk.counter("c")
    for number in range(3):
        counter.add(1, {"k": number})
    sdk.flush()
    clock.advance(TTL)
    clock.armed = True
    try:
        sdk._expiry.sweep()
    except Stop:
        pass
    clock.armed = False
    check(sdk, 3)
    assert 3 == sdk.query("c").sum
    counter.add(1, {"k": 1})
    pass_time(sdk, clock)
    assert 4 == sdk.query("c").sum
    assert 4 == sum(point.value for point in sdk.collect(reader).metrics[0].points)  # type: ignore[misc]
    check(sdk, 4)


def test_a_fork_leaves_what_expired_before_it_to_the_parent(run_python: Any) -> None:
    program = """
    import os
    from metrics_sdk import Config, MetricsSDK
    from metrics_sdk.clock import ManualClock
    clock = ManualClock(1000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock, series_ttl_seconds=10))
    counter = sdk.counter("c")
    counter.add(1, {"k": 1})
    counter.add(2, {"k": 2})
    cell = counter.find({"k": 1})
    sdk.flush()
    for _ in range(5):
        counter.add(2, {"k": 2})
        clock.advance(3)
        sdk.flush()
    assert sdk.health().expired == 1
    def show():
        cell.record(100)
        for _ in range(6):
            clock.advance(3)
            sdk.flush()
        health = sdk.health()
        print(sdk.query("c").sum, health.received, health.merged, health.pending, flush=True)
    pid = os.fork()
    if not pid:
        show()
        os._exit(0)
    os.waitpid(pid, 0)
    show()
    """
    assert "100 1 1 0\n113 8 8 0\n" == run_python(program)
