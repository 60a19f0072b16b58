"""Numbers: what a receiver reads is what was meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_statsd.numerals import Unfit, number, rate, writable


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_in_digits_and_reads_back_as_itself(value: float) -> None:
    text = number(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?", text)
    assert value == float(text)


@given(st.integers(-(10**300), 10**300))
def test_every_whole_number_is_written_exactly(value: int) -> None:
    assert value == int(number(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400, "3", b"3", None, 1j])
def test_what_is_no_finite_number_is_unfit(value: object) -> None:
    with pytest.raises(Unfit):
        number(value)  # type: ignore[arg-type]


def test_zero_has_no_sign_whatever_it_is() -> None:
    assert ["0", "0", "0"] == [number(value) for value in (0, 0.0, -0.0)]


@given(st.integers(1, 2**53) | st.integers(1, 5000))
def test_a_writable_weight_comes_out_of_its_rate_exactly_whether_added_up_or_cut_off(weight: int) -> None:
    made = writable(weight)
    text = rate(made)
    assert re.fullmatch(r"1|0\.\d+", text)  # no exponent: the reference server reads "1e-05" as 1
    assert made == 1.0 / float(text)
    assert made == int(1 / float(text))


@given(st.integers(1, 2**53))
def test_a_writable_weight_is_hardly_less_than_the_one_that_was_wanted(weight: int) -> None:
    assert 0 <= weight - writable(weight) <= 48  # which are all writable: two samples are enough for any weight


def test_the_first_weight_that_no_rate_can_say_is_49() -> None:
    assert list(range(1, 49)) == [writable(weight) for weight in range(1, 49)]
    assert 48 == writable(49)
