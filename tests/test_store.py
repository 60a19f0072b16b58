"""The aggregate map: windows are closed in batches, and an interruption loses and doubles nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from metrics_sdk import slices
from metrics_sdk.clock import ManualClock
from metrics_sdk.config import Config
from metrics_sdk.sdk import MetricsSDK
from metrics_sdk.windows import Windows

SERIES = 50


class Stop(BaseException):
    pass


def filled() -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(1000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock, map_locks=1))
    counter = sdk.counter("c")
    for i in range(SERIES):
        counter.add(1, {"i": i})
    sdk.flush()
    clock.advance(15)
    return sdk, clock


@pytest.mark.parametrize("at", [0, 1, 15, 16, 17, 40])
@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
def test_an_exception_while_windows_are_closed_leaves_each_value_in_one_window(
    monkeypatch: pytest.MonkeyPatch, at: int, stored: bool
) -> None:
    sdk, _clock = filled()
    put = Windows.put
    calls = 0

    def interrupted(self: Windows, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if stored:
            put(self, *args)
        if calls == at + 1:
            raise Stop
        if not stored:
            put(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "put", interrupted)
        with pytest.raises(Stop):
            sdk._store.drain()
    for i in range(SERIES):
        sdk.counter("c").add(1, {"i": i})  # into what is open still, and stored already
    assert 1 == sdk.query("c", {"i": 7}, last=30).count - 1
    assert [2 * SERIES] * 2 == [sdk.query("c").count, sdk.query("c", last=30).count]
    _clock.advance(10)
    sdk.flush()
    assert [2 * SERIES] * 2 == [sdk.query("c").count, sdk.query("c", last=60).count]


def test_the_gil_is_offered_while_windows_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk, _clock = filled()
    ticks = iter(range(10**9))
    offers: list[float] = []
    monkeypatch.setattr(slices, "perf_counter", lambda: next(ticks) * slices.SLICE_SECONDS * 2)
    monkeypatch.setattr(slices, "sleep", offers.append)
    sdk._store.drain()
    assert len(offers) >= SERIES // 16
    assert {0} == set(offers)


def test_without_series_a_drain_closes_nothing_and_holds_no_lock() -> None:
    clock = ManualClock(1000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    clock.advance(1000)
    assert sdk._store.drain()
    assert all(lock.acquire(blocking=False) for lock in sdk._store.locks)


def test_a_query_reads_a_window_that_is_stored_and_not_yet_moved_once() -> None:
    sdk, clock = filled()
    series = next(iter(sdk._scope.opened))
    state = series.current()
    assert state.open is not None
    windows = sdk._store._windows[id(series.lock)]
    series.note_stored(state.open)
    put = partial(windows.put, state.window, series, state.open, series.current().stored)
    put()
    put()
    _start, _end, found = sdk._store.read([series], clock.time() - 60, clock.time())
    assert [1] == [aggregate.count for parts in found.values() for aggregate in parts]


def test_windows_are_let_go_of_without_a_flusher_and_without_a_flush_too() -> None:
    clock = ManualClock(1000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock, resolutions=[(10, 60), (60, 600)]))
    for _ in range(300):
        sdk.counter("c").add(1)
        sdk.query("c")
        clock.advance(10)
    assert sum(len(level.by_start) for windows in sdk._store._windows.values() for level in windows._levels) < 30
