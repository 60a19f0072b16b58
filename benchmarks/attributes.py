"""What do attributes add to the price of a record?

Two and five of them; as a literal dict in the call, as one dict used again; and `record(name, ...)`.
"""

from __future__ import annotations

import sys
from typing import Any

import harness
import peers
from floors import floors
from harness import Case
from report import Report

import metrics_sdk

TWO = {"route": "/cart", "method": "GET"}
FIVE = {"route": "/cart", "method": "GET", "status": 200, "region": "eu-west-1", "tier": "gold"}
TEXT = {key: str(value) for key, value in FIVE.items()}


def ours() -> list[Case]:
    counters, histograms = metrics_sdk.counter("counters"), metrics_sdk.histogram("histograms")
    made = []

    def case(name: str, statement: str, declared: str, attributes: dict[str, Any], **names: Any) -> None:
        # A series for each case, so that the count tells whether this case's values arrived.
        own = {**attributes, "route": f"/{len(made)}"}

        def check(calls: int) -> None:
            found = metrics_sdk.query(declared, own).count
            assert found == calls, f"the count of {own} should be {calls}, it is {found}"

        made.append(Case(name, statement.replace("DICT", repr(own)), {"attributes": own, **names}, check))

    case("histogram.record(x, {2}), reused dict", "x.record(.123, attributes)", "histograms", TWO, x=histograms)
    case("histogram.record(x, {2}), literal dict", "x.record(.123, DICT)", "histograms", TWO, x=histograms)
    case("histogram.record(x, {5}), reused dict", "x.record(.123, attributes)", "histograms", FIVE, x=histograms)
    case("histogram.record(x, {5}), literal dict", "x.record(.123, DICT)", "histograms", FIVE, x=histograms)
    case("counter.add(1, {2}), reused dict", "x.add(1, attributes)", "counters", TWO, x=counters)
    case("counter.add(1, {2}), literal dict", "x.add(1, DICT)", "counters", TWO, x=counters)
    case("record(name, x, {2}), literal dict", "record('named', .123, DICT)", "named", TWO, record=metrics_sdk.record)
    case("record(name, x)", "record('plain', .123)", "plain", {}, record=metrics_sdk.record)
    made[-1] = made[-1]._replace(check=_counts("plain"))
    return made


def _counts(name: str) -> Any:
    def check(calls: int) -> None:
        found = metrics_sdk.query(name, {}).count
        assert found == calls, f"the count should be {calls}, it is {found}"

    return check


def prometheus() -> list[Case]:
    peer = peers.Prometheus()
    if not peer.client:
        return []

    def arrived(sample: str, labels: dict[str, str]) -> Any:
        def check(calls: int) -> None:
            assert peer.value(sample, labels) == calls, f"{sample} should be {calls}, it is {peer.value(sample, labels)}"

        return check

    two, five = peer.histogram("two", tuple(TWO)), peer.histogram("five", tuple(FIVE))
    counter = peer.counter("counter", tuple(TWO))
    return [
        Case("prometheus labels(2).observe", "x.labels('/cart', 'GET').observe(.123)", {"x": two}, arrived("two_count", TWO)),
        Case(
            "prometheus labels(5).observe",
            "x.labels('/cart', 'GET', 200, 'eu-west-1', 'gold').observe(.123)",
            {"x": five},
            arrived("five_count", TEXT),
        ),
        Case("prometheus labels(2).inc", "x.labels('/cart', 'GET').inc()", {"x": counter}, arrived("counter_total", TWO)),
        Case("prometheus labels(2=).observe", f"x.labels(**{TWO!r}).observe(.123)", {"x": peer.histogram("k", tuple(TWO))}),
    ]


def opentelemetry() -> list[Case]:
    peer = peers.OpenTelemetry()
    if not peer.metrics:
        return []

    def arrived(name: str) -> Any:
        def check(calls: int) -> None:
            found = peer.points(name)[0].count
            assert found == calls, f"the count should be {calls}, it is {found}"

        return check

    two, five = peer.meter.create_histogram("two"), peer.meter.create_histogram("five")
    return [
        Case("opentelemetry record(x, {2})", f"x.record(.123, {TWO!r})", {"x": two}, arrived("two")),
        Case("opentelemetry record(x, {5})", f"x.record(.123, {FIVE!r})", {"x": five}),
        Case("opentelemetry add(1, {2})", f"x.add(1, {TWO!r})", {"x": peer.meter.create_counter("counter")}),
    ]


GOALS = {
    "histogram.record(x, {2}), reused dict": 5.5,
    "histogram.record(x, {2}), literal dict": 9.5,
    "record(name, x, {2}), literal dict": 11.5,
}


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("attributes.py", "what attributes add to the price of a record", settings)
    mine = ours()
    dicts = [
        Case("a literal dict of 2, nothing else", repr(TWO), {}),
        Case("a literal dict of 5, nothing else", repr(FIVE), {}),
    ]
    cases = [*floors(), *dicts, *mine, *prometheus(), *opentelemetry()]
    samples, calls = harness.per_call(cases, settings)
    report.verify_all(cases, calls)
    compiled = metrics_sdk.health().compiled
    for case in cases:
        report.row(case.name, samples[case.name], at_most=GOALS.get(case.name) if compiled else None, readme=case.name in GOALS)
    for n, literal in ((2, 10), (5, None)):
        name = f"histogram.record(x, {{{n}}}), literal dict"
        report.compare(name, f"prometheus labels({n}).observe", literal if compiled else None)
        report.compare(name, f"opentelemetry record(x, {{{n}}})", 36 if compiled and n == 2 else None)
    report.compare("histogram.record(x, {2}), literal dict", "prometheus labels(2=).observe")
    report.compare("histogram.record(x, {2}), reused dict", "prometheus labels(2).observe")
    report.compare("histogram.record(x, {2}), reused dict", "opentelemetry record(x, {2})")
    report.compare("counter.add(1, {2}), literal dict", "prometheus labels(2).inc")
    report.compare("counter.add(1, {2}), literal dict", "opentelemetry add(1, {2})")
    report.compare("record(name, x, {2}), literal dict", "prometheus labels(2).observe")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
