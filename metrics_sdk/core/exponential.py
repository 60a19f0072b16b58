"""The histogram with base-2 exponential buckets: one form to record into, one to keep.

The scale is `MAX_SCALE - shift`. It falls when the values spread further than `max_buckets` of either sign reach; zeros are
counted apart. `ExponentialRecorder` counts a value with a few instructions, in an array of buckets; `ExponentialHistogram` has
the used buckets alone, and is what totals and windows are made of.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import FLOAT_MAX, Aggregate, float_sum, rank_of, saturated
from metrics_sdk.core.buckets import (
    MAX_SCALE,
    MIN_SCALE,
    NO_BUCKETS,
    SMALLEST_NORMAL,
    BucketArray,
    Buckets,
    buckets_of,
    counted,
    index,
    upper_bound,
)
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.vectors import float_zeros, zeros

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int

if TYPE_CHECKING:
    from librt.vecs import vec

MAX_SHIFT: Final = MAX_SCALE - MIN_SCALE
FEW: Final = 32  # values of an interval that are kept as they are


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

    def recorder(self) -> Aggregate:
        """Return an empty one to record into."""
        return ExponentialRecorder(self.max_buckets)

    def scale(self) -> int:
        """Return the scale: 2 ** scale buckets to each doubling of the value."""
        return int(MAX_SCALE - self.shift)


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
        given = other.packed() if isinstance(other, ExponentialRecorder) else other
        assert isinstance(given, ExponentialHistogram)
        if given.count == 0:
            return
        shift = max(self.shift, given.shift)
        shift = self._fitting(shift, self.positive, given.positive, given.shift)
        shift = self._fitting(shift, self.negative, given.negative, given.shift)
        self.positive = self.positive.coarsened(shift - self.shift).plus(given.positive.coarsened(shift - given.shift))
        self.negative = self.negative.coarsened(shift - self.shift).plus(given.negative.coarsened(shift - given.shift))
        self.shift = shift
        self.zeros += given.zeros
        self.sum = saturated(self.sum + given.sum)
        if given.min < self.min:
            self.min = given.min
        if given.max > self.max:
            self.max = given.max
        self.count += given.count

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
                low, high = _bucket(sizes[0], made.shift), _bucket(sizes[-1], made.shift)
                made.shift += halvings(low, high, self.max_buckets, made.shift)
        made.positive = _runs(above, made.shift)
        made.negative = _runs(below, made.shift)
        self.merge(made)

    def copy(self) -> Aggregate:
        """Return an independent histogram with the same content."""
        made = ExponentialHistogram(self.max_buckets)
        made.positive = self.positive
        made.negative = self.negative
        _copy_facts(self, made)
        return made

    def clear(self) -> None:
        """Forget everything."""
        _copy_facts(ExponentialHistogram(self.max_buckets), self)
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


@final
@mypyc_attr(acyclic=True)
class ExponentialRecorder(Exponential):
    """What values are added to, one by one: a few are kept as they are, more are counted in arrays of buckets.

    So a series that is hardly used takes little memory, and a busy one pays for each value once.
    """

    def __init__(self, max_buckets: i64) -> None:
        super().__init__(max_buckets)
        self.few: vec[float] = float_zeros(0)
        self.waiting: i64 = 0  # how many of `few` are values
        self.positive: Final = BucketArray()
        self.negative: BucketArray | None = None
        self._laid_out()

    def _laid_out(self) -> None:
        # The layout of `positive` once more: a look through one object less for each value, 5 % of what it costs.
        self.start = self.positive.start
        self.counts = self.positive.counts

    def add(self, x: float) -> bool:
        """Store a value, if there is room for it."""
        waiting = self.waiting
        if waiting < len(self.few):
            self.few[waiting] = x
            self.waiting = waiting + 1
        elif x >= SMALLEST_NORMAL:
            slot = (index(x) >> self.shift) - self.start
            counts = self.counts
            if slot < 0 or slot >= len(counts):
                return False
            counts[slot] += 1
        elif not self._count(x):
            return False
        total = self.sum + x
        self.sum = total if total - total == 0.0 else saturated(total)
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        self.count += 1
        return True

    def _count(self, x: float) -> bool:
        """Count a value of any sign and size in its bucket, if that exists."""
        if x == 0.0:
            self.zeros += 1
            return True
        buckets = self.positive
        if x < 0.0:
            negative = self.negative
            if negative is None:
                return False
            buckets = negative
        slot = _bucket(abs(x), self.shift) - buckets.start
        if slot < 0 or slot >= len(buckets.counts):
            return False
        buckets.counts[slot] += 1
        return True

    def make_room(self, x: float) -> None:
        """Make room for `x`: among the few, or else in its bucket."""
        if len(self.positive.counts) == 0 and self.negative is None:
            # No allocation in here is one that the garbage collector tracks: it would run, and a finaliser record in between.
            few = self.few
            n: i64 = len(few)
            i: i64 = 0
            if n < FEW:
                self.few = float_zeros(max(4, 2 * n))
                while i < n:
                    self.few[i] = few[i]
                    i += 1
                return
            self.few = float_zeros(0)
            self.waiting = 0
            while i < n:
                self._reach(few[i])
                self._count(few[i])
                i += 1
        self._reach(x)
        self._laid_out()

    def _reach(self, x: float) -> None:
        """Grow the arrays, or lower the scale, until they reach the bucket of `x`."""
        if x == 0.0:
            return
        buckets = self.positive
        if x < 0.0:
            if self.negative is None:
                self.negative = BucketArray()
            buckets = self.negative
        i = _bucket(abs(x), self.shift)
        low = high = i
        first = buckets.first()
        if first >= 0:
            low = min(low, buckets.start + first)
            high = max(high, buckets.start + buckets.last())
        by = halvings(low, high, self.max_buckets, self.shift)
        if by:
            self.positive.coarsen(by)
            if self.negative is not None:
                self.negative.coarsen(by)
            self.shift += by
        buckets.cover(i >> by, i >> by, self.max_buckets)

    def packed(self) -> ExponentialHistogram:
        """Return what was recorded, to keep."""
        made = ExponentialHistogram(self.max_buckets)
        _copy_facts(self, made)
        if self.waiting:
            above = _indices(self.few, self.waiting, 1.0)
            made.shift = _shift_for(above, self.max_buckets)
            if self.min <= 0.0:
                below = _indices(self.few, self.waiting, -1.0)
                made.shift = max(made.shift, _shift_for(below, self.max_buckets))
                made.negative = counted(below, made.shift)
                made.zeros += self.waiting - len(above) - len(below)
            made.positive = counted(above, made.shift)
        else:
            made.positive = self.positive.packed(self.count)
            if self.negative is not None:
                made.negative = self.negative.packed(self.count)
        return made

    def copy(self) -> Aggregate:
        """Return what was recorded, to keep."""
        return self.packed()

    def clear(self) -> None:
        """Forget everything. The arrays stay if these values needed them, else the next ones are few again."""
        positive = self.positive
        n: i64 = len(positive.counts)
        if n:
            first = positive.first()
            narrow = self.shift > 0 and (first < 0 or (positive.last() - first + 1) * 2 <= self.max_buckets)
            if narrow or self.count < n:
                positive.drop()
            else:
                positive.clear()
        if len(positive.counts) == 0:
            self.shift = 0
        self.negative = None
        self.waiting = 0
        self.count = 0
        self.zeros = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf
        self._laid_out()


def halvings(low: i64, high: i64, max_buckets: i64, shift: i64) -> i64:
    """Return how often the resolution must be halved, at a shift of `shift`, until `low` to `high` are `max_buckets`."""
    by: i64 = 0
    while (high >> by) - (low >> by) >= max_buckets and shift + by < MAX_SHIFT:
        by += 1
    return by


def _copy_facts(source: Exponential, to: Exponential) -> None:
    to.count = source.count
    to.shift = source.shift
    to.zeros = source.zeros
    to.sum = source.sum
    to.min = source.min
    to.max = source.max


def _bucket(size: float, shift: i64) -> i64:
    return index(max(size, SMALLEST_NORMAL)) >> shift


def _indices(values: vec[float], n: i64, sign: float) -> vec[i64]:
    """Return the buckets at `MAX_SCALE` of those of the first `n` values that have this sign, ascending."""
    found: vec[i64] = zeros(n)
    size: i64 = 0
    i: i64 = 0
    while i < n:
        x = values[i] * sign
        if x > 0.0:
            bucket = _bucket(x, 0)
            at = size
            while at > 0 and found[at - 1] > bucket:  # they are few, so this is the fastest way to sort them
                found[at] = found[at - 1]
                at -= 1
            found[at] = bucket
            size += 1
        i += 1
    return found[:size]


def _shift_for(indices: vec[i64], max_buckets: i64) -> i64:
    """Return the smallest shift at which ascending indices lie within `max_buckets`."""
    n: i64 = len(indices)
    return halvings(indices[0], indices[n - 1], max_buckets, 0) if n else 0


def _runs(ordered: list[float], shift: i64) -> Buckets:
    """Return the buckets of ascending positive values."""
    found: list[tuple[int, int]] = []
    n = len(ordered)
    at = 0
    while at < n:
        bucket = int(_bucket(ordered[at], shift))
        to = bisect_right(ordered, upper_bound(bucket, int(MAX_SCALE - shift)), at + 1)
        # The bound is rounded: where it is a little too high, the last ones belong to the next bucket; where it is too low, the
        # next ones belong to this one.
        while to > at + 1 and _bucket(ordered[to - 1], shift) != bucket:
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
