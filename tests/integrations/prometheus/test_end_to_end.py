"""With a real SDK: what was recorded is what Prometheus reads."""

from __future__ import annotations

import logging
import re
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from metrics_sdk_prometheus import OPENMETRICS, TEXT, PrometheusEndpoint, Renderer, render
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metrics_sdk import Config, MetricsSDK


@pytest.fixture
def sdk() -> Iterator[MetricsSDK]:
    sdk = MetricsSDK(Config(background=False, resource={"service.name": "shop"}))
    yield sdk
    sdk.shutdown()


def record(sdk: MetricsSDK) -> None:
    sdk.counter("http.requests", unit="{request}", description="Requests.").add(3, {"http.method": "GET"})
    sdk.up_down_counter("active").add(-2)
    sdk.gauge("temperature", unit="Cel").set(21.5, {"room": 'a "b"\n'})
    sizes = sdk.histogram("size", unit="By")
    for size in (0, 1, 1024, 1025, 2.0**50):
        sizes.record(size)
    sdk.histogram("latency", unit="s", boundaries=(0.1, 1)).record(0.1)
    sdk.observable_counter("cpu", lambda: [(1.5, {"mode": "user"})], unit="s")


@pytest.mark.parametrize(("format", "parse"), [(TEXT, parse_text), (OPENMETRICS, parse_openmetrics)])
def test_both_parsers_read_what_was_recorded(sdk: MetricsSDK, format: object, parse: Callable[..., object]) -> None:
    record(sdk)
    shown = render(sdk.snapshot(), format).decode()  # type: ignore[arg-type]
    read = {(s.name, *sorted(s.labels.items())): s.value for family in parse(shown) for s in family.samples}  # type: ignore[attr-defined]
    expected = {
        ("http_requests_total", ("http_method", "GET")): 3,
        ("active",): -2,
        ("temperature_celsius", ("room", 'a "b"\n')): 21.5,
        ("size_bytes_bucket", ("le", "1.0")): 2,
        ("size_bytes_bucket", ("le", "1024.0")): 3,
        ("size_bytes_bucket", ("le", "4096.0")): 4,
        ("size_bytes_bucket", ("le", "1.099511627776e+12")): 4,
        ("size_bytes_bucket", ("le", "+Inf")): 5,
        ("size_bytes_count",): 5,
        ("size_bytes_sum",): 2050 + 2.0**50,
        ("latency_seconds_bucket", ("le", "0.1")): 1,
        ("cpu_seconds_total", ("mode", "user")): 1.5,
        ("metrics_sdk_received_total",): 10,
    }
    assert expected == {key: read.get(key) for key in expected}
    assert ("service_name", "shop") in next(key for key in read if key[0] == "target_info")


def test_no_count_falls_from_scrape_to_scrape_while_values_of_all_magnitudes_come(sdk: MetricsSDK) -> None:
    """The SDK lowers the scale of an exponential histogram meanwhile, down to a negative one."""
    histogram = sdk.histogram("spread", unit="s")
    renderer = Renderer()
    before: dict[str, float] = {}
    for exponent in [0, 1, -1, 5, -9, 40, -90, 200, -300, 500, -700, 900]:
        histogram.record(2.0**exponent * 1.3)
        lines = re.findall(r"^(spread_seconds_bucket\S+) (\d+)$", renderer.render(sdk.snapshot()).decode(), re.MULTILINE)
        now = {name: float(count) for name, count in lines}
        assert 26 == len(now)
        assert {name: count for name, count in before.items() if now[name] < count} == {}
        before = now


def test_an_endpoint_serves_a_real_sdk(sdk: MetricsSDK) -> None:
    record(sdk)
    with PrometheusEndpoint(sdk, port=0) as endpoint, urllib.request.urlopen(endpoint.url, timeout=10) as response:
        assert b'http_requests_total{http_method="GET"} 3\n' in response.read()


def test_without_an_sdk_it_is_the_process_wide_one_at_the_time_of_the_request(run_python: Callable[..., str]) -> None:
    program = """
        import urllib.request
        from metrics_sdk_prometheus import PrometheusEndpoint
        with PrometheusEndpoint(port=0) as endpoint:
            import metrics_sdk
            metrics_sdk.configure(metrics_sdk.Config(background=False))
            metrics_sdk.counter("late").add(2)
            print(b"late_total 2" in urllib.request.urlopen(endpoint.url, timeout=10).read())
    """
    assert "True\n" == run_python(program)


def test_the_labels_of_the_sdks_series_are_made_once(sdk: MetricsSDK, caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered goes by the identity of the attributes: the SDK hands out the same ones each time."""
    record(sdk)
    assert [p.attributes for m in sdk.snapshot().metrics[:6] for p in m.points] == [
        p.attributes for m in sdk.snapshot().metrics[:6] for p in m.points
    ]
    first, second = sdk.snapshot(), sdk.snapshot()
    same = [
        p.attributes is q.attributes for m, n in zip(first.metrics[:6], second.metrics[:6]) for p, q in zip(m.points, n.points)
    ]
    assert [True] * 6 == same
    with caplog.at_level(logging.WARNING):
        renderer = Renderer()
        assert renderer.render(first) != b""
    assert [] == caplog.records
