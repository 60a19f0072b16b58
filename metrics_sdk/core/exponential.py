"""The histogram with base-2 exponential buckets, in the form that totals and windows are made of: the used buckets alone.

The scale is `MAX_SCALE - shift`. It falls when the values spread further than `max_buckets` of either sign reach; zeros are
counted apart. What values are added to one by one is in `exponential_recorder`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import FLOAT_MAX, Aggregate, float_sum, rank_of, saturated
from metrics_sdk.core.buckets import (
    MAX_SCALE,
    MIN_SCALE,
    NO_BUCKETS,
    SMALLEST_NORMAL,
    Buckets,
    buckets_of,
    index,
    upper_bound,
)
from metrics_sdk.core.build import COMPILED

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int

MAX_SHIFT: Final = MAX_SCALE - MIN_SCALE


@mypyc_attr(acyclic=True)
class Exponential(Aggregate):
    """What both forms have in common."""

    def __init__(self, max_buckets: i64) -> None:
        super().__init__()
        self.max_buckets: Final[i64] = max_buckets
        self.shift: i64 = 0
        self.zeros: i64 = 0
        self.sum: float = 0.0
        self.min: float = math.inf
        self.max: float = -math.inf

    def fresh(self) -> Aggregate:
        """Return an empty histogram with the same number of buckets."""
        return ExponentialHistogram(self.max_buckets)

    def scale(self) -> int:
        """Return the scale: 2 ** scale buckets to each doubling of the value."""
        return int(MAX_SCALE - self.shift)

    def copy_facts(self, source: Exponential) -> None:
        """Take over all that is not in buckets."""
        self.count = source.count
        self.shift = source.shift
        self.zeros = source.zeros
        self.sum = source.sum
        self.min = source.min
        self.max = source.max

    def add_facts(self, given: Exponential) -> None:
        """Add all that is neither in buckets nor about them."""
        self.zeros += given.zeros
        self.sum = saturated(self.sum + given.sum)
        if given.min < self.min:
            self.min = given.min
        if given.max > self.max:
            self.max = given.max
        self.count += given.count


@final
@mypyc_attr(acyclic=True)
class ExponentialHistogram(Exponential):
    """Counts by bucket of either sign; zeros; sum, min, max."""

    def __init__(self, max_buckets: i64) -> None:
        super().__init__(max_buckets)
        self.positive: Buckets = NO_BUCKETS
        self.negative: Buckets = NO_BUCKETS

    def merge(self, other: Aggregate) -> None:
        """Add another histogram: at the lower scale of the two, or lower still until the union fits."""
        given = other.kept()
        assert isinstance(given, ExponentialHistogram)
        if given.count == 0:
            return
        shift = max(self.shift, given.shift)
        shift = self._fitting(shift, self.positive, given.positive, given.shift)
        shift = self._fitting(shift, self.negative, given.negative, given.shift)
        self.positive = self.positive.coarsened(shift - self.shift).plus(given.positive.coarsened(shift - given.shift))
        self.negative = self.negative.coarsened(shift - self.shift).plus(given.negative.coarsened(shift - given.shift))
        self.shift = shift
        self.add_facts(given)

    def _fitting(self, shift: i64, ours: Buckets, theirs: Buckets, their_shift: i64) -> i64:
        """Return the shift, `shift` or more, at which the union of both has no more than `max_buckets`."""
        n: i64 = len(ours.indices)
        m: i64 = len(theirs.indices)
        if m == 0:
            return shift
        low = i64(theirs.indices[0]) >> (shift - their_shift)
        high = i64(theirs.indices[m - 1]) >> (shift - their_shift)
        if n:
            low = min(low, i64(ours.indices[0]) >> (shift - self.shift))
            high = max(high, i64(ours.indices[n - 1]) >> (shift - self.shift))
        return shift + halvings(low, high, self.max_buckets, shift)

    def fold(self, values: list[Any]) -> None:
        """Store many values: sorted once, then cut at the bounds of the buckets that occur."""
        ordered = sorted(values)
        made = ExponentialHistogram(self.max_buckets)
        made.count = len(ordered)
        made.sum = saturated(float_sum(ordered))
        made.min, made.max = float(ordered[0]), float(ordered[-1])
        negatives = bisect_left(ordered, 0.0)
        positives = bisect_right(ordered, 0.0, negatives)
        made.zeros = positives - negatives
        above = ordered[positives:] if positives else ordered
        below = [-x for x in ordered[:negatives][::-1]]
        made.shift = self.shift
        for sizes in (above, below):
            if sizes:
                low, high = bucket_of(sizes[0], made.shift), bucket_of(sizes[-1], made.shift)
                made.shift += halvings(low, high, self.max_buckets, made.shift)
        made.positive = _runs(above, made.shift)
        made.negative = _runs(below, made.shift)
        self.merge(made)

    def copy(self) -> Aggregate:
        """Return an independent histogram with the same content."""
        made = ExponentialHistogram(self.max_buckets)
        made.positive = self.positive
        made.negative = self.negative
        made.copy_facts(self)
        return made

    def clear(self) -> None:
        """Forget everything."""
        self.copy_facts(ExponentialHistogram(self.max_buckets))
        self.positive = self.negative = NO_BUCKETS

    def percentile(self, q: float) -> float | None:
        """Return the middle of the bucket that holds the rank; its relative error is (base - 1) / (base + 1)."""
        if self.count == 0:
            return None
        rank = rank_of(q, self.count)
        if rank <= 1 or rank >= self.count:
            return self.min if rank <= 1 else self.max
        scale = self.scale()
        for i, count in reversed(self.negative.items()):
            rank -= count
            if rank <= 0:
                return min(max(-_middle(i, scale), self.min), self.max)
        rank -= int(self.zeros)
        if rank <= 0:
            return 0.0
        for i, count in self.positive.items():
            rank -= count
            if rank <= 0:
                return min(max(_middle(i, scale), self.min), self.max)
        return self.max


def halvings(low: i64, high: i64, max_buckets: i64, shift: i64) -> i64:
    """Return how often the resolution must be halved, at a shift of `shift`, until `low` to `high` are `max_buckets`."""
    by: i64 = 0
    while (high >> by) - (low >> by) >= max_buckets and shift + by < MAX_SHIFT:
        by += 1
    return by


def bucket_of(size: float, shift: i64) -> i64:
    """Return the bucket of a positive size, subnormal ones included."""
    return index(max(size, SMALLEST_NORMAL)) >> shift


def _runs(ordered: list[float], shift: i64) -> Buckets:
    """Return the buckets of ascending positive values."""
    found: list[tuple[int, int]] = []
    n = len(ordered)
    at = 0
    while at < n:
        bucket = int(bucket_of(ordered[at], shift))
        to = bisect_right(ordered, upper_bound(bucket, int(MAX_SCALE - shift)), at + 1)
        # The bound is rounded: where it is a little too high, the last ones belong to the next bucket; where it is too low, the
        # next ones belong to this one.
        while to > at + 1 and bucket_of(ordered[to - 1], shift) != bucket:
            to -= 1
        if found and found[-1][0] == bucket:
            found[-1] = (bucket, found[-1][1] + to - at)
        else:
            found.append((bucket, to - at))
        at = to
    return buckets_of(found)


def _middle(i: int, scale: int) -> float:
    """Return the value whose relative distance to both bounds of bucket `i` is the same: their harmonic mean."""
    low, high = upper_bound(i - 1, scale), upper_bound(i, scale)
    if high == math.inf:
        return min(low * 1.5, FLOAT_MAX) if low > 0.0 else FLOAT_MAX
    return 2.0 * low / (low / high + 1.0) if high > 0.0 else low
