"""Does the host stall while every exporter hangs?

A loop of 65 µs of plain Python at a time, in a process of its own, that records into 20,000 series in turn: each is recorded
into several times between two drains. All exporters hang: one by OTLP to a server that never answers, one of totals, one of
deltas, one of windows, and a subscriber. Each of the first three is due every second, so the flusher drains, and reads all
series for them, as often. How long do the slowest of these units take: p99.9, and the longest of each second, the median of
all seconds? The same loop without recording anything is measured alike, and the difference is what the SDK adds. "longest of
all" is that of a whole run; a full garbage collection, which looks at every object that the collector tracks, is what makes it.

The goal is a tenth of what it is without, and one switch interval of the GIL (5 ms): the longest that a thread which wants the
GIL has to wait for one that does not give it up.

A unit's time is the clock's: what another process takes of a shared machine is in it, on both sides, and so is waiting for a
lock, which no processor time would show. The rows "of the process" are the same by the processor time of the whole process: the
waiting for locks is not in these, but the other processes are not, either.
"""

from __future__ import annotations

import gc
import json
import socket
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
from host import RECORDS_PER_UNIT, UNIT_SECONDS, nothing, spin, turns_for
from report import Report

SWITCH_INTERVAL_MS = 5.0
FIGURES = ("p99.9", "longest per second", "p99.9 of the process", "longest per second of the process")
INFORMATION = ("longest of all", "longest garbage collection")


class Hanging:
    """An exporter of snapshots that never returns."""

    def export(self, snapshot: Any, timeout: float) -> None:
        threading.Event().wait()

    def shutdown(self) -> None:
        """Nothing is held."""


class HangingStore:
    """An exporter of windows that never returns."""

    accepts_open_windows = True  # so the first flush makes it hang

    def export_windows(self, windows: Any, timeout: float) -> None:
        threading.Event().wait()

    def shutdown(self) -> None:
        """Nothing is held."""


def recording(kind: str, series: int, endpoint: str, window: float) -> tuple[Any, list[Callable[[], None]]]:
    """Return an SDK all of whose exporters hang, and what records into each of its series."""
    from metrics_sdk_opentelemetry import OTLPExporter

    from metrics_sdk import Config, Export, MetricsSDK

    exports = [
        Export(OTLPExporter(endpoint), interval_seconds=1, timeout_seconds=600, name="otlp"),
        Export(Hanging(), interval_seconds=1, timeout_seconds=600, name="totals"),
        Export(Hanging(), interval_seconds=1, timeout_seconds=600, temporality="delta", name="deltas"),
        Export(HangingStore(), timeout_seconds=600, name="windows"),
    ]
    sdk = MetricsSDK(
        Config(
            exporters=exports,
            resolutions=[(window, 60 * window)],
            max_series_per_instrument=series + 10,
            shutdown_timeout_seconds=0.1,
        )
    )
    sdk.subscribe(lambda window: threading.Event().wait())
    if kind == "counters":
        counter = sdk.counter("x")
        return sdk, [partial(counter.bind({"id": i}).add, 1) for i in range(series)]
    histogram = sdk.histogram("x")
    return sdk, [partial(histogram.bind({"id": i}).record, 0.1 + i % 7) for i in range(series)]


def loop(verbs: list[Callable[[], None]], seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Work for `seconds`, unit by unit, recording in turn; return when each unit ended, and how long it took by both clocks."""
    turns = turns_for(UNIT_SECONDS)
    ended: list[float] = []
    taken: list[float] = []
    of_process: list[float] = []
    at, size, clock, processor = 0, len(verbs), time.perf_counter, time.process_time
    began = before = clock()
    used_before = processor()
    while before - began < seconds:
        spin(turns)
        for _ in range(RECORDS_PER_UNIT):
            verbs[at]()
            at += 1
            if at == size:
                at = 0
        now, used = clock(), processor()
        ended.append(now - began)
        taken.append(now - before)
        of_process.append(used - used_before)
        before, used_before = now, used
    return ended, taken, of_process


def figures(ended: list[float], taken: list[float]) -> tuple[float, float]:
    """Return p99.9 of the units, and the longest of a second, the median of all seconds; in ms."""
    longest: dict[int, float] = {}
    for at, one in zip(ended, taken, strict=True):
        longest[int(at)] = max(one, longest.get(int(at), 0.0))
    whole = [longest[second] for second in range(int(ended[-1]))] or list(longest.values())  # the last second is a part of one
    return sorted(taken)[int(len(taken) * 0.999)] * 1e3, median(whole) * 1e3


def measure(what: str, series: int, seconds: float) -> dict[str, float]:
    """Return the figures of one run in this very process."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)  # it takes connections, and never answers
    sdk = None
    verbs: list[Callable[[], None]] = [nothing] * series
    if what != "nothing":
        sdk, verbs = recording(
            what, series, f"http://127.0.0.1:{listener.getsockname()[1]}/v1/metrics", 10 if seconds > 2 else 1
        )
    for verb in verbs:  # every series is there before it begins, and every exporter hangs
        verb()
    if sdk is not None:
        _wait_until_all_hang(sdk)
    gc.collect()
    collections: list[float] = []
    gc.callbacks.append(lambda phase, about: collections.append(time.process_time()))
    ended, taken, of_process = loop(verbs, seconds)
    gc.callbacks.clear()
    if sdk is not None:
        health = sdk.health()
        expected = len(taken) * RECORDS_PER_UNIT + series
        recorded = health.instruments["x"].received
        assert recorded == expected, f"there should be {expected} values, there are {recorded}"
        for name, one in health.exporters.items():
            assert (one.acknowledged, one.state in ("exporting", "hanging")) == (0, True), f"{name} does not hang: {one}"
    p999, longest = figures(ended, taken)
    p999_of_process, longest_of_process = figures(ended, of_process)
    pauses = [after - before for before, after in zip(collections[::2], collections[1::2], strict=False)]
    found = (p999, longest, p999_of_process, longest_of_process, max(taken) * 1e3, max(pauses, default=0.0) * 1e3)
    return dict(zip((*FIGURES, *INFORMATION), found, strict=True))


def _wait_until_all_hang(sdk: Any) -> None:
    sdk.flush(2)
    deadline = time.monotonic() + 60  # a subscriber gets its first window when that has closed
    while any([one.state not in ("exporting", "hanging") for one in sdk.health().exporters.values()]):
        assert time.monotonic() < deadline, f"they do not hang: {sdk.health().exporters}"
        time.sleep(0.05)


def in_process(what: str, series: int, seconds: float) -> dict[str, float]:
    """Return the figures of one run in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--measure", what, str(series), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{what}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    settings = harness.settings(__doc__ or "")._replace(rounds=5)  # a run is long
    report = Report("stalls.py", "does the host stall while every exporter hangs", settings)
    series = settings.size(20_000, 2_000)
    seconds = 1.2 if settings.quick else 6.0
    setups = ["nothing", "counters", "histograms"]
    found: dict[str, list[dict[str, float]]] = {what: [] for what in setups}
    for _ in range(settings.rounds):
        for what in setups:
            try:
                found[what].append(in_process(what, series, seconds))
            except AssertionError as error:
                report.failures.append(str(error))
                return report.finish()
        setups.reverse()
    for what in found:
        for figure in (*FIGURES, *INFORMATION):
            report.row(f"{what}: {figure}", [run[figure] for run in found[what]], "ms")
    for what in ("counters", "histograms"):
        for figure in FIGURES:
            without = median([run[figure] for run in found["nothing"]])
            added = [run[figure] - without for run in found[what]]
            goal = None if figure.endswith("process") else 0.1 * without + SWITCH_INTERVAL_MS
            report.row(f"added by {what}: {figure}", added, "ms", at_most=goal, readme=goal is not None)
    return report.finish()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
        sys.exit()
    sys.exit(main())
