"""Base-2 exponential buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sdk.core.buckets import MAX_SCALE, SMALLEST_NORMAL, index, upper_bound

VALUES = [1, 2, 0.5, 1.5, 3, 2**-1022]
normal = st.floats(min_value=SMALLEST_NORMAL, max_value=1.7e308)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0, [-1, 0, -2, 0, 1, -1023]),
        (3, [-1, 7, -9, 4, 12, -8177]),
        (8, [-1, 255, -257, 149, 405, -261633]),
        (20, [-1, 1048575, -1048577, 613377, 1661953, -1071644673]),
    ],
)
def test_indices_are_those_of_the_specification(scale: int, expected: list[int]) -> None:
    assert expected == [index(float(value)) >> (MAX_SCALE - scale) for value in VALUES]


@given(st.integers(-1021, 1023))
def test_a_power_of_two_is_the_inclusive_upper_bound_of_its_bucket(exponent: int) -> None:
    power = 2.0**exponent
    assert (exponent << MAX_SCALE) - 1 == index(power)
    assert exponent << MAX_SCALE <= index(math.nextafter(power, math.inf))
    if power > SMALLEST_NORMAL:
        assert (exponent << MAX_SCALE) - 1 >= index(math.nextafter(power, 0))


@given(normal, normal)
def test_a_larger_value_is_never_in_a_lower_bucket(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert index(low) <= index(high)


@given(normal, st.integers(-10, 10))
def test_a_value_lies_between_the_bounds_of_its_bucket(value: float, scale: int) -> None:
    i = index(value) >> (MAX_SCALE - scale)
    assert upper_bound(i - 1, scale) <= value * (1 + 1e-9)
    assert upper_bound(i, scale) >= value * (1 - 1e-9)
