"""The types that users see, checked by mypy --strict against the installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CONSUMER = """
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, assert_type

import metrics_sdk as metrics
from metrics_sdk.exporters import JsonLinesExporter
from metrics_sdk.testing import IsolatedMetrics, isolated
from metrics_sdk_prometheus import PrometheusEndpoint

requests = metrics.counter("requests", unit="{request}", description="Requests.")
assert_type(requests, metrics.Counter)
requests.add()
requests.add(1, {"route": "/cart"})
requests.add(Decimal(1)); requests.add(Fraction(1, 2)); requests.add(True)
metrics.up_down_counter("d").add(-1)
metrics.gauge("g").set(17)
latency = metrics.histogram("h", unit="s", boundaries=[0.1, 1])
latency.record(0.123, {"route": "/cart", "code": 200})
metrics.record("checkout.total", 12.5, {"currency": "EUR"})
handle = metrics.observable_gauge("pool", lambda: 5)
metrics.observable_counter("bytes", lambda: [(1.5, {"k": "v"})])
handle.close()


@metrics.timed("t", {"job": "import"})
def run(x: int, *, y: str = "") -> list[str]:
    return [y] * x


assert_type(run(1, y="a"), list[str])


@metrics.timed("t")
async def later(x: int) -> int:
    return x


class Job:
    @latency.time()
    def method(self, x: int) -> str:
        return str(x)

    @metrics.timed("t")
    def numbers(self) -> Iterator[int]:
        yield 1


assert_type(Job().method(1), str)
assert_type(Job().numbers(), Iterator[int])
with metrics.timed("db.query"):
    pass
found = metrics.query("h", {"route": "/cart"}, last=60)
assert_type(found.percentile(99), float | None)
assert_type(found.count, int)
metrics.configure(
    metrics.Config(exporters=[metrics.Export(JsonLinesExporter("x"), interval_seconds=10)], flush_interval_seconds=1.0, shards=2)
)
sdk = metrics.MetricsSDK(metrics.Config(resource={"service.name": "shop"}))
sdk.record("x", 1)
assert_type(sdk.flush(timeout=5.0), bool)
assert_type(sdk.health().dropped, Mapping[str, int])
with isolated() as test:
    assert_type(test, IsolatedMetrics)
with PrometheusEndpoint(sdk, port=0) as endpoint:
    assert_type(endpoint.url, str)


class Mine:
    def export(self, snapshot: metrics.Snapshot, timeout: float) -> None: ...
    def shutdown(self) -> None: ...


exporter: metrics.Exporter = Mine()
"""

WRONG = """
import metrics_sdk as metrics
metrics.counter("c").add("1")  # E: arg-type
metrics.counter("c").set(1)  # E: attr-defined
metrics.gauge("g").set(None)  # E: arg-type
metrics.histogram("h").record(1, [("a", 1)])  # E: arg-type
metrics.record(5, 1)  # E: arg-type
metrics.Config(exporters=[object()])  # E: list-item
@metrics.timed("t")
def run(x: int) -> int:
    return x
run("a")  # E: arg-type
"""


def check(source: str, tmp_path: Path) -> str:
    (tmp_path / "consumer.py").write_text(source)
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--no-incremental", "--no-error-summary", "consumer.py"]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout


@pytest.mark.slow
def test_correct_use_is_accepted_with_the_expected_types(tmp_path: Path) -> None:
    assert "" == check(CONSUMER, tmp_path)


@pytest.mark.slow
def test_wrong_use_is_reported_on_its_line(tmp_path: Path) -> None:
    expected = [(number, line.split("# E: ")[1]) for number, line in enumerate(WRONG.splitlines(), 1) if "# E: " in line]
    found = re.findall(r"consumer\.py:(\d+): error: .*\[([\w-]+)\]", check(WRONG, tmp_path))
    assert expected == [(int(number), code) for number, code in found]
