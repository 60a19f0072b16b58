"""What does recording one value cost?

Without attributes and bound, every kind of instrument; against what Python itself costs, and against other libraries.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import harness
import peers
from floors import floors
from harness import Case
from report import Report

import metrics_sdk

#: What the README shows.
SHOWN = ("counter.add(1)", "gauge.set(17.0)", "histogram.record(.123)", "histogram.record(.123), 14 boundaries")

BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]  # prometheus_client's default


def various(n: int) -> list[float]:
    """Return latencies as a service has them, always the same ones."""
    chance = random.Random(20)
    return [chance.lognormvariate(-3.0, 1.0) for _ in range(n)]


def ours() -> list[Case]:
    """Return our cases. The results are checked by what a query answers."""

    def added(name: str, attributes: dict[str, str]) -> Any:
        def check(calls: int) -> None:
            found = metrics_sdk.query(name, attributes).sum
            assert found == calls, f"the sum should be {calls}, it is {found}"

        return check

    def recorded(name: str, attributes: dict[str, str], total: float | None = 0.123) -> Any:
        def check(calls: int) -> None:
            found = metrics_sdk.query(name, attributes)
            assert found.count == calls, f"the count should be {calls}, it is {found.count}"
            if total is not None:
                assert abs(found.sum - calls * total) < calls * 1e-6, f"the sum should be {calls * total}, it is {found.sum}"

        return check

    def last(calls: int) -> None:
        found = metrics_sdk.query("gauge")
        assert (found.last, found.count) == (17.0, calls), (
            f"the last of {calls} should be 17.0, it is {found.last} of {found.count}"
        )

    counter = metrics_sdk.counter("counter")
    up_down = metrics_sdk.up_down_counter("up_down")
    gauge = metrics_sdk.gauge("gauge")
    histogram = metrics_sdk.histogram("histogram")
    explicit = metrics_sdk.histogram("explicit", boundaries=BOUNDARIES)
    spread = metrics_sdk.histogram("various")
    cart = {"route": "/cart"}
    return [
        Case("counter.add(1)", "x.add(1)", {"x": counter}, added("counter", {})),
        Case("counter.add(1), bound", "x.add(1)", {"x": counter.bind(cart)}, added("counter", cart)),
        Case("up_down_counter.add(1)", "x.add(1)", {"x": up_down}, added("up_down", {})),
        Case("gauge.set(17.0)", "x.set(17.0)", {"x": gauge}, last),
        Case("histogram.record(.123)", "x.record(.123)", {"x": histogram}, recorded("histogram", {})),
        Case("histogram.record(.123), bound", "x.record(.123)", {"x": histogram.bind(cart)}, recorded("histogram", cart)),
        Case("histogram.record(.123), 14 boundaries", "x.record(.123)", {"x": explicit}, recorded("explicit", {})),
        Case(
            "histogram.record(various)",
            "for value in values: x.record(value)",
            {"x": spread, "values": various(1000)},
            recorded("various", {}, None),
            each=1000,
        ),
    ]


def prometheus() -> list[Case]:
    peer = peers.Prometheus()
    if not peer.client:
        return []

    def is_value(sample: str, of: float) -> Any:
        def check(calls: int) -> None:
            assert peer.value(sample) == calls * of, f"{sample} should be {calls * of}, it is {peer.value(sample)}"

        return check

    spread = peer.histogram("various")
    return [
        Case("prometheus inc()", "x.inc()", {"x": peer.counter("counter")}, is_value("counter_total", 1)),
        Case("prometheus set(17.0)", "x.set(17.0)", {"x": peer.gauge("gauge")}),
        Case("prometheus observe(.123)", "x.observe(.123)", {"x": peer.histogram("h")}, is_value("h_count", 1)),
        Case(
            "prometheus observe(various)",
            "for value in values: x.observe(value)",
            {"x": spread, "values": various(1000)},
            is_value("various_count", 1),
            each=1000,
        ),
    ]


def opentelemetry() -> list[Case]:
    peer, other = peers.OpenTelemetry(), peers.OpenTelemetry(exponential=True)
    if not peer.metrics:
        return []

    def adds_up(calls: int) -> None:
        assert peer.points("c")[0].value == calls, f"the sum should be {calls}, it is {peer.points('c')[0].value}"

    return [
        Case("opentelemetry add(1)", "x.add(1)", {"x": peer.meter.create_counter("c")}, adds_up),
        Case("opentelemetry set(17.0)", "x.set(17.0)", {"x": peer.meter.create_gauge("g")}),
        Case("opentelemetry record(.123)", "x.record(.123)", {"x": peer.meter.create_histogram("h")}),
        Case("opentelemetry record(.123), exponential", "x.record(.123)", {"x": other.meter.create_histogram("h")}),
    ]


def senders() -> list[Case]:
    """Return the clients that send a datagram for each value, or per buffer."""
    made = []
    statsd, datadog, buffered, spectator = (
        peers.statsd(),
        peers.datadog(),
        peers.datadog(disable_buffering=False, disable_aggregation=False),
        peers.spectator(),
    )
    if statsd:
        made += [
            Case("statsd incr()", "x.incr('c')", {"x": statsd}),
            Case("statsd timing(123)", "x.timing('t', 123)", {"x": statsd}),
        ]
    if datadog:
        made.append(Case("datadog increment()", "x.increment('c')", {"x": datadog}))
        made.append(Case("datadog histogram(.123)", "x.histogram('h', .123)", {"x": datadog}))
        made.append(Case("datadog increment(), aggregated", "x.increment('c')", {"x": buffered}))
    if spectator:
        made.append(Case("spectator increment()", "x.increment()", {"x": spectator.counter("c")}))
        made.append(Case("spectator record(.123)", "x.record(.123)", {"x": spectator.distribution_summary("d")}))
    return made


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("record.py", "what recording one value costs, without attributes or bound", settings)
    mine = ours()
    cases = [*floors(), *mine, *prometheus(), *opentelemetry(), *senders()]
    samples, calls = harness.per_call(cases, settings)
    report.verify_all(cases, calls)
    compiled = metrics_sdk.health().compiled
    for case in cases:
        at_most = None
        if case in mine and compiled and "boundaries" not in case.name:
            at_most = 2.2 if case.name.startswith("histogram") else 1.6
        report.row(case.name, samples[case.name], at_most=at_most, readme=case.name in SHOWN)
    for name in ("counter.add(1)", "counter.add(1), bound", "up_down_counter.add(1)"):
        report.compare(name, "prometheus inc()", 9 if compiled else 1.8)
        report.compare(name, "opentelemetry add(1)", 100 if compiled else 20)
    for peer in ("statsd incr()", "datadog increment()", "datadog increment(), aggregated", "spectator increment()"):
        report.compare("counter.add(1)", peer)
    report.compare("gauge.set(17.0)", "prometheus set(17.0)", 9 if compiled else None)
    report.compare("gauge.set(17.0)", "opentelemetry set(17.0)")
    for name in ("histogram.record(.123)", "histogram.record(.123), bound", "histogram.record(.123), 14 boundaries"):
        report.compare(name, "prometheus observe(.123)", 17 if compiled else 4)
        report.compare(name, "opentelemetry record(.123)", 85 if compiled else 20)
    for peer in (
        "opentelemetry record(.123), exponential",
        "statsd timing(123)",
        "datadog histogram(.123)",
        "spectator record(.123)",
    ):
        report.compare("histogram.record(.123)", peer)
    report.compare("histogram.record(various)", "prometheus observe(various)", 17 if compiled else 4)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
