"""OTLP of our own: what arrives is what was recorded, by the official classes, whatever happens on the way."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metrics_sdk_opentelemetry import OTLPExporter
from metrics_sdk_opentelemetry.otlp_requests import Encoder
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from receiver import Asked, Receiver, reply, reset

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.errors import ExportError
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.snapshot import (
    Exemplar,
    ExplicitBuckets,
    ExponentialBuckets,
    Meter,
    Metric,
    Point,
    Refused,
    Snapshot,
    normalise,
)

START = 1_700_000_000.0


def exporter(receiver: Receiver, **options: Any) -> OTLPExporter:
    return OTLPExporter(f"{receiver.url}/v1/metrics", **options)


def decoded(asked: Asked) -> ExportMetricsServiceRequest:
    assert ("POST", "/v1/metrics", "application/x-protobuf") == (asked.method, asked.path, asked.headers["content-type"])
    return ExportMetricsServiceRequest.FromString(asked.content)


def metrics_of(asked: list[Asked]) -> list[tuple[Any, Any, Any, str]]:
    """Return (resource, scope, metric, kind of data) of all requests."""
    return [
        (resource.resource, scope.scope, metric, metric.WhichOneof("data"))
        for one in asked
        for resource in decoded(one).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def points_of(asked: list[Asked], name: str) -> list[Any]:
    return [
        point for _, _, metric, kind in metrics_of(asked) if metric.name == name for point in getattr(metric, kind).data_points
    ]


def plain(value: Any) -> Any:
    """Return an AnyValue as Python has it."""
    which = value.WhichOneof("value")
    if which == "array_value":
        return tuple([plain(one) for one in value.array_value.values])
    return getattr(value, which)


def attributes_of(point: Any) -> tuple[tuple[str, Any], ...]:
    return tuple([(one.key, plain(one.value)) for one in point.attributes])


def sent(receiver: Receiver, *metrics: Metric, resource: Any = None, **options: Any) -> list[tuple[Any, Any, Any, str]]:
    """Return what arrives of these metrics."""
    made = exporter(receiver, **options)
    try:
        made.export(Snapshot(resource or {}, START, metrics), 20)
    finally:
        made.shutdown()
    return metrics_of(receiver.asked)


def test_every_kind_arrives_with_its_name_unit_description_type_and_times(receiver: Receiver) -> None:
    clock = ManualClock(START)
    sdk = MetricsSDK(Config(background=False, clock=clock, exporters=[exporter(receiver)], resource={"service.name": "shop"}))
    sdk.counter("c", unit="{request}", description="Requests.").add(3, {"route": "/cart", "n": 5})
    sdk.up_down_counter("u").add(-2)
    sdk.gauge("g").set(1.5)
    sdk.histogram("h", unit="s").record(0.25)
    sdk.histogram("b", boundaries=(1.0, 2.0)).record(1.5)
    sdk.observable_counter("oc", lambda: [(7, {})])
    sdk.observable_up_down_counter("ou", lambda: [(-7, {})])
    sdk.observable_gauge("og", lambda: [(0.5, {})])
    clock.advance(10)
    assert sdk.flush()
    assert sdk.shutdown()
    found = {metric.name: (metric, kind, getattr(metric, kind)) for _, _, metric, kind in metrics_of(receiver.asked[:1])}
    start, end = int(START * 1e9), int((START + 10) * 1e9)
    expected = {
        "c": ("sum", 3),
        "u": ("sum", -2),
        "g": ("gauge", 1.5),
        "oc": ("sum", 7),
        "ou": ("sum", -7),
        "og": ("gauge", 0.5),
    }
    for name, (kind, value) in expected.items():
        _, found_kind, data = found[name]
        point = data.data_points[0]
        assert (kind, value) == (found_kind, getattr(point, point.WhichOneof("value"))), name
        assert (end, 0 if kind == "gauge" else start) == (point.time_unix_nano, point.start_time_unix_nano), name
        if kind == "sum":
            assert (2, name in ("c", "oc")) == (data.aggregation_temporality, data.is_monotonic), name
    assert ("{request}", "Requests.") == (found["c"][0].unit, found["c"][0].description)
    assert (("n", 5), ("route", "/cart")) == attributes_of(found["c"][2].data_points[0])
    explicit, exponential = found["b"][2], found["h"][2]
    assert ("histogram", "exponential_histogram", 2, 2) == (
        found["b"][1], found["h"][1], explicit.aggregation_temporality, exponential.aggregation_temporality,
    )  # fmt: skip
    point = explicit.data_points[0]
    assert ([1.0, 2.0], [0, 1, 0], 1, 1.5, 1.5, 1.5) == (
        point.explicit_bounds, point.bucket_counts, point.count, point.sum, point.min, point.max,
    )  # fmt: skip
    point = exponential.data_points[0]
    assert (1, 0.25, 0.25, 0.25, [1]) == (point.count, point.sum, point.min, point.max, point.positive.bucket_counts)


def test_everything_says_whose_it_is_service_instance_host_process_sdk_and_scope(receiver: Receiver) -> None:
    meter = Meter.of("lib", "1.2", "http://schema", {"team": "a"})
    point = Point((), 1, START, START + 1)
    resource = MetricsSDK(Config(background=False, resource={"service.name": "shop"})).snapshot().resource
    metrics = [
        Metric("ours", "counter", "", "", None, (point,)),
        Metric("theirs", "counter", "", "", None, (point,), meter=meter),
    ]
    found = {metric.name: (resource, scope) for resource, scope, metric, _ in sent(receiver, *metrics, resource=resource)}
    told = {one.key: plain(one.value) for one in found["ours"][0].attributes}
    assert dict(resource) == told
    assert {
        "service.name",
        "service.instance.id",
        "host.name",
        "process.pid",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
    } <= set(told)
    assert "metrics_sdk" == found["ours"][1].name
    scope = found["theirs"][1]
    assert ("lib", "1.2", (("team", "a"),)) == (scope.name, scope.version, attributes_of(scope))
    request = decoded(receiver.asked[0])
    assert {"http://schema", ""} == {scope.schema_url for scope in request.resource_metrics[0].scope_metrics}


numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats())
keys = st.text(st.characters(), min_size=1, max_size=8)
values = st.one_of(st.text(st.characters(), max_size=8), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False),
                   st.lists(st.one_of(st.booleans(), st.text(max_size=3), st.integers(-5, 5)), max_size=3))  # fmt: skip
attribute_sets = st.dictionaries(keys, values, max_size=4).map(normalise)
exemplars = st.lists(
    st.builds(
        Exemplar,
        value=st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False)),
        time=st.floats(1, 2e9),
        attributes=attribute_sets,
        trace_id=st.one_of(st.just(0), st.integers(1, 2**128 - 1)),
        span_id=st.one_of(st.just(0), st.integers(1, 2**64 - 1)),
    ),
    max_size=2,
).map(tuple)


def number(value: Any) -> Any:
    """Return what a number becomes: beyond 64 bits, a double."""
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else float(value)


def encoded(metric: Metric, limit: int = 1 << 20) -> tuple[list[Any], int]:
    """Return the data points that the official classes read, and how many were left out."""
    requests = list(Encoder(limit).requests(Snapshot({}, START, (metric,))))
    asked = [Asked("POST", "/v1/metrics", {"content-type": "application/x-protobuf"}, one.body) for one in requests if one.body]
    assert len(metric.points) == sum([one.points for one in requests])
    return points_of(asked, metric.name), sum([one.unfit for one in requests])


@settings(max_examples=int(os.environ.get("METRICS_SDK_EXAMPLES", "200")), deadline=None)
@given(st.lists(st.tuples(attribute_sets, numbers, exemplars), min_size=1, max_size=6), st.sampled_from(["counter", "gauge"]))
def test_numbers_are_read_as_they_were_and_those_that_are_none_cost_themselves(given: list[Any], kind: str) -> None:
    metric = Metric("m", kind, "", "", None, tuple([Point(a, v, START, START + 1, e) for a, v, e in given]))
    read, unfit = encoded(metric)
    fit = [one for one in given if kind == "gauge" or math.isfinite(number(one[1]))]
    assert (len(fit), len(given) - len(fit)) == (len(read), unfit)
    for (attributes, value, shown), point in zip(fit, read, strict=True):
        found = getattr(point, point.WhichOneof("value"))
        assert type(number(value)) is type(found)
        assert number(value) == found or (math.isnan(value) and math.isnan(found))
        assert attributes == attributes_of(point)
        for one, exemplar in zip(shown, point.exemplars, strict=True):
            ids = (int.from_bytes(exemplar.trace_id), int.from_bytes(exemplar.span_id))
            assert (one.trace_id, one.span_id) == ids
            assert number(one.value) == getattr(exemplar, exemplar.WhichOneof("value"))
            assert one.time == pytest.approx(exemplar.time_unix_nano / 1e9)


buckets = st.dictionaries(st.integers(-400, 400), st.integers(1, 2**40), max_size=8).map(
    lambda found: tuple(sorted(found.items()))
)


@settings(max_examples=int(os.environ.get("METRICS_SDK_EXAMPLES", "200")), deadline=None)
@given(buckets, buckets, st.integers(-10, 20), st.integers(0, 2**50), numbers.map(float), st.one_of(st.none(), st.floats()))
@example(((0, 127), (1, 128), (2, 255), (3, 256)), (), 0, 0, math.inf, -math.inf)
@example((), ((-5, 128), (5, 1)), 0, 1, math.nan, math.nan)
def test_exponential_histograms_are_read_as_they_were(
    positive: Any, negative: Any, scale: int, zeros: int, total: float, extreme: float | None
) -> None:
    count = zeros + sum([n for _, n in positive]) + sum([n for _, n in negative])
    value = ExponentialBuckets(count, total, extreme, extreme, scale, zeros, positive, negative)
    read, unfit = encoded(Metric("m", "histogram", "", "", None, (Point((), value, START, START + 1),)))
    assert (1, 0) == (len(read), unfit)
    point = read[0]
    assert (count, scale, zeros) == (point.count, point.scale, point.zero_count)
    for expected, found in ((positive, point.positive), (negative, point.negative)):
        assert expected == tuple([(found.offset + i, n) for i, n in enumerate(found.bucket_counts) if n])
    assert (point.sum == total) if math.isfinite(total) else not point.HasField("sum")
    shown = extreme is not None and math.isfinite(extreme)
    assert (shown, shown) == (point.HasField("min"), point.HasField("max"))
    assert not shown or (extreme, extreme) == (point.min, point.max)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=6).map(sorted), st.booleans(), st.data()
)
def test_explicit_histograms_are_read_as_they_were(bounds: list[float], endless: bool, data: st.DataObject) -> None:
    boundaries = (*bounds, math.inf) if endless else tuple(bounds)
    counts = tuple([data.draw(st.integers(0, 2**60)) for _ in range(len(boundaries) + 1)])
    value = ExplicitBuckets(sum(counts) % 2**64, 1.0, None, None, boundaries, counts)
    read, _ = encoded(Metric("m", "histogram", "", "", boundaries, (Point((), value, START, START + 1),)))
    expected = (*counts[:-2], counts[-2] + counts[-1]) if endless else counts
    assert (bounds, list(expected)) == (list(read[0].explicit_bounds), list(read[0].bucket_counts))
    assert len(read[0].bucket_counts) == len(read[0].explicit_bounds) + 1


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    __repr__ = __str__


ODD = [
    Point((), "text", START, START),  # type: ignore[arg-type]
    Point((), None, START, START),  # type: ignore[arg-type]
    Point((), math.nan, START, START),
    Point((), 10**400, START, START),
    Point((), 1, math.nan, START),
    Point((), 1, -1.0, START),
    Point((), 1, START, 1e30),
    Point((("k", Hostile()),), 1, START, START),
    Point((("k", 10**30),), 1, START, START),
    ODD_BUT_WRITABLE := Point((("\ud800", "\udfff"),), 1, START, START),
    Point((), ExponentialBuckets(1, 1.0, 1, 1, 0, 0, ((0, 1), (10**9, 1)), ()), START, START),
    Point((), ExplicitBuckets(-1, 1.0, 1, 1, (), (-1,)), START, START),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_one_bad_point_never_costs_another(receiver: Receiver, odd: Point) -> None:
    good = [Point((("k", str(i)),), i, START, START + 1) for i in range(3)]
    histogram = Point((), ExplicitBuckets(1, 1.0, 1, 1, (), (1,)), START, START + 1)
    exporting = exporter(receiver)
    metrics = (
        Metric("m", "counter", "", "", None, (good[0], odd, *good[1:])),
        Metric("h", "histogram", "", "", (), (histogram, odd)),
        Metric("after", "gauge", "", "", None, (good[0],)),
    )
    refused = exporting.export(Snapshot({"odd": Hostile(), "\udfff": "x"}, START, metrics), 20)
    exporting.shutdown()
    found = points_of(receiver.asked, "m")
    assert [0, 1, 2] == [
        point.as_int for point in found if attributes_of(point) and attributes_of(point)[0][1] in ("0", "1", "2")
    ]
    assert 1 <= len([point for point in points_of(receiver.asked, "h") if point.bucket_counts == [1]])
    assert 1 == len(points_of(receiver.asked, "after"))
    if odd is not ODD_BUT_WRITABLE:
        assert refused is not None
        assert 1 <= refused.points <= 2
        assert "cannot be encoded" in refused.why


def test_a_histogram_whose_buckets_lie_too_far_apart_is_left_out_and_takes_no_memory() -> None:
    far = ExponentialBuckets(2, 1.0, 1, 1, 0, 0, ((0, 1), (10**12, 1)), ())
    assert ([], 1) == encoded(Metric("m", "histogram", "", "", None, (Point((), far, START, START),)))


def test_the_schema_of_a_meter_counts_into_the_size_of_a_request() -> None:
    meter = Meter("m", "1", "http://" + "x" * 240)
    points = tuple([Point((("k", f"{i:012}"),), i, START, START) for i in range(500)])
    requests = list(Encoder(1024).requests(Snapshot({}, START, (Metric("a", "counter", "", "", None, points, meter=meter),))))
    assert max([len(one.body) for one in requests]) <= 1024
    assert 500 == sum([one.points for one in requests])


def test_what_is_gone_gives_its_place_in_the_cache_to_what_is_there() -> None:
    def snapshot(generation: int) -> Snapshot:
        points = tuple([Point((("k", f"{generation}-{i}"),), i, START, START) for i in range(80)])
        return Snapshot({}, START, (Metric("a", "counter", "", "", None, points),))

    encoder = Encoder(1 << 20, cached_series=100)
    first, second = snapshot(1), snapshot(2)
    for shown in (first, second, second, second):
        list(encoder.requests(shown))
    known = encoder._points._attributes[7]
    assert {id(point.attributes) for point in second.metrics[0].points} == set(known)


def test_a_bucket_with_less_than_no_values_is_left_out() -> None:
    for counts in (((0, -1),), ((0, 200), (1, -1))):
        value = ExponentialBuckets(1, 1.0, 1, 1, 0, 0, counts, ())
        assert ([], 1) == encoded(Metric("m", "histogram", "", "", None, (Point((), value, START, START),)))


def test_a_snapshot_goes_in_requests_of_limited_size_in_order_and_what_is_too_large_alone_is_refused(
    receiver: Receiver,
) -> None:
    points = [Point((("k", f"{i:05}"),), i, START, START + 1) for i in range(1000)]
    large = Point((("k", "x" * 4000),), 1, START, START + 1)
    metrics = [
        Metric("a", "counter", "", "", None, (*points[:500], large)),
        Metric("b", "counter", "", "", None, (*points[500:],), meter=Meter("lib")),
    ]
    exporting = exporter(receiver, max_request_bytes=2000)
    refused = exporting.export(Snapshot({"service.name": "shop"}, START, tuple(metrics)), 20)
    exporting.shutdown()
    assert Refused(1, "a point of 'a' is larger than a request may be") == refused
    assert len(receiver.asked) > 20
    assert max([len(asked.content) for asked in receiver.asked]) <= 2000
    assert list(range(500)) == [point.as_int for point in points_of(receiver.asked, "a")]
    assert list(range(500, 1000)) == [point.as_int for point in points_of(receiver.asked, "b")]
    for asked in receiver.asked:
        for resource in decoded(asked).resource_metrics:
            assert 1 == len(resource.resource.attributes)
            assert all(scope.metrics for scope in resource.scope_metrics)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_hundred_thousand_series_of_all_shapes_arrive_within_the_limits(receiver: Receiver, compression: Any) -> None:
    exporting = exporter(receiver, compression=compression, max_request_bytes=1 << 20)
    number = int(os.environ.get("METRICS_SDK_SERIES", "100000")) // 4
    sdk = MetricsSDK(
        Config(
            background=False,
            exporters=[Export(exporting, timeout_seconds=120)],
            max_series_per_instrument=number + 1,
            max_series=10**6,
        )
    )
    instruments = [sdk.counter("c"), sdk.histogram("h"), sdk.histogram("e", boundaries=(1.0, 10.0))]
    gauge = sdk.gauge("g")
    for i in range(number):
        attributes = {"item": f"/item/{i}"}
        gauge.set(i, attributes)
        instruments[0].add(i, attributes)
        for histogram in instruments[1:]:
            histogram.record(i, attributes)  # type: ignore[union-attr]
    assert sdk.flush(120)
    found = {name: {attributes_of(point)[0][1]: point for point in points_of(receiver.asked, name)} for name in "cghe"}
    sdk.shutdown()
    assert [number] * 4 == [len(found[name]) for name in "cghe"]
    for i in range(number):
        key = f"/item/{i}"
        assert (i, i) == (found["c"][key].as_int, found["g"][key].as_int)
        assert (i, i) == (found["h"][key].sum, found["e"][key].sum)
    assert 3 <= len(receiver.asked)
    assert max([len(asked.content) for asked in receiver.asked]) <= 1 << 20
    assert {compression} == {asked.headers.get("content-encoding", "none") for asked in receiver.asked}


@pytest.mark.parametrize("temporality", ["delta", "cumulative"])
def test_with_the_receiver_down_for_a_minute_and_failing_in_every_way_the_totals_are_exact(
    receiver: Receiver, temporality: Any
) -> None:
    clock = ManualClock(START)
    sdk = MetricsSDK(
        Config(
            background=False,
            clock=clock,
            exporters=[Export(exporter(receiver, max_request_bytes=1500), temporality=temporality, timeout_seconds=0.5)],
        )
    )
    counter, histogram = sdk.counter("c"), sdk.histogram("h")
    expected: Counter[str] = Counter()

    def interval() -> bool:
        for i in range(30):
            counter.add(i, {"k": str(i)})
            histogram.record(i, {"k": str(i)})
            expected[str(i)] += i
        clock.advance(10)
        return sdk.flush()

    unread = [reply(503), reply(429), reply(502), reply(504), reset]  # what nobody takes for having arrived
    assert interval()
    for failure in unread:
        receiver.behaviours = [reply(), failure]  # in the middle
        assert not interval()
    receiver.stop()
    for _ in range(6):
        assert not interval()
    receiver.start()
    assert interval()
    assert interval()
    assert (11, 0) == (sdk.health().exporters["OTLPExporter"].failures, sdk.health().exporters["OTLPExporter"].refused)
    totals: dict[str, Counter[str]] = {"c": Counter(), "h": Counter()}
    since: dict[tuple[str, str], int] = {}
    for name, total in totals.items():
        for point in points_of(receiver.accepted, name):
            key = attributes_of(point)[0][1]
            value = point.sum if name == "h" else point.as_int
            if temporality == "delta":
                total[key] += value
                assert since.get((name, key), 0) <= point.start_time_unix_nano
                since[name, key] = point.time_unix_nano
            else:
                total[key] = value
    sdk.shutdown()
    assert {key: value for key, value in expected.items() if value} == {k: v for k, v in totals["c"].items() if v}
    assert {key: value for key, value in expected.items() if value} == {k: v for k, v in totals["h"].items() if v}


def test_an_exporter_whose_receiver_is_dead_delays_no_other(receiver: Receiver) -> None:
    receiver.otherwise = receiver.hang
    memory = MemoryExporter()
    sdk = MetricsSDK(
        Config(
            flush_interval_seconds=0.01,
            exporters=[
                Export(exporter(receiver), interval_seconds=0.02, timeout_seconds=20),
                Export(memory, interval_seconds=0.02),
            ],
        )
    )
    sdk.counter("c").add(1)
    receiver.wait_for(1)
    before, deadline, pause = len(memory.snapshots), time.monotonic() + 10, threading.Event()
    while len(memory.snapshots) < before + 5:
        assert time.monotonic() < deadline
        pause.wait(0.005)
    assert "exporting" == sdk.health().exporters["OTLPExporter"].state
    started = time.monotonic()
    assert not sdk.shutdown(0.3)
    assert time.monotonic() - started < 1.5


def response(rejected: int, why: str) -> bytes:
    made = ExportMetricsServiceResponse()
    made.partial_success.rejected_data_points = rejected
    made.partial_success.error_message = why
    return made.SerializeToString()


def test_a_partial_success_is_counted_logged_and_never_tried_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.behaviours = [reply(200, response(3, "three are odd")), reply(200, response(0, "be careful"))]
    sdk = MetricsSDK(Config(background=False, exporters=[Export(exporter(receiver), temporality="delta")]))
    sdk.counter("c").add(5)
    assert sdk.flush()
    assert (3, 0, "the receiver says: three are odd") == (
        sdk.health().exporters["OTLPExporter"].refused, sdk.health().exporters["OTLPExporter"].failures,
        sdk.health().exporters["OTLPExporter"].last_error,
    )  # fmt: skip
    assert "3 points of exporter OTLPExporter were refused: the receiver says: three are odd" in caplog.text
    assert sdk.flush()
    assert 3 == sdk.health().exporters["OTLPExporter"].refused
    assert [5] == [point.as_int for point in points_of(receiver.asked, "c")]
    sdk.shutdown()


@pytest.mark.parametrize(
    "body", [b"\xff\xff", b"{}", b"\x0a\x02\x08", response(0, ""), b"", response(2**63 - 1, "x")[:5], response(-1, "")]
)
def test_an_answer_that_cannot_be_read_is_a_full_success(receiver: Receiver, body: bytes) -> None:
    receiver.otherwise = reply(200, body)
    exporting = exporter(receiver)
    assert (
        exporting.export(Snapshot({}, START, (Metric("m", "gauge", "", "", None, (Point((), 1, START, START),)),)), 20) is None
    )
    exporting.shutdown()


def test_nothing_to_tell_is_not_sent(receiver: Receiver) -> None:
    assert [] == sent(receiver, Metric("m", "counter", "", "", None, ()))
    assert [] == receiver.asked


def test_exemplars_arrive_with_their_trace(receiver: Receiver) -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[exporter(receiver)], exemplar_filter="always_on"))
    sdk.histogram("h").record(0.5)
    sdk.counter("c").add(2)
    assert sdk.flush()
    sdk.shutdown()
    assert [0.5] == [one.as_double for one in points_of(receiver.asked, "h")[0].exemplars]
    assert 2 == points_of(receiver.asked, "c")[0].exemplars[0].as_int


def test_a_child_tells_its_own_under_a_name_of_its_own(run_python: Callable[..., str], receiver: Receiver) -> None:
    program = f"""
    import os
    from metrics_sdk import Config, Export, MetricsSDK
    from metrics_sdk_opentelemetry import OTLPExporter

    sdk = MetricsSDK(Config(exporters=[Export(OTLPExporter({receiver.url + "/v1/metrics"!r}), temporality="delta")]))
    counter = sdk.counter("c")
    counter.add(1)
    assert sdk.flush(20)
    counter.add(10)
    child = os.fork()
    if not child:
        counter.add(100)
        os._exit(0 if sdk.flush(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sdk.shutdown(20)
    """
    run_python(program)
    told: dict[str, list[int]] = {}
    for resource, _, metric, _ in metrics_of(receiver.asked):
        if metric.name == "c":
            instance = next(plain(one.value) for one in resource.attributes if one.key == "service.instance.id")
            told.setdefault(instance, []).extend([point.as_int for point in metric.sum.data_points])
    assert [[1, 10], [100]] == sorted(told.values())


def test_it_needs_no_other_package_and_imports_nothing_when_the_interpreter_ends(
    run_python: Callable[..., str], receiver: Receiver
) -> None:
    program = f"""
    import atexit, logging, sys  # the SDK's last words are logged

    class Nothing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("opentelemetry", "google", "urllib3", "requests", "wrapt", "librt"):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Nothing())
    from metrics_sdk import Config, MetricsSDK
    from metrics_sdk_opentelemetry import OTLPExporter

    sdk = MetricsSDK(Config(exporters=[OTLPExporter({receiver.url + "/v1/metrics"!r}, compression="gzip")]))
    before = []
    atexit.register(lambda: print(sorted(set(sys.modules) - set(before))))
    sdk.counter("c").add(7)
    before += sys.modules
    """
    assert "[]\n" == run_python(program)
    assert [7] == [point.as_int for point in points_of(receiver.asked, "c")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"compression": "br"}, 'compression must be "gzip" or "none"'),
        ({"max_request_bytes": 65 << 20}, "max_request_bytes"),
        ({"max_request_bytes": True}, "max_request_bytes"),
        ({"endpoint": "localhost:4318"}, "an endpoint is a URL such as"),
        ({"headers": {"a": "b\n"}}, "header 1 cannot be sent"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        OTLPExporter(**options)


def test_a_failure_says_where_and_what_and_no_secrets(receiver: Receiver) -> None:
    receiver.otherwise = reply(401, b"who are you?")
    exporting = OTLPExporter(f"http://user:password@127.0.0.1:{receiver.port}/v1/metrics", headers={"api-key": "secret"})
    metric = Metric("m", "gauge", "", "", None, (Point((), 1, START, START),))
    with pytest.raises(ExportError, match="401 Whatever: who are you") as failed:
        exporting.export(Snapshot({}, START, (metric,)), 20)
    exporting.shutdown()
    for shown in (str(failed.value), repr(exporting), repr(Export(exporting))):
        assert not any(secret in shown for secret in ("password", "secret", "user"))
    assert f"OTLPExporter('{receiver.url}/v1/metrics')" == repr(exporting)
    assert MessageToDict(decoded(receiver.asked[0]))
