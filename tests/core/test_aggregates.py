"""Aggregates: merge laws, exactness, percentiles."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sdk.core.aggregates import FLOAT_MAX, INT64_MAX, LastValue, Sum
from metrics_sdk.core.aggregation import new_aggregate, new_recorder
from metrics_sdk.core.buckets import MAX_SCALE, upper_bound
from metrics_sdk.core.exponential import ExponentialHistogram

BOUNDS = (-1.0, 0.0, 0.5, 10.0, 1e6)
KINDS = {
    "sum": ("sum", None),
    "last_value": ("last_value", None),
    "explicit": ("histogram", BOUNDS),
    "exponential": ("histogram", None),
}
numbers = st.floats(min_value=-1e300, max_value=1e300, allow_subnormal=True) | st.integers(-(2**40), 2**40).map(float)


def filled(kind: str, values: list[float], in_bulk: bool = False) -> Any:
    aggregation, boundaries = KINDS[kind]
    made = new_aggregate(aggregation, boundaries, 16)
    if in_bulk and values:
        made.fold(list(values))
        return made
    recorder = new_recorder(made)
    record(recorder, values)
    return recorder.copy()


def record(recorder: Any, values: list[float]) -> None:
    for value in values:
        if not recorder.add(value):
            recorder.make_room(value)
            assert recorder.add(value)


def shown(aggregate: Any, scale: int | None = None) -> dict[str, Any]:
    """Everything that must be exact, at a given scale; the sum apart, since adding floats is not associative."""
    facts: dict[str, Any] = {"count": aggregate.count}
    for name in ("min", "max", "zeros"):
        facts[name] = getattr(aggregate, name, None)
    if isinstance(aggregate, ExponentialHistogram):
        by = aggregate.scale() - (aggregate.scale() if scale is None else scale)
        for sign in ("positive", "negative"):
            counts: dict[int, int] = {}
            for i, n in getattr(aggregate, sign).items():
                counts[i >> by] = counts.get(i >> by, 0) + n
            facts[sign] = counts
    elif hasattr(aggregate, "bucket_counts"):
        facts["counts"] = aggregate.bucket_counts()
    return facts


def total(aggregate: Any) -> float:
    return float(aggregate.total() if isinstance(aggregate, Sum) else aggregate.sum)


def assert_same(a: Any, b: Any, magnitude: float) -> None:
    scale = min(a.scale(), b.scale()) if isinstance(a, ExponentialHistogram) else None
    assert shown(a, scale) == shown(b, scale)
    assert math.isclose(total(a), total(b), rel_tol=1e-9, abs_tol=1e-9 * magnitude)


@pytest.mark.parametrize("kind", KINDS)
@given(a=st.lists(numbers), b=st.lists(numbers))
def test_merging_is_recording_everything_once(kind: str, a: list[float], b: list[float]) -> None:
    merged = filled(kind, a)
    merged.merge(filled(kind, b))
    assert_same(filled(kind, a + b), merged, sum(map(abs, a + b)))


@pytest.mark.parametrize("kind", KINDS)
@given(a=st.lists(numbers), b=st.lists(numbers), c=st.lists(numbers))
def test_merging_is_commutative_and_associative(kind: str, a: list[float], b: list[float], c: list[float]) -> None:
    left = filled(kind, a)
    left.merge(filled(kind, b))
    left.merge(filled(kind, c))
    right = filled(kind, c)
    right.merge(filled(kind, b))
    other = filled(kind, a)
    other.merge(right)
    assert_same(left, other, sum(map(abs, a + b + c)))


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(numbers, min_size=1))
def test_folding_in_bulk_is_adding_one_by_one(kind: str, values: list[float]) -> None:
    assert_same(filled(kind, values), filled(kind, values, in_bulk=True), sum(map(abs, values)))


@given(st.integers(-870, 870), st.integers(0, 8))
def test_values_next_to_the_bounds_of_buckets_are_folded_into_the_buckets_they_would_be_added_to(
    first: int, scale: int
) -> None:
    bounds = [upper_bound(first + i, scale) for i in range(150)]
    values = [x for bound in bounds for x in (math.nextafter(bound, 0), bound, math.nextafter(bound, math.inf))]
    one_by_one = new_aggregate("histogram", None, 160)
    for value in values:
        single = new_recorder(new_aggregate("histogram", None, 160))
        record(single, [value])
        one_by_one.merge(single)
    at_once = new_aggregate("histogram", None, 160)
    at_once.fold(values)
    assert_same(one_by_one, at_once, math.fsum(values))


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(numbers), more=st.lists(numbers))
def test_a_cleared_aggregate_counts_like_a_new_one(kind: str, values: list[float], more: list[float]) -> None:
    aggregation, boundaries = KINDS[kind]
    used = new_recorder(new_aggregate(aggregation, boundaries, 16))
    record(used, values)
    used.clear()
    record(used, more)
    assert_same(filled(kind, more), used.copy(), sum(map(abs, more)))


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(numbers), more=st.lists(numbers))
def test_merging_a_recorder_leaves_it_and_what_was_copied_from_it_alone(
    kind: str, values: list[float], more: list[float]
) -> None:
    aggregation, boundaries = KINDS[kind]
    recorder = new_recorder(new_aggregate(aggregation, boundaries, 16))
    record(recorder, values)
    kept = recorder.copy()
    total_of_both = recorder.copy()
    total_of_both.merge(recorder)
    kept_too = kept.copy()
    record(recorder, more)
    kept_too.merge(recorder)
    assert_same(filled(kind, values), kept, sum(map(abs, values)))
    assert_same(filled(kind, values + values), total_of_both, 2 * sum(map(abs, values)))
    assert_same(filled(kind, values + values + more), kept_too, sum(map(abs, values + values + more)))


@given(st.lists(numbers, min_size=33, max_size=80), st.lists(numbers, max_size=40), st.lists(numbers, max_size=40))
def test_a_recorder_counts_many_values_like_few_before_and_after_it_is_cleared(
    many: list[float], more: list[float], others: list[float]
) -> None:
    used = new_recorder(new_aggregate("histogram", None, 16))
    for values in (many, more, many + more, others):
        record(used, values)
        assert_same(filled("exponential", values, in_bulk=True), used.copy(), sum(map(abs, values)))
        used.clear()


@given(st.lists(st.integers(-(2**62), 2**62)))
def test_sums_of_ints_are_exact_up_to_64_bits_and_doubles_beyond(values: list[int]) -> None:
    made = Sum()
    partial, fits = 0, True
    for value in values:
        made.add_int(value)
        partial += value
        fits = fits and -INT64_MAX <= partial <= INT64_MAX
    if fits:
        assert (int, sum(values)) == (type(made.total()), made.total())
    else:
        assert math.isclose(sum(values), made.total(), rel_tol=1e-9, abs_tol=1e6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_sum_that_would_be_infinite_stays_at_the_largest_double(kind: str, in_bulk: bool) -> None:
    assert FLOAT_MAX == total(filled(kind, [1e308, 1e308], in_bulk))
    assert -FLOAT_MAX == total(filled(kind, [-1e308, -1e308], in_bulk))


@given(st.lists(numbers))
def test_an_exponential_histogram_loses_no_value_and_keeps_its_size(values: list[float]) -> None:
    made = filled("exponential", values)
    positive, negative = made.positive.items(), made.negative.items()
    assert len(values) == made.zeros + sum(n for _, n in positive) + sum(n for _, n in negative)
    for items in (positive, negative):
        assert not items or items[-1][0] - items[0][0] < 16


def test_the_scale_is_the_finest_that_fits() -> None:
    made = filled("exponential", [1.0, 1.0 + 2**-10])
    assert made.scale() > 10
    spread = filled("exponential", [1.0, 2.0**15])
    assert spread.scale() == 0


@pytest.mark.parametrize("spread", [10.0, 1e3])
@pytest.mark.parametrize("q", [0, 1, 25, 50, 90, 99, 99.9, 100])
def test_percentiles_over_three_decades_are_off_by_at_most_1_1_percent(spread: float, q: float) -> None:
    source = random.Random(7)
    values = sorted(0.004 * spread ** source.random() for _ in range(20_000))
    made = new_aggregate("histogram", None, 320)
    made.fold(values)
    exact = values[max(1, math.ceil(q / 100 * len(values))) - 1]
    found = made.percentile(q)
    assert found is not None
    assert abs(found - exact) / exact <= 0.011


def test_percentiles_of_negative_values_and_zeros_are_in_order() -> None:
    made = filled("exponential", [-100.0, -1.0, 0.0, 0.0, 1.0, 100.0])
    found = [made.percentile(q) for q in (1, 30, 50, 60, 80, 100)]
    assert found == sorted(found)
    assert (-100.0, 0.0, 100.0) == (found[0], found[2], found[-1])


def test_explicit_percentiles_interpolate_within_their_bucket() -> None:
    made = new_aggregate("histogram", (10.0, 20.0), 16)
    made.fold([float(value) for value in range(1, 31)])
    assert made.percentile(50) == pytest.approx(15, abs=0.6)


def test_without_values_there_is_no_percentile() -> None:
    assert all(filled(kind, []).percentile(50) is None for kind in KINDS)


def test_the_later_of_two_last_values_wins_whichever_way_they_are_merged() -> None:
    for order in (0, 1):
        early, late = LastValue(), LastValue()
        early.add(1.0)
        late.add(2.0)
        early.order, late.order = 1, 2
        into, other = (early, late) if order else (late, early)
        into.merge(other)
        assert into.last == 2.0


@pytest.mark.parametrize("in_bulk", [False, True])
def test_the_last_value_is_the_int_that_was_set_and_a_float_after_one(in_bulk: bool) -> None:
    def last(*values: Any) -> Any:
        made = LastValue()
        for value in values:
            if in_bulk:
                made.fold([value])
            elif type(value) is int:
                made.add_int(value)
            else:
                made.add(value)
        return made.copy().value()  # type: ignore[attr-defined]

    assert (last(2**62 + 1), type(last(5))) == (2**62 + 1, int)
    assert (last(5, 5.0), type(last(5, 5.0))) == (5.0, float)


def test_subnormal_values_are_counted_with_the_smallest_normal() -> None:
    made = filled("exponential", [5e-324])
    assert [(-1071644673 >> (MAX_SCALE - made.scale()), 1)] == made.positive.items()


def test_ranks_are_exact_and_the_ends_are_min_and_max() -> None:
    explicit = new_aggregate("histogram", tuple(float(i) for i in range(1, 101)), 16)
    explicit.fold([float(i) for i in range(1, 101)])
    assert [float(q) for q in range(1, 101)] == [explicit.percentile(q) for q in range(1, 101)]
    spread = filled("exponential", [-500.0, -5.0, 0.0, 0.001, 60.0])
    assert (-500.0, 60.0) == (spread.percentile(0), spread.percentile(100))
    negative = new_aggregate("histogram", None, 2)
    negative.fold([-500.0, -5.0])
    assert -5.0 == negative.percentile(100)
