"""Exemplars in OpenMetrics, read back with prometheus_client's parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metrics_sdk_prometheus import OPENMETRICS, TEXT, Renderer, render
from metrics_sdk_prometheus.labels import label_name, label_text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
from prometheus_client.samples import Sample

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7
IDS = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7"}
START, NOW = 1.5, 1700000009.0
BUCKETS = ExplicitBuckets(6, 12.0, 0.0, 9.0, (1.0, 4.0), (1, 2, 3))


def exemplar(value: float, time: float = NOW, ids: tuple[int, int] = (TRACE, SPAN), /, **attributes: Any) -> Exemplar:
    return Exemplar(value, time, tuple(sorted(attributes.items())), *ids)


def snapshot(kind: str, value: Any, /, *exemplars: Exemplar, **attributes: Any) -> Snapshot:
    point = Point(tuple(sorted(attributes.items())), value, START, NOW, exemplars)
    return Snapshot({}, NOW, (Metric("m", kind, "", "", None, (point,)),))


def samples(shown: Snapshot) -> list[Sample]:
    return [sample for family in parse(render(shown, OPENMETRICS).decode()) for sample in family.samples]


def shown(given: Snapshot) -> dict[str, tuple[dict[str, str], float, float]]:
    """Return labels, value and time of the exemplars, by the sample's name or the bucket's bound."""
    found: dict[str, tuple[dict[str, str], float, float]] = {}
    for sample in samples(given):
        if sample.exemplar:
            assert sample.exemplar.timestamp is not None
            at = sample.labels.get("le", sample.name)
            assert at not in found
            found[at] = (sample.exemplar.labels, sample.exemplar.value, float(sample.exemplar.timestamp))
    return found


@pytest.mark.parametrize("kind", ["counter", "observable_counter"])
def test_a_counter_shows_its_newest_exemplar_after_its_total(kind: str) -> None:
    given = snapshot(kind, 7, exemplar(1, NOW - 2), exemplar(5, NOW - 1), exemplar(2, NOW - 3), a="b")
    assert {"m_total": (IDS, 5.0, NOW - 1)} == shown(given)


def test_the_line_of_a_counter_with_an_exemplar_in_full() -> None:
    expected = (
        '# TYPE m counter\nm_total{a="b"} 7 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="00f067aa0ba902b7"}'
        ' 5 1700000009.0\nm_created{a="b"} 1.5\n# EOF\n'
    )
    assert expected == render(snapshot("counter", 7, exemplar(5), a="b"), OPENMETRICS).decode()


def test_each_bucket_at_given_boundaries_shows_the_newest_exemplar_whose_value_is_in_it() -> None:
    given = snapshot("histogram", BUCKETS, exemplar(1.0), exemplar(3.0, NOW - 1), exemplar(4.0, NOW - 2), exemplar(4.5), a="b")
    assert {"1.0": (IDS, 1.0, NOW), "4.0": (IDS, 3.0, NOW - 1), "+Inf": (IDS, 4.5, NOW)} == shown(given)


def test_a_bucket_without_an_exemplar_of_its_own_shows_none() -> None:
    assert {"4.0": (IDS, 2.0, NOW)} == shown(snapshot("histogram", BUCKETS, exemplar(2.0)))


def test_a_last_boundary_at_infinity_is_the_bucket_of_the_largest_exemplars() -> None:
    value = ExplicitBuckets(2, 12.0, 0.0, 9.0, (1.0, float("inf")), (1, 1, 0))
    assert {"+Inf": (IDS, 9.0, NOW)} == shown(snapshot("histogram", value, exemplar(9.0)))


def test_an_exponential_histogram_shows_exemplars_at_the_powers_of_two_that_it_is_shown_at() -> None:
    value = ExponentialBuckets(4, 9.5, -1.0, 5000.0, 3, 0, ((9, 1), (15, 1), (98, 1)), ((1, 1),))
    given = snapshot("histogram", value, *[exemplar(number) for number in (-1.0, 2.25, 4.0, 2.0**41)])
    assert {"0.0009765625": -1.0, "4.0": 4.0, "+Inf": 2.0**41} == {at: number for at, (_, number, _) in shown(given).items()}


def test_a_histogram_without_a_sum_shows_exemplars_all_the_same() -> None:
    value = ExplicitBuckets(3, -2.5, -2.0, 2.0, (-1.0,), (1, 2))
    assert {"-1.0": (IDS, -2.0, NOW)} == shown(snapshot("histogram", value, exemplar(-2.0)))


@pytest.mark.parametrize("kind", ["gauge", "up_down_counter", "observable_gauge"])
def test_a_gauge_shows_no_exemplar(kind: str) -> None:
    assert {} == shown(snapshot(kind, 1, exemplar(1)))


def test_the_text_format_shows_no_exemplar() -> None:
    for kind, value in (("counter", 1), ("histogram", BUCKETS)):
        assert render(snapshot(kind, value), TEXT) == render(snapshot(kind, value, exemplar(1.0, a="b")), TEXT)


def test_only_series_that_have_exemplars_show_them_in_a_family_of_many() -> None:
    points = [Point((("x", number),), 1, START, NOW, (exemplar(number),) if number == 9 else ()) for number in range(20)]
    given = Snapshot({}, NOW, (Metric("m", "counter", "", "", None, tuple(points)),))
    assert ["9"] == [sample.labels["x"] for sample in samples(given) if sample.exemplar]


def test_a_renderer_that_remembers_the_series_shows_what_exemplars_it_has_now() -> None:
    renderer = Renderer()
    plain, with_one = snapshot("counter", 1, a="b"), snapshot("counter", 1, exemplar(1), a="b")
    expected = [render(plain, OPENMETRICS), render(with_one, OPENMETRICS), render(plain, OPENMETRICS)]
    assert expected == [renderer.render(one, OPENMETRICS) for one in (plain, with_one, plain)]


def test_series_that_look_alike_show_one_exemplar_of_all_of_them() -> None:
    points = (
        Point((("x", 1),), 1, START, NOW, (exemplar(1, NOW),)),
        Point((("x", "1"),), 2, START, NOW, (exemplar(2, NOW - 1),)),
    )
    given = Snapshot({}, NOW, (Metric("m", "counter", "", "", None, points),))
    assert {"m_total": (IDS, 1.0, NOW)} == shown(given)


def test_without_a_span_there_are_no_ids() -> None:
    assert {"m_total": ({}, 1.0, NOW)} == shown(snapshot("counter", 1, exemplar(1, NOW, (0, 0))))
    assert {"m_total": ({"user": "ann"}, 1.0, NOW)} == shown(snapshot("counter", 1, exemplar(1, NOW, (0, 0), user="ann")))


def test_a_trace_whose_span_is_not_known_is_shown() -> None:
    assert {"m_total": ({"trace_id": IDS["trace_id"]}, 1.0, NOW)} == shown(snapshot("counter", 1, exemplar(1, NOW, (TRACE, 0))))


def test_attributes_that_the_series_lacks_are_labels_of_the_exemplar_named_as_the_labels_of_series_are() -> None:
    given = snapshot("counter", 1, exemplar(1, **{"user.id": 5, "le": True, "1st": "", "a b": "x", "a-b": "y"}))
    expected = {**IDS, "user_id": "5", "exported_le": "true", "a_b": "x;y"}
    assert {"m_total": (expected, 1.0, NOW)} == shown(given)


def test_the_ids_are_those_of_the_span_whatever_attributes_are_called() -> None:
    forged = {"trace_id": "f" * 8, "span.id": "f" * 8, "trace-id": "f" * 8, "user": "ann"}
    assert {"m_total": ({**IDS, "user": "ann"}, 1.0, NOW)} == shown(snapshot("counter", 1, exemplar(1, **forged)))


def test_attributes_that_would_make_the_labels_longer_than_128_characters_are_left_out() -> None:
    room = 128 - 63
    fitting = exemplar(1, a="x" * (room - 1), b="")
    assert {**IDS, "a": "x" * (room - 1)} == shown(snapshot("counter", 1, fitting))["m_total"][0]
    one_more = exemplar(1, a="x" * room, b="short")
    assert {**IDS, "b": "short"} == shown(snapshot("counter", 1, one_more))["m_total"][0]


def test_a_double_quote_becomes_a_single_one_since_readers_would_end_the_text_there() -> None:
    given = snapshot("counter", 1, exemplar(1, a='x"} 99 5', b='""'))
    assert {"m_total": ({**IDS, "a": "x'} 99 5", "b": "''"}, 1.0, NOW)} == shown(given)


def test_the_length_is_counted_in_characters_and_without_what_escapes_them() -> None:
    value = "\n\\😀😀" * 16  # 64 characters
    assert {**IDS, "a": value} == shown(snapshot("counter", 1, exemplar(1, a=value)))["m_total"][0]


@pytest.mark.parametrize("value", [2**70, 0.1, 5e-324, 1e300])
def test_values_are_read_back_exactly(value: float) -> None:
    assert {"m_total": (IDS, float(value), NOW)} == shown(snapshot("counter", 1, exemplar(value)))


def test_what_is_not_a_number_is_no_exemplar_and_costs_the_others_nothing() -> None:
    nan = float("nan")
    assert {"m_total": (IDS, 1.0, NOW)} == shown(snapshot("counter", 1, exemplar(1), exemplar(nan)))
    (sample, _) = samples(snapshot("counter", 1, exemplar(1, nan)))
    assert sample.exemplar is not None
    assert sample.exemplar.timestamp is None


NASTY = ['"} 1\nforged_total{x="y"} 2\n# EOF\n', "\r\n# TYPE forged counter\r\nforged_total 1", " # {} 1", "%s%n%(x)s", "\\", '\\"', "\ud800", "\x00\u2028"]  # fmt: skip
hostile = st.text(max_size=8) | st.sampled_from(NASTY) | st.lists(st.sampled_from([*'\\"\n\r{}=,# %\x00ab'])).map("".join)


@pytest.mark.parametrize(("kind", "value"), [("counter", 3), ("histogram", BUCKETS)])
@given(given=st.dictionaries(hostile, hostile, max_size=3), series=st.dictionaries(hostile, hostile, max_size=2))
@example(given={"x": NASTY[0]}, series={"x": NASTY[1]})
def test_whatever_text_attributes_have_the_samples_are_the_same_and_the_labels_read_back(
    kind: str, value: Any, given: dict[str, str], series: dict[str, str]
) -> None:
    read = samples(snapshot(kind, value, exemplar(2.0, **given), **series))
    (found,) = [sample.exemplar for sample in read if sample.exemplar]
    assert samples(snapshot(kind, value, **series)) == [sample._replace(exemplar=None) for sample in read]
    expected: dict[str, list[str]] = {}
    for key, text in sorted(given.items()):
        expected.setdefault(label_name(key), []).append(label_text(text).replace('"', "'"))
    full = {**{name: ";".join(texts) for name, texts in expected.items() if ";".join(texts)}, **IDS}
    assert found.labels.items() <= full.items()
    size = sum([len(name) + len(text) for name, text in full.items()])
    assert found.labels == full or size > 128


def test_exemplars_of_an_sdk_are_shown_where_they_were_recorded() -> None:
    clock = ManualClock()
    sdk = MetricsSDK(Config(background=False, clock=clock, exemplar_filter="always_on"))
    sdk.counter("orders").add(3)
    sdk.histogram("latency", boundaries=(1.0, 4.0)).record(2.5)
    now = clock.time()
    found = shown(Snapshot({}, now, tuple([metric for metric in sdk.snapshot().metrics if "metrics_sdk" not in metric.name])))
    assert {"orders_total": ({}, 3.0, now), "4.0": ({}, 2.5, now)} == found
    sdk.shutdown()


def test_a_histogram_that_has_a_number_for_buckets_is_left_out_with_its_exemplars() -> None:
    assert [] == samples(snapshot("histogram", 5, exemplar(1)))
