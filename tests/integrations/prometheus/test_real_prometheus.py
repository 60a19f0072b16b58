"""A real Prometheus scrapes the running demo, and exemplars."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint
from servers import until

from metrics_sdk import Config, MetricsSDK

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# The sample by which a family of each type is known.
SAMPLE = {"counter": "_total", "histogram": "_count", "info": "_info", "gauge": "", "unknown": ""}


@pytest.fixture
def demo(tmp_path: Path, servers: Any) -> Iterator[str]:
    """The URL of a running demo's /metrics."""
    command = [sys.executable, "-P", "-m", "metrics_sdk", "demo", "--seconds", "60", "--port", "0"]
    with (tmp_path / "demo.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        yield until(
            lambda: next((w for w in (tmp_path / "demo.txt").read_text().split() if w.endswith("/metrics")), None),
            "the demo tells its address",
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture
def prometheus(demo: str, servers: Any) -> str:
    """The URL of a Prometheus that scrapes the demo every second."""
    return str(servers.prometheus(target=demo))


@pytest.mark.slow
def test_prometheus_scrapes_the_demo_and_finds_every_instrument_with_its_type_and_value(
    demo: str, prometheus: str, servers: Any
) -> None:
    until(lambda: [r for r in servers.query(prometheus, "up") if r["value"][1] == "1"], "Prometheus finds the demo up")
    until(lambda: servers.query(prometheus, "rate(metrics_sdk_received_total[5s]) > 0"), "Prometheus sees values coming in")
    page = servers.get(demo, OPENMETRICS)  # which is what Prometheus asks for
    declared = {line.split()[2]: line.split()[3] for line in page.splitlines() if line.startswith("# TYPE ")}
    told = json.loads(servers.get(f"{prometheus}/api/v1/metadata"))["data"]
    for family, kind in declared.items():
        assert kind == told[family][0]["type"], family
    stored = {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in servers.query(prometheus, '{job="demo"}')}
    names = {dict(labels)["__name__"] for labels in stored}
    for family, kind in declared.items():
        assert family + SAMPLE[kind] in names, f"Prometheus stored no {family}"
    # Values: a counter that is only ever read once a flush cannot be compared to the moment; what the page shows later is no
    # less than what Prometheus stored before.
    later = {}
    for line in servers.get(demo).splitlines():
        if line and not line.startswith("#") and "_total{" in line:
            name, value = line.rsplit(" ", 1)
            later[name.partition("{")[0]] = later.get(name.partition("{")[0], 0.0) + float(value)
    compared = 0
    for name, total in later.items():
        before = sum(value for labels, value in stored.items() if dict(labels)["__name__"] == name)
        assert 0 <= before <= total, name
        compared += before > 0
    assert compared >= 5
    quantile = servers.query(prometheus, "histogram_quantile(0.5, sum by (le) (http_server_duration_seconds_bucket))")
    assert 0 < float(quantile[0]["value"][1]) < 10


@pytest.mark.slow
def test_prometheus_stores_the_exemplars_of_counters_and_of_buckets(servers: Any) -> None:
    sdk = MetricsSDK(Config(background=False, exemplar_filter="always_on"))
    sdk.counter("orders").add(3)
    latency = sdk.histogram("latency", boundaries=(1.0, 4.0))
    for value in (0.5, 3.0, 7.0):
        latency.record(value)

    def stored(url: str) -> dict[str, float]:
        asked = urllib.parse.urlencode(
            {"query": '{__name__=~"orders_total|latency_bucket"}', "start": 0, "end": time.time() + 60}
        )
        answer = json.loads(servers.get(f"{url}/api/v1/query_exemplars?{asked}"))
        return {
            series["seriesLabels"].get("le", "total"): float(exemplar["value"])
            for series in answer.get("data", ())
            for exemplar in series["exemplars"]
        }

    with PrometheusEndpoint(sdk, port=0) as endpoint:
        url = servers.prometheus("--enable-feature=exemplar-storage", target=endpoint.url)
        expected = {"total": 3.0, "1.0": 0.5, "4.0": 3.0, "+Inf": 7.0}
        until(lambda: stored(url) == expected, "Prometheus stores the exemplars")
    sdk.shutdown()


@pytest.mark.slow
def test_promtool_reports_nothing_about_the_demo(demo: str, promtool: str, servers: Any) -> None:
    until(lambda: "http_server_duration" in servers.get(demo), "the demo serves requests")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=servers.get(demo), text=True, capture_output=True, check=False, timeout=30
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
