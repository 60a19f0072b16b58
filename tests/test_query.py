"""Queries: which series, which interval, what is answered."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK, UnknownInstrument
from metrics_sdk.clock import ManualClock
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000.0)


@pytest.fixture
def sdk(clock: ManualClock) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=clock, resolutions=[(10, 30)]))


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
    sdk = MetricsSDK(Config(background=False, resolutions=()))
    sdk.counter("c").add(1)
    assert 1 == sdk.query("c").sum
    with pytest.raises(ValueError, match="windows are turned off"):
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


def test_an_interval_may_be_a_timedelta_unix_seconds_or_datetimes(sdk: MetricsSDK, clock: ManualClock) -> None:
    counter = sdk.counter("c")
    for amount in (1, 2, 4, 8):
        counter.add(amount)
        clock.advance(10)
        sdk.flush()
    at = clock.time()
    utc = [datetime.fromtimestamp(at - seconds, UTC) for seconds in (30, 10)]
    assert 2 + 4 + 8 == sdk.query("c", last=timedelta(seconds=25)).sum
    assert 2 + 4 == sdk.query("c", since=at - 30, until=at - 10).sum == sdk.query("c", since=utc[0], until=utc[1]).sum
    assert 8 == sdk.query("c", since=at - 10).sum
    assert 2 + 4 == sdk.query("c", until=at - 10).sum  # three closed windows are kept, the first one is gone


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"last": 5, "since": 1}, "either last, or since and until"),
        ({"last": True}, "positive number of seconds"),
        ({"last": "5m"}, "positive number of seconds, or a timedelta"),
        ({"since": 10, "until": 10}, "since must be before until"),
        ({"since": datetime(2026, 1, 1)}, "no time zone"),
        ({"until": "now"}, "Unix seconds or a datetime"),
    ],
)
def test_what_is_no_interval_raises_and_says_why(sdk: MetricsSDK, asked: dict[str, Any], message: str) -> None:
    sdk.counter("c")
    with pytest.raises(ValueError, match=message):
        sdk.query("c", **asked)


def test_series_are_merged_by_the_values_of_the_attributes_asked_for(sdk: MetricsSDK) -> None:
    histogram = sdk.histogram("h")
    for route, code, value in (("/a", 200, 1), ("/a", 500, 2), ("/b", 200, 4), ("/b", 200, 8)):
        histogram.record(value, {"route": route, "code": code})
    histogram.record(16)
    by_route = sdk.query_by("h", "route", last=60)
    assert {"/a": 3, "/b": 12, None: 16} == {route: found.sum for route, found in by_route.items()}
    assert {"/a": 2, "/b": 8} == {route: found.max for route, found in sdk.query_by("h", "route").items() if route}
    both = sdk.query_by("h", "route", "code", attributes={"route": "/a"})
    assert {("/a", 200): 1, ("/a", 500): 2} == {key: found.sum for key, found in both.items()}
    with pytest.raises(ValueError, match="names of the attributes"):
        sdk.query_by("h")


def test_groups_are_ranked_by_what_is_asked_for(sdk: MetricsSDK) -> None:
    histogram = sdk.histogram("h")
    for route, values in {"/a": [1, 1, 1], "/b": [5], "/c": [2, 9]}.items():
        for value in values:
            histogram.record(value, {"route": route})
    groups = sdk.query_by("h", "route")
    chosen: list[tuple[Any, list[str]]] = [
        ("count", ["/a", "/c"]),
        ("sum", ["/c", "/b"]),
        ("p50", ["/b", "/c"]),
        ("max", ["/c", "/b"]),
        (lambda found: -found.count, ["/b", "/c"]),
    ]
    for by, expected in chosen:
        assert expected == [key for key, _found in groups.top(2, by=by)], by
    with pytest.raises(ValueError, match="a percentile such as 'p99'"):
        groups.top(1, by="p101")


def test_the_windows_of_an_answer_are_its_time_line_and_empty_ones_are_not_there(sdk: MetricsSDK, clock: ManualClock) -> None:
    gauge = sdk.gauge("g")
    for values in ([1, 5, 3], [], [7]):
        for value in values:
            gauge.set(value)
        clock.advance(10)
        sdk.flush()
    line = sdk.query("g", last=60).series()
    assert [(1_000_000, 1_000_010, 3, 1, 5, 3), (1_000_020, 1_000_030, 7, 7, 7, 7)] == [
        (one.start, one.end, one.last, one.min, one.max, one.mean) for one in line
    ]
    with pytest.raises(ValueError, match="has no windows"):
        sdk.query("g").series()


def test_the_average_rate_weighs_what_is_recent_more() -> None:
    clock = ManualClock(1_000_000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    counter = sdk.counter("c")
    for _ in range(360):  # an hour at 3 a second
        counter.add(30)
        clock.advance(10)
        sdk.flush()
    steady = sdk.query("c", last=3600)
    assert [pytest.approx(3.0)] * 3 == [steady.ewma(minutes) for minutes in (1, 5, 15)]
    for _ in range(6):  # a minute at 9 a second
        counter.add(90)
        clock.advance(10)
        sdk.flush()
    risen = sdk.query("c", last=3600)
    expected = [9 - 6 * math.exp(-1 / minutes) for minutes in (1, 5)]
    assert [pytest.approx(value, rel=1e-3) for value in expected] == [risen.ewma(minutes) for minutes in (1, 5)]
    with pytest.raises(ValueError, match="positive number of minutes"):
        risen.ewma(0)


def test_buckets_come_with_a_histograms_answer_and_with_no_others(sdk: MetricsSDK) -> None:
    sdk.counter("c").add(1)
    sdk.histogram("h", boundaries=[1, 2]).record(1.5)
    sdk.histogram("e").record(1.5)
    explicit, exponential = sdk.query("h").histogram(), sdk.query("e", last=5).histogram()
    assert isinstance(explicit, ExplicitBuckets)
    assert isinstance(exponential, ExponentialBuckets)
    assert ((0, 1, 0), 1) == (explicit.bucket_counts, sum(count for _bucket, count in exponential.positive))
    assert sdk.query("c").histogram() is None


def test_a_query_drains_the_series_it_selects_and_no_others(sdk: MetricsSDK) -> None:
    for name in ("a", "b"):
        for value in range(3):
            sdk.counter(name).add(1, {"k": value})
    assert (1, 5) == (sdk.query("a", {"k": 1}).sum, sdk.health().pending)
    assert (3, 3) == (sdk.query("a").sum, sdk.health().pending)


def test_attributes_that_were_asked_for_before_see_series_that_are_new(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    for number in range(3):
        counter.add(1, {"route": "/a", "number": number})
        assert number + 1 == sdk.query("c", {"route": "/a"}).sum
    for number in range(200):  # more choices than are remembered
        assert int(number < 3) == sdk.query("c", {"number": number}).count
