"""The exporter to a Pushgateway: what it sends, and what a real one makes of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from metrics_sdk_prometheus import PushgatewayExporter
from prometheus_client.parser import text_string_to_metric_families
from receiver import Receiver, reply

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.errors import ExportError
from metrics_sdk.snapshot import Meter, Metric, Point, Refused, Snapshot


def gauge(name: str, value: Any, /, **attributes: Any) -> Metric:
    return Metric(name, "gauge", "", "", None, (Point(tuple(sorted(attributes.items())), value, 1.0, 2.0),))


def of(*metrics: Metric, **resource: Any) -> Snapshot:
    return Snapshot(resource, 2.0, metrics)


@pytest.fixture
def pushing(receiver: Receiver) -> Iterator[Callable[..., PushgatewayExporter]]:
    """Makes exporters to a server of ours, and shuts them down in the end."""
    made: list[PushgatewayExporter] = []

    def make(endpoint: str = receiver.url, **options: Any) -> PushgatewayExporter:
        made.append(PushgatewayExporter(endpoint, **{"job": "backup", **options}))
        return made[-1]

    yield make
    receiver.otherwise = reply(202)
    for one in made:
        one.shutdown()


def test_a_push_is_one_put_of_the_text_format(receiver: Receiver, pushing: Callable[..., PushgatewayExporter]) -> None:
    assert pushing(headers={"X-Key": "1"}).export(of(gauge("g", 1)), 5.0) is None
    (asked,) = receiver.asked
    assert ("PUT", "/metrics/job/backup", b"# TYPE g gauge\ng 1\n") == (asked.method, asked.path, asked.body)
    assert ("text/plain; version=0.0.4; charset=utf-8", "1") == (asked.headers["content-type"], asked.headers["x-key"])


def test_without_replacing_it_is_a_post(receiver: Receiver, pushing: Callable[..., PushgatewayExporter]) -> None:
    pushing(replace=False).export(of(gauge("g", 1)), 5.0)
    assert "POST" == receiver.asked[0].method


def test_nothing_is_pushed_as_nothing_so_that_what_there_was_is_replaced(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter]
) -> None:
    pushing().export(of(), 5.0)
    assert [("PUT", b"\n")] == [(asked.method, asked.body) for asked in receiver.asked]


@pytest.mark.parametrize(
    ("expected", "endpoint", "options"),
    [
        ("/metrics/job/backup/shard/3/zone/b", "", {"grouping": {"shard": "3", "zone": "b"}}),
        ("/prefix/metrics/job/backup", "/prefix/", {}),
        ("/metrics/job@base64/YS9i", "", {"job": "a/b"}),
        ("/metrics/job/backup/path@base64/L3Zhcg", "", {"grouping": {"path": "/var"}}),
        ("/metrics/job/backup/empty@base64/=", "", {"grouping": {"empty": ""}}),
        ("/metrics/job/backup/a@base64/Li4", "", {"grouping": {"a": ".."}}),
        ("/metrics/job/backup/a@base64/w6Q_Pz8", "", {"grouping": {"a": "ä???"}}),
        ("/metrics/job/backup/a@base64/YSBi", "", {"grouping": {"a": "a b"}}),
        ("/metrics/job/backup/a@base64/Pw", "", {"grouping": {"a": "\ud800"}}),
        ("/metrics/job/1.2-x_y", "", {"job": "1.2-x_y"}),
    ],
)
def test_the_labels_of_the_group_are_in_the_path(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter], expected: str, endpoint: str, options: dict[str, Any]
) -> None:
    pushing(receiver.url + endpoint, **options).export(of(), 5.0)
    assert expected == receiver.asked[0].path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"job": ""}, "job must be"),
        ({"job": 3}, "job must be"),
        ({"grouping": {"a b": "x"}}, "'a b'"),
        ({"grouping": {"__name__": "x"}}, "'__name__'"),
        ({"grouping": {"job": "x"}}, "'job'"),
        ({"grouping": {"le": "x"}}, "'le'"),
        ({"grouping": {"otel_scope_name": "x"}}, "'otel_scope_name'"),
        ({"grouping": {"a": 1}}, "'a'"),
        ({"grouping": ["a"]}, "a mapping"),
        ({"endpoint": "http://localhost:9091?x=1"}, "query"),
        ({"endpoint": "localhost:9091"}, "an endpoint is a URL"),
        ({"endpoint": None}, "an endpoint is a URL"),
        ({"headers": {"a b": "c"}}, "header 1 cannot be sent"),
    ],
)
def test_what_cannot_be_is_an_error_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PushgatewayExporter(**{"endpoint": "http://localhost:9091", "job": "backup", **options})


def test_its_repr_shows_where_it_pushes_and_no_password() -> None:
    made = PushgatewayExporter("http://user:secret@localhost:9091", job="backup", headers={"X-Key": "secret"})
    assert "PushgatewayExporter('http://localhost:9091/metrics/job/backup')" == repr(made)


def test_attributes_that_are_called_as_the_labels_of_the_group_are_exported(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter]
) -> None:
    pushing(grouping={"shard": "3"}).export(of(gauge("g", 1, job="a", shard=1, exported_job="b", instance="i"), job="r"), 5.0)
    body = receiver.asked[0].body.decode()
    assert 'target_info{exported_job="r"} 1\n' in body
    assert 'g{exported_job="b;a",instance="i",exported_shard="1"} 1\n' in body


def test_one_bad_point_costs_no_other_and_is_counted(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter], caplog: pytest.LogCaptureFixture
) -> None:
    values = (math.nan, 2**80, 10**400, "text", None, (), 1)
    points = tuple([Point((("n", number), ("x", "\ud800")), value, 1.0, 2.0) for number, value in enumerate(values)])  # type: ignore[arg-type]
    negative = Metric("c", "counter", "", "", None, (Point((), -1, 1.0, 2.0),))
    with caplog.at_level(logging.WARNING):
        refused = pushing().export(of(Metric("g", "gauge", "", "", None, points), negative, gauge("c_total", 5)), 5.0)
    assert isinstance(refused, Refused)
    assert 5 == refused.points
    read = [sample for family in text_string_to_metric_families(receiver.asked[0].body.decode()) for sample in family.samples]
    assert {"0", "1", "2", "6"} == {sample.labels["n"] for sample in read if sample.name == "g"}
    assert {"?"} == {sample.labels["x"] for sample in read if sample.name == "g"}


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_a_gateway_that_is_busy_or_broken_is_tried_again_when_it_wants(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter], status: int
) -> None:
    receiver.behaviours = [reply(status, b"busy", "Retry-After: 7")]
    exporter = pushing()
    with pytest.raises(ExportError) as failed:
        exporter.export(of(gauge("g", 1)), 5.0)
    assert (0, 0, 7.0) == (failed.value.settled, failed.value.refused, failed.value.retry_after_seconds)
    assert exporter.export(of(gauge("g", 1)), 5.0) is None


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413])
def test_a_push_that_is_refused_is_refused_for_good(
    receiver: Receiver, pushing: Callable[..., PushgatewayExporter], status: int
) -> None:
    receiver.behaviours = [reply(status, b"inconsistent")]
    with pytest.raises(ExportError, match="inconsistent") as failed:
        pushing().export(of(gauge("g", 1), gauge("h", 2)), 5.0)
    assert (2, 2) == (failed.value.settled, failed.value.refused)


def test_where_nobody_listens_nothing_is_settled(receiver: Receiver, pushing: Callable[..., PushgatewayExporter]) -> None:
    exporter = pushing()
    receiver.stop()
    with pytest.raises(ExportError, match="ConnectionRefused") as failed:
        exporter.export(of(gauge("g", 1)), 5.0)
    assert 0 == failed.value.settled
    receiver.start()
    assert exporter.export(of(gauge("g", 1)), 5.0) is None


def test_shutting_down_deletes_the_group_if_asked_to(receiver: Receiver, pushing: Callable[..., PushgatewayExporter]) -> None:
    pushing(grouping={"a": "b"}, delete_on_shutdown=True).shutdown()
    pushing().shutdown()
    assert [("DELETE", "/metrics/job/backup/a/b")] == [(asked.method, asked.path) for asked in receiver.asked]
    receiver.behaviours = [reply(500, b"no")]
    with pytest.raises(ExportError, match="not deleted"):
        pushing(delete_on_shutdown=True).shutdown()


def test_importing_the_package_does_not_import_an_http_client(run_python: Callable[..., str]) -> None:
    program = """
    import sys
    import metrics_sdk_prometheus
    before = "http.client" in sys.modules
    metrics_sdk_prometheus.PushgatewayExporter("http://localhost:9091", job="a")
    print(before, "http.client" in sys.modules, hasattr(metrics_sdk_prometheus, "Nothing"))
    """
    assert "False True False\n" == run_python(program)


# ---- a real one -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway(servers: Any) -> str:
    """The URL of a running Pushgateway."""
    return str(servers.pushgateway())


def shown(servers: Any, gateway: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return what the gateway shows to Prometheus."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(servers.get(f"{gateway}/metrics")):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


@pytest.mark.slow
def test_a_job_that_records_and_just_ends_has_delivered(run_python: Callable[..., str], servers: Any, gateway: str) -> None:
    program = f"""
    import metrics_sdk
    from metrics_sdk import Config
    from metrics_sdk_prometheus import PushgatewayExporter
    exporter = PushgatewayExporter({gateway!r}, job="backup", grouping={{"path": "/var/lib"}})
    metrics_sdk.configure(Config(exporters=[exporter], resource={{"service.name": "backup", "job": "mine"}}))
    metrics_sdk.counter("files").add(3, {{"job": "inner"}})
    metrics_sdk.histogram("size", unit="By").record(100)
    """
    run_python(program)
    found = shown(servers, gateway)
    group = {"instance": "", "job": "backup", "path": "/var/lib"}
    assert [({**group, "exported_job": "inner"}, 3.0)] == found["files_total"]
    assert [(group, 1.0)] == found["size_bytes_count"]
    assert {64.0: 0.0, 256.0: 1.0}.items() <= {
        float(labels["le"]): value for labels, value in found["size_bytes_bucket"]
    }.items()
    ((info, _),) = found["target_info"]
    assert ("backup", "mine") == (info["service_name"], info["exported_job"])
    assert [(group, 0.0)] == found["push_failure_time_seconds"]


@pytest.mark.slow
def test_a_gateway_keeps_replaces_and_deletes_groups(servers: Any, gateway: str) -> None:
    def push(exporter: PushgatewayExporter, *metrics: Metric) -> None:
        assert exporter.export(of(*metrics), 5.0) is None
        exporter.shutdown()

    def groups(name: str) -> list[tuple[str, str]]:
        return sorted([(labels["job"], labels.get("shard", "")) for labels, _ in shown(servers, gateway).get(name, ())])

    for shard in ("", "a/b"):
        push(PushgatewayExporter(gateway, job="x/y", grouping={"shard": shard}), gauge("one", 1), gauge("two", 2))
    assert [("x/y", ""), ("x/y", "a/b")] == groups("one")
    push(PushgatewayExporter(gateway, job="x/y", grouping={"shard": "a/b"}), gauge("two", 3))
    push(PushgatewayExporter(gateway, job="x/y", grouping={"shard": ""}, replace=False), gauge("two", 3))
    assert [("x/y", "")] == groups("one")
    assert [("x/y", ""), ("x/y", "a/b")] == groups("two")
    push(PushgatewayExporter(gateway, job="x/y", grouping={"shard": "a/b"}))
    assert [("x/y", "")] == groups("two")
    push(PushgatewayExporter(gateway, job="x/y", grouping={"shard": ""}, delete_on_shutdown=True), gauge("two", 3))
    assert [] == groups("two")
    assert [("x/y", "a/b")] == groups("push_time_seconds")


@pytest.mark.slow
def test_series_that_differ_in_a_label_of_the_group_alone_are_both_kept(servers: Any, gateway: str) -> None:
    exporter = PushgatewayExporter(gateway, job="backup")
    points = tuple([Point((("job", job),), 1, 1.0, 2.0) for job in ("a", "b")])
    scoped = [Metric("h", "counter", "", "", None, points, "cumulative", Meter(name)) for name in ("one", "two")]
    assert exporter.export(of(Metric("g", "gauge", "", "", None, points), *scoped), 5.0) is None
    exporter.shutdown()
    found = shown(servers, gateway)
    assert ["a", "b"] == [labels["exported_job"] for labels, _ in found["g"]]
    assert 4 == len(found["h_total"])


@pytest.mark.slow
def test_a_push_that_the_gateway_finds_inconsistent_is_not_taken_for_delivered(servers: Any, gateway: str) -> None:
    one, other = PushgatewayExporter(gateway, job="one"), PushgatewayExporter(gateway, job="other")
    counter = Metric("x", "counter", "", "", None, (Point((), 1, 1.0, 2.0),))
    assert one.export(of(counter), 5.0) is None
    with pytest.raises(ExportError):
        other.export(of(gauge("x_total", 1)), 5.0)
    assert other.export(of(counter._replace(description="Another text is no contradiction.")), 5.0) is None
    for exporter in (one, other):
        exporter.shutdown()


@pytest.mark.slow
def test_an_sdk_pushes_at_shutdown_and_then_deletes(servers: Any, gateway: str) -> None:
    sdk = MetricsSDK(Config(exporters=[Export(PushgatewayExporter(gateway, job="gone", delete_on_shutdown=True))]))
    sdk.counter("c").add(1)
    assert sdk.flush(10.0)
    assert [1.0] == [value for _, value in shown(servers, gateway)["c_total"]]
    assert sdk.shutdown()
    assert "c_total" not in shown(servers, gateway)
