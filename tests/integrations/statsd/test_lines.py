"""What leaves for each kind of metric, in both dialects."""

from __future__ import annotations

from typing import Any

import pytest
from metrics_sdk_statsd import StatsDExporter
from statsd_grammar import Server
from statsd_made import metric, point, snapshot

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Refused

TIMER = ExplicitBuckets(3, 6.5, 0.5, 4.0, (1.0,), (1, 2))


def sent(inbox: Any, *metrics: Any, resource: dict[str, Any] | None = None, **options: Any) -> list[str]:
    """The lines that one export sends, which must refuse nothing."""
    exporter = StatsDExporter(inbox.endpoint, **options)
    assert exporter.export(snapshot(*metrics, **(resource or {})), 5.0) is None
    exporter.shutdown()
    return [line for datagram in inbox.datagrams() for line in datagram.decode().split("\n")]


@pytest.mark.parametrize("kind", ["counter", "observable_counter"])
def test_a_counter_is_what_has_come_and_nothing_where_nothing_has(unix: Any, kind: str) -> None:
    assert ["a.b:3|c", "a.b.k.v:0.25|c"] == sent(unix, metric("a.b", kind, 3, 0, 0.0, point(0.25, k="v")))


@pytest.mark.parametrize("kind", ["gauge", "up_down_counter", "observable_gauge", "observable_up_down_counter"])
def test_a_gauge_is_its_value_and_in_plain_statsd_set_to_zero_first_where_that_has_a_sign(unix: Any, kind: str) -> None:
    wanted = metric("g", kind, 5, 0, -5, -0.5, temporality="cumulative")
    assert ["g:5|g", "g:0|g", "g:0|g", "g:-5|g", "g:0|g", "g:-0.5|g"] == sent(unix, wanted)
    assert ["g:5|g", "g:0|g", "g:-5|g", "g:-0.5|g"] == sent(unix, wanted, dialect="dogstatsd")


def test_zero_and_the_signed_value_are_in_the_same_datagram_however_small_these_are(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix, max_datagram_bytes=24)
    exporter.export(snapshot(metric("gauge", "gauge", 1, -5, -6)), 5.0)
    assert [b"gauge:1|g", b"gauge:0|g\ngauge:-5|g", b"gauge:0|g\ngauge:-6|g"] == unix.datagrams()


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("s", ["500", "2000", "4000"]),
        ("ms", ["0.5", "2", "4"]),
        ("us", ["0.0005", "0.002", "0.004"]),
        ("ns", ["0.0000005", "0.000002", "0.000004"]),
        ("min", ["30000", "120000", "240000"]),
        ("h", ["1800000", "7200000", "14400000"]),
        ("By", ["0.5", "2", "4"]),
        ("", ["0.5", "2", "4"]),
    ],
)
def test_times_are_milliseconds_in_plain_statsd_and_as_they_are_in_dogstatsd(unix: Any, unit: str, texts: list[str]) -> None:
    wanted = metric("t", "histogram", TIMER, unit=unit)
    assert [f"t:{text}|ms" for text in texts] == sent(unix, wanted)
    assert ["t:0.5|d", "t:2|d", "t:4|d"] == sent(unix, wanted, dialect="dogstatsd")


def test_many_values_have_a_sample_rate_and_few_lines(unix: Any, exporter_to: Any) -> None:
    many = ExponentialBuckets(10_000, 15_000.0, 1.5, 1.5, 0, 0, ((0, 10_000),), ())
    assert ["t:1.5|d", "t:1.5|d|@0.00010002000400080016", "t:1.5|d"] == sent(
        unix, metric("t", "histogram", many), dialect="dogstatsd"
    )
    exporter = exporter_to(unix)
    assert exporter.export(snapshot(metric("t", "histogram", many)), 5.0) is None
    server = Server().take(unix.datagrams())
    assert 10_000 == sum([weight for _, weight in server.timers["t"]])
    assert len(server.timers["t"]) <= 256


def test_a_histogram_without_values_is_not_sent(unix: Any) -> None:
    assert [] == sent(unix, metric("t", "histogram", ExplicitBuckets(0, 0.0, None, None, (1.0,), (0, 0))))


def test_plain_attributes_are_parts_of_the_name_in_the_order_of_their_keys(unix: Any) -> None:
    wanted = metric("http", "counter", point(1, route="/a.b c", method="GET", ok=True, list=("x", 2)))
    assert ["shop.http.list.x_2.method.GET.ok.true.route._a_b_c:1|c"] == sent(unix, wanted, prefix="shop.")


def test_dogstatsd_has_tags_of_the_resource_its_own_the_meter_and_the_attributes(unix: Any) -> None:
    wanted = metric("http", "counter", point(1, route="/a b", url="h:80"), meter=Meter("lib.http", "1.0"))
    resource = {
        "service_name": "shop",
        "service_version": "1.2",
        "service_instance_id": "i-1",
        "deployment_environment_name": "prod",
        "host_name": "h1",
        "process_pid": 12,
        "telemetry_sdk_name": "metrics_sdk",
        "telemetry_sdk_version": "0.1",
        "telemetry_sdk_language": "python",
    }
    (line,) = sent(unix, wanted, resource=resource, dialect="dogstatsd", prefix="x.", tags={"team": "a|b", "env": "test"})
    start, _, tags = line.partition("|#")
    assert "x.http:1|c" == start
    assert {
        "service:shop",
        "version:1.2",
        "instance:i-1",
        "env:test",
        "host.name:h1",
        "process.pid:12",
        "telemetry.sdk.name:metrics_sdk",
        "telemetry.sdk.version:0.1",
        "team:a_b",
        "otel_scope_name:lib.http",
        "route:/a_b",
        "url:h:80",
    } == set(tags.split(","))


def test_which_tags_the_resource_has_can_be_chosen(unix: Any) -> None:
    wanted = {"resource": {"service_name": "shop", "cloud_region": "eu"}, "dialect": "dogstatsd"}
    assert ["a:1|c|#region:eu"] == sent(unix, metric("a", "counter", 1), resource_tags={"cloud.region": "region"}, **wanted)
    assert ["a:1|c"] == sent(unix, metric("a", "counter", 1), resource_tags={}, **wanted)


def test_no_attribute_passes_for_what_is_said_of_the_process_or_for_what_the_agent_keeps_for_itself(unix: Any) -> None:
    attributes = {"service": "evil", "host": "evil", "dd.internal.entity_id": "evil", "otel_scope_name": "evil", "env": "mine"}
    (line,) = sent(unix, metric("a", "counter", point(1, **attributes)), resource={"service_name": "shop"}, dialect="dogstatsd")
    exported = {f"exported_{key}:evil" for key in attributes if key != "env"}
    assert {"service:shop", "env:mine", *exported} == set(line.partition("|#")[2].split(","))


def test_names_begin_with_a_letter_in_dogstatsd_where_others_are_events_and_checks(unix: Any) -> None:
    wanted = [metric(name, "counter", 1) for name in ("_e{1,2}", "_sc", "1.x", "...", "ok/a-b")]
    assert ["e_1_2_:1|c", "sc:1|c", "x:1|c", "unnamed:1|c", "ok_a_b:1|c"] == sent(unix, *wanted, dialect="dogstatsd")


def test_what_is_a_tag_to_graphite_or_changed_by_the_server_is_not_in_plain_names(unix: Any) -> None:
    assert ["a_b_c_d.k_1.v_2:1|c"] == sent(unix, metric("a;b=c/d", "counter", point(1, **{"k;1": "v=2"})))


def test_no_part_of_a_plain_name_is_empty(unix: Any) -> None:
    wanted = [metric("..a...b..", "counter", point(1, k="")), metric("", "counter", 1), metric("..", "counter", 1)]
    assert ["a.b.k._:1|c", "unnamed:1|c", "unnamed:1|c"] == sent(unix, *wanted)


def test_long_names_keys_and_values_are_cut(unix: Any) -> None:
    wanted = metric("n" * 300, "counter", point(1, **{"k" * 300: "v" * 300}))
    assert [f"{'n' * 255}.{'k' * 100}.{'v' * 200}:1|c"] == sent(unix, wanted)
    assert [f"{'n' * 200}:1|c|#{'k' * 100}:{'v' * 99}"] == sent(unix, wanted, dialect="dogstatsd")


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (metric("bad", "counter", float("nan")), "not a finite number"),
        (metric("bad", "gauge", float("-inf")), "not a finite number"),
        (metric("bad", "gauge", 10**400), "64 bits"),
        (metric("bad", "gauge", "3"), "text"),
        (metric("bad", "histogram", TIMER._replace(sum=float("nan"))), "sum"),
        (metric("bad", "histogram", TIMER._replace(count=9)), "add up"),
        (metric("bad", "histogram", TIMER._replace(min=-1.0, sum=5.0)), "negative"),
        (metric("bad" * 100, "counter", point(1, **{f"k{i}": "v" * 200 for i in range(20)})), "longer than 1432 bytes"),
    ],
)
def test_what_cannot_be_written_is_refused_and_costs_no_other_point(bind: Any, exporter_to: Any, unfit: Any, why: str) -> None:
    inbox = bind(0)
    exporter = exporter_to(inbox)
    refused = exporter.export(snapshot(metric("a", "counter", 1), unfit, metric("b", "counter", 2)), 5.0)
    assert isinstance(refused, Refused)
    assert 1 == refused.points
    assert why in refused.why
    assert unfit.name[:3] in refused.why
    assert [("a", 1), ("b", 2)] == [(line.name, line.value) for line in inbox.lines()]


def test_negative_values_are_no_trouble_to_distributions(unix: Any) -> None:
    wanted = metric("d", "histogram", TIMER._replace(min=-1.0, sum=5.0))
    assert ["d:-1|d", "d:2|d", "d:4|d"] == sent(unix, wanted, dialect="dogstatsd")


# ---- totals ---------------------------------------------------------------------------------------------------------


def total(value: Any, start: float = 0.0, time: float = 10.0, kind: str = "counter") -> Any:
    return metric("metrics_sdk.received", kind, point(value, start, time), temporality="cumulative")


def test_a_total_is_sent_as_its_difference_to_the_last_one_and_whole_when_it_begins_anew(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix)
    for one in [
        total(5),
        total(5),
        total(7.5),
        total(2),
        total(3, 20.0, 30.0),
        total(float("nan"), 20.0),
        total(4, 20.0, 50.0),
    ]:
        exporter.export(snapshot(one), 5.0)
    assert [5, 2.5, 2, 3, 1] == [line.value for line in unix.lines()]


def test_a_producers_histogram_is_sent_as_its_difference_too(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix, dialect="dogstatsd")
    first = ExplicitBuckets(3, 6.5, None, None, (1.0, 4.0), (1, 2, 0))
    for value in [first, first, first._replace(count=5, sum=16.5, bucket_counts=(1, 3, 1))]:
        assert exporter.export(snapshot(total(value, kind="histogram")), 5.0) is None
    lines = unix.lines()
    assert 5 == len(lines)
    assert 6.5 == pytest.approx(sum([line.value for line in lines[:3]]))
    assert 10.0 == pytest.approx(sum([line.value for line in lines[3:]]))
    assert 1.0 <= lines[3].value <= 4.0 <= lines[4].value


def test_a_cumulative_exponential_histogram_is_refused(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix)
    refused = exporter.export(
        snapshot(total(ExponentialBuckets(1, 1.0, 1.0, 1.0, 0, 0, ((-1, 1),), ()), kind="histogram")), 5.0
    )
    assert refused is not None
    assert "cumulative" in refused.why
    assert [] == unix.lines()
