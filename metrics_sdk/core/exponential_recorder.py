"""What the values of an exponential histogram are added to, one by one, with a few instructions each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import Aggregate, saturated
from metrics_sdk.core.buckets import SMALLEST_NORMAL, BucketArray, counted, index
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.exponential import Exponential, ExponentialHistogram, bucket_of, halvings
from metrics_sdk.core.vectors import float_zeros, zeros

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from librt.vecs import vec

FEW: Final = 32  # values of an interval that are kept as they are


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
        slot = bucket_of(abs(x), self.shift) - buckets.start
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
        i = bucket_of(abs(x), self.shift)
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

    def kept(self) -> Aggregate:
        """Return what was recorded, in the form that totals and windows have."""
        made = ExponentialHistogram(self.max_buckets)
        made.copy_facts(self)
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
        """Return the same: nobody needs another recorder with this content."""
        return self.kept()

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


def _indices(values: vec[float], n: i64, sign: float) -> vec[i64]:
    """Return the buckets at `MAX_SCALE` of those of the first `n` values that have this sign, ascending."""
    found: vec[i64] = zeros(n)
    size: i64 = 0
    i: i64 = 0
    while i < n:
        x = values[i] * sign
        if x > 0.0:
            bucket = bucket_of(x, 0)
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
