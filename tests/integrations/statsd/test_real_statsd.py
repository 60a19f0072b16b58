"""The reference server, npm's `statsd`, makes of what is sent what was recorded."""

from __future__ import annotations

import math
import random
import socket
from typing import Any

import pytest
from metrics_sdk_statsd.dialects import DIALECTS
from statsd_grammar import lines
from statsd_made import metric, point, snapshot

from metrics_sdk import Config, Export, MetricsSDK
from metrics_sdk.snapshot import ExplicitBuckets


def own(told: dict[str, float]) -> dict[str, float]:
    """Without what the server says of itself, and the SDK of itself."""
    return {name: value for name, value in told.items() if not name.startswith(("statsd.", "metrics_sdk."))}


def sent(exporter: Any, *metrics: Any) -> None:
    assert exporter.export(snapshot(*metrics), 5.0) is None


@pytest.mark.slow
def test_counters_gauges_and_timers_of_an_sdk_arrive_as_they_were_recorded(statsd_server: Any, exporter_to: Any) -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[Export(exporter_to(statsd_server.endpoint, prefix="shop."))]))
    orders, money, load, open_ones = sdk.counter("orders"), sdk.counter("money"), sdk.gauge("load"), sdk.up_down_counter("open")
    took = sdk.histogram("took", unit="s")
    values = [number / 1000 for number in range(1, 101)]
    for country, many in (("de", 3), ("fr", 4)):
        orders.add(many, {"country": country})
        assert sdk.flush()
        orders.add(many * 10, {"country": country})
    money.add(0.125)
    money.add(1e-7)
    load.set(-12.5)
    open_ones.add(5)
    assert sdk.flush()
    open_ones.add(-8)
    for value in values:
        took.record(value, {"route": "/a b"})
    assert sdk.flush()
    assert sdk.flush()
    told = statsd_server.flushed()
    counters = {name.removeprefix("shop."): value for name, value in told["counters"].items() if "metrics_sdk" not in name}
    assert {"orders.country.de": 33, "orders.country.fr": 44, "money": 0.1250001} == own(counters)
    assert -12.5 == told["gauges"]["shop.load"]
    assert -3 == told["gauges"]["shop.open"]
    timer = told["timer_data"]["shop.took.route._a_b"]
    assert (100, 1.0, 100.0) == (timer["count"], timer["lower"], timer["upper"])
    assert 5050.0 == pytest.approx(timer["sum"], rel=1e-9)
    assert 50.0 == pytest.approx(timer["upper_50"], rel=0.02)
    assert 90.0 == pytest.approx(timer["upper_90"], rel=0.02)
    assert 109 == told["counters"]["shop.metrics_sdk.received"]
    assert 0 == told["counters"]["statsd.bad_lines_seen"]
    sdk.shutdown()


@pytest.mark.slow
def test_a_timer_of_many_values_has_exactly_their_count_and_extremes_and_percentiles_close_to_theirs(
    statsd_server: Any, exporter_to: Any
) -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[Export(exporter_to(statsd_server.endpoint))]))
    took = sdk.histogram("took", unit="ms")
    numbers = random.Random(7)
    values = sorted([numbers.expovariate(0.01) + 1.0 for _ in range(50_003)])
    for value in values:
        took.record(value)
    assert sdk.flush()
    told = statsd_server.flushed()
    timer = told["timer_data"]["took"]
    assert (50_003, values[0], values[-1]) == (timer["count"], timer["lower"], timer["upper"])
    assert len(told["timers"]["took"]) <= DIALECTS["statsd"].max_samples
    mean = math.fsum(values) / len(values)
    assert values[25_000] == pytest.approx(timer["median"], rel=0.02)
    assert values[45_000] == pytest.approx(timer["upper_90"], rel=0.03)
    assert mean == pytest.approx(timer["mean"], abs=(values[-1] - mean) / 250)
    sdk.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 253, 254, 300, 12_345, 10**9 + 7])
def test_the_count_of_a_timer_is_exact_whatever_it_is(statsd_server: Any, exporter_to: Any, count: int) -> None:
    values = ExplicitBuckets(count, 2.0 * count, 2.0, 2.0, (1.0, 3.0), (0, count, 0))
    sent(exporter_to(statsd_server.endpoint), metric("t", "histogram", values))
    assert count == statsd_server.flushed()["timer_data"]["t"]["count"]


@pytest.mark.slow
def test_hostile_names_and_values_forge_nothing(statsd_server: Any, exporter_to: Any) -> None:
    exporter = exporter_to(statsd_server.endpoint)
    names = [
        "x:1|c\nforged:9|g",
        "a/b c",
        "tag;forged=1",
        "|@0.001",
        "a|#forged:x",
        "é漢",
        "..",
        "\x00",
        "constructor",
        "__proto__",
    ]
    timer = ExplicitBuckets(1, 2.0, 2.0, 2.0, (), (1,))
    hostile = [metric(f"{name}", "counter", point(1, **{"k:1|c\nforged:1|c": "v\nforged:7|c|@0.1"})) for name in names]
    plain = [
        metric(name, kind, value) for name in names for kind, value in (("counter", 1), ("gauge", -2), ("histogram", timer))
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as seen:
        seen.bind(("127.0.0.1", 0))
        twin = exporter_to(f"udp://127.0.0.1:{seen.getsockname()[1]}", max_datagram_bytes=65507)
        sent(twin, *hostile, *plain)
        expected = lines([seen.recv(65536)])
    sent(exporter, *hostile, *plain)
    told = statsd_server.flushed()
    assert len(expected) == told["counters"].pop("statsd.metrics_received")
    assert 0 == told["counters"].pop("statsd.bad_lines_seen")
    assert not [name for part in ("counters", "gauges", "timers") for name in told[part] if name.startswith("forged")]
    assert {line.name for line in expected if line.type == "c"} == set(own(told["counters"]))
    assert {line.name for line in expected if line.type == "g"} == set(own(told["gauges"]))
    assert {line.name for line in expected if line.type == "ms"} == set(told["timers"])
    assert {-2} == set(own(told["gauges"]).values())
    assert 1 == told["timer_data"]["constructor_"]["count"]


@pytest.mark.slow
def test_numbers_of_any_size_are_read_as_they_are(statsd_server: Any, exporter_to: Any) -> None:
    values = {
        "small": 5e-324,
        "large": 1.7976931348623157e308,
        "tiny": 1e-7,
        "whole": 2**53 - 1,
        "negative": -1e-7,
        "minus_zero": -0.0,
    }
    sent(exporter_to(statsd_server.endpoint), *[metric(name, "gauge", value) for name, value in values.items()])
    assert values == own(statsd_server.flushed()["gauges"])
