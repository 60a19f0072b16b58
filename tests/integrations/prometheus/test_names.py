"""Names of families and labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_prometheus.labels import label_name, label_text, labels_of
from metrics_sdk_prometheus.names import family_name, unit_words


@pytest.mark.parametrize(
    ("expected", "unit"),
    [
        ("seconds", "s"),
        ("milliseconds", "ms"),
        ("bytes", "By"),
        ("kibibytes", "KiBy"),
        ("bytes_per_second", "By/s"),
        ("per_second", "{request}/s"),
        ("per_second", "1/s"),
        ("", "{request}"),
        ("", "1"),
        ("", ""),
        ("percent", "%"),
        ("seconds", "seconds"),
        ("furlong", "furlong"),
        ("furlong_per_fortnight", "furlong/fortnight"),
        ("", "\n\"€"),
        ("bytes", "By/€"),
    ],
)  # fmt: skip
def test_units_are_words(expected: str, unit: str) -> None:
    assert expected == unit_words(unit)


@pytest.mark.parametrize(
    ("expected", "name", "unit", "is_counter"),
    [
        ("http_server_duration_seconds", "http.server.duration", "s", False),
        ("http_server_duration_seconds", "http.server.duration_seconds", "s", False),
        ("requests", "requests", "1", True),
        ("requests", "requests_total", "", True),
        ("io_bytes", "io_total", "By", True),
        ("io_bytes", "io_bytes_total", "By", True),
        ("io_bytes", "io.bytes", "By", True),
        ("seconds", "seconds", "s", False),
        ("used_ratio", "used_ratio", "1", False),
        ("used", "used", "1", False),
        ("a_b", "a.-/__b", "", False),
        ("a_seconds", "a_", "s", False),
        ("_2xx", "2xx", "", False),
        ("a:b", "a:b", "", False),
        ("requests_total", "requests.total", "", False),
        ("grand", "grand", "total", True),
        ("unnamed", "日本", "", False),
        ("unnamed", "", "", True),
        ("unnamed", "_total", "", True),
    ],
)
def test_families_are_named_as_opentelemetry_wants_it(expected: str, name: str, unit: str, is_counter: bool) -> None:
    assert expected == family_name(name, unit_words(unit), is_counter)


@given(st.text(), st.text(), st.booleans())
def test_a_family_name_is_valid_and_stays_the_same_when_sanitised_again(name: str, unit: str, is_counter: bool) -> None:
    words = unit_words(unit)
    made = family_name(name, words, is_counter)
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", made)
    assert "__" not in made
    assert not (is_counter and made.endswith("_total"))
    assert made == family_name(made, words, is_counter)


@pytest.mark.parametrize(
    ("expected", "key"),
    [
        ("http_method", "http.method"),
        ("exported_le", "le"),
        ("exported_quantile", "quantile"),
        ("_name_", "__name__"),
        ("_1st", "1st"),
        ("a_b", "a:b"),
        ("_", ""),
        ("_", "日本"),
    ],
)
def test_labels_have_names_of_the_legacy_character_set_and_none_that_is_reserved(expected: str, key: str) -> None:
    assert expected == label_name(key)


@given(st.text())
def test_a_label_name_is_valid_and_not_reserved(key: str) -> None:
    made = label_name(key)
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", made)
    assert not made.startswith("__")
    assert made not in ("le", "quantile")


def test_attributes_whose_keys_become_one_label_are_joined_in_the_order_of_the_keys() -> None:
    assert '{a_b="first;2;true",z="x"}' == labels_of((("a_b", True), ("a-b", "first"), ("a.b", 2), ("z", "x"))).whole


def test_an_empty_value_is_left_out_as_prometheus_sees_no_difference() -> None:
    assert "" == labels_of((("a", ""),)).whole
    assert '{b="x"}' == labels_of((("a", ""), ("b", "x"))).whole


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("true", True),
        ("1", 1),
        ("1.0", 1.0),
        ('["a", 1, [true]]', ("a", 1, (True,))),
        ("?x", "\ud800x"),
        ('["?"]', ("\udfff",)),
        ("<unprintable>", Unprintable()),
        ("<unprintable>", (Unprintable(),)),
    ],
)
def test_every_attribute_value_has_a_text(expected: str, value: object) -> None:
    assert expected == label_text(value)
