"""A histogram as samples: what a server adds up is what the histogram has."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metrics_sdk_statsd.numerals import Unfit
from metrics_sdk_statsd.spread import Sample, spread

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets

NUMBERS = st.floats(-1e6, 1e6) | st.floats(0.001, 10) | st.sampled_from([0.0, 1.0, -1.0, 2.5])
BOUNDARIES = st.lists(st.floats(-1000, 1000) | st.sampled_from([0.0, 1.0]), max_size=12, unique=True).map(sorted)
VALUES = st.lists(st.tuples(NUMBERS, st.integers(1, 300)), min_size=1, max_size=60)


def explicit(values: list[float], boundaries: list[float]) -> ExplicitBuckets:
    counts = [0] * (len(boundaries) + 1)
    for value in values:
        counts[bisect_left(boundaries, value)] += 1
    return ExplicitBuckets(len(values), math.fsum(values), min(values), max(values), tuple(boundaries), tuple(counts))


def bucket_of(value: float, scale: int) -> int:
    """The `i` with `base**i < value <= base**(i + 1)`, looked for by trying."""
    i = math.floor(math.log2(value) * 2.0**scale)
    while 2.0 ** ((i + 1) * 2.0**-scale) < value:
        i += 1
    while 2.0 ** (i * 2.0**-scale) >= value:
        i -= 1
    return i


def exponential(values: list[float], scale: int) -> ExponentialBuckets:
    positive = Counter([bucket_of(value, scale) for value in values if value > 0])
    negative = Counter([bucket_of(-value, scale) for value in values if value < 0])
    return ExponentialBuckets(
        len(values),
        math.fsum(values),
        min(values),
        max(values),
        scale,
        values.count(0.0),
        tuple(sorted(positive.items())),
        tuple(sorted(negative.items())),
    )


def edges(value: float, buckets: ExplicitBuckets | ExponentialBuckets) -> tuple[float, float]:
    """The edges of the bucket that a value is in."""
    if isinstance(buckets, ExplicitBuckets):
        all_edges = (-math.inf, *buckets.boundaries, math.inf)
        index = bisect_left(buckets.boundaries, value)
        return all_edges[index], all_edges[index + 1]
    if value == 0:
        return 0.0, 0.0
    i = bucket_of(abs(value), buckets.scale)
    low, high = 2.0 ** (i * 2.0**-buckets.scale), 2.0 ** ((i + 1) * 2.0**-buckets.scale)
    return (low, high) if value > 0 else (-high, -low)


def check(values: list[float], buckets: ExplicitBuckets | ExponentialBuckets, limit: int, weighed: bool) -> list[Sample]:
    made = spread(buckets, limit, weighed)
    ordered = sorted(values)
    rounding = 1e-9 * math.fsum([abs(value) for value in values])
    if buckets.min is None and isinstance(buckets, ExplicitBuckets):  # places are known as well as edges are
        rounding += 1e-14 * len(values) * max([abs(one) for one in (0.0, *buckets.boundaries)])
    assert len(values) == sum([weight for _, weight in made])
    assert len(made) <= limit
    assert sum(values) == pytest.approx(math.fsum([value * weight for value, weight in made]), rel=1e-9, abs=rounding + 1e-300)
    reached = 0
    for value, same in groupby(made, key=lambda sample: sample.value):  # a weight that no rate can say is two samples
        weight = sum([sample.weight for sample in same])
        # A sample lies between the edges of the buckets of those it stands for.
        low, high = edges(ordered[reached], buckets)[0], edges(ordered[reached + weight - 1], buckets)[1]
        slack = 1e-300 + 1e-12 * max(
            [abs(one) for one in (value, low, high) if math.isfinite(one)]
        )  # subnormals are not told apart
        assert low - slack <= value <= high + slack
        reached += weight
    return made


@given(VALUES, BOUNDARIES, st.sampled_from([8, 20, 256]), st.booleans())
@example([(1.0, 2), (-1.6866124309924714e-214, 2)], [-2.225073858507203e-309], 8, False)
def test_explicit_buckets_keep_count_sum_min_and_max_and_stay_in_their_buckets(
    groups: list[tuple[float, int]], boundaries: list[float], limit: int, weighed: bool
) -> None:
    values = [value for value, times in groups for _ in range(times)]
    made = check(values, explicit(values, boundaries), limit, weighed)
    assert min(values) == made[0].value == min([value for value, _ in made])
    assert max(values) == made[-1].value == max([value for value, _ in made])


@given(VALUES, st.integers(-3, 6), st.sampled_from([8, 20, 256]), st.booleans())
def test_exponential_buckets_keep_count_sum_min_and_max_and_stay_in_their_buckets(
    groups: list[tuple[float, int]], scale: int, limit: int, weighed: bool
) -> None:
    values = [value for value, times in groups for _ in range(times)]
    values = [0.0 if abs(value) < 1e-100 else value for value in values]
    made = check(values, exponential(values, scale), limit, weighed)
    assert min(values) == made[0].value == min([value for value, _ in made])
    assert max(values) == made[-1].value == max([value for value, _ in made])


@given(VALUES, BOUNDARIES, st.booleans())
def test_without_extremes_count_and_sum_come_out_all_the_same(
    groups: list[tuple[float, int]], boundaries: list[float], weighed: bool
) -> None:
    values = [value for value, times in groups for _ in range(times)]
    check(values, explicit(values, boundaries)._replace(min=None, max=None), 64, weighed)


@given(st.lists(NUMBERS, min_size=1, max_size=61))
def test_as_many_values_as_there_are_samples_are_each_one_of_them(values: list[float]) -> None:
    assert [1] * len(values) == [weight for _, weight in spread(explicit(values, [0.0]), 64, weighed=True)]


def test_a_server_that_does_not_weigh_gets_samples_of_the_same_weight() -> None:
    values = [1.0] * 9000 + [10.0] * 990 + [100.0] * 10
    made = spread(explicit(values, [1.0, 10.0, 100.0]), 256, weighed=False)
    between = [weight for _, weight in made[1:-1]]
    assert 1 >= len([weight for weight in between if weight not in (38, 39, 40)])  # 9998 / 253, and what is left over
    assert 9000 == pytest.approx(sum([weight for value, weight in made if value <= 1.0]), abs=80)
    median = sorted([value for value, _ in made])[len(made) // 2]
    assert median <= 1.0


def test_a_server_that_weighs_gets_one_sample_for_each_bucket_or_for_neighbours_where_these_are_too_many() -> None:
    values = [float(number % 40) for number in range(4000)]
    made = check(values, explicit(values, [float(number) for number in range(40)]), 128, True)
    assert [float(number) for number in range(40)] == sorted({value for value, _ in made})
    values = [float(number % 300) for number in range(6000)]
    assert 98 < len(check(values, explicit(values, [float(number) for number in range(300)]), 128, True)) <= 128


def test_there_are_no_more_samples_than_the_limit_although_some_weights_take_two() -> None:
    values = [float(number) for number in range(125) for _ in range(49)]
    made = check(values, explicit(values, [float(number) for number in range(125)]), 128, True)
    assert [48, 1] != [weight for _, weight in made[1:3]]
    assert 8 >= len(check(values, explicit(values, [50.0]), 8, False))


def test_values_are_spread_evenly_over_their_bucket_where_the_sum_allows_it() -> None:
    values = [number / 50 for number in range(51)]
    made = [value for value, _ in spread(explicit(values, [0.0, 1.0]), 256, weighed=False)]
    assert values == pytest.approx(made, abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sum": math.nan},
        {"sum": math.inf},
        {"count": 3},
        {"bucket_counts": (3, -1)},
        {"min": math.nan},
        {"max": math.inf},
        {"min": 5.0, "max": 1.0},
        {"count": 2**54, "bucket_counts": (0, 2**54)},
    ],
)
def test_what_contradicts_itself_is_unfit(wrong: dict[str, object]) -> None:
    with pytest.raises(Unfit):
        spread(explicit([1.0, 2.0], [0.0])._replace(**wrong), 64, weighed=True)  # type: ignore[arg-type]


def test_no_values_are_no_samples_and_one_value_is_itself() -> None:
    assert [] == spread(ExplicitBuckets(0, 0.0, None, None, (1.0,), (0, 0)), 64, weighed=False)
    assert [Sample(0.3, 1)] == spread(explicit([0.3], [1.0]), 64, weighed=False)


def test_a_sum_that_contradicts_the_buckets_leaves_the_values_in_them() -> None:
    made = spread(explicit([1.0, 1.5, 2.0], [3.0])._replace(sum=1000.0), 64, weighed=False)
    assert [1.0, 2.0, 2.0] == [value for value, _ in made]


def test_rounding_leads_no_value_out_of_the_extremes() -> None:
    values = [0.9] * 7 + [0.98] * 9
    for total in (0.0, 100.0):  # as low, and as high, as can be
        made = [value for value, _ in spread(explicit(values, [0.5, 0.9])._replace(sum=total), 8, weighed=False)]
        assert (0.9, 0.98) == (min(made), max(made))


def test_buckets_beyond_the_range_of_doubles_have_the_extremes_for_edges() -> None:
    made = spread(ExponentialBuckets(3, 1.5e308, 1e307, 1e308, 0, 0, ((1019, 1), (1023, 2)), ()), 64, weighed=True)
    assert (1e307, 1e308) == (made[0].value, made[-1].value)
