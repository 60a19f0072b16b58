"""How long does a query of a file of windows take, with millions of rows in it, and how long does writing a window?

A file with 5 million rows: 20 instruments of 100 series over some days; queries of an hour of one instrument, of one
series, and by attribute. What else would do this is a Prometheus server beside the process: it is not compared.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from report import Report

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.sqlite import SQLiteStore

INSTRUMENTS = 20
SERIES = 100


def filled(path: Path, rows: int) -> tuple[SQLiteStore, MetricsSDK, ManualClock]:
    """Return a store of so many rows; those of the last hour were written by an SDK, the older ones are copies of these."""
    clock = ManualClock(time.time() // 60 * 60 - 20)
    store = SQLiteStore(path, resolutions=[(10, 400 * 86_400)])
    config = Config(background=False, clock=clock, exporters=[store], max_series_per_instrument=SERIES + 10)
    sdk = MetricsSDK(config)
    source = random.Random(3)
    for number in range(INSTRUMENTS):
        histogram = sdk.histogram(f"latency{number}", unit="s")
        for series in range(SERIES):
            for _ in range(60):
                histogram.record(source.lognormvariate(-4, 0.5), {"host": str(series), "route": f"/{series % 10}"})
    clock.advance(10)
    assert sdk.flush()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    written = connection.execute("SELECT count(*) FROM windows").fetchone()[0]
    connection.execute("BEGIN")
    copies = rows // written
    for series, start, width, origin, revision, data in connection.execute("SELECT * FROM windows").fetchall():
        connection.executemany(
            "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?)",
            [(series, start - 10 * i, width, origin, revision, data) for i in range(1, copies)],
        )
    connection.execute("COMMIT")
    connection.close()
    return store, sdk, clock


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("history.py", "how long queries of a file of windows take", settings)
    rows = settings.size(5_000_000, 50_000)
    with tempfile.TemporaryDirectory() as folder:
        store, sdk, clock = filled(Path(folder) / "m.db", rows)
        hour = min(360, rows // (INSTRUMENTS * SERIES))

        def seconds(job: Any) -> float:
            started = time.perf_counter()
            job()
            return (time.perf_counter() - started) * 1e3

        until = clock.time()
        asked = {"since": until - 3600, "until": until}
        reader = SQLiteStore(Path(folder) / "m.db")
        jobs = {
            "the last hour of one series of 100": lambda: reader.query("latency7", {"host": "42"}, **asked),
            "the last hour of 10 series of 100": lambda: reader.query("latency7", {"route": "/3"}, **asked),
            "the last hour of all 100 series": lambda: reader.query("latency7", **asked),
            "the last hour, by route": lambda: reader.query_by("latency7", "route", **asked),
        }
        for name, job in jobs.items():
            samples = [seconds(job) for _ in range(settings.rounds + 1)][1:]
            report.row(name, samples, "ms", at_most=100 if "10" in name else None, readme="100 series" in name)
        found = reader.query("latency7", {"host": "42"}, **asked)
        report.check("windows of one series in the last hour", hour, len(found.series()))

        def write() -> None:
            for number in range(INSTRUMENTS):
                histogram = sdk.histogram(f"latency{number}", unit="s")
                for series in range(SERIES):
                    histogram.record(0.1, {"host": str(series), "route": f"/{series % 10}"})
            clock.advance(10)
            assert sdk.flush()

        report.row(f"writing a window of {INSTRUMENTS * SERIES} series", [seconds(write) for _ in range(settings.rounds)], "ms")
        store.shutdown()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
