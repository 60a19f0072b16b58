"""How long does a query take, and what do windows cost in memory and in recording?

Queries of the last 5 minutes, 30 windows, of 1,000 histogram series with 40 buckets in use each, and of one of them, while
100,000 other series are there and being recorded. Memory of the windows of one series among 64 with the default resolutions,
all of them full: of a busy latency, of a quiet one, of a counter, and of one that is idle. One that is alone takes up to 40 kB
more, for the dicts that it shares with nobody.
"""

from __future__ import annotations

import gc
import math
import random
import threading
import time
import tracemalloc
from typing import Any

import harness
from report import Report

import metrics_sdk
from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock

SERIES = 1000
WINDOWS = 30
BUCKETS = 40
STREAMS = {"busy latency, 1,000 values/s": 10_000, "latency, 20 values/s": 200, "latency, 1 value/s": 10}


def filled(others: int) -> tuple[MetricsSDK, Any]:
    """Return an SDK with the windows that are asked for, and so many other series."""
    clock = ManualClock(1_000_000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock, max_series_per_instrument=200_000))
    histogram = sdk.histogram("latency")
    bound = [histogram.bind({"route": f"/{i % 100}", "host": str(i)}) for i in range(SERIES)]
    values = [0.01 * 2 ** (i / 32) for i in range(BUCKETS)]
    for _ in range(WINDOWS):
        for one in bound:
            for value in values:
                one.record(value)
        clock.advance(10)
        sdk.flush()
    other = sdk.histogram("other")
    counters = [other.bind({"i": i}) for i in range(others)]
    for one in counters:
        one.record(0.1)
    return sdk, counters


def timed_queries(report: Report, settings: harness.Settings) -> None:
    """Time the queries while a thread records into the other series."""
    sdk, counters = filled(settings.size(100_000, 2_000))
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            for one in counters[:1000]:
                one.record(0.1)
            time.sleep(0.001)

    def seconds(job: Any, times: int) -> float:
        started = time.thread_time()
        for _ in range(times):
            job()
        return (time.thread_time() - started) / times * 1e3

    jobs = {
        f"5 minutes of {SERIES} series": lambda: sdk.query("latency", last=300).percentile(99),
        "the same by route, 100 of them": lambda: sdk.query_by("latency", "route", last=300).top(5, by="p99"),
        "5 minutes of one series": lambda: sdk.query("latency", {"host": "7"}, last=300).percentile(99),
        "one series, of all time": lambda: sdk.query("latency", {"host": "7"}).percentile(99),
    }
    goals = {f"5 minutes of {SERIES} series": 60.0, "5 minutes of one series": 0.3}
    thread = threading.Thread(target=record)
    thread.start()
    try:
        for name, job in jobs.items():
            times = 1 if "series" in name and "one" not in name else 50
            samples = [seconds(job, times) for _ in range(settings.rounds + 1)][1:]
            report.row(name, samples, "ms", at_most=goals.get(name), readme=name in goals)
    finally:
        stop.set()
        thread.join()
    found = sdk.query("latency", last=300)
    report.check("values in 5 minutes", SERIES * WINDOWS * BUCKETS, found.count)


def bytes_of_windows(fill: Any, series: int, quick: bool) -> float:
    """Return what the windows of a series take once all that the default resolutions keep are full."""
    clock = ManualClock(1_000_020.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    bound = [sdk.histogram("latency").bind({"host": str(i)}) for i in range(series)]
    counts = [sdk.counter("requests").bind({"host": str(i)}) for i in range(series)]
    fill(bound, counts)
    clock.advance(10)
    sdk.flush()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100 if quick else 790):  # 2 hours, and 10 minutes
        fill(bound, counts)
        clock.advance(10)
        sdk.flush()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / series


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("query.py", "how long queries take, and what windows cost", settings)
    timed_queries(report, settings)
    source = random.Random(5)
    for name, values in STREAMS.items():
        drawn = [[0.02 * math.exp(source.gauss(0.0, 0.5)) for _ in range(values)] for _ in range(20)]

        def fill(bound: list[Any], _counts: list[Any], drawn: list[list[float]] = drawn) -> None:
            for one in bound:
                record = one.record
                for value in source.choice(drawn):
                    record(value)

        size = 4 if settings.quick else 64
        goal = 60_000 if values > 1000 and not settings.quick else None
        readme = values > 1000
        report.row(f"windows of 2 h: {name}", [bytes_of_windows(fill, size, settings.quick)], "B", at_most=goal, readme=readme)
    report.row("windows of 2 h: counter", [bytes_of_windows(lambda _b, c: [one.add() for one in c], 64, settings.quick)], "B")
    report.row("windows of 2 h: idle series", [bytes_of_windows(lambda _b, _c: None, 64, settings.quick)], "B", readme=True)
    assert metrics_sdk.__all__
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
