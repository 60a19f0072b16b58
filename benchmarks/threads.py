"""Does recording collapse when several threads do it?

1, 2 and 4 threads, all on one series or each on its own; million records a second, all threads together.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import peers
from report import Report

import metrics_sdk

THREADS = (1, 2, 4)
_runs = itertools.count()


def throughput(bodies: list[Callable[[int], None]], records: int) -> float:
    """Return million records a second of as many threads as there are bodies, each of which makes `records`."""
    start = threading.Barrier(len(bodies) + 1)
    ready: list[float] = []

    def run(body: Callable[[int], None]) -> None:
        start.wait()
        body(records)
        ready.append(time.perf_counter())

    running = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in running:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in running:
        thread.join()
    return records * len(bodies) / (max(ready) - began) / 1e6


def counting(record: Callable[[Any], None], value: Any, times: int) -> None:
    for _ in range(times):
        record(value)


def shapes(peer: Any) -> dict[str, Callable[[int, bool, int], float]]:
    """Return by name what runs one measurement: (threads, one series, records per thread) to throughput, checked."""

    def ours(kind: str, threads: int, shared: bool, records: int) -> float:
        name = f"{kind}.{next(_runs)}"
        made = metrics_sdk.counter(name) if kind == "counter" else metrics_sdk.histogram(name)
        handles: list[Any] = [made if shared else made.bind({"thread": i}) for i in range(threads)]
        verb = "add" if kind == "counter" else "record"
        value = 1 if kind == "counter" else 0.123
        found = throughput([partial(counting, getattr(handle, verb), value) for handle in handles], records)
        count = metrics_sdk.query(name).count
        assert count == threads * records, f"{name}: the count should be {threads * records}, it is {count}"
        return found

    def theirs(kind: str, threads: int, shared: bool, records: int) -> float:
        name = f"{kind}_{next(_runs)}"
        labels = () if shared else ("thread",)
        made = peer.counter(name, labels) if kind == "counter" else peer.histogram(name, labels)
        handles = [made if shared else made.labels(i) for i in range(threads)]
        verb, value = ("inc", 1) if kind == "counter" else ("observe", 0.123)
        return throughput([partial(counting, getattr(handle, verb), value) for handle in handles], max(1, records // 10))

    def opentelemetry(threads: int, shared: bool, records: int) -> float:
        made = other.meter.create_histogram(f"histogram{next(_runs)}")
        attributes = [{} if shared else {"thread": i} for i in range(threads)]
        bodies = [partial(counting, partial(made.record, attributes=given), 0.123) for given in attributes]
        return throughput(bodies, max(1, records // 50))

    made = {"counter": partial(ours, "counter"), "histogram": partial(ours, "histogram")}
    if peer.client:
        made |= {"prometheus counter": partial(theirs, "counter"), "prometheus histogram": partial(theirs, "histogram")}
    other = peers.OpenTelemetry()
    if other.metrics:
        made["opentelemetry histogram"] = opentelemetry
    return made


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("threads.py", "does recording collapse when several threads do it", settings)
    metrics_sdk.configure(metrics_sdk.Config(max_instruments=100_000))
    records = settings.size(400_000, 20_000) if metrics_sdk.health().compiled else settings.size(100_000, 10_000)
    jobs: dict[str, Callable[[], float]] = {}
    runners = shapes(peers.Prometheus())
    for what, run in runners.items():
        for shared in (True, False):
            for threads in THREADS:
                series = "one series" if shared else "own series"
                jobs[f"{what}, {series}, {threads} threads"] = partial(run, threads, shared, records)
    try:
        samples = harness.interleaved(jobs, settings.rounds if settings.quick else 7)
    except AssertionError as error:
        report.failures.append(str(error))
        return report.finish()
    for name, taken in samples.items():
        report.row(name, taken, "M/s", readme=name in ("counter, one series, 2 threads", "histogram, one series, 2 threads"))
    for what in runners:
        for series in ("one series", "own series"):
            for threads in THREADS:
                name = f"{what}, {series}, {threads} threads"
                if threads > 1:
                    goal = 0.9 if what in ("counter", "histogram") else None
                    report.compare(name, f"{what}, {series}, 1 threads", goal, inverse=True, what="of its throughput")
                if what in ("counter", "histogram"):
                    report.compare(
                        name, f"prometheus {what}, {series}, {threads} threads", inverse=True, what="of its throughput"
                    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
