"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_prometheus.numerals import bound, number
from prometheus_client.utils import floatToGoString


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("1e+300", 1e300),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
        ("NaN", math.nan),
        ("1.0", True),
        ("+Inf", 10**400),
        ("-Inf", -(10**400)),
        ("9223372036854775808", 2**63),
    ],
)
def test_values_are_written_so_that_go_reads_them(expected: str, value: float) -> None:
    assert expected == number(value)


@given(st.floats(allow_nan=False) | st.integers(-(2**80), 2**80))
def test_a_value_reads_back_as_the_very_same_number(value: float) -> None:
    assert value == (int if isinstance(value, int) else float)(number(value))


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("0.0", 0.0),
        ("1.0", 1),
        ("1e-05", 1e-05),
        ("100000.0", 1e5),
        ("1e+06", 1e6),
        ("1.048576e+06", 2.0**20),
        ("1e+16", 1e16),
        ("-1e+06", -1e6),
        ("-2.5", -2.5),
    ],
)
def test_bounds_have_the_canonical_form_of_openmetrics(expected: str, value: float) -> None:
    assert expected == bound(value)


@given(st.floats(min_value=0, allow_infinity=False))
def test_a_bound_is_written_as_the_reference_implementation_writes_it(value: float) -> None:
    assert floatToGoString(value) == bound(value)
