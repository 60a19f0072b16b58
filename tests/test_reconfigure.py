"""Configuration that changes while running: one call that all parts hear, and no value lost meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.exporters import MemoryExporter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_020.0)


@pytest.fixture
def sdk(clock: ManualClock) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=clock, resolutions=[(10, 60), (60, 600)]))


def pass_windows(sdk: MetricsSDK, clock: ManualClock, windows: int, width: float = 10) -> None:
    for _ in range(windows):
        sdk.counter("c").add(1, {"k": "v"})
        clock.advance(width)
        sdk.flush()


def test_an_instrument_that_is_turned_off_counts_what_it_is_given_as_disabled_and_goes_on_later(sdk: MetricsSDK) -> None:
    counter, other = sdk.counter("http.requests"), sdk.counter("jobs")
    bound = counter.bind({"route": "/a"})

    def record() -> None:
        counter.add(1)
        counter.add(1, {"k": 1})
        bound.add(1)
        sdk.record("HTTP.requests", 1, {"k": 2})
        sdk.record("http.requests", 1, timestamp=1_000_020.0)
        other.add(1)

    record()
    sdk.reconfigure(disabled=["HTTP.*"])
    record()
    sdk.counter("http.new").add(1)
    sdk.flush()
    health = sdk.health()
    assert (5, 2, {"disabled": 6}) == (sdk.query("http.requests").sum, sdk.query("jobs").sum, dict(health.dropped))
    assert health.received == health.merged + sum(health.dropped.values())
    assert (10, {"disabled": 5}) == (
        health.instruments["http.requests"].received,
        dict(health.instruments["http.requests"].dropped),
    )
    sdk.reconfigure(disabled=[])
    record()
    sdk.counter("http.new").add(1)
    assert (10, 3, 1) == (sdk.query("http.requests").sum, sdk.query("jobs").sum, sdk.query("http.new").sum)


def test_instruments_may_be_turned_off_from_the_start() -> None:
    sdk = MetricsSDK(Config(background=False, disabled=["cache.*"]))
    sdk.record("cache.hits", 1)
    sdk.counter("cache.misses").add(1)
    sdk.flush()
    assert {"disabled": 2} == dict(sdk.health().dropped)


def test_an_instrument_without_windows_has_totals_only(sdk: MetricsSDK, clock: ManualClock) -> None:
    pass_windows(sdk, clock, 2)
    sdk.reconfigure(without_windows=["c"])
    pass_windows(sdk, clock, 3)
    assert 5 == sdk.query("c").sum
    with pytest.raises(ValueError, match="only totals"):
        sdk.query("c", last=600)
    assert {} == sdk.query_all(last=600)
    sdk.reconfigure(without_windows=[])
    pass_windows(sdk, clock, 1)
    assert (6, 3) == (sdk.query("c").sum, sdk.query("c", last=600).sum)


@pytest.mark.parametrize(
    ("resolutions", "widths"),
    [
        ([(20, 120), (60, 600)], [10] * 6),  # they keep their width until they are rolled up
        ([(10, 120)], [10] * 6),
        ([(5, 600), (10, 1200)], [10] * 6),
    ],
)
def test_closed_windows_are_kept_where_their_width_divides_a_new_one(
    sdk: MetricsSDK, clock: ManualClock, resolutions: Any, widths: list[float]
) -> None:
    pass_windows(sdk, clock, 6)
    sdk.reconfigure(resolutions=resolutions)
    found = sdk.query("c", since=1_000_000)
    assert (6, widths) == (found.sum, [window.end - window.start for window in found.series()])
    pass_windows(sdk, clock, 2, width=resolutions[0][0])
    assert (8, 8) == (sdk.query("c").sum, sdk.query("c", since=1_000_000).sum)


def test_a_coarser_resolution_hides_no_window_that_is_there(sdk: MetricsSDK, clock: ManualClock) -> None:
    for number in range(30):
        pass_windows(sdk, clock, 1)
        if number == 15:
            sdk.reconfigure(resolutions=[(10, 60), (120, 1200)])
    assert (30, 30) == (sdk.query("c").sum, sdk.query("c", last=1200).sum)
    clock.advance(500)
    sdk.flush()
    found = sdk.query("c", last=1200)
    assert (30, {120}) == (found.sum, {round(window.end - window.start) for window in found.series()[1:-1]})


def test_windows_may_be_turned_off_and_on(sdk: MetricsSDK, clock: ManualClock) -> None:
    pass_windows(sdk, clock, 2)
    sdk.reconfigure(resolutions=[])
    pass_windows(sdk, clock, 2)
    assert 4 == sdk.query("c").sum
    with pytest.raises(ValueError, match="windows are turned off"):
        sdk.query("c", last=10)
    sdk.reconfigure(resolutions=[(30, 300)])
    pass_windows(sdk, clock, 1, width=30)
    found = sdk.query("c", last=300)
    assert (5, 1, 30) == (sdk.query("c").sum, found.sum, found.seconds)  # nothing is said of the time without windows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_buckets": 160}, "max_buckets cannot be changed while running"),
        ({"resolutions": [(7, 10)]}, "multiple of its width"),
        ({"disabled": "http.*"}, "list of patterns"),
        ({"exporters": [MemoryExporter()]}, "cannot be added while running"),
        ({"flush_interval_seconds": 0}, "positive number of seconds"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_changes(sdk: MetricsSDK, changes: dict[str, Any], message: str) -> None:
    before = sdk.config
    with pytest.raises(ConfigurationError, match=message):
        sdk.reconfigure(**changes)
    assert before is sdk.config


def test_a_subscribers_windows_cannot_be_taken_away(sdk: MetricsSDK) -> None:
    sdk.subscribe(lambda window: None, every=30)
    with pytest.raises(ConfigurationError, match="cannot be made of windows of 20"):
        sdk.reconfigure(resolutions=[(20, 200)])


@pytest.mark.slow
def test_the_flusher_and_the_exporters_hear_of_new_intervals_at_once(run_python: Callable[..., str]) -> None:
    program = """
import threading
from metrics_sdk import Config, Export, MetricsSDK
class Exporter:
    def __init__(self): self.exports = threading.Semaphore(0)
    def export(self, snapshot, timeout): self.exports.release()
    def shutdown(self): pass
exporter = Exporter()
sdk = MetricsSDK(Config(flush_interval_seconds=3600, exporters=[Export(exporter, interval_seconds=3600)], resolutions=[]))
sdk.counter("c").add(1)
sdk.reconfigure(flush_interval_seconds=0.01, exporters=[Export(exporter, interval_seconds=0.01)])
print(all([exporter.exports.acquire(timeout=20) for _ in range(5)]), sdk.health().flushes >= 5)
sdk.shutdown()
"""
    assert "True True\n" == run_python(program)


@pytest.mark.slow
def test_changes_under_load_lose_nothing(clock: ManualClock) -> None:
    sdk = MetricsSDK(Config(flush_interval_seconds=0.01, resolutions=[(0.05, 1)], exporters=[Export(MemoryExporter())]))
    counter = sdk.counter("c")
    threads = [threading.Thread(target=lambda: [counter.add(1, {"i": i % 7}) for i in range(20_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    changes: list[dict[str, Any]] = [
        {"resolutions": [(0.1, 1)]},
        {"disabled": ["c"]},
        {"resolutions": []},
        {"disabled": []},
        {"resolutions": [(0.02, 1), (0.1, 2)]},
        {"without_windows": ["*"]},
        {"without_windows": []},
    ]
    while any(thread.is_alive() for thread in threads):
        for change in changes:
            sdk.reconfigure(**change)
    for thread in threads:
        thread.join()
    assert sdk.shutdown(10)
    health = sdk.health()
    assert 80_000 == health.received == health.merged + health.dropped.get("disabled", 0)
    assert health.merged == sdk.query("c").sum
    assert {} == dict(health.faults)
