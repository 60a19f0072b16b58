"""How long does a new attribute set take?

10,000 attribute sets that were never seen before, two attributes each, recorded once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import harness
import peers
from harness import once
from report import Report

from metrics_sdk import Config, MetricsSDK


def ours(kind: str, sets: list[dict[str, str]], report: Report) -> float:
    """Return µs per new attribute set."""
    sdk = MetricsSDK(Config(background=False, max_series_per_instrument=len(sets) + 10))
    if kind == "counter":
        counter = sdk.counter("x")

        def job() -> None:
            for attributes in sets:
                counter.add(1, attributes)
    else:
        histogram = sdk.histogram("x")

        def job() -> None:
            for attributes in sets:
                histogram.record(0.123, attributes)

    taken = once(job).thread
    report.check(f"{kind}: series", (len(sets), len(sets)), (len(sdk.query_all()["x"]), sdk.query("x").count))
    return taken / len(sets) * 1e6


def prometheus(kind: str, sets: list[dict[str, str]], report: Report) -> float:
    peer = peers.Prometheus()
    labels = tuple(sets[0])
    if kind == "counter":
        counter = peer.counter("x", labels)

        def job() -> None:
            for attributes in sets:
                counter.labels(**attributes).inc()
    else:
        histogram = peer.histogram("x", labels)

        def job() -> None:
            for attributes in sets:
                histogram.labels(**attributes).observe(0.123)

    taken = once(job).thread
    sample = "x_total" if kind == "counter" else "x_count"
    report.check(f"prometheus {kind}", 1.0, peer.value(sample, sets[-1]))
    return taken / len(sets) * 1e6


def opentelemetry(kind: str, sets: list[dict[str, str]], report: Report) -> float:
    peer = peers.OpenTelemetry()
    record = peer.meter.create_counter("x").add if kind == "counter" else peer.meter.create_histogram("x").record

    def job() -> None:
        for attributes in sets:
            record(1, attributes)

    taken = once(job).thread
    # Its own limit is 2,000 attribute sets, and cannot be raised: what comes after shares one series.
    report.check(f"opentelemetry {kind}", True, len(peer.points("x")) > 0)
    return taken / len(sets) * 1e6


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("series.py", "how long a new attribute set takes", settings)
    size = settings.size(10_000, 1_000)
    sets = [{"route": f"/item/{i}", "tenant": f"tenant-{i % 100}"} for i in range(size)]
    for kind in ("counter", "histogram"):
        jobs: dict[str, Callable[[], float]] = {f"new {kind} series": partial(ours, kind, sets, report)}
        if peers.Prometheus().client:
            jobs[f"prometheus new {kind} series"] = partial(prometheus, kind, sets, report)
        if peers.OpenTelemetry().metrics:
            jobs[f"opentelemetry new {kind} series"] = partial(opentelemetry, kind, sets, report)
        for name, samples in harness.interleaved(jobs, settings.rounds).items():
            report.row(name, samples, "µs", readme=name == "new counter series")
        report.compare(f"new {kind} series", f"prometheus new {kind} series", 1)
        report.compare(f"new {kind} series", f"opentelemetry new {kind} series", 1)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
