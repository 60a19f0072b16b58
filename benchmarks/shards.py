"""Does sharding by thread pay?

`shards=1`, the default under the GIL, against 2 for each core, the default where threads run in parallel: what it costs one
thread, and what 2 and 4 threads get on one series.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import harness
from floors import floors
from harness import Case
from report import Report
from threads import THREADS, counting, throughput

from metrics_sdk import Config, MetricsSDK

SHARDS = (1, 2 * (os.cpu_count() or 1))


def together(sdk: MetricsSDK, kind: str, threads: int, records: int) -> float:
    """Return million records a second of `threads` threads on one series."""
    verb = sdk.counter("c").add if kind == "counter" else sdk.histogram("h").record
    before = sdk.query(kind[0]).count
    found = throughput([partial(counting, verb, 1 if kind == "counter" else 0.123)] * threads, records)
    count = sdk.query(kind[0]).count - before
    assert count == threads * records, f"the count of {kind} should be {threads * records}, it is {count}"
    return found


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("shards.py", "does sharding by thread pay", settings)
    sdks = {shards: MetricsSDK(Config(shards=shards)) for shards in SHARDS}
    cases = floors()
    for shards, sdk in sdks.items():
        cases.append(Case(f"counter.add(1), {shards} shards", "x.add(1)", {"x": sdk.counter("single.c")}))
        cases.append(Case(f"histogram.record(.123), {shards} shards", "x.record(.123)", {"x": sdk.histogram("single.h")}))
    samples, calls = harness.per_call(cases, settings)
    for case in cases:
        report.row(case.name, samples[case.name])
    for shards, sdk in sdks.items():
        report.check(f"{shards} shards", calls[f"counter.add(1), {shards} shards"], sdk.query("single.c").sum)
        report.check(f"{shards} shards", calls[f"histogram.record(.123), {shards} shards"], sdk.query("single.h").count)
    for kind in ("counter.add(1)", "histogram.record(.123)"):
        report.compare(f"{kind}, {SHARDS[1]} shards", f"{kind}, {SHARDS[0]} shards", inverse=True, what="times its price")
    compiled = sdks[1].health().compiled
    records = settings.size(400_000 if compiled else 100_000, 10_000)
    jobs = {
        f"{kind}, {threads} threads, {shards} shards": partial(together, sdk, kind, threads, records)
        for kind in ("counter", "histogram")
        for threads in THREADS
        for shards, sdk in sdks.items()
    }
    for name, taken in harness.interleaved(jobs, settings.rounds if settings.quick else 7).items():
        report.row(name, taken, "M/s")
    for kind in ("counter", "histogram"):
        for threads in THREADS:
            few, many = (f"{kind}, {threads} threads, {shards} shards" for shards in SHARDS)
            report.compare(many, few, inverse=True, what="of its throughput")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
