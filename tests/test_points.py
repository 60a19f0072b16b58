"""Values with a timestamp of their own: the window they belong to, what gives way where the buffer is full, and exact accounts."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock

NOW = 1_000_000.0


def made(**given: Any) -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(NOW)
    return MetricsSDK(Config(background=False, clock=clock, **given)), clock


@contextmanager
def held_back(sdk: MetricsSDK) -> Iterator[None]:
    """As if the flusher were stuck in the middle of a drain: another thread has the lock that it drains under."""
    holds, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with sdk._store.drain_lock:
            holds.set()
            ends.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_a_value_lands_in_the_window_of_its_time() -> None:
    sdk, clock = made(resolutions=[(10, 60), (30, 600)])
    clock.advance(300)
    now = clock.time()
    sdk.counter("c")
    sdk.record("c", 1, {"k": "v"}, timestamp=now)
    sdk.record("c", 2, {"k": "v"}, timestamp=now - 15)
    sdk.record("c", 4, {"k": "v"}, timestamp=datetime.fromtimestamp(now - 100, UTC))
    sdk.counter("c").put_at(now - 15, 8)
    found = {window.start: window.sum for window in sdk.query("c", since=NOW).series()}
    assert {now: 1, now - 20: 10, now - 100: 4} == found
    assert 15 == sdk.query("c").sum


def test_a_value_for_a_window_that_was_rolled_up_goes_into_what_took_its_place() -> None:
    sdk, clock = made(resolutions=[(10, 60), (30, 600)], allowed_lateness_seconds=1000)
    sdk.counter("c").add(1)
    clock.advance(400)
    sdk.flush()
    sdk.record("c", 2, timestamp=NOW + 7)
    assert [2, 1] == sorted((window.sum for window in sdk.query("c", until=NOW + 30).series()), reverse=True)
    sdk.flush()
    assert [3] == [window.sum for window in sdk.query("c", until=NOW + 30).series()]


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (NOW - 601, "late"),
        (NOW + 61, "invalid_timestamp"),
        (float("nan"), "invalid_timestamp"),
        ("now", "invalid_timestamp"),
        (True, "invalid_timestamp"),
        (datetime(2026, 1, 1), "invalid_timestamp"),
    ],
)
def test_what_has_no_acceptable_time_is_dropped_with_the_reason(timestamp: Any, reason: str) -> None:
    sdk, _clock = made()
    sdk.record("h", 1.0, timestamp=timestamp)
    sdk.flush()
    health = sdk.health()
    assert ({reason: 1}, 1, 0, 0) == (dict(health.dropped), health.received, health.merged, health.pending)


@pytest.mark.parametrize(("value", "reason"), [("x", "invalid_value"), (float("inf"), "non_finite"), (-1, "negative")])
def test_values_are_checked_as_without_a_timestamp(value: Any, reason: str) -> None:
    sdk, _clock = made()
    sdk.counter("c")
    sdk.record("c", value, timestamp=NOW)
    sdk.flush()
    assert ({reason: 1}, 1) == (dict(sdk.health().dropped), sdk.health().received)


def test_a_late_value_is_never_what_a_gauge_was_set_to_last() -> None:
    sdk, clock = made()
    gauge = sdk.gauge("g")
    gauge.set(5)
    sdk.flush()
    clock.advance(10)
    gauge.put_at(NOW - 20, 3)
    found = sdk.query("g")
    assert (5, 3, 2) == (found.last, found.min, found.count)


def test_points_wait_as_pending_and_count_as_received_and_merged() -> None:
    sdk, _clock = made()
    for i in range(5):
        sdk.record("h", i, {"i": i % 2}, timestamp=NOW)
    health = sdk.health()
    assert (5, 0, 5) == (health.received, health.merged, health.pending)
    sdk.flush()
    health = sdk.health()
    assert (5, 5, 0) == (health.received, health.merged, health.pending)


THREADS, EACH, SIZE = 8, 3000, 256


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest", "block"])
def test_a_flusher_that_is_held_back_costs_what_the_policy_says_and_the_account_is_exact(policy: Any, shards: int) -> None:
    sdk, _clock = made(point_overflow=policy, point_buffer_size=SIZE, point_block_seconds=0.0001, shards=shards)
    histogram = sdk.histogram("h")

    def work(me: int) -> None:
        for i in range(EACH):
            histogram.put_at(NOW - i % 50, me * EACH + i, {"k": i % 5})

    threads = [threading.Thread(target=work, args=(me,)) for me in range(THREADS)]
    with held_back(sdk):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        health = sdk.health()
        # Bounded; with the oldest dropped in small lots, and some more while another thread is at that.
        least, most = (SIZE - SIZE // 64, SIZE + 8192) if policy == "drop_oldest" else (SIZE, SIZE)
        assert shards * least <= sum(sdk._points.waiting().values()) <= shards * (most + THREADS)
        assert THREADS * EACH == health.received == health.pending + health.dropped.get("buffer_full", 0)
    sdk.flush()
    health = sdk.health()
    assert THREADS * EACH == health.received == health.merged + health.dropped["buffer_full"]
    assert (0, health.merged) == (health.pending, sdk.query("h", last=600).count)


def test_the_newest_give_way_or_the_oldest_as_configured() -> None:
    kept = {}
    for policy in ("drop_newest", "drop_oldest"):
        sdk, _clock = made(point_overflow=policy, point_buffer_size=4)
        for i in range(10):
            sdk.record("h", i, timestamp=NOW)
        sdk.flush()
        found = sdk.query("h")
        kept[policy] = (found.count, found.min, found.max)
        assert {"buffer_full": 6} == dict(sdk.health().dropped)
    assert {"drop_newest": (4, 0, 3), "drop_oldest": (4, 6, 9)} == kept


@pytest.mark.slow
def test_the_oldest_give_way_while_the_flusher_is_at_work_too() -> None:
    clock = ManualClock(NOW)
    sdk = MetricsSDK(
        Config(clock=clock, flush_interval_seconds=0.001, point_overflow="drop_oldest", point_buffer_size=50, resolutions=[])
    )
    for i in range(20_000):
        sdk.record("h", i, timestamp=NOW)
    assert sdk.flush()
    assert 19_999 == sdk.query("h").max
    assert 20_000 == sdk.health().merged + sdk.health().dropped.get("buffer_full", 0)
    assert sdk.shutdown()


def test_whoever_may_block_waits_for_room_and_loses_nothing() -> None:
    sdk, _clock = made(point_overflow="block", point_buffer_size=8, point_block_seconds=60)
    threads = [threading.Thread(target=lambda: [sdk.record("h", i, timestamp=NOW) for i in range(500)]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (THREADS * 500, {}) == (sdk.query("h").count, dict(sdk.health().dropped))


def test_waiting_ends_at_the_deadline() -> None:
    sdk, _clock = made(point_overflow="block", point_buffer_size=1, point_block_seconds=0.05)
    with held_back(sdk):
        started = time.monotonic()
        for _ in range(2):
            sdk.record("h", 1, timestamp=NOW)
        assert 0.05 <= time.monotonic() - started < 5
    sdk.flush()
    assert {"buffer_full": 1} == dict(sdk.health().dropped)


def test_a_signal_handler_never_waits() -> None:
    sdk, _clock = made(point_overflow="block", point_buffer_size=1, point_block_seconds=60)
    took: list[float] = []

    def handler(_number: int, _frame: FrameType | None) -> None:
        started = time.monotonic()
        sdk.record("h", 1, timestamp=NOW)
        took.append(time.monotonic() - started)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with held_back(sdk):
            sdk.record("h", 1, timestamp=NOW)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert took
            assert max(took) < 5
        sdk.flush()
        assert {"buffer_full": 1} == dict(sdk.health().dropped)
    finally:
        signal.signal(signal.SIGUSR1, before)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 14))
@pytest.mark.parametrize("what", ["put_late", "pack_late", "_merge", "_given"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_exception_in_the_middle_of_a_take_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, what: str, at: int, done: bool
) -> None:
    sdk, _clock = made()
    for i in range(60):
        sdk.record("h", i, {"k": i % 3}, timestamp=NOW - i)
    owner = type(sdk._store) if hasattr(sdk._store, what) else type(sdk._points)
    original = getattr(owner, what)
    calls = 0

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != at:
            return original(*args)
        if done:
            original(*args)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(owner, what, interrupted)
        try:
            sdk._store.drain()
        except Stop:
            pass
        health = sdk.health()
        assert 60 == health.received == health.merged + health.pending
    found = sdk.query("h", last=600)
    assert (60, 60, sum(range(60))) == (found.count, sdk.query("h").count, found.sum)
    assert (60, 60, 0) == (sdk.health().received, sdk.health().merged, sdk.health().pending)


def test_batches_of_several_shards_that_are_cut_short_double_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk, _clock = made(shards=4)

    def record() -> None:
        for i in range(20):
            sdk.record("h", 1, {"k": i % 3}, timestamp=NOW - i)

    for _ in range(4):
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    source = random.Random(2)
    merge = type(sdk._points)._merge

    def interrupted(*args: Any) -> None:
        if source.random() < 0.3:
            raise Stop
        merge(*args)
        if source.random() < 0.3:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(type(sdk._points), "_merge", interrupted)
        for _ in range(20):
            with contextlib.suppress(Stop):
                sdk._store.drain()
    found = sdk.query("h", last=600)
    assert (80, 80, 80) == (found.count, sdk.query("h").count, sdk.health().merged)


def test_a_forked_child_begins_without_the_points_of_its_parent() -> None:
    sdk, _clock = made()
    for _ in range(3):
        sdk.record("h", 1, timestamp=NOW)
    pid = os.fork()
    if pid == 0:
        sdk.record("h", 1, timestamp=NOW)
        sdk.flush()
        os._exit(sdk.health().merged)
    assert 1 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert 3 == sdk.query("h").count
