"""What does the flusher cost, all told?

Taking and merging, per active series; closing a window; and the processor time of a process that records 10 million values over
1,000 series while the flusher runs, against the same loop without a flusher.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import harness
from harness import once
from report import Report

from metrics_sdk import Config, Counter, Histogram, MetricsSDK, health
from metrics_sdk.testing import ManualClock

#: 20 latencies from 1 ms to 1 s, evenly spaced in powers: each falls in a bucket of its own.
SPREAD = [0.001 * 1000 ** (i / 19) for i in range(20)]
#: 20 latencies within a tenth of their size.
CLOSE = [0.1 * 1.1 ** (i / 19) for i in range(20)]


class Merging:
    """An SDK with many series of one kind, drained by hand."""

    def __init__(self, series: int, values: list[Any], windows: bool) -> None:
        self.clock = ManualClock()
        config = Config(
            background=False,
            max_series_per_instrument=series + 10,
            resolutions=((10, 600), (60, 7200)) if windows else (),
            clock=self.clock,
        )
        self.sdk = MetricsSDK(config)
        self.values = values
        self.made = self.sdk.histogram("h") if len(values) > 1 else self.sdk.counter("c")
        self.handles = [self.made.bind({"id": i}) for i in range(series)]
        self.windows = windows
        self.rounds = 0

    def fill(self) -> None:
        """Make every series active."""
        self.rounds += 1
        for handle in self.handles:
            for value in self.values:
                handle.put(value)

    def _flushed(self) -> float:
        return once(self.sdk.flush).process / len(self.handles) * 1e6

    def cycle(self) -> dict[str, float]:
        """Return the processor time of a window's passes in µs per series, and what one of its 10 passes takes on average."""
        self.fill()
        taken = {"first take in a window": self._flushed()}
        self.fill()
        taken["take and merge"] = self._flushed()
        if self.windows:
            self.clock.advance(10)
            taken["close the window"] = self._flushed()
            closing = taken["first take in a window"] + 9 * taken["take and merge"] + taken["close the window"]
            taken["all told, per pass"] = closing / 10
        else:
            del taken["first take in a window"]
        return taken

    def check(self, report: Report, name: str) -> None:
        """Compare what arrived with what was recorded."""
        report.check(name, self.rounds * len(self.handles) * len(self.values), self.sdk.query(self.made.name).count)
        health = self.sdk.health()
        report.check(f"{name}: accounting", (health.received, 0), (health.merged, health.pending))


def looping(background: bool, interval: float, series: int, records: int, kind: str, report: Report) -> float:
    """Return the processor time of recording `records` values over `series` series and a last flush, in ns per record."""
    sdk = MetricsSDK(Config(background=background, flush_interval_seconds=interval))
    made = sdk.counter("x") if kind == "counter" else sdk.histogram("x")
    handles: list[Counter | Histogram] = [made.bind({"id": i}) for i in range(series)]
    verbs = [handle.add if isinstance(handle, Counter) else handle.record for handle in handles]

    def job() -> None:
        for _ in range(records // series):
            for verb in verbs:
                verb(0.25)
        if background:
            sdk.flush()

    taken = once(job).process
    report.check(f"recorded with{'' if background else 'out'} flusher", records, sdk.query("x").count)
    sdk.shutdown()
    return taken / records * 1e9


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("flush.py", "what the flusher costs, all told", settings)
    compiled = health().compiled
    series = settings.size(100_000 if compiled else 4_000, 2_000)
    cases = {
        "counters": ([1], 0.3),
        "histograms, 20 buckets within a tenth": (CLOSE, 0.8),
        "histograms, 20 buckets over 1 ms .. 1 s": (SPREAD, 0.8),
    }
    rounds = settings.rounds if settings.quick else 5
    for name, (values, goal) in cases.items():
        for windows in (True, False):
            merging = Merging(series, values, windows)
            merging.cycle()  # warm-up
            cycles = [merging.cycle() for _ in range(rounds)]
            for step in cycles[0]:
                row = f"{name}, windows {'on' if windows else 'off'}: {step}"
                counts = step == ("all told, per pass" if windows else "take and merge")
                report.row(
                    row, [cycle[step] for cycle in cycles], "µs", at_most=goal if counts and compiled else None, readme=counts
                )
            merging.check(report, name)
    for kind in ("counter", "histogram"):
        records = settings.size(10_000_000 if compiled else 1_000_000, 200_000)
        jobs = {
            f"{kind}: recording alone": partial(looping, False, 1.0, 1000, records, kind, report),
            f"{kind}: recording, flusher each 1 s": partial(looping, True, 1.0, 1000, records, kind, report),
            f"{kind}: recording, flusher each 0.1 s": partial(looping, True, 0.1, 1000, records, kind, report),
        }
        samples = harness.interleaved(jobs, rounds, warm_up=False)
        for name, taken in samples.items():
            report.row(name, taken, readme=name.endswith(" 1 s"))
        alone = f"{kind}: recording alone"
        for name in list(jobs)[1:]:
            goal = 1.15 if compiled and name.endswith(" 1 s") else None
            report.compare(name, alone, at_most=goal, inverse=True, what="times the loop alone")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
