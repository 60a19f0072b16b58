"""Conservation: whatever the threads do, every value is in the totals, exactly once.

METRICS_SDK_RECORDS sets the records per thread; `make soak` runs with 500,000.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest
from metrics_sdk_prometheus import wsgi_app

from metrics_sdk.config import Config
from metrics_sdk.core.build import COMPILED
from metrics_sdk.sdk import MetricsSDK

RECORDS = int(os.environ.get("METRICS_SDK_RECORDS", "16000"))
THREADS = 16
LIVES = 8  # each of the 16 is so many threads, one after the other


@pytest.fixture
def _hurried() -> Iterator[None]:
    """The GIL changes hands as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Workload:
    """Records of every kind, with and without attributes, and its own count of them."""

    def __init__(self, sdk: MetricsSDK) -> None:
        self.sdk = sdk
        self.counter = sdk.counter("c")
        self.depth = sdk.up_down_counter("d")
        self.latency = sdk.histogram("h", unit="s")
        self.size = sdk.histogram("e", boundaries=[1, 10, 100])
        self.gauge = sdk.gauge("g")
        self.counts: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()
        self._adding = threading.Lock()

    def live(self, seed: int, records: int) -> None:
        source = random.Random(seed)
        bound = self.counter.bind({"bound": seed % 3})
        counts: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for _ in range(records):
            n = source.randrange(1, 128)
            choice = n & 7
            route = {"route": f"/{n % 5}", "code": n % 3}
            if choice == 0:
                self.counter.add(n)
                name = "c"
            elif choice == 1:
                self.counter.add(n, route)
                name = "c"
            elif choice == 2:
                bound.add(n)
                name = "c"
            elif choice == 3:
                self.depth.add(-n, route)
                name, n = "d", -n
            elif choice == 4:
                self.latency.record(n / 64, route)
                name = "h"
            elif choice == 5:
                self.size.record(n)
                name = "e"
            elif choice == 6:
                self.gauge.set(n, {"thread": seed % THREADS})
                name = "g"
            else:
                self.sdk.record("h", n / 64)
                name = "h"
            counts[name] += 1
            sums[name] += n
        with self._adding:
            self.counts.update(counts)
            self.sums.update(sums)


def read_at_random(sdk: MetricsSDK, stop: threading.Event) -> None:
    scrape = wsgi_app(sdk)
    source = random.Random(5)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}
    while not stop.is_set():
        choice = source.randrange(5)
        if choice == 0:
            sdk.flush()
        elif choice == 1:
            sdk.snapshot()
        elif choice == 2:
            sdk.query("h", {"code": 1}).percentile(99)
        elif choice == 3:
            sdk.query_all()
        else:
            b"".join(scrape(environ, lambda *_: None))


@pytest.mark.slow
@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("shards", [1, 8])
def test_totals_are_exact_while_threads_come_and_go_and_readers_read(shards: int) -> None:
    sdk = MetricsSDK(Config(shards=shards, flush_interval_seconds=0.05, resolutions=[(0.2, 1), (1, 5)]))
    workload = Workload(sdk)
    stop = threading.Event()
    reader = threading.Thread(target=read_at_random, args=(sdk, stop))
    reader.start()

    def lives(slot: int) -> None:
        for life in range(LIVES):
            one = threading.Thread(target=workload.live, args=(slot + life * THREADS, RECORDS // LIVES))
            one.start()
            one.join()

    slots = [threading.Thread(target=lives, args=(slot,)) for slot in range(THREADS)]
    for slot in slots:
        slot.start()
    if COMPILED:  # keep cells busy, so that the append branch runs as well
        cells = workload.counter.route.bare.series.cell.parts()
        while any(slot.is_alive() for slot in slots):
            for cell in cells or workload.counter.route.bare.series.cell.parts():
                cell.hold()  # type: ignore[attr-defined]
                slots[0].join(0.002)
                cell.release()  # type: ignore[attr-defined]
                slots[0].join(0.002)
    for slot in slots:
        slot.join()
    stop.set()
    reader.join()
    assert sdk.shutdown(30)

    health = sdk.health()
    expected = THREADS * LIVES * (RECORDS // LIVES)
    assert (expected, expected, {}, 0) == (health.received, health.merged, health.dropped, health.pending)
    assert not health.faults
    for name, count in workload.counts.items():
        found = sdk.query(name)
        scale = 64 if name == "h" else 1
        assert (count, workload.sums[name] / scale) == (found.count, found.sum), name
        assert count == health.instruments[name].received == health.instruments[name].merged
    if COMPILED:
        assert health.contended > 0


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 8])
def test_10_000_threads_that_record_and_die_are_all_counted_and_leave_nothing_behind(shards: int) -> None:
    sdk = MetricsSDK(Config(shards=shards, flush_interval_seconds=0.05))
    counter, latency = sdk.counter("c"), sdk.histogram("h")

    def life() -> None:
        for _ in range(3):
            counter.add(1, {"k": "v"})
            latency.record(0.5)

    def generation(size: int) -> None:
        threads = [threading.Thread(target=life) for _ in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    generation(50)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(199):
            generation(50)
        sdk.flush()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (30_000, 30_000) == (sdk.query("c").sum, sdk.query("h").count)
    health = sdk.health()
    assert (60_000, 60_000, 0) == (health.received, health.merged, health.pending)
    assert after - before < 200_000
    sdk.shutdown()
