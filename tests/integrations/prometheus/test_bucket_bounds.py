"""Cumulative buckets."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_prometheus.buckets import at_boundaries, at_powers_of_two, exponents_for, may_hold_negatives, powers_of_two

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets


def exponential(scale: int, values: list[float]) -> ExponentialBuckets:
    """Record `values` at `scale`, by the definition of the buckets: base**i < value <= base**(i + 1)."""
    counts: dict[bool, dict[int, int]] = {True: {}, False: {}}
    for value in values:
        if value:
            mantissa, exponent = math.frexp(abs(value))
            exact = exponent - 1 if mantissa == 0.5 else None
            if exact is not None:
                bucket = (exact << scale if scale >= 0 else -(-exact >> -scale)) - 1
            else:
                bucket = math.floor(math.ldexp(math.log2(abs(value)), scale))
            side = counts[value > 0]
            side[bucket] = side.get(bucket, 0) + 1
    positive, negative = (tuple(sorted(counts[sign].items())) for sign in (True, False))
    low, high = min(values, default=None), max(values, default=None)
    return ExponentialBuckets(len(values), math.fsum(values), low, high, scale, values.count(0.0), positive, negative)


# Powers of two are the edges, where being wrong by one bucket would show.
values = st.lists(
    st.floats(min_value=1e-6, max_value=1e13) | st.integers(-25, 45).map(lambda e: 2.0**e) | st.just(0.0), max_size=30
)
ranges = st.sampled_from(["seconds", "bytes", "", "nanoseconds"]).map(exponents_for)


@given(values, ranges, st.integers(0, 8))
def test_at_scale_zero_and_finer_the_counts_at_powers_of_two_are_exact(
    recorded: list[float], exponents: range, scale: int
) -> None:
    expected = [sum([value <= limit for value in recorded]) for limit in powers_of_two(exponents)]
    assert [*expected, len(recorded)] == at_powers_of_two(exponential(scale, recorded), exponents)


@given(values, values, ranges, st.integers(-6, 3), st.integers(0, 6))
def test_no_count_falls_when_values_come_and_the_scale_goes_down(
    recorded: list[float], later: list[float], exponents: range, scale: int, by: int
) -> None:
    before = at_powers_of_two(exponential(scale, recorded), exponents)
    after = at_powers_of_two(exponential(scale - by, recorded + later), exponents)
    assert all([a <= b for a, b in zip(before, after)])


@given(values, ranges, st.integers(-10, 20))
def test_counts_ascend_to_the_number_of_values(recorded: list[float], exponents: range, scale: int) -> None:
    counts = at_powers_of_two(exponential(scale, recorded), exponents)
    assert len(recorded) == counts[-1]
    assert all([low <= high for low, high in pairwise(counts)])


@given(values, st.integers(0, 8))
def test_negative_values_are_below_every_bound(recorded: list[float], scale: int) -> None:
    negated = [-value for value in recorded]
    assert [len(recorded)] * 22 == at_powers_of_two(exponential(scale, negated), exponents_for("bytes"))


@pytest.mark.parametrize(
    "words", ["seconds", "milliseconds", "microseconds", "nanoseconds", "bytes", "kibibytes", "", "meters"]
)
def test_an_instrument_has_some_25_bounds(words: str) -> None:
    assert 21 <= len(exponents_for(words)) <= 26


def test_bounds_are_a_contract() -> None:
    """A change of these would break every rate() and histogram_quantile() over the time of the upgrade."""
    assert range(-14, 11) == exponents_for("seconds")
    assert range(-4, 21) == exponents_for("milliseconds")
    assert range(25) == exponents_for("microseconds")
    assert range(0, 41, 2) == exponents_for("nanoseconds")
    assert range(0, 41, 2) == exponents_for("bytes")
    assert range(-10, 31, 2) == exponents_for("kilobytes") == exponents_for("kibibytes")
    assert range(-20, 21, 2) == exponents_for("megabytes") == exponents_for("mebibytes")
    assert range(-10, 41, 2) == exponents_for("anything else")


def test_explicit_buckets_are_added_up_and_a_bound_at_infinity_is_not_doubled() -> None:
    assert [1, 3, 6] == at_boundaries(ExplicitBuckets(6, 1.0, 0.0, 1.0, (1.0, 2.0), (1, 2, 3)))
    assert [1, 6] == at_boundaries(ExplicitBuckets(6, 1.0, 0.0, 1.0, (1.0, math.inf), (1, 2, 3)))


@pytest.mark.parametrize(
    ("expected", "buckets"),
    [
        (False, ExplicitBuckets(1, 1.0, 1.0, 1.0, (0.0, 2.0), (0, 1, 0))),
        (False, ExplicitBuckets(0, 0.0, None, None, (), (0,))),
        (True, ExplicitBuckets(0, 0.0, None, None, (-1.0, 2.0), (0, 0, 0))),
        (True, ExplicitBuckets(2, 1.0, -1.0, 2.0, (0.0, 2.0), (1, 1, 0))),
        (False, ExponentialBuckets(1, 2.0, 2.0, 2.0, 0, 0, ((0, 1),), ())),
        (True, ExponentialBuckets(2, 0.0, None, None, 0, 0, ((0, 1),), ((0, 1),))),
    ],
)
def test_a_histogram_may_hold_negatives_if_its_bounds_or_its_values_say_so(
    expected: bool, buckets: ExplicitBuckets | ExponentialBuckets
) -> None:
    assert expected == may_hold_negatives(buckets)
