"""The protobuf format, read back with messages of google.protobuf."""

from __future__ import annotations

import gzip
import logging
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_sdk_prometheus import PROTOBUF, TEXT, Renderer, render, wsgi_app
from metrics_sdk_prometheus.exposition import Exposition
from metrics_sdk_prometheus.messages import messages, pairs_of
from metrics_sdk_prometheus.native import ZERO_THRESHOLD, native_of

from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Snapshot

START, NOW = 1700000000.5, 1700000009.0
Read = Callable[[Snapshot], dict[str, Any]]


@pytest.fixture
def read(read_families: Callable[[bytes], dict[str, Any]]) -> Read:
    return lambda snapshot: read_families(render(snapshot, PROTOBUF))


def metric(name: str, kind: str, *series: tuple[dict[str, Any], Any], **options: Any) -> Metric:
    exemplars = options.pop("exemplars", ())
    points = tuple([Point(tuple(sorted(attributes.items())), value, START, NOW, exemplars) for attributes, value in series])
    about = {"unit": "", "description": "", "boundaries": None, "temporality": "cumulative", "meter": None, **options}
    return Metric(name, kind, points=points, **about)


def of(*metrics: Metric, **resource: Any) -> Snapshot:
    return Snapshot(resource, NOW, metrics)


def labels(one: Any) -> dict[str, str]:
    return {pair.name: pair.value for pair in one.label}


def test_a_counter_has_total_in_its_name_its_value_and_when_it_was_created(read: Read) -> None:
    found = read(of(metric("http.requests", "counter", ({"code": 200}, 3), ({}, 1.5), description=" Requests. ")))
    family = found["http_requests_total"]
    assert ("Requests.", 0, "") == (family.help, family.type, family.unit)
    assert [({"code": "200"}, 3.0), ({}, 1.5)] == [(labels(one), one.counter.value) for one in family.metric]
    assert {(1700000000, 500_000_000)} == {
        (one.counter.created_timestamp.seconds, one.counter.created_timestamp.nanos) for one in family.metric
    }


@pytest.mark.parametrize("kind", ["gauge", "up_down_counter", "observable_up_down_counter"])
def test_what_may_fall_is_a_gauge_with_its_unit(read: Read, kind: str) -> None:
    (family,) = read(of(metric("size", kind, ({}, -1.5), unit="By"))).values()
    assert ("size_bytes", 1, "bytes", -1.5) == (family.name, family.type, family.unit, family.metric[0].gauge.value)


def test_a_histogram_of_given_boundaries_has_their_cumulative_counts_and_is_not_native(read: Read) -> None:
    value = ExplicitBuckets(6, 12.5, 0.0, 9.0, (1.0, 4.0), (1, 2, 3))
    family = read(of(metric("latency", "histogram", ({"a": "b"}, value), unit="s")))["latency_seconds"]
    shown = family.metric[0].histogram
    assert (4, 6, 12.5) == (family.type, shown.sample_count, shown.sample_sum)
    assert [(1.0, 1), (4.0, 3), (math.inf, 6)] == [(one.upper_bound, one.cumulative_count) for one in shown.bucket]
    assert not shown.HasField("schema") and not shown.HasField("zero_threshold")
    assert 1700000000 == shown.created_timestamp.seconds


def test_an_exponential_histogram_is_native_and_has_the_buckets_of_the_text_too(read: Read, buckets_of: Any) -> None:
    value = ExponentialBuckets(7, 9.5, -2.0, 5.0, 3, 1, ((-9, 1), (-1, 1), (5, 2)), ((2, 1), (3, 1)))
    snapshot = of(metric("size", "histogram", ({}, value), unit="By"))
    shown = read(snapshot)["size_bytes"].metric[0].histogram
    assert (3, 7, 9.5, 1) == (shown.schema, shown.sample_count, shown.sample_sum, shown.zero_count)
    assert {-8: 1, 0: 1, 6: 2} == buckets_of(shown.positive_span, shown.positive_delta)
    assert {3: 1, 4: 1} == buckets_of(shown.negative_span, shown.negative_delta)
    lines = [line.split(" ") for line in render(snapshot, TEXT).decode().splitlines() if "le=" in line]
    assert [count for _, count in lines] == [str(one.cumulative_count) for one in shown.bucket]
    assert 1 == sum([one.upper_bound == math.inf for one in shown.bucket])


def test_a_histogram_without_values_is_native_from_the_start(read: Read) -> None:
    """Readers take one for native if it has buckets, or a zero bucket of some width."""
    shown = (
        read(of(metric("h", "histogram", ({}, ExponentialBuckets(0, 0.0, None, None, 20, 0, (), ())))))["h"].metric[0].histogram
    )
    assert (8, 0, 0) == (shown.schema, shown.sample_count, len(shown.positive_span))
    assert 0 < shown.zero_threshold == ZERO_THRESHOLD


def test_buckets_wider_than_any_schema_are_shown_as_classic_ones_alone(read: Read) -> None:
    value = ExponentialBuckets(2, 9.0, 1.0, 8.0, -5, 0, ((0, 2),), ())
    shown = read(of(metric("h", "histogram", ({}, value))))["h"].metric[0].histogram
    assert not shown.HasField("schema") and not shown.HasField("zero_threshold")
    assert 2 == shown.sample_count == shown.bucket[-1].cumulative_count


@pytest.mark.parametrize("scale", range(-4, 9))
def test_the_zero_bucket_reaches_no_bucket_of_the_least_values(scale: int) -> None:
    bucket = -(1022 << scale) - 1 if scale > 0 else -1023 >> -scale  # that of the least normal number, and of what is below it
    assert math.log2(ZERO_THRESHOLD) <= bucket / 2**scale


def test_counts_below_zero_are_no_native_histogram() -> None:
    for odd in (
        ExponentialBuckets(0, 0.0, None, None, 0, -1, (), ()),
        ExponentialBuckets(0, 0.0, None, None, 0, 0, ((1, -1),), ()),
    ):
        with pytest.raises(ValueError, match="below zero"):
            native_of(odd)


sides = st.dictionaries(st.integers(-2100, 2100), st.integers(1, 2**40), max_size=40).map(
    lambda one: tuple(sorted(one.items()))
)


@given(scale=st.integers(-4, 20), positive=sides, negative=sides, zero=st.integers(0, 2**40))
@settings(max_examples=300)
def test_native_buckets_hold_every_value_where_it_was(
    buckets_of: Any,
    scale: int,
    positive: tuple[tuple[int, int], ...],
    negative: tuple[tuple[int, int], ...],
    zero: int,
) -> None:
    native = native_of(ExponentialBuckets(0, 1.0, None, None, scale, zero, positive, negative))
    assert native is not None
    assert min(scale, 8) == native.schema
    for side, made in ((positive, native.positive), (negative, native.negative)):
        expected: dict[int, int] = {}
        for bucket, count in side:
            # By the bound, as "Native Histograms" has it: (base**(i - 1), base**i].
            upper = math.ceil((bucket + 1) / 2 ** (scale - native.schema))
            expected[upper] = expected.get(upper, 0) + count
        spans = [type("Span", (), {"offset": gap, "length": length}) for gap, length in made.spans]
        assert expected == buckets_of(spans, made.deltas)
        assert all([gap > 2 for gap, _ in made.spans[1:]])
    assert zero + sum([n for _, n in positive]) + sum([n for _, n in negative]) == native.count


TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7


def test_exemplars_are_at_the_counter_at_the_buckets_and_with_their_times_at_the_native_histogram(read: Read) -> None:
    given = (
        Exemplar(3.0, NOW, (("user", 'a"b'),), TRACE, SPAN),
        Exemplar(2.5, NOW - 2, (), 0, 0),
        Exemplar(100, NOW - 1.5, (), 0, 0),
        Exemplar(math.nan, NOW, (), 0, 0),
        Exemplar(1.0, math.nan, (), 0, 0),
    )
    value = ExponentialBuckets(5, 9.5, 1.0, 100.0, 3, 0, ((9, 5),), ())
    found = read(
        of(
            metric("c", "counter", ({}, 3), exemplars=given[:2]),
            metric("h", "histogram", ({}, value), unit="By", exemplars=given),
        )
    )
    one = found["c_total"].metric[0].counter.exemplar
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7", "user": 'a"b'}
    assert (ids, 3.0, 1700000009) == (labels(one), one.value, one.timestamp.seconds)
    shown = found["h_bytes"].metric[0].histogram
    assert {1.0: 1.0, 4.0: 3.0, 256.0: 100.0} == {
        bucket.upper_bound: bucket.exemplar.value for bucket in shown.bucket if bucket.HasField("exemplar")
    }
    assert [2.5, 100.0, 3.0] == [exemplar.value for exemplar in shown.exemplars]
    assert [(1700000007, 0), (1700000007, 500_000_000), (1700000009, 0)] == [
        (exemplar.timestamp.seconds, exemplar.timestamp.nanos) for exemplar in shown.exemplars
    ]


def test_the_resource_is_target_info_and_scopes_are_labels(read: Read) -> None:
    found = read(of(metric("g", "gauge", ({"otel_scope_name": "x"}, 1), meter=Meter("lib", "1")), **{"service.name": "shop"}))
    info = found["target_info"]
    assert (1, {"service_name": "shop"}, 1.0) == (info.type, labels(info.metric[0]), info.metric[0].gauge.value)
    expected = {"otel_scope_name": "lib", "otel_scope_version": "1", "exported_otel_scope_name": "x"}
    assert expected == labels(found["g"].metric[0])


def test_series_that_look_alike_are_one(read: Read) -> None:
    found = read(of(metric("c", "counter", ({"x": 1}, 1), ({"x": "1"}, 2), ({"x": 1, "y": ""}, 4))))
    assert [({"x": "1"}, 7.0)] == [(labels(one), one.counter.value) for one in found["c_total"].metric]


ODD = [
    metric("odd", "gauge", ({}, "text")),
    metric("odd", "gauge", ({}, None)),
    metric("odd", "counter", ({}, ExplicitBuckets(0, 0.0, None, None, (), (0,)))),
    metric("odd", "histogram", ({}, 3)),
    metric("odd", "histogram", ({}, ExplicitBuckets(1, 0.0, None, None, (1.0,), (2, -1)))),
    metric("odd", "histogram", ({}, ExplicitBuckets(1, 0.0, None, None, (1.0,), (1,)))),
    metric("odd", "histogram", ({}, ExponentialBuckets(1, 0.0, None, None, 2, 0, ((1, 2), (2, -1)), ()))),
    metric("odd", "histogram", ({}, ExponentialBuckets(1, 0.0, None, None, 2, -1, ((1, 2),), ()))),
    metric("odd", "histogram", ({}, ExponentialBuckets(1, 0.0, None, None, 2, 0, ((3, 2), (1, 1)), ()))),
    metric("odd", "histogram", ({}, ExponentialBuckets(1, 0.0, None, None, 2, 0, ((1, 0.5),), ()))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_value_that_cannot_be_told_costs_itself_alone_and_is_logged_once(
    read_families: Any, odd: Metric, caplog: pytest.LogCaptureFixture
) -> None:
    good = metric("good", "gauge", ({"x": "\ud800"}, 1))
    renderer = Renderer()
    with caplog.at_level(logging.WARNING):
        found = [read_families(renderer.render(of(odd, good), PROTOBUF)) for _ in range(2)]
    assert [["good"], ["good"]] == [list(one) for one in found]
    assert {"x": "?"} == labels(found[0]["good"].metric[0])
    assert 1 == len(caplog.records)


@pytest.mark.parametrize(("expected", "value"), [(math.inf, 10**400), (-math.inf, -(10**400)), (2.0**70, 2**70), (1.0, True)])
def test_a_number_beyond_doubles_is_infinite(read: Read, expected: float, value: float) -> None:
    assert expected == read(of(metric("g", "gauge", ({}, value))))["g"].metric[0].gauge.value


def test_no_nan_is_the_one_that_means_that_a_series_has_ended() -> None:
    (stale,) = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))
    rendered = render(of(metric("g", "gauge", ({}, stale))), PROTOBUF)
    assert struct.pack("<Q", 0x7FF0000000000002)[:7] not in rendered
    assert struct.pack("<d", math.nan) in rendered


def test_it_is_served_to_who_asks_for_it_compressed_if_that_is_asked_for(read_families: Any) -> None:
    class Source:
        def snapshot(self) -> Snapshot:
            return of(metric("g", "gauge", ({}, 1)))

    told: dict[str, str] = {}
    asked = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/metrics",
        "HTTP_ACCEPT": f"{PROTOBUF.content_type};q=0.6,text/plain;q=0.5",
        "HTTP_ACCEPT_ENCODING": "gzip",
    }
    (body,) = wsgi_app(Source())(asked, lambda status, headers: told.update(headers))  # type: ignore[arg-type, func-returns-value, return-value]
    assert (PROTOBUF.content_type, "gzip") == (told["Content-Type"], told["Content-Encoding"])
    assert ["g"] == list(read_families(gzip.decompress(body)))


def test_a_renderer_that_remembers_text_gives_the_same_messages(read_families: Any) -> None:
    snapshot = of(metric("c", "counter", ({"x": 1}, 1)), metric("g", "gauge", ({"x": 1}, 1), meter=Meter("m")), a=1)
    renderer = Renderer()
    for _ in range(2):
        assert render(snapshot, TEXT) == renderer.render(snapshot, TEXT)
        assert render(snapshot, PROTOBUF) == renderer.render(snapshot, PROTOBUF)


def test_after_each_histogram_there_is_a_pause_since_they_are_wide() -> None:
    value = ExponentialBuckets(2, 3.0, 1.0, 2.0, 3, 0, ((-1, 1), (7, 1)), ())
    snapshot = of(metric("h", "histogram", *[({"x": number}, value) for number in range(20)]))
    assert 20 <= list(messages(Exposition(pairs_of).walk(snapshot))).count(b"")
