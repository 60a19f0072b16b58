"""Does the host feel the flusher, or a scrape?

A loop of 65 µs of plain Python at a time, in a process of its own, while many series are active: each is recorded into about
once a second. How much longer do the slowest of these units take: p99.9, and the longest? The loop without an SDK is measured
alike. "over 1 ms" is the share of the time that went into units of more than a millisecond.

A unit's time is the processor time of the whole process: what other threads of it took while the unit waited for the GIL is in
it, what other processes of a shared machine took is not.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import harness
import peers
from report import Report

UNIT_SECONDS = 65e-6
RECORDS_PER_UNIT = 4  # 13,000 units a second: 52,000 records
SCRAPED = 20_000


def spin(turns: int) -> int:
    """Do plain Python work, as a host does."""
    total = 0
    for i in range(turns):
        total += i & 7
    return total


def turns_for(seconds: float) -> int:
    """Return how many turns take so long where nothing disturbs."""
    best = min(_timed(lambda: spin(1000)) for _ in range(300))
    return max(1, int(1000 * seconds / best))


def _timed(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def loop(verbs: list[Callable[[], None]], seconds: float) -> list[float]:
    """Work for `seconds`, unit by unit, recording in turn; return how long each unit took."""
    turns = turns_for(UNIT_SECONDS)
    taken: list[float] = []
    at, size, now = 0, len(verbs), time.process_time
    began = before = now()
    while before - began < seconds:
        spin(turns)
        for _ in range(RECORDS_PER_UNIT):
            verbs[at]()
            at += 1
            if at == size:
                at = 0
        after = now()
        taken.append(after - before)
        before = after
    return taken


def nothing() -> None:
    """Stand in for a record."""


def ours(series: int, kind: str) -> tuple[Any, list[Callable[[], None]], Callable[[int], None]]:
    from metrics_sdk import Config, MetricsSDK

    sdk = MetricsSDK(Config(max_series_per_instrument=series + 10))
    if kind == "counter":
        made = sdk.counter("x")
        verbs = [partial(made.bind({"id": i}).add, 1) for i in range(series)]
    else:
        histogram = sdk.histogram("x")
        verbs = [partial(histogram.bind({"id": i}).record, 0.1 + i % 7) for i in range(series)]

    def check(calls: int) -> None:
        found = sdk.query("x").count
        assert found == calls, f"the count should be {calls}, it is {found}"

    return sdk, verbs, check


def prometheus(series: int) -> tuple[Any, list[Callable[[], None]], Callable[[int], None]]:
    peer = peers.Prometheus()
    made = peer.counter("x", ("id",))
    verbs = [made.labels(i).inc for i in range(series)]
    return peer, verbs, lambda calls: None


def scraping(render: Callable[[], object], seconds: float, stop: threading.Event) -> threading.Thread:
    """Call `render` in another thread, first after half of `seconds`, then every 5."""

    def run() -> None:
        wait = seconds / 2 if seconds < 5 else 2.5
        while not stop.wait(wait):
            render()
            wait = 5.0

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def measure(what: str, series: int, seconds: float) -> dict[str, float]:
    """Return p99.9, longest and median unit in ms, measured in this very process."""
    stop = threading.Event()
    thread = None

    def check(calls: int) -> None: ...

    if what == "nothing":
        verbs = [nothing] * series
    elif what == "prometheus scraped":
        peer, verbs, check = prometheus(series)
        thread = scraping(lambda: peer.client.generate_latest(peer.registry), seconds, stop)
    else:
        kind = "histogram" if "histograms" in what else "counter"
        sdk, verbs, check = ours(series, kind)
        if what == "scraped":
            from metrics_sdk_prometheus import Renderer

            renderer = Renderer()
            thread = scraping(lambda: renderer.render(sdk.snapshot()), seconds, stop)
    if series <= SCRAPED:
        for verb in verbs:  # every series has to be there for the first scrape
            verb()
    collections: list[float] = []
    gc.callbacks.append(lambda phase, about: collections.append(time.process_time()))
    taken = loop(verbs, seconds)
    gc.callbacks.clear()
    stop.set()
    if thread is not None:
        thread.join()
    check(len(taken) * RECORDS_PER_UNIT + (series if series <= SCRAPED else 0))
    taken.sort()
    late = sum([one for one in taken if one > 1e-3]) / sum(taken) * 1e6  # µs per second
    pauses = [b - a for a, b in zip(collections[::2], collections[1::2])]  # it calls back at the start and at the end
    return {
        "over 1 ms": late / 1e3,
        "longest garbage collection": max(pauses, default=0.0) * 1e3,
        "p99.9": taken[int(len(taken) * 0.999)] * 1e3,
        "longest": taken[-1] * 1e3,
        "median": taken[len(taken) // 2] * 1e3,
    }


def in_process(what: str, series: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--measure", what, str(series), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{what}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("host.py", "does the host feel the flusher, or a scrape", settings)
    active, scraped = settings.size(50_000, 5_000), settings.size(SCRAPED, 2_000)
    seconds = 0.6 if settings.quick else 6.0
    setups = {"nothing": active, "counters flushed": active, "histograms flushed": active, "scraped": scraped}
    if peers.Prometheus().client:
        setups["prometheus scraped"] = scraped
    found: dict[str, list[dict[str, float]]] = {what: [] for what in setups}
    for _ in range(5):
        for what, series in setups.items():
            try:
                found[what].append(in_process(what, series, seconds))
            except AssertionError as error:
                report.failures.append(str(error))
                return report.finish()
    for what, runs in found.items():
        for figure in ("median", "p99.9", "longest", "longest garbage collection", "over 1 ms"):
            report.row(f"{what}: {figure}", [run[figure] for run in runs], "ms/s" if figure.startswith("over") else "ms")
    plain = {figure: median([run[figure] for run in found["nothing"]]) for figure in ("p99.9", "longest")}
    for what in list(setups)[1:]:
        for figure, goal in (("p99.9", 1.0), ("longest", 5.0)):
            added = [run[figure] - plain[figure] for run in found[what]]
            own = not what.startswith("prometheus")
            report.row(f"added by {what}: {figure}", added, "ms", at_most=goal if own else None, readme=own)
    for figure in ("p99.9", "longest"):
        report.compare(f"scraped: {figure}", f"prometheus scraped: {figure}", 1)
    return report.finish()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
        sys.exit()
    sys.exit(main())
