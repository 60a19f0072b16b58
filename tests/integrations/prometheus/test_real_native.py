"""A real Prometheus scrapes native histograms, and computes what the SDK computes."""

from __future__ import annotations

import json
import math
import random
import re
import time
import urllib.parse
from typing import Any

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint
from servers import until

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.view import Aggregation, View

pytestmark = pytest.mark.slow

chance = random.Random(7)
COUNT = 5003  # a prime: no quantile asked for falls between two values

DISTRIBUTIONS: dict[str, list[float]] = {
    "latencies": [chance.lognormvariate(-3, 1) for _ in range(COUNT)],
    "one_value": [0.1] * COUNT,
    "negatives_and_zeros": [chance.choice((0.0, chance.gauss(0, 10))) for _ in range(COUNT)],
    "below_zero": [-chance.expovariate(0.01) for _ in range(COUNT)],
    "wide": [10 ** chance.uniform(-9, 12) for _ in range(COUNT)],
    "all_doubles": [math.ldexp(chance.uniform(0.5, 1), chance.randint(-1070, 1023)) for _ in range(COUNT)],
    "zeros": [0.0] * COUNT,
}
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
FLAGS = ("--enable-feature=native-histograms,exemplar-storage",)


@pytest.fixture
def sdk() -> Any:
    coarse = View("all_doubles", aggregation=Aggregation("exponential", max_buckets=130))
    resource = {"service.name": "shop"}
    made = MetricsSDK(Config(background=False, exemplar_filter="always_on", resource=resource, views=[coarse]))
    yield made
    made.shutdown()


def test_quantiles_of_native_histograms_agree_with_our_percentiles(sdk: MetricsSDK, servers: Any) -> None:
    for name, values in DISTRIBUTIONS.items():
        histogram = sdk.histogram(name)
        for value in values:
            histogram.record(value)
    schemas = {m.name: min(8, m.points[0].value.scale) for m in sdk.snapshot().metrics if m.name in DISTRIBUTIONS}  # type: ignore[union-attr]
    assert {-4, 8} < set(schemas.values())
    with PrometheusEndpoint(sdk, port=0) as endpoint:
        url = servers.prometheus(*FLAGS, target=endpoint.url)
        until(lambda: servers.query(url, "histogram_count(latencies)"), "Prometheus has native histograms")
        worst: dict[str, float] = {}
        for name in DISTRIBUTIONS:
            (count,) = servers.query(url, f"histogram_count({name})")
            assert COUNT == float(count["value"][1])
            (total,) = servers.query(url, f"histogram_sum({name})")
            assert sdk.query(name).sum == float(total["value"][1])
            base = 2.0**2.0 ** -schemas[name]
            for quantile in QUANTILES:
                ours = sdk.query(name).percentile(quantile * 100)
                (found,) = servers.query(url, f"histogram_quantile({quantile}, {name})")
                theirs = float(found["value"][1])
                told = f"{name}, {quantile}: ours {ours!r}, theirs {theirs!r}, schema {schemas[name]}"
                assert ours is not None
                if ours == 0.0:
                    assert abs(theirs) <= 2.0**-1024, told
                else:
                    # Both are in one bucket: theirs by interpolation, ours near its middle.
                    assert 1 / base * (1 - 1e-12) <= ours / theirs <= base * (1 + 1e-12), told
                    worst[name] = max(worst.get(name, 0.0), abs(ours / theirs - 1))
        print({name: (schemas[name], f"{error:.2%}") for name, error in worst.items()})  # for `pytest -s`


def test_counters_gauges_and_classic_histograms_are_the_same_as_by_text(sdk: MetricsSDK, servers: Any) -> None:
    sdk.counter("orders").add(3, {"kind": 'a "b"\\\n😀'})
    sdk.gauge("temperature", unit="Cel").set(-21.5)
    sdk.gauge("beyond").set(float("inf"))
    for value in (0.5, 3.0, 7.0):
        sdk.histogram("given", unit="s", boundaries=(1.0, 4.0)).record(value)
        sdk.histogram("unbounded", unit="s").record(value)
    sdk.histogram("empty", unit="s").bind({})

    def stored(url: str) -> dict[tuple[tuple[str, str], ...], str]:
        chosen = '{__name__=~"orders.*|temp.*|beyond|given.*|unbounded.*|target_info"}'
        return {tuple(sorted(one["metric"].items())): one.get("value", ("", "native"))[1] for one in servers.query(url, chosen)}

    with PrometheusEndpoint(sdk, port=0) as endpoint:
        by_text = servers.prometheus(target=endpoint.url)
        expected = until(lambda: stored(by_text), "Prometheus scraped the text")
        servers.close()
        url = servers.prometheus(*FLAGS, target=endpoint.url)
        found = until(lambda: stored(url), "Prometheus scraped protobuf")

    def named(series: dict[tuple[tuple[str, str], ...], str]) -> dict[Any, str]:
        return {
            tuple([label for label in labels if label[0] != "instance"]): value
            for labels, value in series.items()
            if not re.match("unbounded|.*_created", dict(labels)["__name__"])  # protobuf has that in a field
        }

    # Buckets' bounds are written in Go's shortest form by Prometheus, "1" for our "1.0", until it wrote them as OpenMetrics has it.
    def canonical(series: dict[Any, str]) -> dict[Any, str]:
        return {
            tuple([(name, str(float(text)) if name == "le" else text) for name, text in labels]): value
            for labels, value in series.items()
        }

    assert canonical(named(expected)) == canonical(named(found))
    assert 3 == sum(1 for labels in named(found) if ("__name__", "given_seconds_bucket") in labels)
    assert [("unbounded_seconds", "native")] == [
        (dict(labels)["__name__"], value) for labels, value in found.items() if dict(labels)["__name__"].startswith("unbounded")
    ]


def test_exemplars_of_counters_classic_and_native_histograms_arrive(sdk: MetricsSDK, servers: Any) -> None:
    sdk.counter("orders").add(3)
    for value in (0.5, 3.0, 7.0):
        sdk.histogram("given", boundaries=(1.0, 4.0)).record(value)
        sdk.histogram("unbounded").record(value)

    def stored(url: str) -> set[tuple[str, float]]:
        asked = urllib.parse.urlencode(
            {"query": '{__name__=~"orders_total|given_bucket|unbounded"}', "start": 0, "end": time.time() + 60}
        )
        answer = json.loads(servers.get(f"{url}/api/v1/query_exemplars?{asked}"))
        return {
            (series["seriesLabels"]["__name__"], float(exemplar["value"]))
            for series in answer.get("data", ())
            for exemplar in series["exemplars"]
        }

    with PrometheusEndpoint(sdk, port=0) as endpoint:
        url = servers.prometheus(*FLAGS, target=endpoint.url)
        expected = {("orders_total", 3.0)} | {
            (name, value) for name in ("given_bucket", "unbounded") for value in (0.5, 3.0, 7.0)
        }
        until(lambda: stored(url) == expected, "Prometheus stores the exemplars")


def test_a_histogram_without_values_is_native_before_and_after_the_first(sdk: MetricsSDK, servers: Any) -> None:
    from metrics_sdk.snapshot import ExponentialBuckets, Metric, Point, Snapshot

    class Source:
        value = ExponentialBuckets(0, 0.0, None, None, 20, 0, (), ())

        def snapshot(self) -> Snapshot:
            point = Point((), self.value, 1.0, 2.0)
            return Snapshot({}, 2.0, (Metric("h", "histogram", "", "", None, (point,)),))

    source = Source()
    with PrometheusEndpoint(source, port=0) as endpoint:
        url = servers.prometheus(*FLAGS, target=endpoint.url)
        until(lambda: servers.query(url, "histogram_count(h) == 0"), "Prometheus has a native histogram of nothing")
        source.value = ExponentialBuckets(2, 3.0, 1.0, 2.0, 3, 0, ((-1, 1), (7, 1)), ())
        until(lambda: servers.query(url, "histogram_count(h) == 2"), "Prometheus has the values")
        assert [] == servers.query(url, "h_count") + servers.query(url, "h_bucket")
