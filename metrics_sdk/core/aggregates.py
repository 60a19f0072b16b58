"""What values add up to: sum, last value, explicit histogram, exponential histogram.

An aggregate is mergeable: `a.merge(b)` leaves `a` as if it had been given the values of both. Counts and buckets are
exact, integer sums are exact up to 64 bits, sums of floats are rounded as any addition of doubles is.

Guarantee to the cells: `add` either stores a value completely or returns False having stored nothing; it never raises
and allocates nothing. `make_room` is called after a False and may allocate; then `add` succeeds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.buckets import MAX_SCALE, MIN_SCALE, SMALLEST_NORMAL, Buckets, index, upper_bound
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.vectors import clear, floats, zeros

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int

if TYPE_CHECKING:
    from librt.vecs import vec

INT64_MAX: Final = 9223372036854775807
SMALL: Final = 1 << 60  # two of these cannot overflow, and mypyc compares with it in one instruction
FLOAT_MAX: Final = 1.7976931348623157e308


def saturated(x: float) -> float:
    """Return `x`, or the largest double of its sign where it is infinite: a sum stays finite for good."""
    return x if x - x == 0.0 else math.copysign(FLOAT_MAX, x)


@mypyc_attr(acyclic=True)
class Aggregate:
    """What all kinds have in common. Subclasses are chosen by `new_aggregate`."""

    def __init__(self) -> None:
        self.count: i64 = 0

    def add(self, x: float) -> bool:
        """Store the finite value `x`; False: nothing was stored, `make_room(x)` first."""
        return False

    def add_int(self, n: i64) -> bool:
        """Store the integer `n`, as `add` does."""
        return self.add(float(n))

    def make_room(self, x: float) -> None:
        """Prepare for `add(x)` to succeed."""

    def fold(self, values: list[Any]) -> None:
        """Store a non-empty list of finite values at the price of a few C calls."""
        for value in values:
            x = float(value)
            if not self.add(x):
                self.make_room(x)
                self.add(x)

    def merge(self, other: Aggregate) -> None:
        """Add what `other`, an aggregate of the same kind, holds."""

    def clear(self) -> None:
        """Forget everything; memory may be kept for the next values."""

    def fresh(self) -> Aggregate:
        """Return an empty aggregate of the same kind."""
        return Aggregate()

    def copy(self) -> Aggregate:
        """Return an independent aggregate with the same content."""
        made = self.fresh()
        made.merge(self)
        return made

    def percentile(self, q: float) -> float | None:
        """Return the value below which `q` percent of the values lie (0-100), None where it is unknown."""
        return None


@final
@mypyc_attr(acyclic=True)
class Sum(Aggregate):
    """Count and sum. Integers are added exactly and apart from the floats, beyond 64 bits they become doubles."""

    def __init__(self) -> None:
        super().__init__()
        self.ints: i64 = 0
        self.floats: float = 0.0
        self.exact: bool = True

    def add(self, x: float) -> bool:
        """Store a float."""
        self.floats = saturated(self.floats + x)
        self.exact = False
        self.count += 1
        return True

    def add_int(self, n: i64) -> bool:
        """Store an integer, exactly."""
        ints = self.ints
        if -SMALL < n < SMALL and -SMALL < ints < SMALL:
            self.ints = ints + n
            self.count += 1
            return True
        if n >= 0:
            if ints > INT64_MAX - n:
                return self._spill(n)
        elif ints < -INT64_MAX - n:
            return self._spill(n)
        self.ints = ints + n
        self.count += 1
        return True

    def _spill(self, n: i64) -> bool:
        self.floats = saturated(self.floats + float(self.ints) + float(n))
        self.ints = 0
        self.exact = False
        self.count += 1
        return True

    def fold(self, values: list[Any]) -> None:
        """Store many values: `sum` adds integers exactly."""
        total: Any = sum(values)
        count: i64 = len(values)
        if isinstance(total, int) and -INT64_MAX <= total <= INT64_MAX:
            self.add_int(total)
        elif total - total == 0.0:
            self.add(float(total))
        else:
            for x in values:
                self.add(float(x))
            return
        self.count += count - 1

    def merge(self, other: Aggregate) -> None:
        """Add another sum."""
        assert isinstance(other, Sum)
        count = self.count + other.count
        self.add_int(other.ints)
        if not other.exact:
            self.add(other.floats)
        self.count = count

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.ints = 0
        self.floats = 0.0
        self.exact = True

    def fresh(self) -> Aggregate:
        """Return an empty sum."""
        return Sum()

    def total(self) -> Any:
        """Return the sum: an int where every value was one and 64 bits hold it, else a float."""
        if self.exact:
            return int(self.ints)
        return saturated(float(self.ints) + self.floats)


@final
@mypyc_attr(acyclic=True)
class LastValue(Aggregate):
    """The value set last, and count, sum, min and max of the values set.

    `order` tells which of two is the later one when series are merged: the take that it came with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: float = 0.0
        self.sum: float = 0.0
        self.min: float = math.inf
        self.max: float = -math.inf
        self.order: i64 = 0

    def add(self, x: float) -> bool:
        """Set the value."""
        self.last = x
        self.sum = saturated(self.sum + x)
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        self.count += 1
        return True

    def merge(self, other: Aggregate) -> None:
        """Add another; the later one's value is the last."""
        assert isinstance(other, LastValue)
        if other.count == 0:
            return
        if self.count == 0 or other.order >= self.order:
            self.last = other.last
            self.order = other.order
        self.sum = saturated(self.sum + other.sum)
        if other.min < self.min:
            self.min = other.min
        if other.max > self.max:
            self.max = other.max
        self.count += other.count

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.last = 0.0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf

    def fresh(self) -> Aggregate:
        """Return an empty one."""
        return LastValue()


@final
@mypyc_attr(acyclic=True)
class ExplicitHistogram(Aggregate):
    """Counts per bucket between given boundaries, each bucket including its upper bound; sum, min, max."""

    def __init__(self, boundaries: tuple[float, ...]) -> None:
        super().__init__()
        self.boundaries: Final = boundaries
        self.bounds: Final[vec[float]] = floats(boundaries)
        self.counts: Final[vec[i64]] = zeros(len(boundaries) + 1)
        self.sum: float = 0.0
        self.min: float = math.inf
        self.max: float = -math.inf

    def add(self, x: float) -> bool:
        """Store a value."""
        bounds = self.bounds
        low: i64 = 0
        high: i64 = len(bounds)
        while low < high:
            middle = (low + high) >> 1
            if bounds[middle] < x:
                low = middle + 1
            else:
                high = middle
        self.counts[low] += 1
        self.sum = saturated(self.sum + x)
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        self.count += 1
        return True

    def fold(self, values: list[Any]) -> None:
        """Store many values: sorted once, then cut at the boundaries."""
        ordered = sorted(values)
        self.sum = saturated(self.sum + saturated(float_sum(ordered)))
        self.min = min(self.min, float(ordered[0]))
        self.max = max(self.max, float(ordered[-1]))
        at = 0
        for slot, bound in enumerate(self.boundaries):
            to = bisect_right(ordered, bound, at)
            self.counts[slot] += to - at
            at = to
        self.counts[len(self.boundaries)] += len(ordered) - at
        self.count += len(ordered)

    def merge(self, other: Aggregate) -> None:
        """Add another histogram with the same boundaries."""
        assert isinstance(other, ExplicitHistogram)
        counts = self.counts
        theirs = other.counts
        i: i64 = 0
        n: i64 = len(counts)
        while i < n:
            counts[i] += theirs[i]
            i += 1
        self.sum = saturated(self.sum + other.sum)
        if other.min < self.min:
            self.min = other.min
        if other.max > self.max:
            self.max = other.max
        self.count += other.count

    def clear(self) -> None:
        """Forget everything."""
        clear(self.counts)
        self.count = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf

    def fresh(self) -> Aggregate:
        """Return an empty one with the same boundaries."""
        return ExplicitHistogram(self.boundaries)

    def bucket_counts(self) -> tuple[int, ...]:
        """Return the counts, one more than there are boundaries."""
        return tuple([int(c) for c in self.counts])

    def percentile(self, q: float) -> float | None:
        """Interpolate linearly within the bucket that holds the rank."""
        if self.count == 0:
            return None
        rank = _rank(q, self.count)
        if rank <= 1 or rank >= self.count:
            return self.min if rank <= 1 else self.max
        below = 0
        for slot, count in enumerate(self.bucket_counts()):
            if count and below + count >= rank:
                low = self.boundaries[slot - 1] if slot > 0 else self.min
                high = self.boundaries[slot] if slot < len(self.boundaries) else self.max
                low, high = max(low, self.min), min(high, self.max)
                return low + (high - low) * ((rank - below) / count)
            below += count
        return self.max


@final
@mypyc_attr(acyclic=True)
class ExponentialHistogram(Aggregate):
    """Counts in base-2 exponential buckets whose scale adapts to the values; zeros apart; sum, min, max.

    At most `max_buckets` per sign. The scale is `MAX_SCALE - shift`, and falls when the values spread further than the
    buckets reach.
    """

    def __init__(self, max_buckets: int) -> None:
        super().__init__()
        self.max_buckets: Final[i64] = max_buckets
        self.shift: i64 = 0
        self.positive: Final = Buckets()
        self.negative: Buckets | None = None
        self.zeros: i64 = 0
        self.sum: float = 0.0
        self.min: float = math.inf
        self.max: float = -math.inf

    def add(self, x: float) -> bool:
        """Store a value, if its bucket exists."""
        if x >= SMALLEST_NORMAL:
            buckets = self.positive
            slot = (index(x) >> self.shift) - buckets.start
            counts = buckets.counts
            if slot < 0 or slot >= len(counts):
                return False
            counts[slot] += 1
        elif not self._count(x, 1):
            return False
        total = self.sum + x
        self.sum = total if total - total == 0.0 else saturated(total)
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        self.count += 1
        return True

    def _count(self, x: float, times: i64) -> bool:
        """Count `times` values in the bucket of `x`, of any sign and size, if that bucket exists."""
        if x == 0.0:
            self.zeros += times
            return True
        buckets = self.positive
        if x < 0.0:
            negative = self.negative
            if negative is None:
                return False
            buckets = negative
        slot = (index(max(abs(x), SMALLEST_NORMAL)) >> self.shift) - buckets.start
        if slot < 0 or slot >= len(buckets.counts):
            return False
        buckets.counts[slot] += times
        return True

    def make_room(self, x: float) -> None:
        """Grow the buckets, or lower the scale, until they reach the bucket of `x`."""
        if x == 0.0:
            return
        self._reach(x < 0.0, index(max(abs(x), SMALLEST_NORMAL)) >> self.shift, 0)

    def _reach(self, negative: bool, i: i64, width: i64) -> None:
        """Cover the buckets from `i` to `i + width`, indices of the present scale."""
        if negative:
            if self.negative is None:
                self.negative = Buckets()
            buckets = self.negative
        else:
            buckets = self.positive
        low = i
        high = i + width
        first = buckets.first()
        if first >= 0:
            low = min(low, buckets.start + first)
            high = max(high, buckets.start + buckets.last())
        by: i64 = 0
        while (high >> by) - (low >> by) >= self.max_buckets and self.shift + by < MAX_SCALE - MIN_SCALE:
            by += 1
        if by:
            self._coarsen(by)
        buckets.cover(i >> by, (i + width) >> by, self.max_buckets)

    def _coarsen(self, by: i64) -> None:
        self.positive.coarsen(by)
        if self.negative is not None:
            self.negative.coarsen(by)
        self.shift += by

    def fold(self, values: list[Any]) -> None:
        """Store many values: sorted once, then cut at the bounds of the buckets that occur."""
        ordered = sorted(values)
        total = saturated(float_sum(ordered))
        n = len(ordered)
        at = 0
        while at < n:
            x = float(ordered[at])
            self.make_room(x)
            to = bisect_right(ordered, x, at + 1) if at + 1 < n and ordered[at + 1] == x else at + 1
            if x > 0.0 and to < n:
                bucket = index(max(x, SMALLEST_NORMAL)) >> self.shift
                to = bisect_right(ordered, upper_bound(int(bucket), self.scale()), to)
            self._count(x, to - at)
            at = to
        self.sum = saturated(self.sum + total)
        self.min = min(self.min, float(ordered[0]))
        self.max = max(self.max, float(ordered[-1]))
        self.count += n

    def merge(self, other: Aggregate) -> None:
        """Add another histogram: at the lower scale of the two, or lower still until the union fits."""
        assert isinstance(other, ExponentialHistogram)
        if other.count == 0:
            return
        if other.shift > self.shift:
            self._coarsen(other.shift - self.shift)
        self._merge_buckets(False, other, other.positive)
        if other.negative is not None:
            self._merge_buckets(True, other, other.negative)
        self.zeros += other.zeros
        self.sum = saturated(self.sum + other.sum)
        if other.min < self.min:
            self.min = other.min
        if other.max > self.max:
            self.max = other.max
        self.count += other.count

    def _merge_buckets(self, negative: bool, other: ExponentialHistogram, theirs: Buckets) -> None:
        first = theirs.first()
        if first < 0:
            return
        by = self.shift - other.shift
        low = (theirs.start + first) >> by
        high = (theirs.start + theirs.last()) >> by
        self._reach(negative, low, high - low)
        ours = self.negative if negative else self.positive
        assert ours is not None
        ours.add_all(theirs, self.shift - other.shift)

    def clear(self) -> None:
        """Forget everything. The layout stays if these values needed it; else the scale starts at the finest again."""
        first = self.positive.first()
        if self.shift > 0 and (first < 0 or (self.positive.last() - first + 1) * 2 <= self.max_buckets):
            self.positive.start = 0
            self.positive.counts = zeros(0)
            self.shift = 0
        else:
            clear(self.positive.counts)
        self.negative = None
        self.count = 0
        self.zeros = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf

    def fresh(self) -> Aggregate:
        """Return an empty one with the same number of buckets."""
        return ExponentialHistogram(int(self.max_buckets))

    def scale(self) -> int:
        """Return the scale: 2 ** scale buckets to each doubling of the value."""
        return int(MAX_SCALE - self.shift)

    def percentile(self, q: float) -> float | None:
        """Return the middle of the bucket that holds the rank; its relative error is (base - 1) / (base + 1)."""
        if self.count == 0:
            return None
        rank = _rank(q, self.count)
        if rank <= 1 or rank >= self.count:
            return self.min if rank <= 1 else self.max
        scale = self.scale()
        if self.negative is not None:
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


def _rank(q: float, count: int) -> int:
    """Return the rank of the `q`-th percentile of `count` values, from 1 on: that of the inverted cumulative distribution."""
    return max(1, math.ceil(q * count / 100.0 - 1e-9))  # 7 * 100 / 100.0 is not always 7


def _middle(i: int, scale: int) -> float:
    """Return the value whose relative distance to both bounds of bucket `i` is the same: their harmonic mean."""
    low, high = upper_bound(i - 1, scale), upper_bound(i, scale)
    if high == math.inf:
        return min(low * 1.5, FLOAT_MAX) if low > 0.0 else FLOAT_MAX
    return 2.0 * low / (low / high + 1.0) if high > 0.0 else low


def float_sum(values: list[Any]) -> float:
    """Return the sum of values of any finite size as a double, infinite where it is too large for one."""
    try:
        return float(sum(values))
    except OverflowError:
        return math.inf


def new_aggregate(aggregation: str, boundaries: tuple[float, ...] | None, max_buckets: int) -> Aggregate:
    """Return an empty aggregate: `aggregation` is "sum", "last_value" or "histogram" (explicit if boundaries are given)."""
    if aggregation == "sum":
        return Sum()
    if aggregation == "last_value":
        return LastValue()
    if boundaries is not None:
        return ExplicitHistogram(boundaries)
    return ExponentialHistogram(max_buckets)
