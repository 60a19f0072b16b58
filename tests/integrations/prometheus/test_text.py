"""The text formats, on small snapshots written out in full."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from metrics_sdk_prometheus import OPENMETRICS, PROTOBUF, TEXT, Format, Renderer, render

from metrics_sdk import slices
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Snapshot

START, NOW = 1700000000.5, 1700000009.0


def metric(
    name: str,
    kind: str,
    *series: tuple[dict[str, Any], Any],
    unit: str = "",
    description: str = "",
    meter: Meter | None = None,
) -> Metric:
    points = tuple([Point(tuple(sorted(attributes.items())), value, START, NOW) for attributes, value in series])
    return Metric(name, kind, unit, description, None, points, "cumulative", meter)


def text(*metrics: Metric, format: Format = TEXT, resource: dict[str, Any] | None = None) -> str:
    return render(Snapshot(resource or {}, NOW, metrics), format).decode()


def explicit(*counts: int, boundaries: tuple[float, ...], sum: float = 5.5, min: float = 0.0) -> ExplicitBuckets:
    return ExplicitBuckets(99, sum, min, 9.0, boundaries, counts)


requests = metric("requests", "counter", ({"code": 200}, 3), ({}, 1.5), unit="{request}", description='All "of"\nthem\\')
latency = metric("latency", "histogram", ({"a": "b"}, explicit(1, 0, 2, boundaries=(0.5, 1000000.0))), unit="s")


def test_a_counter_in_the_text_format() -> None:
    header = '# HELP requests_total All "of"\\nthem\\\\\n# TYPE requests_total counter\n'
    expected = header + 'requests_total{code="200"} 3\nrequests_total 1.5\n'
    assert expected == text(requests)


def test_a_counter_in_openmetrics_has_a_family_without_total_and_tells_when_it_was_created() -> None:
    expected = (
        '# HELP requests All \\"of\\"\\nthem\\\\\n# TYPE requests counter\n'
        'requests_total{code="200"} 3\nrequests_created{code="200"} 1700000000.5\n'
        "requests_total 1.5\nrequests_created 1700000000.5\n# EOF\n"
    )
    assert expected == text(requests, format=OPENMETRICS)


@pytest.mark.parametrize("kind", ["gauge", "observable_gauge", "up_down_counter", "observable_up_down_counter"])
def test_what_may_fall_is_a_gauge(kind: str) -> None:
    assert "# TYPE size_bytes gauge\nsize_bytes -1\n" == text(metric("size", kind, ({}, -1), unit="By"))


def test_a_histogram_in_the_text_format() -> None:
    expected = (
        "# TYPE latency_seconds histogram\n"
        'latency_seconds_bucket{a="b",le="0.5"} 1\n'
        'latency_seconds_bucket{a="b",le="1e+06"} 1\n'
        'latency_seconds_bucket{a="b",le="+Inf"} 3\n'
        'latency_seconds_sum{a="b"} 5.5\n'
        'latency_seconds_count{a="b"} 3\n'
    )
    assert expected == text(latency)


def test_a_histogram_in_openmetrics_has_a_unit_and_tells_when_it_was_created() -> None:
    shown = text(latency, format=OPENMETRICS)
    assert "# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n" in shown
    assert shown.endswith('latency_seconds_count{a="b"} 3\nlatency_seconds_created{a="b"} 1700000000.5\n# EOF\n')


def test_a_histogram_that_may_hold_negatives_has_no_sum_and_in_openmetrics_then_no_count() -> None:
    negative = metric("h", "histogram", ({}, explicit(1, 2, boundaries=(-1.0,))))
    buckets = 'h_bucket{le="-1.0"} 1\nh_bucket{le="+Inf"} 3\n'
    assert f"# TYPE h histogram\n{buckets}h_count 3\n" == text(negative)
    assert f"# TYPE h histogram\n{buckets}h_created 1700000000.5\n# EOF\n" == text(negative, format=OPENMETRICS)


def test_an_exponential_histogram_is_shown_at_the_same_bounds_however_its_scale_changes() -> None:
    def bounds(scale: int) -> list[str]:
        value = ExponentialBuckets(1, 3.0, 3.0, 3.0, scale, 0, ((1 << max(scale, 0), 1),), ())
        shown = text(metric("h", "histogram", ({}, value), unit="s"))
        return [line.split()[0] for line in shown.splitlines() if "le=" in line]

    assert 25 + 1 == len(bounds(20))
    assert bounds(20) == bounds(0) == bounds(-3)


def test_the_resource_is_one_target_info() -> None:
    assert (
        '# HELP target_info Target metadata.\n# TYPE target_info gauge\ntarget_info{service_name="a\\"%",x="1"} 1\n'
        == text(resource={"service.name": 'a"%', "x": 1})
    )  # fmt: skip
    assert "# TYPE target info\n" in text(resource={"x": 1}, format=OPENMETRICS)


def test_without_a_resource_there_is_no_target_info() -> None:
    assert "" == text()
    assert "# EOF\n" == text(format=OPENMETRICS)


def test_an_instrument_called_target_wins_over_the_resource() -> None:
    assert "# TYPE target gauge\ntarget 1\n" == text(metric("target", "gauge", ({}, 1)), resource={"x": 1})


def test_instruments_of_one_family_stand_together_under_one_header() -> None:
    shown = text(
        metric("a.b", "counter", ({"x": 1}, 1), description="first"),
        metric("other", "gauge", ({}, 0)),
        metric("a_b", "counter", ({"x": 2}, 2), description="second"),
    )
    expected = '# HELP a_b_total first\n# TYPE a_b_total counter\na_b_total{x="1"} 1\na_b_total{x="2"} 2\n'
    assert expected + "# TYPE other gauge\nother 0\n" == shown


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (("a.b", "gauge"), ("a_b", "counter")),
        (("a", "counter"), ("a_total", "gauge")),
        (("a_created", "gauge"), ("a", "counter")),
        (("a_total", "gauge"), ("a", "counter")),
    ],
)
def test_of_contradicting_instruments_the_later_is_left_out_and_logged_once(
    first: tuple[str, str], later: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    alone = Snapshot({}, NOW, (metric(*first, ({}, 1)),))
    both = Snapshot({}, NOW, (metric(*first, ({}, 1)), metric(*later, ({}, 2))))
    renderer = Renderer()
    with caplog.at_level(logging.WARNING):
        assert renderer.render(alone) == renderer.render(both) == renderer.render(both)
    assert 1 == len(caplog.records)
    assert repr(later[0]) in caplog.text


def test_a_gauge_named_like_a_sample_of_a_histogram_is_left_out() -> None:
    assert text(latency) == text(latency, metric("latency_seconds_count", "gauge", ({}, 1)))


def test_series_of_two_instruments_that_look_alike_are_shown_once_and_the_loss_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        shown = text(metric("a.b", "counter", ({}, 1)), metric("a_b", "counter", ({}, 2), ({"x": 1}, 3)))
    assert '# TYPE a_b_total counter\na_b_total 1\na_b_total{x="1"} 3\n' == shown
    assert 1 == len(caplog.records)


def test_series_of_two_meters_with_one_metric_name_are_all_shown(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Meter("one", "1.0"), Meter("two")
    with caplog.at_level(logging.WARNING):
        shown = text(
            metric("c", "counter", ({"a": 1}, 1), meter=one),
            metric("c", "counter", ({"a": 1}, 10), meter=two),
            metric("c", "counter", ({"a": 1}, 100)),
        )
    assert (
        '# TYPE c_total counter\nc_total{otel_scope_name="one",otel_scope_version="1.0",a="1"} 1\n'
        'c_total{otel_scope_name="two",a="1"} 10\nc_total{a="1"} 100\n'
    ) == shown
    assert [] == caplog.records


def test_buckets_of_two_meters_are_shown_with_their_scopes() -> None:
    value = explicit(1, 0, boundaries=(1.0,), sum=1.0)
    shown = text(*[metric("h", "histogram", ({}, value), meter=Meter(name)) for name in ("one", "two")])
    for name in ("one", "two"):
        assert f'h_bucket{{otel_scope_name="{name}",le="1.0"}} 1\n' in shown
        assert f'h_count{{otel_scope_name="{name}"}} ' in shown


def test_of_meters_with_one_metric_name_and_different_types_the_later_is_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        shown = text(metric("c", "gauge", ({}, 1), meter=Meter("one")), metric("c", "counter", ({}, 2), meter=Meter("two")))
    assert '# TYPE c gauge\nc{otel_scope_name="one"} 1\n' == shown
    assert 1 == len(caplog.records)


def test_a_scope_has_labels_for_its_schema_and_its_attributes_none_of_which_takes_the_place_of_another() -> None:
    attributes = (
        ("a.b", 'q"%'),
        ("a_b", True),
        ("empty", ""),
        ("name", "forged"),
        ("schema.url", "forged"),
        ("version", "forged"),
    )
    meter = Meter("lib", None, "https://example.org/1", attributes)
    scope = 'otel_scope_a_b="q\\"%;true",otel_scope_name="lib",otel_scope_schema_url="https://example.org/1"'
    assert f"# TYPE g gauge\ng{{{scope}}} 1\n" == text(metric("g", "gauge", ({}, 1), meter=meter))


@pytest.mark.parametrize("name", ["lib", ""])
def test_no_attribute_passes_for_a_label_of_the_scope(name: str) -> None:
    given = {"otel.scope.name": "a", "otel_scope_name": "b", "exported_otel_scope_name": "c", "otel_scope_x": "d"}
    scope = f'otel_scope_name="{name}",' if name else ""
    exported = 'exported_otel_scope_name="c;a;b",exported_otel_scope_x="d"'
    assert f"# TYPE g gauge\ng{{{scope}{exported}}} 1\n" == text(metric("g", "gauge", (given, 1), meter=Meter(name)))
    assert '# TYPE g gauge\ng{otel_scope_name="a;b"} 1\n' == text(
        metric("g", "gauge", ({"otel.scope.name": "a", "otel_scope_name": "b"}, 1))
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_what_is_remembered_of_one_meter_is_not_shown_for_another_with_the_very_same_attributes(order: tuple[int, ...]) -> None:
    attributes = (("otel_scope_x", 1),)
    points = (Point(attributes, 1, START, NOW),)
    meters = (Meter("one", attributes=(("a", 1),)), Meter("one", attributes=(("a", True),)), None)  # equal, but for the last
    metrics = [Metric(f"g{n}", "gauge", "", "", None, points, "cumulative", meters[n]) for n in order]
    renderer = Renderer()
    for _ in range(2):
        shown = renderer.render(Snapshot({}, NOW, tuple(metrics))).decode()
        assert 'g0{otel_scope_a="1",otel_scope_name="one",exported_otel_scope_x="1"} 1\n' in shown
        assert 'g1{otel_scope_a="true",otel_scope_name="one",exported_otel_scope_x="1"} 1\n' in shown
        assert 'g2{otel_scope_x="1"} 1\n' in shown
    assert 3 == renderer.remembered


def test_a_renderer_forgets_meters_and_their_series_that_are_gone() -> None:
    renderer = Renderer()
    for number in range(3000):
        renderer.render(Snapshot({}, NOW, (metric("g", "gauge", ({"x": number}, 1), meter=Meter(str(number))),)))
    assert renderer.remembered <= 1024 + 2 + 1
    assert len(renderer._texts._scopes) <= 1024 + 2 + 1


def test_series_of_one_counter_that_look_alike_add_up() -> None:
    assert '# TYPE c_total counter\nc_total{x="1"} 7\n' == text(
        metric("c", "counter", ({"x": 1}, 1), ({"x": "1"}, 2), ({"x": 1, "y": ""}, 4))
    )


def test_of_series_of_one_gauge_that_look_alike_the_last_stays() -> None:
    assert '# TYPE g gauge\ng{x="1"} 2\n' == text(metric("g", "gauge", ({"x": 1}, 1), ({"x": "1"}, 2)))


def test_series_of_one_histogram_that_look_alike_add_up() -> None:
    a, b = explicit(1, 2, boundaries=(1.0,)), explicit(3, 4, boundaries=(1.0,))
    shown = text(metric("h", "histogram", ({"x": 1}, a), ({"x": "1"}, b)))
    assert 'h_bucket{x="1",le="1.0"} 4\nh_bucket{x="1",le="+Inf"} 10\nh_sum{x="1"} 11.0\nh_count{x="1"} 10\n' in shown


def test_series_of_one_exponential_histogram_that_look_alike_add_up_whatever_their_scales() -> None:
    a = ExponentialBuckets(2, 3.0, 0.0, 3.0, 1, 1, ((3, 1),), ())  # 0, and one in (2**1.5, 4]
    b = ExponentialBuckets(1, 2.5, 2.5, 2.5, 0, 0, ((1, 1),), ())  # one in (2, 4]
    shown = text(metric("h", "histogram", ({"x": 1}, a), ({"x": "1"}, b), unit="By"))
    assert 'le="1.0"} 1\n' in shown
    assert 'le="4.0"} 3\n' in shown
    assert 'h_bytes_sum{x="1"} 5.5\nh_bytes_count{x="1"} 3\n' in shown


def test_true_and_one_are_different_series_although_they_are_equal() -> None:
    shown = text(metric("c", "gauge", ({"x": True}, 1), ({"x": 1}, 2), ({"x": 1.0}, 3)))
    assert '# TYPE c gauge\nc{x="true"} 1\nc{x="1"} 2\nc{x="1.0"} 3\n' == shown


@pytest.mark.parametrize("bad", [-1, float("nan")])
def test_a_counter_below_zero_is_left_out_since_readers_would_refuse_the_whole_scrape(bad: float) -> None:
    assert "# TYPE c_total counter\nc_total 1\n" == text(metric("c", "counter", ({"x": 1}, bad), ({}, 1)))


def test_an_instrument_without_series_is_not_shown() -> None:
    assert "" == text(metric("c", "counter"))


def test_a_percent_sign_stays_one_percent_sign() -> None:
    hostile = "%s %d %% %(x)s"
    assert f'g{{x="{hostile}"}} 1\n' in text(metric("g", "gauge", ({"x": hostile}, 1)))
    assert f'h_count{{x="{hostile}"}} 1\n' in text(metric("h", "histogram", ({"x": hostile}, explicit(1, boundaries=()))))
    assert f"# HELP g {hostile}\n" in text(metric("g", "gauge", ({}, 1), description=hostile))


def test_a_renderer_gives_the_same_text_when_it_remembers() -> None:
    snapshot = Snapshot({"x": 1}, NOW, (requests, latency))
    renderer = Renderer()
    expected = [render(snapshot, TEXT), render(snapshot, OPENMETRICS)]
    for _ in range(2):
        assert expected == [renderer.render(snapshot, TEXT), renderer.render(snapshot, OPENMETRICS)]
    assert 3 == renderer.remembered


def test_a_renderer_remembers_no_more_than_it_is_told_and_forgets_series_that_are_gone() -> None:
    def fresh(count: int) -> Snapshot:
        return Snapshot({}, NOW, (metric("g", "gauge", *[({"x": str(i)}, i) for i in range(count)]),))

    renderer = Renderer(cached_series=100)
    renderer.render(fresh(200))
    assert 100 == renderer.remembered
    renderer = Renderer()
    for _ in range(3000):
        renderer.render(fresh(1))
    assert renderer.remembered <= 1024 + 2 + 1


def test_a_renderer_does_not_keep_the_largest_labels() -> None:
    renderer = Renderer()
    renderer.render(Snapshot({}, NOW, (metric("g", "gauge", ({"x": "x" * 4096}, 1)),)))
    assert 0 == renderer.remembered


@pytest.mark.parametrize("format", [TEXT, OPENMETRICS, PROTOBUF], ids=lambda one: one.name)
def test_rendering_offers_other_threads_their_turn_every_half_millisecond(
    format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: list[float] = []

    monkeypatch.setattr(slices, "sleep", offers.append)
    render(Snapshot({}, NOW, (metric("g", "gauge", *[({"x": str(i)}, i) for i in range(5000)]),)), format)
    assert len(offers) > 3


def test_what_is_gone_gives_its_place_to_what_is_there() -> None:
    def snapshot(generation: int) -> Snapshot:
        return Snapshot({}, NOW, (metric("g", "gauge", *[({"x": f"{generation}-{i}"}, i) for i in range(80)]),))

    renderer = Renderer(cached_series=100)
    first, second = snapshot(1), snapshot(2)
    for shown in (first, second, second, second):
        renderer.render(shown)
    known = {id(point.attributes) for point in second.metrics[0].points}
    assert known <= set(renderer._texts._labels)


@pytest.mark.slow
def test_threads_render_with_one_renderer_without_harm() -> None:
    snapshot = Snapshot({}, NOW, (requests, latency, metric("g", "gauge", *[({"x": str(i)}, i) for i in range(300)])))
    expected = {wanted: render(snapshot, wanted) for wanted in (TEXT, OPENMETRICS, PROTOBUF)}
    renderer = Renderer(cached_series=200)
    wrong: list[Format] = []

    def work() -> None:
        for wanted in list(expected) * 20:
            if renderer.render(snapshot, wanted) != expected[wanted]:
                wrong.append(wanted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong
