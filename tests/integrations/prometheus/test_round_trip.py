"""Hostile text, through both of prometheus_client's parsers: what went in is what is read back, and nothing is forged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metrics_sdk_prometheus import OPENMETRICS, TEXT, Format, render
from metrics_sdk_prometheus.labels import label_name, label_text
from prometheus_client.metrics_core import Metric as Parsed
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot

Parser = Callable[[str], Iterable[Parsed]]
both = pytest.mark.parametrize(
    ("format", "parse"), [(TEXT, parse_text), (OPENMETRICS, parse_openmetrics)], ids=["text", "openmetrics"]
)

NASTY = [
    "",
    " ",
    "\\",
    '"',
    "\n",
    "\\n",
    '\\"',
    "\\\\n",
    '"} 1\nforged{x="y"} 2\n# EOF\n',
    "\r\n# TYPE forged counter\r\nforged_total 1",
    "\x00",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\u202eevil\u202c",
    "\ud800",
    "a\udfffb",
    "😀",
    "{}=,#",
    "%s%n%(x)s",
    " # {} 1",
    "\\" * 9 + '"',
]
hostile = st.text(max_size=12) | st.sampled_from(NASTY) | st.lists(st.sampled_from([*'\\"\n\r{}=,# %\x00ab'])).map("".join)
attributes = st.dictionaries(
    hostile, hostile | st.integers() | st.booleans() | st.floats() | st.lists(hostile, max_size=2).map(tuple)
)


def clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def read(parse: Parser, shown: bytes) -> list[Parsed]:
    return list(parse(shown.decode("utf-8")))


def labels(given: dict[str, Any]) -> dict[str, str]:
    made: dict[str, list[str]] = {}
    for key, value in sorted(given.items()):
        made.setdefault(label_name(key), []).append(label_text(value))
    return {name: ";".join(values) for name, values in made.items() if ";".join(values)}


def one(
    kind: str, value: Any, given: dict[str, Any] | None = None, name: str = "m", unit: str = "", text: str = ""
) -> Snapshot:
    point = Point(tuple(sorted((given or {}).items())), value, 1.5, 2.0)
    return Snapshot({}, 2.0, (Metric(name, kind, unit, text, None, (point,)),))


@both
@given(given=attributes)
@example(given={"x": NASTY[8], "y": NASTY[9]})
def test_attribute_values_are_read_back_exactly(format: Format, parse: Parser, given: dict[str, Any]) -> None:
    (family,) = read(parse, render(one("gauge", 1, given), format))
    assert [("m", labels(given), 1.0)] == [(sample.name, sample.labels, sample.value) for sample in family.samples]


@both
@given(given=attributes)
def test_attribute_values_of_a_histogram_are_read_back_exactly(format: Format, parse: Parser, given: dict[str, Any]) -> None:
    value = ExplicitBuckets(3, 2.5, 0.0, 2.0, (1.0,), (1, 2))
    (family,) = read(parse, render(one("histogram", value, given), format))
    expected = labels(given)
    buckets = [("m_bucket", {**expected, "le": "1.0"}, 1.0), ("m_bucket", {**expected, "le": "+Inf"}, 3.0)]
    numbers = [("m_sum", expected, 2.5), ("m_count", expected, 3.0)]
    created = [("m_created", expected, 1.5)] if format is OPENMETRICS else []
    assert buckets + numbers + created == [(sample.name, sample.labels, sample.value) for sample in family.samples]


@both
@given(text=hostile.filter(lambda text: text.strip()))
def test_help_texts_are_read_back_exactly_but_for_white_space_around_them(format: Format, parse: Parser, text: str) -> None:
    (family,) = read(parse, render(one("gauge", 1, text=text), format))
    assert clean(text).strip() == family.documentation
    assert 1 == len(family.samples)


@both
@given(name=hostile, unit=hostile, kind=st.sampled_from(["counter", "gauge", "histogram"]), given=attributes)
def test_whatever_names_and_units_are_there_is_one_family_of_the_right_type(
    format: Format, parse: Parser, name: str, unit: str, kind: str, given: dict[str, Any]
) -> None:
    value: Any = ExponentialBuckets(1, 2.0, 2.0, 2.0, 0, 0, ((0, 1),), ()) if kind == "histogram" else 1
    (family,) = read(parse, render(one(kind, value, given, name=name, unit=unit, text="help"), format))
    assert (kind, "help") == (family.type, family.documentation)
    assert family.samples


@both
@given(resource=attributes)
def test_resources_are_read_back_exactly_as_one_target_info(format: Format, parse: Parser, resource: dict[str, Any]) -> None:
    families = read(parse, render(Snapshot(resource, 2.0, ()), format))
    samples = [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]
    expected = labels(resource)
    assert ([("target_info", expected, 1.0)] if expected else []) == samples


names = st.sampled_from(["a", "a.b", "a_b", "a_total", "a_count", "a_bucket", "a_created", "b", "a_seconds", "target", "a__b"])
kinds = st.sampled_from(["counter", "gauge", "histogram", "up_down_counter"])
small = st.dictionaries(st.sampled_from(["x", "x.y", "x_y", "le"]), st.sampled_from([1, "1", True, 1.0, ""]))


@both
@given(declared=st.lists(st.tuples(names, kinds, st.sampled_from(["", "s"]), st.lists(small, max_size=4)), max_size=6))
def test_whatever_instruments_collide_both_parsers_accept_the_scrape_and_no_series_comes_twice(
    format: Format, parse: Parser, declared: list[tuple[str, str, str, list[dict[str, Any]]]]
) -> None:
    metrics = []
    for name, kind, unit, series in declared:
        value: Any = ExplicitBuckets(3, 2.5, 0.0, 2.0, (1.0,), (1, 2)) if kind == "histogram" else 1
        points = tuple([Point(tuple(sorted(given.items())), value, 1.5, 2.0) for given in series])
        metrics.append(Metric(name, kind, unit, "", None, points))
    shown = render(Snapshot({"x": 1}, 2.0, tuple(metrics)), format)
    samples = [sample for family in read(parse, shown) for sample in family.samples]
    lines = [line for line in shown.decode().splitlines() if not line.startswith("#")]
    assert len(lines) == len(samples) == len({(sample.name, *sorted(sample.labels.items())) for sample in samples})


@both
@pytest.mark.parametrize("value", [0, 1, -1, 0.1, 1e300, 5e-324, float("inf"), float("-inf"), 2**63, 2**70, -(2**63)])
def test_values_are_read_back_exactly(format: Format, parse: Parser, value: float) -> None:
    (family,) = read(parse, render(one("gauge", value), format))
    assert value == family.samples[0].value
