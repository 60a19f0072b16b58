"""What does the OpenTelemetry API cost on this engine, and on opentelemetry-sdk?

Instruments of both providers through the API, with the same exemplar filter; and a collection of 2,000 histogram series.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import harness
from floors import floors
from harness import Case, once
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics import MeterProvider as TheirProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from report import Report

TWO = {"http.route": "/cart", "http.request.method": "GET"}
FILTERS = {"always_off": AlwaysOffExemplarFilter, "trace_based": TraceBasedExemplarFilter}

#: (case, filter): how many times faster ours has to be.
GOALS = {
    ("add(1)", "always_off"): 50,
    ("add(1, {2})", "always_off"): 28,
    ("add(1)", "trace_based"): 12,
    ("add(1, {2})", "trace_based"): 15,
}


class Side:
    """One provider, with a reader of its own, and instruments."""

    def __init__(self, name: str, provider: Any, chosen: str) -> None:
        self.reader = InMemoryMetricReader()
        self.name = f"{name}, {chosen}"
        made = provider([self.reader], exemplar_filter=FILTERS[chosen](), shutdown_on_exit=False)
        meter = made.get_meter("benchmarks")
        self.counter, self.two = meter.create_counter("c"), meter.create_counter("two")
        self.histogram = meter.create_histogram("h")

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric, as the reader gets them."""
        data = self.reader.get_metrics_data()
        metrics = [metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics] if data else []
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    def cases(self) -> list[Case]:
        """Return the cases; the results are checked by what the reader gets."""

        def sums(name: str) -> Callable[[int], None]:
            def check(calls: int) -> None:
                found = self.points(name)[0].value
                assert found == calls, f"the sum should be {calls}, it is {found}"

            return check

        return [
            Case(f"{self.name}: add(1)", "x.add(1)", {"x": self.counter}, sums("c")),
            Case(f"{self.name}: add(1, {{2}})", "x.add(1, a)", {"x": self.two, "a": dict(TWO)}, sums("two")),
            Case(f"{self.name}: record(.123)", "x.record(.123)", {"x": self.histogram}),
        ]


class Collection:
    """A provider with many histogram series that change between two collections."""

    def __init__(self, provider: Any, series: int) -> None:
        self.reader = InMemoryMetricReader()
        histogram = provider([self.reader], shutdown_on_exit=False).get_meter("benchmarks").create_histogram("h")
        sets = [{"route": f"/item/{i}", "method": "GET"} for i in range(series - 1)]  # and the one without attributes
        self.record = lambda: [histogram.record(float(i % 7000), attributes) for i, attributes in enumerate([{}, *sets])]
        self.data: Any = None

    def __call__(self) -> float:
        """Return milliseconds of a collection."""
        self.record()
        return once(self._collect).thread * 1e3

    def _collect(self) -> None:
        self.data = self.reader.get_metrics_data()

    def points(self) -> Any:
        """Return the points of the last one."""
        return self.data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("opentelemetry_api.py", "what the OpenTelemetry API costs", settings)
    sides = [
        Side(name, provider, chosen)
        for chosen in FILTERS
        for name, provider in (("ours", MeterProvider), ("opentelemetry-sdk", TheirProvider))
    ]
    cases = [*floors(), *[case for side in sides for case in side.cases()]]
    samples, calls = harness.per_call(cases, settings)
    report.verify_all(cases, calls)
    for case in cases:
        report.row(case.name, samples[case.name], readme=case.name in ("ours, trace_based: add(1)", "ours, always_off: add(1)"))
    for chosen in FILTERS:
        for what in ("add(1)", "add(1, {2})", "record(.123)"):
            report.compare(f"ours, {chosen}: {what}", f"opentelemetry-sdk, {chosen}: {what}", GOALS.get((what, chosen)))
    series = settings.size(2_000, 200)
    ours, theirs = Collection(MeterProvider, series), Collection(TheirProvider, series)
    jobs = {"collect": ours, "opentelemetry-sdk collect": theirs}
    for name, taken in harness.interleaved(jobs, settings.rounds).items():
        report.row(name, taken, "ms", readme=name == "collect")
    report.compare("collect", "opentelemetry-sdk collect", 1)
    report.check("points", len(theirs.points()), len(ours.points()))
    report.check("counts", sum([p.count for p in theirs.points()]), sum([p.count for p in ours.points()]))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
