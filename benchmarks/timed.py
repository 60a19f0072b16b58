"""What does measuring a duration add to what is measured?

Every figure is for something empty; what it costs unmeasured is a row of its own and is subtracted in the rows "added".
"""

from __future__ import annotations

import sys
import time
from typing import Any

import harness
import peers
from floors import floors
from harness import Case
from report import Report

import metrics_sdk

# How the four kinds are driven, without an event loop: what a loop costs is not ours.
DRIVEN = {
    "function": "f()",
    "method": "f()",
    "coroutine": "try:\n    f().send(None)\nexcept StopIteration: pass",
    "generator": "for _ in f(): pass",
}


class Empty:
    """Things that do nothing, as plain callables."""

    @staticmethod
    def function() -> None:
        pass

    def method(self) -> None:
        pass

    @staticmethod
    async def coroutine() -> None:
        pass

    @staticmethod
    def generator() -> Any:
        yield


def timed(name: str, kind: str) -> Any:
    """Return the empty `kind` measured into the histogram `name`."""
    if kind != "method":
        return metrics_sdk.timed(name)(getattr(Empty, kind))

    class Measured:
        method = metrics_sdk.timed(name)(Empty.method)

    return Measured().method


def counts(name: str) -> Any:
    """Return a check that `name` has been recorded as often as it was called."""

    def check(calls: int) -> None:
        found = metrics_sdk.query(name).count
        assert found == calls, f"the count should be {calls}, it is {found}"

    return check


def ours() -> list[Case]:
    made = [
        Case(f"timed {kind}", statement, {"f": timed(f"timed.{kind}", kind)}, counts(f"timed.{kind}"))
        for kind, statement in DRIVEN.items()
    ]
    with_attributes = metrics_sdk.timed("timed.attributes", {"job": "import"})(Empty.function)
    made.append(Case("timed function, attributes", "f()", {"f": with_attributes}, counts("timed.attributes")))
    again = metrics_sdk.timed("timed.again")
    made.append(Case("with timed(...), made once", "with block: pass", {"block": again}, counts("timed.again")))
    block = "with timed('timed.block'): pass"
    made.append(Case("with timed(...), made each time", block, {"timed": metrics_sdk.timed}, counts("timed.block")))
    latency = metrics_sdk.histogram("timed.time", unit="s")
    made.append(Case("with histogram.time()", "with latency.time(): pass", {"latency": latency}, counts("timed.time")))
    return made


def prometheus() -> list[Case]:
    peer = peers.Prometheus()
    if not peer.client:
        return []
    decorated, block = peer.histogram("decorated"), peer.histogram("block")

    def check(calls: int) -> None:
        assert peer.value("decorated_count") == calls, f"the count should be {calls}, it is {peer.value('decorated_count')}"

    return [
        Case("prometheus @h.time() function", "f()", {"f": decorated.time()(Empty.function)}, check),
        Case("prometheus with h.time()", "with block.time(): pass", {"block": block}),
    ]


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("timed.py", "what measuring a duration adds to what is measured", settings)
    plain = [Case(f"plain {kind}", statement, {"f": getattr(Empty(), kind)}) for kind, statement in DRIVEN.items()]
    clock = Case("two clock readings", "now(); now()", {"now": time.perf_counter})
    cases = [*floors(), clock, *plain, *ours(), *prometheus()]
    samples, calls = harness.per_call(cases, settings)
    report.verify_all(cases, calls)
    for case in cases:
        report.row(case.name, samples[case.name])
    compiled = metrics_sdk.health().compiled

    def added(name: str, kind: str) -> None:
        net = [a - b for a, b in zip(samples[name], samples[f"plain {kind}"], strict=True)]
        goal = 11 if compiled and kind == "function" and name.startswith("timed") else None
        report.row(f"added by {name}", net, at_most=goal, readme=name in ("timed function", "timed coroutine"))

    for kind in DRIVEN:
        added(f"timed {kind}", kind)
    added("timed function, attributes", "function")
    if "prometheus @h.time() function" in samples:
        added("prometheus @h.time() function", "function")
    goal = 7 if compiled else None
    report.compare("added by timed function", "added by prometheus @h.time() function", goal)
    report.compare("with timed(...), made once", "prometheus with h.time()")
    report.compare("with histogram.time()", "prometheus with h.time()")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
