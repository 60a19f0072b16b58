"""The background thread: when it runs, and that it goes on whatever is thrown into it."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.002)


def test_it_starts_with_the_first_recording_and_merges_by_itself() -> None:
    sdk = MetricsSDK(Config(flush_interval_seconds=0.01))
    counter = sdk.counter("c")
    assert not sdk.health().flusher_running
    counter.add(1)
    until(lambda: sdk.health().merged == 1)
    assert sdk.health().flusher_running
    assert sdk.shutdown()
    until(lambda: not sdk.health().flusher_running)


def test_it_closes_windows_at_their_edges() -> None:
    sdk = MetricsSDK(Config(flush_interval_seconds=10, resolutions=[(0.05, 1)]))
    sdk.counter("c").add(1)
    until(lambda: sdk.health().flushes >= 4)
    assert sdk.query("c", last=0.001).sum == 0
    assert sdk.shutdown()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_an_exception_thrown_into_its_thread_loses_nothing_and_it_goes_on(error: type[BaseException]) -> None:
    sdk = MetricsSDK(Config(flush_interval_seconds=0.002, resolutions=[(0.01, 0.1), (0.1, 1)]))
    counters = [sdk.counter(f"c{i}") for i in range(50)]
    total = 0
    for _ in range(20):
        for counter in counters:
            counter.add(1, {"k": total % 7})
            total += 1
        ident = sdk._flusher._ident
        if ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))
        flushes = sdk.health().flushes
        until(lambda: sdk.health().flushes > flushes)
    assert sdk.flush()
    health = sdk.health()
    assert (total, total, 0) == (health.received, health.merged, health.pending)
    assert total == sum(sdk.query(f"c{i}").sum for i in range(50))
    assert sdk.shutdown()


def test_a_pass_that_fails_is_counted_and_logged_once_and_the_next_one_works(caplog: Any, monkeypatch: Any) -> None:
    sdk = MetricsSDK(Config(flush_interval_seconds=0.005))
    drain = sdk._store.drain
    failures = iter([True] * 3)

    def failing(*args: Any, **kwargs: Any) -> bool:
        if next(failures, False):
            raise RuntimeError("no")
        return drain(*args, **kwargs)

    monkeypatch.setattr(sdk._store, "drain", failing)
    with caplog.at_level(logging.WARNING):
        sdk.counter("c").add(1)
        until(lambda: sdk.health().merged == 1)
    assert 3 == sdk.health().faults["flusher"]
    assert 1 == sum("pass of the flusher failed" in record.getMessage() for record in caplog.records)
    assert sdk.shutdown()


def test_the_health_report_is_logged_when_it_is_asked_for(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="metrics_sdk"):
        sdk = MetricsSDK(Config(flush_interval_seconds=0.005, health_report_interval_seconds=0.01))
        sdk.counter("c").add(1)
        until(lambda: any("report: received 1, merged 1" in record.getMessage() for record in caplog.records))
        assert sdk.shutdown()
