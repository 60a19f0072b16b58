"""Time windows: an explicit model, which keeps every value, agrees with what queries answer, whatever the clock does."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.resolutions import Ages, Resolution

START = 1_000_020.0
OPERATIONS = int(os.environ.get("METRICS_SDK_OPERATIONS", "4000"))  # a tenth of them are queries


class Model:
    """Every value with the window that it belongs to. The finest width is 10, then 30, then 120."""

    resolutions = ((10, 60), (30, 240), (120, 960))

    def __init__(self, shards: int = 1) -> None:
        self.clock = ManualClock(START)
        self.sdk = MetricsSDK(
            Config(background=False, clock=self.clock, resolutions=self.resolutions, shards=shards, map_locks=2)
        )
        self.sdk.histogram("h")
        self.values: list[tuple[float, float, str, float]] = []  # start and end of the window, series, value
        self.waiting: list[tuple[str, float]] = []
        self.opened = self._floor(START, 10)

    def _floor(self, time: float, width: int) -> float:
        return time // width * width

    def record(self, series: str, value: float) -> None:
        self.sdk.histogram("h").record(value, {"s": series})
        self.waiting.append((series, value))

    def drain(self) -> None:
        """What is drained belongs to the window that is open; without a flusher, that is the one that was open before."""
        self.sdk.flush()
        now = self.clock.time()
        window = self._floor(now, 10)
        if 0 < self.opened - now <= 10:
            window = self.opened  # set back a little: the open one stays open
        at = self.opened if self.opened <= window else window
        wide = [one[:2] for one in self.values if one[1] - one[0] > 10 and one[0] <= at < one[1]]
        for series, value in self.waiting:
            self.values.append((*max(wide, default=(at, at + 10), key=lambda one: one[1] - one[0]), series, value))
        self.waiting.clear()
        self.opened = window
        for (_finer, span), (width, _span) in zip(self.resolutions, self.resolutions[1:]):
            due = self._floor(window - span, width)
            self.values = [
                (self._floor(one[0], width), self._floor(one[0], width) + width, *one[2:])
                if one[0] < due and one[1] - one[0] < width
                else one
                for one in self.values
            ]
        self.values = [one for one in self.values if self._oldest() < one[1] and one[0] <= window]

    def _oldest(self) -> float:
        return self._floor(self.opened - 960, 120)

    def check(self, series: str | None, since: float, until: float | None) -> None:
        self.drain()
        found = self.sdk.query("h", None if series is None else {"s": series}, since=since, until=until)
        opened = until is None or until > self.opened or found.end == self.clock.time() > self.opened
        assert since - 120 <= found.start <= since or found.start in (START, self._oldest()) or found.count == 0
        expected = [
            one[3]
            for one in self.values
            if series in (None, one[2]) and found.start < one[1] and (opened or one[1] <= found.end)
        ]
        assert all(window.end >= found.start and window.start <= found.end for window in found.series())
        assert len(expected) == found.count, (since, until, self.clock.time())
        assert (min(expected, default=None), max(expected, default=None)) == (found.min, found.max)
        assert math.isclose(math.fsum(expected), found.sum, rel_tol=1e-12, abs_tol=1e-12)
        assert len(expected) == sum(window.count for window in found.series())


steps = st.one_of(
    st.tuples(st.just("record"), st.sampled_from("abc"), st.integers(1, 2**20).map(lambda n: n / 1024)),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 3.0, 10.0, 25.0, 61.0, 700.0]), st.none()),
    st.tuples(st.just("jump"), st.sampled_from([-0.5, -7.0, -45.0, -86_400.0, 31.0, 86_400.0]), st.none()),
    st.tuples(st.just("drain"), st.none(), st.none()),
    st.tuples(st.just("check"), st.floats(0, 2000), st.floats(0.1, 2000)),
)


@given(st.lists(steps, max_size=60), st.sampled_from([1, 8]))
@settings(max_examples=150, deadline=None)
def test_a_model_that_keeps_every_value_agrees_after_any_operations_and_clock_jumps(plan: list[Any], shards: int) -> None:
    model = Model(shards)
    for what, first, second in plan:
        if what == "record":
            model.record(first, second)
        elif what == "advance":
            model.drain()
            model.clock.advance(first)
        elif what == "jump":
            model.drain()
            model.clock.jump(first)
            model.drain()
        elif what == "drain":
            model.drain()
        else:
            since = model.clock.time() - first
            for series in (None, "a"):
                model.check(series, since, since + second)
    model.check(None, model.clock.time() - 500, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_random_operations_agree_with_the_model_and_keep_memory_bounded(seed: int) -> None:
    source = random.Random(seed)
    model = Model()
    for _ in range(OPERATIONS):
        what = source.random()
        if what < 0.6:
            model.record(source.choice("abc"), source.randrange(1, 2**30) / 1024)
        elif what < 0.85:
            model.drain()
            model.clock.advance(source.choice([0.1, 2.0, 9.0, 10.0, 33.0]))
        elif what < 0.86:
            model.drain()
            model.clock.jump(source.choice([-1.0, -30.0, -300.0, 40.0, 1e6]))
            model.drain()
        elif what < 0.95:
            since = model.clock.time() - source.uniform(0, 1500)
            model.check(source.choice([None, "a", "b"]), since, since + source.uniform(1, 1500))
        else:
            model.drain()
        kept = sum(len(level.by_start) for one in model.sdk._store._windows.values() for level in one._levels)
        assert kept <= 2 * (6 + 3 + 8 + 4 + 8 + 2)
    model.drain()
    assert model.sdk.health().merged == model.sdk.query("h").count


def test_windows_are_rolled_up_without_losing_a_value_and_then_evicted_exactly() -> None:
    model = Model()
    for number in range(200):
        model.record("a", number)
        model.clock.advance(10)
        model.drain()
        windows = model.sdk.query("h", last=10_000).series()
        widths = Counter(round(window.end - window.start) for window in windows[:-1])
        assert widths[10] <= 6 + 2
        assert widths[30] <= (240 - 60) // 30 + 4
        assert widths[120] <= (960 - 240) // 120 + 1
        assert len(model.values) == sum(window.count for window in windows)
        starts = [window.start for window in windows]
        assert starts == sorted(set(starts))
    assert min(window.start for window in windows) == model._oldest()


def test_a_late_value_goes_into_the_window_that_took_the_place_of_its_own() -> None:
    model = Model()
    model.record("a", 1.0)
    model.clock.advance(10)
    model.drain()
    store = model.sdk._store
    series = next(iter(model.sdk.streams.named("h")[0].series.values()))
    for one in model.sdk.streams.named("h")[0].series.values():
        if one.attributes:
            series = one
    late = series.empty.fresh()
    late.fold([5.0, 7.0])
    windows = store._windows[id(series.lock)]
    windows.put(START, series, late)
    windows.put(START, series, late)  # interrupted, and done again
    assert (3, 13.0) == (model.sdk.query("h", last=500).count, model.sdk.query("h", last=500).sum)
    model.clock.advance(200)
    model.sdk.flush()
    later = series.empty.fresh()
    later.fold([100.0])
    windows.put(START, series, later)
    windows.pack(START, series)
    assert (4, 113.0) == (model.sdk.query("h", last=500).count, model.sdk.query("h", last=500).sum)
    model.sdk.flush()
    found = model.sdk.query("h", last=500)
    assert (4, 113.0, 1) == (found.count, found.sum, len(found.series()))


class Stop(BaseException):
    pass


@pytest.mark.parametrize("at", range(12))
def test_an_exception_in_the_middle_of_a_roll_up_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    from metrics_sdk import windows

    model = Model()
    for number in range(6):
        for series in "abc":
            model.record(series, number + 1)
        model.clock.advance(10)
        model.drain()
    model.clock.advance(300)
    model.sdk._store.drain()
    smallest = windows._smallest
    calls = 0

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Stop
        return smallest(*args)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "_smallest", interrupted)
        try:
            model.sdk._store.age()
        except Stop:
            pass
        assert (18, 63) == (model.sdk.query("h", last=900).count, model.sdk.query("h", last=900).sum)
    model.sdk._store.age()
    assert (18, 63) == (model.sdk.query("h", last=900).count, model.sdk.query("h", last=900).sum)
    assert all(one._rolling is None for one in model.sdk._store._windows.values())


def test_the_width_at_an_age_is_that_of_the_finest_resolution_that_reaches_there() -> None:
    ages = Ages([Resolution(10, 600), Resolution(60, 7200)])
    now = 1_000_000_020.0
    assert [now, now - 600, now - 660, now - 7200] == [
        ages.aligned(now, now), ages.aligned(now - 595, now), ages.aligned(now - 640, now), ages.aligned(now - 7150, now),
    ]  # fmt: skip
