"""Buckets as Prometheus has them: cumulative counts at fixed upper bounds.

An exponential histogram has no text form, so it is shown at powers of two. They are chosen by the unit alone: the bounds of
an instrument must never change, or `rate()` and `histogram_quantile()` would compare what cannot be compared. For the same
reason the table below is part of the public contract: an entry can be added, but none be changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets

#: Exponents of two by the unit in words; between 21 and 26 of them.
_EXPONENTS = {
    "seconds": range(-14, 11),  # 61 µs to 17 min
    "milliseconds": range(-4, 21),  # the same
    "microseconds": range(25),  # 1 µs to 17 s
    "nanoseconds": range(0, 41, 2),  # 1 ns to 18 min
    "bytes": range(0, 41, 2),  # 1 B to 1 TiB
    "kilobytes": range(-10, 31, 2),
    "kibibytes": range(-10, 31, 2),
    "megabytes": range(-20, 21, 2),
    "mebibytes": range(-20, 21, 2),
}
_OTHERWISE = range(-10, 41, 2)  # 0.001 to 10**12


def exponents_for(words: str) -> range:
    """Return the exponents of the powers of two at which an exponential histogram is shown, by its unit in words."""
    return _EXPONENTS.get(words, _OTHERWISE)


def powers_of_two(exponents: range) -> tuple[float, ...]:
    """Return the upper bounds for `exponents`."""
    return tuple([math.ldexp(1.0, exponent) for exponent in exponents])


def at_powers_of_two(value: ExponentialBuckets, exponents: range) -> list[int]:
    """Return how many values are at most 2**k, for each `k` of `exponents`, and how many there are at all.

    Exact at scale 0 and finer, where every power of two is the edge of a bucket. A bucket of a negative scale (values that
    spread over more powers of two than the histogram has buckets) may reach over several; it is then counted from its lower
    edge on. That overstates the lower counts, but no count ever falls when the scale does: merged buckets have the lower of
    their lower edges. A count that fell would look like a restart to `rate()`.
    """
    counts = [0] * (len(exponents) + 1)
    counts[0] = value.zero_count + sum([count for _, count in value.negative])
    first, step, past = exponents.start, exponents.step, len(exponents)
    scale = value.scale
    for bucket, count in value.positive:
        # The smallest power of two above the bucket's lower edge, 2 ** (bucket / 2**scale).
        exponent = (bucket >> scale if scale >= 0 else bucket << -scale) + 1
        slot = -((first - exponent) // step)
        counts[0 if slot < 0 else past if slot > past else slot] += count
    return list(accumulate(counts))


def coarser(*parts: tuple[Sequence[tuple[int, int]], int]) -> tuple[tuple[int, int], ...]:
    """Return the counts of all `parts` together, ascending by bucket; each part is buckets, and by how much its scale falls.

    A scale lower by one has buckets twice as wide: two neighbours become one, whose number is half of theirs, rounded down.
    """
    counts: dict[int, int] = {}
    for buckets, by in parts:
        for bucket, count in buckets:
            counts[bucket >> by] = counts.get(bucket >> by, 0) + count
    return tuple(sorted(counts.items()))


def at_boundaries(value: ExplicitBuckets) -> list[int]:
    """Return how many values are at most each finite boundary, and how many there are at all."""
    made = list(accumulate(value.bucket_counts))
    if value.boundaries and value.boundaries[-1] == math.inf:
        del made[-2]
    return made


def cumulative(value: ExplicitBuckets | ExponentialBuckets, exponents: range) -> list[int]:
    """Return how many values are at most each upper bound that there is, and how many there are at all.

    Raises ValueError for counts that cannot be.
    """
    if isinstance(value, ExplicitBuckets):
        counts = at_boundaries(value)
        is_odd = len(counts) != len(finite(value.boundaries)) + 1 or min(value.bucket_counts) < 0
    else:
        counts = at_powers_of_two(value, exponents)
        is_odd = min([count for _, count in (*value.positive, *value.negative)], default=0) < 0 or value.zero_count < 0
    if is_odd:
        raise ValueError("a count below zero, or none where there is a boundary")
    return counts


def finite(boundaries: Sequence[float]) -> Sequence[float]:
    """Return `boundaries` without a last one at infinity: every histogram has that bucket anyway."""
    return boundaries[:-1] if boundaries and boundaries[-1] == math.inf else boundaries


def may_hold_negatives(value: ExplicitBuckets | ExponentialBuckets) -> bool:
    """Tell whether the sum may fall, and therefore must not be shown as one that only grows (OpenMetrics, "Histogram").

    A sum that is not known, NaN, must not be shown either.
    """
    if not value.sum >= 0 or (value.min is not None and value.min < 0):
        return True
    if isinstance(value, ExponentialBuckets):
        return bool(value.negative)
    return bool(value.boundaries) and value.boundaries[0] < 0
