"""A program of greenlets, which patches the standard library at a time that it is told: `main(when)`."""

from __future__ import annotations

import threading
import time

import gevent
from gevent import monkey


class Slow:
    """An exporter that takes its time, with a sleep that is gevent's where that is patched."""

    seconds = 0.0

    def export(self, snapshot: object, timeout: float) -> None:
        """Take so long."""
        time.sleep(self.seconds)

    def shutdown(self) -> None:
        """Let go of what gevent has made for the thread that is no greenlet."""
        if threading.get_native_id() != threading.main_thread().native_id:
            gevent.get_hub().destroy()


class Hub:
    """Measures for how long no other greenlet had a turn."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._ticking = gevent.spawn(self._tick)

    def _tick(self) -> None:
        while True:
            before = time.perf_counter()
            gevent.sleep(0.005)
            self.longest = max(self.longest, time.perf_counter() - before - 0.005)

    def blocked(self) -> float:
        """Return the longest time since this was asked last."""
        gevent.sleep(0.02)  # it has its turn, and knows
        longest, self.longest = self.longest, 0.0
        return longest

    def close(self) -> None:
        """Measure no more."""
        self._ticking.kill()


def main(when: str) -> None:
    """Have 50 greenlets record, flush and fork, and pass the standard check."""
    if when == "before-import":
        monkey.patch_all()
    import os

    from catalogue.host import Host

    import metrics_sdk as metrics

    if when == "after-import":
        monkey.patch_all()
    gevent.sleep(0)  # the hub has descriptors of its own
    host = Host(when, __import__("pathlib").Path.cwd())
    slow = Slow()
    sdk = host.sdk(flush_interval_seconds=0.1, exporters=[metrics.Export(slow, interval_seconds=60)])
    if when == "after-construction":
        monkey.patch_all()
    counter, size = sdk.counter("c"), sdk.histogram("h")
    if when == "after-recording":
        counter.add(0)
        assert sdk.flush(10)
        monkey.patch_all()

    def work(number: int) -> None:
        for turn in range(100):
            counter.add(1, {"worker": number})
            size.record(turn)
            if turn % 10 == 0:
                gevent.sleep(0)

    hub = Hub()
    workers = [gevent.spawn(work, number) for number in range(50)]
    flushes = [gevent.spawn(sdk.flush, 10) for _ in range(5)]
    gevent.joinall([*workers, *flushes], raise_error=True)
    assert all([flush.value for flush in flushes]), sdk.health()
    assert sdk.flush(10), sdk.health()
    assert (sdk.query("c").sum, sdk.query("h").count) == (5000, 5000), sdk.health()
    hub.blocked()
    started = time.perf_counter()
    gevent.sleep(0.5)  # several passes of the flusher
    assert hub.blocked() < 0.25, "the flusher blocks the hub"

    slow.seconds = 0.5
    started = time.perf_counter()
    counter.add(1)
    assert gevent.spawn(sdk.flush, 10).get(), sdk.health()
    assert time.perf_counter() - started < 5
    blocked = hub.blocked()
    # Threads that are greenlets let others have their turn; before a patch that comes late they are none, and flush() waits.
    assert blocked < (0.25 if when == "before-import" else 2.0), blocked
    slow.seconds = 0.0

    def child() -> None:
        counter.add(2)
        assert sdk.flush(5), sdk.health()
        assert host.ledger(sdk).total("c") == 2, host.ledger(sdk).last

    assert host.ended_well(host.forked(child)), "a forked child failed"
    hub.close()
    assert host.ledger(sdk).total("c") == 5001
    host.check()
    assert not sdk.health().faults, sdk.health().faults
    os.write(1, b"passed\n")
