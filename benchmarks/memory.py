"""How much memory does a series take?

Each kind in a process of its own: what `tracemalloc` sees, and apart from it how much the process has grown. Names and values
of the attributes belong to the application and exist before; everything else counts: the attributes' index, the cell, the
total.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import harness
import peers
from flush import CLOSE, SPREAD
from report import Report

import metrics_sdk

KINDS = {
    "counter": "counter",
    "close": "exponential histogram, 20 buckets within a tenth",
    "spread": "exponential histogram, 20 buckets over 1 ms .. 1 s",
    "one": "exponential histogram, 1 bucket",
    "explicit": "explicit histogram, 14 boundaries",
    "scraped": "counter, after two scrapes",
}


def build_ours(kind: str, sets: list[dict[str, str]]) -> object:
    from record import BOUNDARIES

    from metrics_sdk import Config, MetricsSDK

    sdk = MetricsSDK(Config(background=False, resolutions=(), max_series_per_instrument=len(sets) + 10))
    if kind in ("counter", "scraped"):
        counter = sdk.counter("x")
        for attributes in sets:
            counter.add(1, attributes)
    else:
        histogram = sdk.histogram("x", boundaries=BOUNDARIES if kind == "explicit" else None)
        values = {"close": CLOSE, "spread": SPREAD, "explicit": SPREAD}.get(kind, [0.1])
        for attributes in sets:
            for value in values:
                histogram.record(value, attributes)
    sdk.flush()
    if kind == "scraped":
        from metrics_sdk_prometheus import Renderer

        renderer = Renderer()
        for _ in range(2):
            renderer.render(sdk.snapshot())
        return sdk, renderer
    return sdk


def build_prometheus(kind: str, sets: list[dict[str, str]]) -> object:
    peer = peers.Prometheus()
    made = peer.counter("x", tuple(sets[0])) if kind == "counter" else peer.histogram("x", tuple(sets[0]))
    for attributes in sets:
        child = made.labels(**attributes)
        if kind == "counter":
            child.inc()
        else:
            child.observe(0.1)
    return made


def resident() -> int:
    """Return the bytes that the process holds in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(who: str, kind: str, how: str, series: int) -> float:
    """Return bytes per series, measured in this very process."""
    build = build_ours if who == "ours" else build_prometheus
    sets = [{"route": f"/item/{i}", "method": "GET"} for i in range(series)]
    few = [{"route": f"/warm/{i}", "method": "GET"} for i in range(10)]
    warm = build(kind, few)  # what is imported and built once does not count
    gc.collect()
    if how == "traced":
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0] if how == "traced" else resident()
    kept = build(kind, sets)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0] if how == "traced" else resident()
    assert kept is not warm
    return (after - before) / series


def in_process(who: str, kind: str, how: str, series: int) -> float:
    """Return what `measure` finds in a new process."""
    command = [sys.executable, str(Path(__file__)), "--measure", who, kind, how, str(series)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("memory.py", "how much memory a series takes", settings)
    series, rounds = settings.size(20_000 if metrics_sdk.health().compiled else 3_000, 2_000), 5
    hows = {"traced": "traced", "resident": "resident"} if Path("/proc/self/statm").exists() else {"traced": "traced"}
    goals = {"counter": 700, "close": 2000, "spread": 2000}
    for how in hows:
        sampled: dict[str, list[float]] = {}
        # What is traced is the same each time: it is measured once where time is short.
        times = rounds if how == "resident" and not settings.quick else 1
        for _ in range(times):
            for kind, told in KINDS.items():
                sampled.setdefault(f"{told}, {how}", []).append(in_process("ours", kind, how, series))
            if peers.Prometheus().client:
                for kind in ("counter", "histogram"):
                    name = f"prometheus {kind}, {how}"
                    sampled.setdefault(name, []).append(in_process("prometheus", kind, how, series))
        names = {f"{told}, {how}": kind for kind, told in KINDS.items()}
        for name, samples in sampled.items():
            at_most = goals.get(names.get(name, "")) if how == "traced" else None
            report.row(name, samples, "B", at_most=at_most, readme=how == "traced" and names.get(name) in goals)
            report.check(f"{name} is more than nothing", True, how == "resident" or min(samples) > 0)
        report.compare(f"{KINDS['counter']}, {how}", f"prometheus counter, {how}")
        for kind in ("close", "spread", "explicit"):
            goal = None if kind == "explicit" else 2
            report.compare(f"{KINDS[kind]}, {how}", f"prometheus histogram, {how}", goal)
    return report.finish()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(measure(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
        sys.exit()
    sys.exit(main())
