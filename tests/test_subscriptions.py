"""Subscriptions: each closed window once, in order, whatever the callback does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, MetricsSDK, View
from metrics_sdk.clock import ManualClock
from metrics_sdk.feeds import Window
from metrics_sdk.snapshot import Meter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000.0)


@pytest.fixture
def sdk(clock: ManualClock) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=clock, resolutions=[(10, 60), (30, 600)]))


def run(sdk: MetricsSDK, clock: ManualClock, windows: int) -> None:
    for number in range(windows):
        sdk.counter("c").add(number + 1, {"k": "v"})
        clock.advance(10)
        sdk.flush()


def test_each_closed_window_comes_once_and_in_order(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[tuple[float, float, float]] = []

    def callback(window: Window) -> None:
        seen.append((window.start, window.end, window.aggregates()["c"][("k", "v"),].sum))

    subscription = sdk.subscribe(callback)
    run(sdk, clock, 4)
    assert [(1_000_000 + 10 * n, 1_000_010 + 10 * n, n + 1) for n in range(4)] == seen
    subscription.close()
    run(sdk, clock, 2)
    assert 4 == len(seen)


def windows_of(sdk: MetricsSDK, clock: ManualClock, record: Callable[[], None]) -> list[Window]:
    seen: list[Window] = []
    sdk.subscribe(seen.append)
    record()
    clock.advance(10)
    sdk.flush()
    return seen


def of_meter(sdk: MetricsSDK, meter: str, kind: str, name: str, unit: str = "") -> Any:
    return sdk.registry.declare_for(Meter(meter), kind, name, unit, "")


def test_what_meters_with_one_metric_name_have_comes_merged(sdk: MetricsSDK, clock: ManualClock) -> None:
    def record() -> None:
        for meter, value in (("one", 1), ("two", 10), ("three", 100)):
            of_meter(sdk, meter, "counter", "c").add(value, {"a": 1})
            of_meter(sdk, meter, "histogram", "h").record(value)
        of_meter(sdk, "one", "counter", "c").add(1000, {"a": True})

    (window,) = windows_of(sdk, clock, record)
    found = window.aggregates()
    assert [((("a", 1),), 1111)] == [(pairs, one.sum) for pairs, one in found["c"].items()]  # 1 and True are equal here
    assert (3, 111, 1, 100) == (found["h"][()].count, found["h"][()].sum, found["h"][()].min, found["h"][()].max)
    assert [1111] == [one.sum for one in found["c"][("a", 1),].series()]
    items = [(item.name, item.attributes) for item in window.items()]
    assert 3 == len(items) == len({repr(item) for item in items})  # but not in what is written


def test_instruments_of_one_name_that_differ_in_kind_or_unit_keep_apart_and_the_first_one_keeps_the_name(
    sdk: MetricsSDK, clock: ManualClock
) -> None:
    def record() -> None:
        of_meter(sdk, "odd", "counter", "c#2").add(5)
        of_meter(sdk, "one", "counter", "c", "By")  # has nothing in the window
        of_meter(sdk, "two", "histogram", "c", "s").record(10)
        of_meter(sdk, "three", "counter", "c", "s").add(100)
        of_meter(sdk, "four", "histogram", "c", "s").record(1000)

    (window,) = windows_of(sdk, clock, record)
    found = window.aggregates()
    assert {"c#2": ("c#2", "counter", 5), "c#3": ("c", "histogram", 1010), "c#4": ("c", "counter", 100)} == {
        name: (one[()].name, one[()].kind, one[()].sum) for name, one in found.items()
    }


def test_of_streams_that_views_call_the_same_the_first_is_told_as_in_queries(clock: ManualClock) -> None:
    views = [View("c"), View("c", attribute_keys=[])]
    sdk = MetricsSDK(Config(background=False, clock=clock, resolutions=[(10, 60)], views=views))

    def record() -> None:
        sdk.counter("c").add(1)
        sdk.counter("c").add(1, {"a": 1})

    other: Any = sdk.subscribe(lambda window: None)
    seen = windows_of(sdk, clock, record)
    sdk.record("c", 1, timestamp=1_000_003.0)
    sdk.flush()
    sdk.flush()
    told = [{attributes: one.sum for attributes, one in window.aggregates()["c"].items()} for window in seen]
    assert [{(): 1, (("a", 1),): 1}, {(): 1}] == told
    assert {} == other._feed.late  # nothing waits that is never told
    assert 3 == sdk.query("c").sum


def test_windows_come_as_wide_as_asked_for(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[tuple[float, float, int]] = []
    sdk.subscribe(lambda window: seen.append((window.start, window.end, window.aggregates()["c"][("k", "v"),].count)), every=30)
    run(sdk, clock, 9)
    assert [(999_990, 1_000_020, 2), (1_000_020, 1_000_050, 3), (1_000_050, 1_000_080, 3)] == seen


def test_a_callback_that_raises_costs_its_own_window_alone(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[float] = []

    def callback(window: Window) -> None:
        if len(seen) == 1:
            seen.append(0)
            raise SystemExit
        seen.append(window.start)

    subscription = sdk.subscribe(callback)
    other: list[Window] = []
    sdk.subscribe(other.append)
    run(sdk, clock, 3)
    assert ([1_000_000, 0, 1_000_020], 1, 3) == (seen, subscription.failures, len(other))
    assert any(kind.startswith("subscriber:") for kind in sdk.health().faults)


def test_what_comes_late_comes_as_a_further_window(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[tuple[float, int, float]] = []
    sdk.subscribe(lambda window: seen.append((window.start, window.revision, window.aggregates()["c"][("k", "v"),].sum)))
    run(sdk, clock, 2)
    sdk.record("c", 100, {"k": "v"}, timestamp=1_000_003)
    sdk.flush()
    sdk.flush()
    assert [(1_000_000, 0, 1), (1_000_010, 0, 2), (1_000_000, 1, 100)] == seen


def test_a_window_without_data_does_not_come(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[float] = []
    sdk.subscribe(lambda window: seen.append(window.start))
    run(sdk, clock, 1)
    clock.advance(30)
    sdk.flush()
    run(sdk, clock, 1)
    assert [1_000_000, 1_000_040] == seen


@pytest.mark.parametrize(
    ("every", "message"),
    [(5, "windows of 10 seconds"), (25, "windows of 10 seconds"), (0, "positive"), (True, "positive"), ("60", "positive")],
)
def test_a_width_that_cannot_be_had_is_refused(sdk: MetricsSDK, every: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sdk.subscribe(print, every=every)


def test_a_coroutine_function_is_no_subscriber(sdk: MetricsSDK) -> None:
    async def callback(window: Window) -> None: ...

    with pytest.raises(ConfigurationError, match="plain function"):
        sdk.subscribe(callback)


def test_after_the_clock_was_far_ahead_windows_come_again(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[float] = []
    sdk.subscribe(lambda window: seen.append(window.aggregates()["c"][("k", "v"),].sum))
    for jump in (0, 1e8, -1e8):
        clock.jump(jump)
        run(sdk, clock, 3)
    assert sum(seen) >= 3 * (1 + 2 + 3) - 3
    assert seen[-1] == 3


def test_what_comes_late_while_windows_are_on_their_way_is_delivered_once(sdk: MetricsSDK, clock: ManualClock) -> None:
    seen: list[float] = []

    def callback(window: Window) -> None:
        if not seen:  # between the delivery and its acknowledgement
            sdk.record("c", 100, {"k": "v"}, timestamp=1_000_003)
            sdk._store.drain()
        seen.append(window.aggregates()["c"][("k", "v"),].sum)

    sdk.subscribe(callback)
    run(sdk, clock, 3)
    assert [1, 2, 3, 100] == sorted(seen)


def test_a_subscription_that_closes_in_its_own_callback_ends(run_python: Callable[..., str]) -> None:
    program = """
import threading, time
from metrics_sdk import Config, MetricsSDK
sdk = MetricsSDK(Config(resolutions=[(0.05, 5)], flush_interval_seconds=0.02))
seen = []
def callback(window):
    seen.append(window)
    subscription.close()
subscription = sdk.subscribe(callback)
worker = sdk._exports.workers[0]
sdk.counter("c").add(1)
print(worker._ended.wait(20), len(seen))
sdk.shutdown()
"""
    assert "True 1\n" == run_python(program)


def test_flush_and_exit_do_not_wait_for_a_callback_that_hangs(run_python: Callable[..., str]) -> None:
    program = """
import threading, time
from metrics_sdk import Config, MetricsSDK
sdk = MetricsSDK(Config(resolutions=[(0.05, 5)], flush_interval_seconds=0.02))
began = threading.Event()
sdk.subscribe(lambda window: (began.set(), threading.Event().wait()))
sdk.counter("c").add(1)
assert began.wait(20)
started = time.monotonic()
assert sdk.flush(20)
assert sdk.shutdown(20)
print(time.monotonic() - started < 5)
"""
    assert "True\n" == run_python(program)


def test_without_windows_there_is_nothing_to_subscribe_to() -> None:
    with pytest.raises(ConfigurationError, match="turns off"):
        MetricsSDK(Config(background=False, resolutions=())).subscribe(print)


@pytest.mark.slow
def test_a_callback_that_hangs_delays_no_other_and_no_recording(run_python: Callable[..., str]) -> None:
    program = """
import threading, time
from metrics_sdk import Config, MetricsSDK
sdk = MetricsSDK(Config(resolutions=[(0.05, 5)], flush_interval_seconds=0.02))
hangs, seen = threading.Event(), threading.Semaphore(0)
total = []
sdk.subscribe(lambda window: hangs.wait())
sdk.subscribe(lambda window: (total.append(window.aggregates()["c"][()].sum), seen.release()))
counter = sdk.counter("c")
for _ in range(5):
    counter.add(1)
    assert seen.acquire(timeout=20)
hangs.set()
assert sdk.shutdown(10)
print(sum(total), sdk.query("c").sum)
"""
    assert "5 5\n" == run_python(program)


def test_callbacks_run_on_a_thread_of_their_own(run_python: Callable[..., str]) -> None:
    program = """
import threading
from metrics_sdk import Config, MetricsSDK
sdk = MetricsSDK(Config(resolutions=[(0.05, 5)], flush_interval_seconds=0.02))
seen = threading.Event()
idents = set()
sdk.subscribe(lambda window: (idents.add(threading.get_ident()), seen.set()))
sdk.counter("c").add(1)
assert seen.wait(20)
assert threading.get_ident() not in idents
print(len(idents))
sdk.shutdown()
"""
    assert "1\n" == run_python(program)
