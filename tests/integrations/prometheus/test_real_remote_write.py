"""Remote write to a real Prometheus and a real VictoriaMetrics: the same numbers come back."""

from __future__ import annotations

import json
import time
import urllib.parse
from typing import Any

import pytest
from metrics_sdk_prometheus import RemoteWriteExporter
from servers import until

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.snapshot import ExponentialBuckets, Metric, Point, Snapshot

pytestmark = pytest.mark.slow

FEATURES = ("--web.enable-remote-write-receiver", "--enable-feature=native-histograms,exemplar-storage")
RESOURCE = {"service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h"}
SAME = {"job": "eu/shop", "instance": "i-1"}
VALUES = [(number % 1009) / 100 for number in range(5003)]
QUANTILES = (0.01, 0.25, 0.5, 0.9, 0.99)


@pytest.fixture
def prometheus(servers: Any) -> str:
    """The URL of a Prometheus that takes remote write, native histograms too."""
    url = servers.prometheus(*FEATURES)
    until(lambda: servers.get(f"{url}/-/ready"), "Prometheus is ready")
    return str(url)


@pytest.fixture
def victoria(servers: Any) -> str:
    """The URL of a VictoriaMetrics."""
    return str(servers.victoria_metrics())


def recorded(exporter: RemoteWriteExporter) -> MetricsSDK:
    """Return an SDK that has recorded and delivered."""
    sdk = MetricsSDK(Config(exporters=[exporter], resource=RESOURCE, exemplar_filter="always_on"))
    sdk.counter("orders", unit="{order}").add(3, {"kind": 'a "b"\\\n😀', "Zone": 1, "job": "inner"})
    sdk.gauge("temperature", unit="Cel").set(-21.5)
    given, unbounded = sdk.histogram("given", unit="s", boundaries=(1.0, 4.0)), sdk.histogram("unbounded", unit="s")
    for value in VALUES:
        given.record(value)
        unbounded.record(value)
    assert sdk.flush(10.0), sdk.health()
    return sdk


def compare(servers: Any, url: str) -> None:
    """Assert that everything but `unbounded` comes back."""

    def values(expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        return {
            tuple(sorted([label for label in one["metric"].items() if label[0] != "__name__"])): float(one["value"][1])
            for one in servers.query(url, expression)
        }

    def one(**labels: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted({**SAME, **labels}.items()))

    assert {one(kind='a "b"\\\n😀', Zone="1", exported_job="inner"): 3.0} == values("orders_total")
    assert {one(): -21.5} == values("temperature_celsius")
    below, within = sum(value <= 1 for value in VALUES), sum(value <= 4 for value in VALUES)
    assert {one(le="1.0"): below, one(le="4.0"): within, one(le="+Inf"): len(VALUES)} == values("given_seconds_bucket")
    assert {one(): pytest.approx(sum(VALUES))} == values("given_seconds_sum")
    assert {one(): len(VALUES)} == values("given_seconds_count")
    ((info, number),) = values("target_info").items()
    assert (1.0, {**SAME, "host_name": "h"}.items()) == (number, dict(info).items() & {**SAME, "host_name": "h"}.items())
    assert "service_name" not in dict(info)
    assert 1 == len(servers.query(url, "temperature_celsius * on (job, instance) group_left (host_name) target_info"))


def test_prometheus_has_what_was_pushed_at_powers_of_two(servers: Any, prometheus: str) -> None:
    sdk = recorded(RemoteWriteExporter(f"{prometheus}/api/v1/write"))
    compare(servers, prometheus)
    for quantile in QUANTILES:
        (found,) = servers.query(prometheus, f"histogram_quantile({quantile}, unbounded_seconds_bucket)")
        ours = sdk.query("unbounded").percentile(quantile * 100)
        assert ours is not None
        assert 0.5 <= ours / float(found["value"][1]) <= 2
    assert [] == servers.query(prometheus, "unbounded_seconds")
    assert sdk.shutdown()


def test_prometheus_has_native_histograms_that_were_pushed(servers: Any, prometheus: str) -> None:
    sdk = recorded(RemoteWriteExporter(f"{prometheus}/api/v1/write", native_histograms=True, max_request_bytes=1024))
    compare(servers, prometheus)
    (scale,) = [m.points[0].value.scale for m in sdk.snapshot().metrics if m.name == "unbounded"]  # type: ignore[union-attr]
    base = 2.0**2.0 ** -min(8, scale)
    for quantile in QUANTILES:
        (found,) = servers.query(prometheus, f"histogram_quantile({quantile}, unbounded_seconds)")
        ours = sdk.query("unbounded").percentile(quantile * 100)
        assert ours is not None
        assert 1 / base <= ours / float(found["value"][1]) <= base
    ((total,), (count,)) = [servers.query(prometheus, f"histogram_{what}(unbounded_seconds)") for what in ("sum", "count")]
    assert (sdk.query("unbounded").sum, len(VALUES)) == (float(total["value"][1]), float(count["value"][1]))
    assert [] == servers.query(prometheus, "unbounded_seconds_bucket")
    assert sdk.shutdown()


def test_prometheus_stores_the_exemplars_that_were_pushed(servers: Any, prometheus: str) -> None:
    sdk = recorded(RemoteWriteExporter(f"{prometheus}/api/v1/write", native_histograms=True))
    # Prometheus 2.53 looks for the series of an exemplar before it has stored the first native histogram of that series.
    assert sdk.flush(10.0)
    asked = urllib.parse.urlencode(
        {"query": '{__name__=~"orders_total|given_seconds_bucket|unbounded_seconds"}', "start": 0, "end": time.time() + 60}
    )
    answer = json.loads(servers.get(f"{prometheus}/api/v1/query_exemplars?{asked}"))
    found = {
        series["seriesLabels"].get("le", series["seriesLabels"]["__name__"]): series["exemplars"] for series in answer["data"]
    }
    assert {"orders_total", "1.0", "4.0", "+Inf", "unbounded_seconds"} == set(found)
    assert ["3"] == [one["value"] for one in found["orders_total"]]
    assert sdk.shutdown()


def snapshot(now: float, *names: str) -> Snapshot:
    native = ExponentialBuckets(2, 3.0, 1.0, 2.0, 3, 0, ((-1, 1), (7, 1)), ())
    metrics = [
        Metric(
            name, "histogram" if name == "n" else "gauge", "", "", None, (Point((), native if name == "n" else 1, now, now),)
        )
        for name in names
    ]
    return Snapshot(RESOURCE, now, tuple(metrics))


def test_to_prometheus_a_series_that_is_gone_ends_at_once(servers: Any, prometheus: str) -> None:
    exporter = RemoteWriteExporter(f"{prometheus}/api/v1/write", native_histograms=True)
    now = time.time() - 60
    assert exporter.export(snapshot(now, "stays", "goes", "n"), 5.0) is None
    assert ["1"] == [one["value"][1] for one in servers.query(prometheus, "goes", time=now + 5)]
    assert 1 == len(servers.query(prometheus, "n", time=now + 5))
    assert exporter.export(snapshot(now + 10, "stays"), 5.0) is None
    assert [[], []] == [servers.query(prometheus, name, time=now + 15) for name in ("goes", "n")]
    assert ["1"] == [one["value"][1] for one in servers.query(prometheus, "stays", time=now + 15)]
    assert exporter.export(snapshot(now + 20, "stays", "goes", "n"), 5.0) is None
    assert [1, 1] == [len(servers.query(prometheus, name, time=now + 25)) for name in ("goes", "n")]
    exporter.shutdown()


def test_prometheus_refuses_what_is_too_old_for_good(servers: Any, prometheus: str) -> None:
    from metrics_sdk.errors import ExportError

    exporter = RemoteWriteExporter(f"{prometheus}/api/v1/write")
    assert exporter.export(snapshot(time.time(), "g"), 5.0) is None
    with pytest.raises(ExportError, match="400") as failed:
        exporter.export(snapshot(time.time() - 30, "g"), 5.0)
    assert (1, 1) == (failed.value.settled, failed.value.refused)
    exporter.shutdown()


def test_victoria_metrics_has_what_was_pushed(servers: Any, victoria: str) -> None:
    sdk = recorded(RemoteWriteExporter(f"{victoria}/api/v1/write"))
    servers.get(f"{victoria}/internal/force_flush")
    until(lambda: servers.query(victoria, "orders_total"), "VictoriaMetrics shows it")
    compare(servers, victoria)
    (found,) = servers.query(victoria, "histogram_quantile(0.5, unbounded_seconds_bucket)")
    ours = sdk.query("unbounded").percentile(50)
    assert ours is not None
    assert 0.5 <= ours / float(found["value"][1]) <= 2
    assert sdk.shutdown()


def test_to_victoria_metrics_a_series_that_is_gone_ends_at_once(servers: Any, victoria: str) -> None:
    exporter = RemoteWriteExporter(f"{victoria}/api/v1/write")
    now = time.time() - 60
    for seconds, names in ((0, ("stays", "goes")), (10, ("stays", "goes")), (20, ("stays",))):
        assert exporter.export(snapshot(now + seconds, *names), 5.0) is None
    servers.get(f"{victoria}/internal/force_flush")
    assert 1 == len(servers.query(victoria, "goes", time=now + 15))
    assert [] == servers.query(victoria, "goes", time=now + 25)
    assert 1 == len(servers.query(victoria, "stays", time=now + 25))
    exporter.shutdown()
