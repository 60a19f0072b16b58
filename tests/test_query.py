"""Queries: which series, which interval, what is answered."""

from __future__ import annotations

from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK, UnknownInstrument
from metrics_sdk.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000.0)


@pytest.fixture
def sdk(clock: ManualClock) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=clock, window_seconds=10, windows_kept=3))


def test_an_unknown_name_raises_with_close_matches(sdk: MetricsSDK) -> None:
    sdk.counter("http.requests")
    with pytest.raises(UnknownInstrument, match=r"no instrument is called 'http.request': did you mean 'http.requests'\?"):
        sdk.query("http.request")


def test_a_known_name_without_data_answers_zero_and_none(sdk: MetricsSDK) -> None:
    sdk.histogram("h")
    found = sdk.query("h")
    assert (0, 0, None, None, None, None, None) == (
        found.count, found.sum, found.min, found.max, found.mean, found.last, found.percentile(99),
    )  # fmt: skip


def test_attributes_choose_the_series_that_include_them(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    counter.add(1)
    counter.add(2, {"route": "/a"})
    counter.add(4, {"route": "/a", "code": 200})
    counter.add(8, {"route": "/b", "code": 200})
    chosen: list[tuple[Any, int]] = [(None, 15), ({}, 1), ({"route": "/a"}, 6), ({"code": 200}, 12), ({"code": "200"}, 0)]
    for attributes, expected in chosen:
        assert expected == sdk.query("c", attributes).sum, attributes


def test_what_was_recorded_before_the_query_is_in_it_without_a_flush(sdk: MetricsSDK) -> None:
    sdk.histogram("h").record(1)
    assert 1 == sdk.query("h").count


def test_windows_close_at_their_edges_and_a_query_sees_the_last_ones(sdk: MetricsSDK, clock: ManualClock) -> None:
    counter = sdk.counter("c")
    for amount in (1, 2, 4, 8, 16, 32):
        counter.add(amount)
        clock.advance(10)
        sdk.flush()  # takes what was recorded in the window that has ended, and closes it
    counter.add(64)
    assert 127 == sdk.query("c").sum
    assert 64 + 32 == sdk.query("c", last=5).sum
    assert 64 + 32 + 16 == sdk.query("c", last=15).sum
    assert 64 + 32 + 16 + 8 == sdk.query("c", last=1000).sum  # three closed windows are kept


def test_a_query_of_the_last_seconds_says_from_when_on(sdk: MetricsSDK, clock: ManualClock) -> None:
    sdk.counter("c").add(30)
    clock.advance(25)
    sdk.flush()
    found = sdk.query("c", last=12)
    assert (1_000_010.0, 1_000_025.0) == (found.start, found.end)
    assert 15 == found.seconds


def test_a_rate_is_per_second_of_the_interval(sdk: MetricsSDK, clock: ManualClock) -> None:
    counter = sdk.counter("c")
    clock.advance(2)
    counter.add(30)
    clock.advance(3)
    assert 6 == sdk.query("c").rate == sdk.query("c", last=5).rate


def test_idle_windows_answer_with_no_data(sdk: MetricsSDK, clock: ManualClock) -> None:
    gauge = sdk.gauge("g")
    gauge.set(5)
    sdk.flush()
    clock.advance(25)
    found = sdk.query("g", last=5)
    assert (0, None) == (found.count, found.last)
    assert 5 == sdk.query("g").last


@pytest.mark.parametrize("jump", [-86_400, 315_360_000])
def test_a_clock_that_jumps_loses_no_value(sdk: MetricsSDK, clock: ManualClock, jump: float) -> None:
    counter = sdk.counter("c")
    counter.add(1)
    sdk.flush()
    clock.jump(jump)
    sdk.flush()
    counter.add(2)
    clock.advance(10)
    sdk.flush()
    counter.add(4)
    assert (7, 6) == (sdk.query("c").sum, sdk.query("c", last=1).sum)


@pytest.mark.parametrize("last", [0, -1, float("inf")])
def test_an_impossible_interval_raises(sdk: MetricsSDK, last: float) -> None:
    sdk.counter("c")
    with pytest.raises(ValueError, match="last must be a positive number of seconds"):
        sdk.query("c", last=last)


def test_without_windows_the_last_seconds_cannot_be_asked_for() -> None:
    sdk = MetricsSDK(Config(background=False, window_seconds=0))
    sdk.counter("c").add(1)
    assert 1 == sdk.query("c").sum
    with pytest.raises(ValueError, match="windows not turned off"):
        sdk.query("c", last=1)


@pytest.mark.parametrize("q", [-1, 101])
def test_an_impossible_percentile_raises(sdk: MetricsSDK, q: float) -> None:
    sdk.histogram("h").record(1)
    with pytest.raises(ValueError, match="between 0 and 100"):
        sdk.query("h").percentile(q)


def test_an_answer_cannot_be_changed(sdk: MetricsSDK) -> None:
    sdk.counter("c").add(1)
    found = sdk.query("c")
    with pytest.raises(AttributeError):
        found.name = "d"
    sdk.counter("c").add(1)
    assert 1 == found.sum


def test_query_all_answers_by_name_and_attributes(sdk: MetricsSDK) -> None:
    sdk.counter("c").add(1, {"b": 2, "a": 1})
    sdk.histogram("h").record(5)
    found = sdk.query_all()
    assert ({"c", "h"}, [(("a", 1), ("b", 2))]) == (set(found), list(found["c"]))
    assert 5 == found["h"][()].percentile(50)


def test_percentiles_come_by_q(sdk: MetricsSDK) -> None:
    histogram = sdk.histogram("h", boundaries=[10, 20])
    for value in range(1, 21):
        histogram.record(value)
    assert {50: pytest.approx(10, abs=0.5), 100: 20} == sdk.query("h").percentiles([50, 100])


def test_a_query_further_back_than_windows_are_kept_says_so(sdk: MetricsSDK, clock: ManualClock) -> None:
    counter = sdk.counter("c")
    for _ in range(100):
        counter.add(1)
        clock.advance(1)
        sdk.flush()
    found = sdk.query("c", last=1000)
    assert (30, 30.0, 1.0) == (found.sum, found.seconds, found.rate)


def test_windows_are_right_again_after_the_clock_was_far_ahead(sdk: MetricsSDK, clock: ManualClock) -> None:
    counter = sdk.counter("c")
    for jump in (0, 1e8, -1e8):
        clock.jump(jump)
        for _ in range(50):
            counter.add(1)
            clock.advance(1)
            sdk.flush()
    assert 20 <= sdk.query("c", last=20).sum <= 30
    assert 150 == sdk.query("c").sum
