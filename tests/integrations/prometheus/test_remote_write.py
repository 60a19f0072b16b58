"""Remote write: what is sent, read by google.protobuf, and what a server that misbehaves makes of it."""

from __future__ import annotations

import logging
import math
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cramjam import snappy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metrics_sdk_prometheus import RemoteWriteExporter
from receiver import Receiver, reply, reset

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.errors import ExportError
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Refused, Snapshot

START, NOW = 1700000000.5, 1700000009.25
MILLISECONDS = 1700000009250
RESOURCE = {"service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h"}
STALE = struct.pack("<Q", 0x7FF0000000000002)
SAME = {"job": "eu/shop", "instance": "i-1"}


def metric(name: str, kind: str, *series: tuple[dict[str, Any], Any], **options: Any) -> Metric:
    exemplars = options.pop("exemplars", ())
    points = tuple([Point(tuple(sorted(attributes.items())), value, START, NOW, exemplars) for attributes, value in series])
    about = {"unit": "", "description": "", "boundaries": None, "temporality": "cumulative", "meter": None, **options}
    return Metric(name, kind, points=points, **about)


def of(*metrics: Metric, time: float = NOW, resource: dict[str, Any] = RESOURCE) -> Snapshot:
    return Snapshot(resource, time, metrics)


class Pushing:
    """Exports to a server of ours, and reads what came."""

    def __init__(self, receiver: Receiver, write_request: Any) -> None:
        self.receiver = receiver
        self.request = write_request
        self.made: list[RemoteWriteExporter] = []
        self.read = 0

    def exporter(self, **options: Any) -> RemoteWriteExporter:
        self.made.append(RemoteWriteExporter(f"{self.receiver.url}/api/v1/write", **options))
        return self.made[-1]

    def came(self) -> list[Any]:
        """Return the requests that have come since the last time."""
        found = [self.request.FromString(bytes(snappy.decompress_raw(one.body))) for one in self.receiver.asked[self.read :]]
        self.read = len(self.receiver.asked)
        return found

    def series(self) -> dict[tuple[tuple[str, str], ...], Any]:
        """Return the series that have come since, by their labels, which are sorted and none twice."""
        found = {}
        for request in self.came():
            for one in request.timeseries:
                labels = tuple([(label.name, label.value) for label in one.labels])
                assert sorted(dict(labels).items()) == list(labels)
                assert all([text for _, text in labels])
                assert labels not in found
                found[labels] = one
        return found

    def values(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return the values that have come since by name and labels, without those that are the same for all."""
        found = {}
        for labels, one in self.series().items():
            named = dict(labels)
            assert (named.pop("job"), named.pop("instance")) == ("eu/shop", "i-1")
            name = named.pop("__name__")
            (sample,) = one.samples
            assert MILLISECONDS == sample.timestamp
            found[name, frozenset(named.items())] = sample.value
        return found

    def stale(self) -> set[str]:
        """Return the names of the series that were said to have ended since."""
        found = set()
        for labels, one in self.series().items():
            sums = [sample.value for sample in one.samples] + [histogram.sum for histogram in one.histograms]
            if [struct.pack("<d", value) for value in sums] == [STALE]:
                le = dict(labels).get("le")
                found.add(dict(labels)["__name__"] + (f" {le}" if le else ""))
        return found


def plain(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.fixture
def pushing(receiver: Receiver, write_request: Any) -> Iterator[Pushing]:
    made = Pushing(receiver, write_request)
    yield made
    for one in made.made:
        one.shutdown()


def test_it_is_posted_as_the_specification_says(pushing: Pushing) -> None:
    assert pushing.exporter(headers={"X-Scope-OrgID": "me"}).export(of(metric("g", "gauge", ({}, 1))), 5.0) is None
    (asked,) = pushing.receiver.asked
    wanted = {
        "content-encoding": "snappy",
        "content-type": "application/x-protobuf",
        "x-prometheus-remote-write-version": "0.1.0",
        "x-scope-orgid": "me",
    }
    assert ("POST", "/api/v1/write") == (asked.method, asked.path)
    assert wanted.items() <= asked.headers.items()


def test_every_point_is_a_series_with_job_and_instance_and_the_rest_of_the_resource_is_target_info(pushing: Pushing) -> None:
    pushing.exporter().export(
        of(
            metric("http.requests", "counter", ({"code": 200}, 3), ({}, 1.5), unit="{request}"),
            metric("size", "up_down_counter", ({}, -1), unit="By", meter=Meter("lib", "1")),
            metric("latency", "histogram", ({"a": "b"}, ExplicitBuckets(6, 12.5, 0.0, 9.0, (1.0, 4.0), (1, 2, 3))), unit="s"),
            metric("below", "histogram", ({}, ExplicitBuckets(3, -2.0, -2.0, 9.0, (-1.0,), (1, 2)))),
        ),
        5.0,
    )
    assert {
        plain("target_info", host_name="h"): 1.0,
        plain("http_requests_total", code="200"): 3.0,
        plain("http_requests_total"): 1.5,
        plain("size_bytes", otel_scope_name="lib", otel_scope_version="1"): -1.0,
        plain("latency_seconds_bucket", a="b", le="1.0"): 1.0,
        plain("latency_seconds_bucket", a="b", le="4.0"): 3.0,
        plain("latency_seconds_bucket", a="b", le="+Inf"): 6.0,
        plain("latency_seconds_sum", a="b"): 12.5,
        plain("latency_seconds_count", a="b"): 6.0,
        plain("below_bucket", le="-1.0"): 1.0,
        plain("below_bucket", le="+Inf"): 3.0,
        plain("below_count"): 3.0,
    } == pushing.values()


@given(
    keys=st.dictionaries(
        st.text(max_size=6) | st.sampled_from(["A", "_", "_1", "z", "le", "__name__", "job", "instance", "k"]),
        st.text(),
        max_size=6,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_labels_are_sorted_whatever_they_are_called(pushing: Pushing, keys: dict[str, str]) -> None:
    exporter = pushing.exporter()
    value = ExplicitBuckets(1, 1.0, 1.0, 1.0, (1.0,), (1, 0))
    assert exporter.export(of(metric("h", "histogram", (keys, value)), metric("g", "gauge", (keys, 1))), 5.0) is None
    found = [dict(labels) for labels in pushing.series()]
    assert 5 == len([one for one in found if one["__name__"] != "target_info"])
    assert {"eu/shop"} == {one["job"] for one in found}
    exporter.shutdown()


@pytest.mark.parametrize(
    ("expected", "resource"),
    [
        ([("g", {"job": "shop"})], {"service.name": "shop"}),
        ([("g", {"job": "eu"})], {"service.namespace": "eu"}),
        ([("g", {"instance": "1"})], {"service.instance.id": 1}),
        ([("g", {})], {}),
        ([("g", {}), ("target_info", {"a": "b"})], {"a": "b"}),
        ([("g", {"job": "a"}), ("target_info", {"exported_job": "x", "job": "a"})], {"service.name": "a", "job": "x"}),
    ],
)
def test_what_of_the_resource_there_is_not_is_in_no_label(
    pushing: Pushing, expected: list[tuple[str, dict[str, str]]], resource: dict[str, Any]
) -> None:
    pushing.exporter().export(of(metric("g", "gauge", ({}, 1)), resource=resource), 5.0)
    found = []
    for labels in pushing.series():
        named = dict(labels)
        found.append((named.pop("__name__"), named))
    assert expected == sorted(found, key=lambda one: one[0])


WIDE = ExponentialBuckets(7, 9.5, -2.0, 5.0, 3, 1, ((-9, 1), (-1, 1), (5, 2)), ((2, 1), (3, 1)))


def test_exponential_histograms_are_native_if_asked_for(pushing: Pushing, buckets_of: Any) -> None:
    pushing.exporter(native_histograms=True).export(of(metric("size", "histogram", ({}, WIDE), unit="By")), 5.0)
    (one,) = [one for labels, one in pushing.series().items() if dict(labels)["__name__"] == "size_bytes"]
    (shown,) = one.histograms
    assert (7, 9.5, 3, 1, MILLISECONDS) == (shown.count_int, shown.sum, shown.schema, shown.zero_count_int, shown.timestamp)
    assert {-8: 1, 0: 1, 6: 2} == buckets_of(shown.positive_spans, shown.positive_deltas)
    assert {3: 1, 4: 1} == buckets_of(shown.negative_spans, shown.negative_deltas)
    assert 0 < shown.zero_threshold < 1e-300
    assert not one.samples


@pytest.mark.parametrize(("native", "value"), [(False, WIDE), (True, WIDE._replace(scale=-5))])
def test_otherwise_they_are_classic_ones_at_powers_of_two(pushing: Pushing, native: bool, value: ExponentialBuckets) -> None:
    pushing.exporter(native_histograms=native).export(of(metric("size", "histogram", ({}, value), unit="By")), 5.0)
    found = pushing.values()
    assert 7.0 == found[plain("size_bytes_count")] == found[plain("size_bytes_bucket", le="+Inf")]
    assert plain("size_bytes_sum") not in found  # there are values below zero
    assert 21 + 1 == len([name for name, _ in found if name == "size_bytes_bucket"])


def test_exemplars_are_with_the_series_that_they_are_of(pushing: Pushing) -> None:
    given = (
        Exemplar(3.0, NOW, (("user", "x"),), 0x0AF7651916CD43DD8448EB211C80319C, 0),
        Exemplar(2.0, NOW - 2, (), 0, 0),
        Exemplar(100.0, NOW - 1, (), 0, 0),
        Exemplar(math.nan, NOW, (), 0, 0),
        Exemplar(0.5, math.nan, (), 0, 0),
    )
    explicit = ExplicitBuckets(6, 12.5, 0.0, 9.0, (1.0, 4.0), (1, 2, 3))
    pushing.exporter(native_histograms=True).export(
        of(
            metric("c", "counter", ({}, 3), exemplars=given[:3]),
            metric("g", "gauge", ({}, 3), exemplars=given[:3]),
            metric("h", "histogram", ({}, explicit), exemplars=given),
            metric("n", "histogram", ({}, WIDE), exemplars=given),
        ),
        5.0,
    )
    found = {
        dict(labels)["__name__"] + dict(labels).get("le", ""): [(one.value, one.timestamp) for one in series.exemplars]
        for labels, series in pushing.series().items()
        if series.exemplars
    }
    first, oldest, other = (3.0, MILLISECONDS), (2.0, MILLISECONDS - 2000), (100.0, MILLISECONDS - 1000)
    assert {"c_total": [first], "h_bucket4.0": [first], "h_bucket+Inf": [other], "n": [oldest, other, first]} == found


def test_the_labels_of_an_exemplar_are_the_ids_and_what_the_series_lacks(pushing: Pushing) -> None:
    given = Exemplar(3.0, NOW, (("user", 'a"b'),), 0x0AF7651916CD43DD8448EB211C80319C, 1)
    pushing.exporter().export(of(metric("c", "counter", ({}, 3), exemplars=(given,))), 5.0)
    (shown,) = [one.exemplars[0] for one in pushing.series().values() if one.exemplars]
    expected = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "0000000000000001", "user": 'a"b'}
    assert expected == {label.name: label.value for label in shown.labels}


def test_types_units_and_descriptions_are_told_at_first_and_then_every_minute(pushing: Pushing) -> None:
    given = (
        metric("c", "counter", ({}, 3), description="C."),
        metric("size", "gauge", ({}, 3), unit="By"),
        metric("h", "histogram", ({}, WIDE)),
    )
    exporter = pushing.exporter()
    expected = [
        ("target_info", 2, "", "Target metadata."),
        ("c_total", 1, "", "C."),
        ("size_bytes", 2, "bytes", ""),
        ("h", 3, "", ""),
    ]
    told = []
    pushing.receiver.behaviours = [reply(503)]
    with pytest.raises(ExportError):
        exporter.export(of(*given), 5.0)
    for time in (NOW, NOW + 59, NOW + 60, NOW + 61, NOW - 100):
        exporter.export(of(*given, time=time), 5.0)
    for request in pushing.came():
        told.append([(one.metric_family_name, one.type, one.unit, one.help) for one in request.metadata])
    assert [expected, expected, [], expected, [], expected] == told


def many(count: int, first: int = 0) -> Metric:
    return metric("g", "gauge", *[({"x": str(number)}, number) for number in range(first, first + count)])


def test_a_large_snapshot_goes_in_requests_of_at_most_so_many_bytes(pushing: Pushing) -> None:
    buckets = ExplicitBuckets(100, 1.0, 0.0, 1.0, tuple([float(n) for n in range(99)]), (1,) * 100)
    given = of(many(500), metric("h", "histogram", ({}, buckets)), metric("bad", "counter", ({}, -1)))
    pushing.exporter().export(given, 5.0)
    whole = pushing.values()
    refused = pushing.exporter(max_request_bytes=1024).export(given, 5.0)
    assert refused is not None
    assert 1 == refused.points
    sizes = [len(snappy.decompress_raw(one.body)) for one in pushing.receiver.asked[1:]]
    assert max(sizes) <= 1024
    assert min(sizes[:-1]) > 900
    assert whole == pushing.values()


def test_what_fails_on_the_way_is_settled_as_far_as_it_came(pushing: Pushing) -> None:
    given = of(many(100), metric("bad", "counter", ({}, -1)))
    pushing.receiver.behaviours = [reply(), reply(400, b"out of order"), reply(429, b"", "Retry-After: 9")]
    with pytest.raises(ExportError) as failed:
        pushing.exporter(max_request_bytes=1024).export(given, 5.0)
    requests = pushing.came()
    assert 3 == len(requests)
    first, second = [len([one for one in request.timeseries if one.labels[0].value == "g"]) for request in requests[:2]]
    assert (first + second, second, 9.0) == (failed.value.settled, failed.value.refused, failed.value.retry_after_seconds)


def test_where_all_is_refused_every_point_is_counted_once(pushing: Pushing) -> None:
    twins = metric("a.b", "gauge", ({}, 1)), metric("a_b", "gauge", ({}, 1), ({"x": 1}, 1), ({"x": "1"}, 1))
    pushing.receiver.otherwise = reply(400)
    with pytest.raises(ExportError) as failed:
        pushing.exporter(max_request_bytes=1024).export(of(many(100), *twins), 5.0)
    assert (104, 104) == (failed.value.settled, failed.value.refused)
    pushing.receiver.otherwise = reply()
    refused = pushing.exporter().export(of(many(100), *twins), 5.0)
    assert refused is not None
    assert 1 == refused.points  # the one that looks as another instrument's; what looks alike in one instrument is merged


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_a_receiver_that_is_busy_or_broken_is_tried_again(pushing: Pushing, status: int) -> None:
    pushing.receiver.behaviours = [reply(status, b"busy", "Retry-After: 7")]
    exporter = pushing.exporter()
    with pytest.raises(ExportError, match="busy") as failed:
        exporter.export(of(many(3)), 5.0)
    assert (0, 0, 7.0) == (failed.value.settled, failed.value.refused, failed.value.retry_after_seconds)
    assert exporter.export(of(many(3)), 5.0) is None


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 413])
def test_what_is_refused_otherwise_is_refused_for_good(pushing: Pushing, status: int) -> None:
    pushing.receiver.behaviours = [reply(status, b"no")]
    with pytest.raises(ExportError, match="no") as failed:
        pushing.exporter().export(of(many(3)), 5.0)
    assert (3, 3) == (failed.value.settled, failed.value.refused)


def test_a_broken_connection_or_none_settles_nothing(pushing: Pushing) -> None:
    exporter = pushing.exporter()
    pushing.receiver.behaviours = [reset]
    for said in ("Connection", "ConnectionRefused"):
        with pytest.raises(ExportError, match=said) as failed:
            exporter.export(of(many(3)), 5.0)
        assert 0 == failed.value.settled
        if said == "Connection":
            pushing.receiver.stop()
    pushing.receiver.start()
    assert exporter.export(of(many(3)), 5.0) is None


# ---- series that end --------------------------------------------------------------------------------------------------------


def test_a_series_that_is_gone_is_marked_once(pushing: Pushing) -> None:
    exporter = pushing.exporter(native_histograms=True)
    explicit = metric("h", "histogram", ({}, ExplicitBuckets(1, 1.0, 1.0, 1.0, (1.0,), (1, 0))))
    native = metric("n", "histogram", ({}, WIDE))
    exporter.export(of(many(2), explicit, native), 5.0)
    assert set() == pushing.stale()
    exporter.export(of(many(1), time=NOW + 1), 5.0)
    assert {"g", "n", "h_bucket 1.0", "h_bucket +Inf", "h_sum", "h_count"} == pushing.stale()
    exporter.export(of(many(1), time=NOW + 2), 5.0)
    assert set() == pushing.stale()
    exporter.export(of(time=NOW + 3), 5.0)
    assert {"g"} == pushing.stale()


def test_a_marker_has_the_labels_and_the_time_of_the_series_that_ends(pushing: Pushing) -> None:
    exporter = pushing.exporter(native_histograms=True)
    given = (metric("g", "gauge", ({"Z": 1, "zone": "b"}, 1)), metric("n", "histogram", ({"Z": 1}, WIDE)))
    exporter.export(of(*given), 5.0)
    before = {labels for labels in pushing.series() if dict(labels)["__name__"] != "target_info"}
    exporter.export(of(time=NOW + 1), 5.0)
    after = pushing.series()
    after = {labels: one for labels, one in after.items() if dict(labels)["__name__"] != "target_info"}
    assert before == set(after)
    times = [sample.timestamp for one in after.values() for sample in (*one.samples, *one.histograms)]
    assert [MILLISECONDS + 1000] * 2 == times
    assert {"g": (1, 0), "n": (0, 1)} == {
        dict(labels)["__name__"]: (len(one.samples), len(one.histograms)) for labels, one in after.items()
    }


def test_what_a_histogram_is_no_longer_shown_with_is_marked(pushing: Pushing) -> None:
    exporter = pushing.exporter(native_histograms=True)
    values = [
        WIDE,
        WIDE._replace(scale=-5),
        ExplicitBuckets(1, 1.0, 1.0, 1.0, (1.0,), (1, 0)),
        ExplicitBuckets(2, 0.0, -1.0, 1.0, (1.0,), (2, 0)),
        ExplicitBuckets(2, 0.0, -1.0, 1.0, (2.0,), (2, 0)),
    ]
    stale = []
    for second, value in enumerate(values):
        exporter.export(of(metric("h", "histogram", ({}, value)), time=NOW + second), 5.0)
        stale.append(pushing.stale())
    assert set() == stale[0]
    assert {"h"} == stale[1]
    assert "h_bucket 1.0" not in stale[2] and "h_bucket 4.0" in stale[2] and "h_count" not in stale[2]
    assert [{"h_sum"}, {"h_bucket 1.0"}] == stale[3:]


def test_what_was_not_delivered_is_not_marked_and_what_was_is_marked_until_that_is_delivered(pushing: Pushing) -> None:
    exporter = pushing.exporter()
    exporter.export(of(many(1)), 5.0)
    pushing.receiver.behaviours = [reply(503), reply(503)]
    for names in (many(1, first=5), metric("other", "gauge", ({}, 1))):
        with pytest.raises(ExportError):
            exporter.export(of(names), 5.0)
    pushing.came()
    exporter.export(of(metric("last", "gauge", ({}, 1))), 5.0)
    assert {"g"} == pushing.stale()
    exporter.export(of(metric("last", "gauge", ({}, 1))), 5.0)
    assert set() == pushing.stale()


def test_what_was_delivered_in_part_is_marked_too(pushing: Pushing) -> None:
    exporter = pushing.exporter(max_request_bytes=1024)
    exporter.export(of(metric("before", "gauge", ({}, 1))), 5.0)
    pushing.receiver.behaviours = [reply(), reply(503)]
    with pytest.raises(ExportError):
        exporter.export(of(many(100)), 5.0)
    pushing.came()
    exporter.export(of(), 5.0)
    assert {"before", "g"} == pushing.stale()


def test_a_forked_child_exports_and_marks_no_series_of_its_parent(pushing: Pushing) -> None:
    exporter = pushing.exporter()
    exporter.export(of(many(2)), 5.0)
    pushing.came()
    child = os.fork()
    if not child:
        try:
            exporter.export(of(metric("child", "gauge", ({}, 1)), resource={**RESOURCE, "service.instance.id": "i-2"}), 5.0)
        finally:
            os._exit(0)
    assert 0 == os.waitpid(child, 0)[1]
    (request,) = pushing.came()
    found = [{label.name: label.value for label in one.labels} for one in request.timeseries]
    assert {("target_info", "i-2"), ("child", "i-2")} == {(one["__name__"], one["instance"]) for one in found}
    exporter.export(of(many(1), time=NOW + 1), 5.0)
    assert {"g"} == pushing.stale()


# ---- what is odd ------------------------------------------------------------------------------------------------------------


def test_one_bad_point_costs_no_other_and_is_counted(pushing: Pushing, caplog: pytest.LogCaptureFixture) -> None:
    (stale,) = struct.unpack("<d", STALE)
    values = (stale, 2**80, 10**400, "text", None, ExplicitBuckets(0, 0.0, None, None, (), (0,)), 1)
    points = metric("g", "gauge", *[({"n": number, "x": "\ud800"}, value) for number, value in enumerate(values)])
    with caplog.at_level(logging.WARNING):
        refused = pushing.exporter().export(
            of(metric("c", "counter", ({}, -1)), metric("h", "histogram", ({}, 1)), points), 5.0
        )
    assert isinstance(refused, Refused)
    assert 5 == refused.points
    found = {labels: value for (name, labels), value in pushing.values().items() if name == "g"}
    assert {"?"} == {dict(labels)["x"] for labels in found}
    shown = {dict(labels)["n"]: value for labels, value in found.items()}
    assert {"0", "1", "2", "6"} == set(shown)
    assert (2.0**80, math.inf, 1.0) == (shown["1"], shown["2"], shown["6"])
    assert STALE != struct.pack("<d", shown["0"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": "localhost:9090"}, "an endpoint is a URL"),
        ({"max_request_bytes": 10}, "max_request_bytes"),
        ({"max_request_bytes": True}, "max_request_bytes"),
        ({"headers": {"a b": "c"}}, "header 1 cannot be sent"),
    ],
)
def test_what_cannot_be_is_an_error_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RemoteWriteExporter(**{"endpoint": "http://localhost:9090/api/v1/write", **options})


def test_it_takes_totals_alone_and_comes_every_15_seconds() -> None:
    exporter = RemoteWriteExporter("http://localhost:9090/api/v1/write")
    assert 15.0 == Export(exporter).interval_seconds
    with pytest.raises(ConfigurationError, match="temporality"):
        Export(exporter, temporality="delta")


def test_its_repr_shows_where_it_pushes_and_no_password() -> None:
    made = RemoteWriteExporter("http://user:secret@localhost/write?key=secret", headers={"X-Key": "secret"})
    assert "RemoteWriteExporter('http://localhost/write')" == repr(made)


def test_without_cramjam_it_says_what_to_install(run_python: Callable[..., str]) -> None:
    program = """
    import sys
    sys.modules["cramjam"] = None
    from metrics_sdk import ConfigurationError
    from metrics_sdk_prometheus import RemoteWriteExporter
    try:
        RemoteWriteExporter("http://localhost:9090/api/v1/write")
    except ConfigurationError as error:
        print(error)
    """
    assert "metrics-sdk[remote-write]" in run_python(program)


def test_an_sdk_pushes_when_it_shuts_down(pushing: Pushing) -> None:
    sdk = MetricsSDK(Config(exporters=[pushing.exporter()], resource=RESOURCE))
    sdk.counter("c").add(2)
    assert sdk.shutdown()
    found = {dict(labels)["__name__"]: one for labels, one in pushing.series().items()}
    assert 2.0 == found["c_total"].samples[0].value
