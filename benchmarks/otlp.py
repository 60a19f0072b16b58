"""What does an OTLP export cost, end to end, with our exporter and with the official one for HTTP?

Each with its own SDK: as many counters as histograms, every series recorded into between two exports; collecting, encoding,
sending, and the answer of a receiver in another process, uncompressed. Times are processor time of the whole exporting process.
"longest wait" is how long a thread of the host, which only looks at the clock, waits for the GIL during an export.
The imports are of new processes, net of the interpreter's start: up to an exporter that is made.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import harness
from imports import start
from metrics_sdk_opentelemetry import OTLPExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation
from report import Report

from metrics_sdk import Config, Export, MetricsSDK

# It tells its port, then how many bytes each request had.
RECEIVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(len(body), flush=True)

    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
IMPORTS = {
    "import and make ours": "from metrics_sdk_opentelemetry import OTLPExporter; OTLPExporter()",
    "import and make the official one": (
        "from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter; OTLPMetricExporter()"
    ),
}


class Receiver:
    """Another process that takes what is sent."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._told = self._process.stdout
        self.url = f"http://127.0.0.1:{int(self._told.readline())}/v1/metrics"

    def received(self) -> int:
        """Return the size of the next request that came."""
        return int(self._told.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._told.close()


class Ours:
    """Our SDK and exporter, without a thread of its own: the flush does everything."""

    def __init__(self, receiver: Receiver, aggregation: Any, series: int) -> None:
        self.receiver = receiver
        export = Export(OTLPExporter(receiver.url), timeout_seconds=60)
        self.sdk = MetricsSDK(
            Config(
                background=False, exporters=[export], histogram_aggregation=aggregation, max_series_per_instrument=series + 1
            )
        )
        self.counter, self.histogram = self.sdk.counter("c"), self.sdk.histogram("h")

    def flush(self) -> bool:
        """Export."""
        return self.sdk.flush(60)

    def close(self) -> None:
        """End."""
        self.sdk.shutdown()


AGGREGATIONS = {"explicit": ExplicitBucketHistogramAggregation, "exponential": ExponentialBucketHistogramAggregation}


class Theirs:
    """opentelemetry-sdk and the official exporter, in its periodic reader, whose own turn never comes."""

    def __init__(self, receiver: Receiver, aggregation: str, series: int) -> None:
        self.receiver = receiver
        exporter = OTLPMetricExporter(receiver.url, preferred_aggregation={Histogram: AGGREGATIONS[aggregation]()})
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)
        self.provider = MeterProvider([reader], shutdown_on_exit=False)
        meter = self.provider.get_meter("benchmarks")
        self.counter, self.histogram = meter.create_counter("c"), meter.create_histogram("h")

    def flush(self) -> bool:
        """Export."""
        return self.provider.force_flush(60_000)

    def close(self) -> None:
        """End."""
        self.provider.shutdown()


class Job:
    """One side, recorded into and then exported; `sizes` are those of the requests."""

    def __init__(self, side: Any, series: int) -> None:
        self.side = side
        self.sizes: list[int] = []
        self.ended_well = True
        self._sets = [{"route": f"/item/{i}", "method": "GET"} for i in range(series)]

    def __call__(self, watched: bool = False) -> float:
        """Return milliseconds of processor time of an export, or, if `watched`, those that another thread waited at most."""
        for i, attributes in enumerate(self._sets):
            self.side.counter.add(1, attributes)
            self.side.histogram.record(float(i % 7000), attributes)
        found = longest_wait(self._flush) if watched else harness.once(self._flush).process
        self.sizes.append(self.side.receiver.received())
        return found * 1e3

    def _flush(self) -> None:
        self.ended_well = self.side.flush() and self.ended_well


def longest_wait(job: Callable[[], None]) -> float:
    """Run `job`, and return the longest time in seconds for which a thread that only looks at the clock could not."""
    done = threading.Event()
    longest = 0.0

    def watch() -> None:
        nonlocal longest
        before = time.perf_counter()
        while not done.is_set():
            now = time.perf_counter()
            longest = max(longest, now - before)
            before = now

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        job()
    finally:
        done.set()
        watching.join()
    return longest


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("otlp.py", "what an OTLP export costs, end to end", settings)
    series = settings.size(5_000, 200)
    receivers: list[Receiver] = []
    jobs: dict[str, Job] = {}
    for aggregation in ("explicit", "exponential"):
        for name, side in (("ours", Ours), ("official", Theirs)):
            receivers.append(Receiver())
            jobs[f"{name}, {aggregation}"] = Job(side(receivers[-1], aggregation, series), series)
    try:
        samples = harness.interleaved(jobs, settings.rounds)
        waits = harness.interleaved({name: functools.partial(job, watched=True) for name, job in jobs.items()}, settings.rounds)
        for job in jobs.values():
            job.side.close()
    finally:
        for receiver in receivers:
            receiver.close()
    for name in jobs:
        report.row(name, samples[name], "ms", readme=name.startswith("ours"))
    for aggregation in ("explicit", "exponential"):
        report.compare(f"ours, {aggregation}", f"official, {aggregation}", 3)
        report.row(f"longest wait, ours, {aggregation}", waits[f"ours, {aggregation}"], "ms")
        report.row(f"longest wait, official, {aggregation}", waits[f"official, {aggregation}"], "ms")
        report.compare(f"longest wait, ours, {aggregation}", f"longest wait, official, {aggregation}")
    rounds = settings.rounds if settings.quick else 25
    nothing = "the interpreter alone"
    statements = {nothing: "pass"} | IMPORTS
    taken = harness.interleaved({name: functools.partial(start, statement) for name, statement in statements.items()}, rounds)
    for name in IMPORTS:
        report.row(name, [a - b for a, b in zip(taken[name], taken[nothing], strict=True)], "ms", readme="ours" in name)
    report.compare("import and make ours", "import and make the official one", 1)
    for name, job in jobs.items():
        report.check(f"{name}: every export was accepted", True, job.ended_well)
        report.check(f"{name}: as many requests as exports", len(job.sizes), 2 * settings.rounds + 2)
        report.check(f"{name}: every series is in every request", True, min(job.sizes) > 60 * series)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
