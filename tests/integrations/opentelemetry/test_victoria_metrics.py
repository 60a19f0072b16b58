"""OTLP to a real VictoriaMetrics: the same numbers come back from its queries.

Of totals: version 1.112 leaves out deltas, and says so in its log alone.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from metrics_sdk_opentelemetry import OTLPExporter
from servers import Servers, until

from metrics_sdk import Config, Export, MetricsSDK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    made = Servers(tmp_path_factory.mktemp("servers"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(servers: Servers) -> str:
    """The URL of a VictoriaMetrics."""
    return servers.victoria_metrics()


def sdk_for(server: str, job: str, **options: Any) -> MetricsSDK:
    exporting = OTLPExporter(f"{server}/opentelemetry/v1/metrics", **options.pop("exporter", {}))
    export = Export(exporting, timeout_seconds=60)
    resource = {"service.name": job}
    return MetricsSDK(Config(background=False, exporters=[export], resource=resource, exemplar_filter="always_on", **options))


def found(servers: Servers, server: str, job: str, name: str) -> dict[str, list[float]]:
    """Return the values of a metric's series, by their `k` or `le`."""
    series = servers.stored(server, f'{{"__name__"="{name}","service.name"="{job}"}}')
    return {one["metric"].get("k", one["metric"].get("le", "")): one["values"] for one in series}


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_kind_comes_back_as_it_was_recorded(servers: Servers, server: str, compression: str) -> None:
    job = f"kinds-{compression}"
    sdk = sdk_for(server, job, exporter={"compression": compression})
    counter, up_down, gauge = sdk.counter("c"), sdk.up_down_counter("u"), sdk.gauge("g")
    explicit = sdk.histogram("b", boundaries=(1.0, 5.0))
    sdk.observable_counter("oc", lambda: [(7, {"k": "x"})])
    for times in (1, 2):
        counter.add(3 * times, {"k": 'odd "name"\n,{}'})
        counter.add(2**53, {"k": "large"})
        up_down.add(-2)
        gauge.set(1.5 * times)
        explicit.record(0.5)
        explicit.record(7.0)
        assert sdk.flush(60)
    until(lambda: 2 == len(found(servers, server, job, "g").get("", ())), "both exports have arrived")
    assert {'odd "name"\n,{}': [3, 9], "large": [2**53, 2**54]} == found(servers, server, job, "c")
    assert ([-2, -4], [1.5, 3.0]) == (found(servers, server, job, "u")[""], found(servers, server, job, "g")[""])
    assert [7, 7] == found(servers, server, job, "oc")["x"]
    assert {"1": [1, 2], "5": [1, 2], "+Inf": [2, 4]} == found(servers, server, job, "b_bucket")
    assert ({"": [7.5, 15.0]}, {"": [2, 4]}) == (found(servers, server, job, "b_sum"), found(servers, server, job, "b_count"))
    sdk.shutdown(10)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_of_exponential_histograms_agree_with_ours_within_the_buckets_error(
    servers: Servers, server: str, seed: int
) -> None:
    chance = random.Random(seed)
    job = f"percentiles-{seed}"
    sdk = sdk_for(server, job)
    histogram = sdk.histogram("h", unit="s")
    for _ in range(5000):
        histogram.record(chance.lognormvariate(0, 1.5))
    assert sdk.flush(60)
    until(lambda: found(servers, server, job, "h_count"), "the histogram has arrived")
    ours = sdk.query("h")
    for percent in (10, 50, 90, 99):
        expression = f'histogram_quantile({percent / 100}, {{"__name__"="h_bucket","service.name"="{job}"}})'
        theirs = float(servers.query(server, expression, time=time.time())[0]["value"][1])
        assert ours.percentile(percent) == pytest.approx(theirs, rel=0.03), percent
    assert [5000] == found(servers, server, job, "h_count")[""]
    assert ours.sum == pytest.approx(found(servers, server, job, "h_sum")[""][0])
    sdk.shutdown(10)


def test_a_hundred_thousand_series_come_back(servers: Servers, server: str) -> None:
    number = int(os.environ.get("METRICS_SDK_SERIES", "100000"))
    sdk = sdk_for(server, "many", max_series_per_instrument=number + 1, max_series=10**6, exporter={"compression": "gzip"})
    counter = sdk.counter("many")
    for i in range(number):
        counter.add(i, {"k": str(i)})
    assert sdk.flush(60)

    def total(what: str) -> float:
        expression = f'{what}({{"__name__"="many","service.name"="many"}})'
        servers.get(f"{server}/internal/force_flush")
        return float(servers.query(server, expression, time=time.time())[0]["value"][1])

    until(lambda: number == total("count"), "all series have arrived")
    assert number * (number - 1) / 2 == total("sum")
    assert 0 == sdk.health().exporters["OTLPExporter"].refused
    sdk.shutdown(30)
