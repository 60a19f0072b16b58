"""How long does a scrape take?

Text format 0.0.4 of 10,000 counters and 1,000 histograms with 14 boundaries, snapshot and draining included; first with nothing
remembered, then as in every scrape after it. Both sides render the same number of sample lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import harness
import peers
from harness import once
from record import BOUNDARIES
from report import Report

from metrics_sdk import Config, MetricsSDK


def samples_of(text: bytes, *families: str) -> int:
    """Return the number of sample lines of some families."""
    starts = tuple(family.encode() for family in families)
    return sum([line.startswith(starts) for line in text.splitlines()])


class Ours:
    """An SDK with series that change between two scrapes, and what renders them."""

    def __init__(self, counters: int, histograms: int) -> None:
        import metrics_sdk_prometheus

        self.renderer: Callable[[], Any] = metrics_sdk_prometheus.Renderer
        self.sdk = MetricsSDK(Config(background=False, max_series_per_instrument=counters + histograms + 10))
        counter, histogram = self.sdk.counter("c"), self.sdk.histogram("h", boundaries=BOUNDARIES)
        self.counters = [counter.bind({"route": f"/item/{i}", "method": "GET"}) for i in range(counters)]
        self.histograms = [histogram.bind({"route": f"/item/{i}", "method": "GET"}) for i in range(histograms)]
        self.kept = self.renderer()
        self.text = b""

    def _change(self) -> None:
        for handle in self.counters:
            handle.add(1)
        for bound in self.histograms:
            bound.record(0.123)

    def again(self) -> float:
        """Return milliseconds of a scrape."""
        self._change()
        return once(self._render).thread * 1e3

    def first(self) -> float:
        """Return milliseconds of a scrape by a renderer that remembers nothing."""
        kept, self.kept = self.kept, self.renderer()
        try:
            return self.again()
        finally:
            self.kept = kept

    def snapshot_alone(self) -> float:
        """Return milliseconds of the snapshot, without rendering."""
        self._change()
        return once(self.sdk.snapshot).thread * 1e3

    def _render(self) -> None:
        self.text = self.kept.render(self.sdk.snapshot())


class Theirs:
    """The same with prometheus_client."""

    def __init__(self, counters: int, histograms: int) -> None:
        peer = peers.Prometheus()
        self.generate, self.registry = peer.client.generate_latest, peer.registry
        counter, histogram = peer.counter("c", ("route", "method")), peer.histogram("h", ("route", "method"))
        self.counters = [counter.labels(f"/item/{i}", "GET") for i in range(counters)]
        self.histograms = [histogram.labels(f"/item/{i}", "GET") for i in range(histograms)]
        self.text = b""

    def scrape(self) -> float:
        """Return milliseconds of a scrape."""
        for handle in self.counters:
            handle.inc()
        for bound in self.histograms:
            bound.observe(0.123)
        return once(self._render).thread * 1e3

    def _render(self) -> None:
        self.text = self.generate(self.registry)


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("scrape.py", "how long a scrape takes", settings)
    counters, histograms = settings.size(10_000, 1_000), settings.size(1_000, 100)
    ours = Ours(counters, histograms)
    jobs = {"scrape": ours.again, "scrape, first of a process": ours.first, "snapshot alone": ours.snapshot_alone}
    theirs = Theirs(counters, histograms) if peers.Prometheus().client else None
    if theirs:
        jobs["prometheus generate_latest"] = theirs.scrape
    for name, samples in harness.interleaved(jobs, settings.rounds).items():
        report.row(name, samples, "ms", readme=name == "scrape")
    report.compare("scrape", "prometheus generate_latest", 8)
    report.compare("scrape, first of a process", "prometheus generate_latest")
    expected = counters + histograms * (len(BOUNDARIES) + 3)
    report.check("sample lines", expected, samples_of(ours.text, "c_total{", "h_bucket{", "h_sum{", "h_count{"))
    if theirs:
        report.check(
            "prometheus sample lines", expected, samples_of(theirs.text, "c_total{", "h_bucket{", "h_sum{", "h_count{")
        )
        # _created lines are in the peer's text only if asked for; the same values were recorded as often on both sides or not.
        report.check("prometheus buckets", True, b'le="0.25"' in theirs.text and b'le="0.25"' in ours.text)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
