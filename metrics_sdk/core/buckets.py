"""Base-2 exponential buckets: which bucket a value belongs to, and how counts are kept: in an array to record into, and by
bucket to keep.

Bucket `i` of scale `s` holds the values in `(base**i, base**(i + 1)]` with `base = 2 ** (2 ** -s)`, as the
OpenTelemetry metrics data model defines it (ExponentialHistogram, "Exponential Scale" and "Producer expectations").

Every index is first computed at the finest scale and then shifted to the wanted one. Two histograms of different scales
therefore put one value into buckets that nest exactly, which makes merging associative and equal to recording
everything once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.vectors import clear, floats, narrow_zeros, zeros

if COMPILED:
    from mypy_extensions import i32, i64
else:
    i32 = i64 = int

if TYPE_CHECKING:
    from librt.vecs import vec

MAX_SCALE: Final = 20
MIN_SCALE: Final = -10
SMALLEST_NORMAL: Final = 2.2250738585072014e-308

_PER_OCTAVE: Final = 1 << MAX_SCALE
_FACTOR: Final = _PER_OCTAVE * 1.4426950408889634  # 2**20 / ln(2)
_POSITIVE: Final = 2147483648.0  # added before truncation, so that truncating is rounding down
_POSITIVE_INT: Final = 2147483648
_LEAST_EXPONENT: Final = 1022
_POWERS: Final = floats(tuple([2.0**exponent for exponent in range(-_LEAST_EXPONENT, 1024)] + [math.inf]))


def index(x: float) -> i64:
    """Return the bucket of `x` at `MAX_SCALE`, for finite `x >= SMALLEST_NORMAL`.

    Next to a power of two, where buckets must be exact, a comparison decides; elsewhere the logarithm alone does, which can be
    wrong by one for values within 2e-13 of a bound.
    """
    i: i64 = i64(math.log(x) * _FACTOR + _POSITIVE) - _POSITIVE_INT
    if ((i + 1) & (_PER_OCTAVE - 1)) < 2:
        return _index_near_power(x, (i + 1) >> MAX_SCALE)
    return i


def _index_near_power(x: float, exponent: i64) -> i64:
    """Return the bucket of `x`, which is next to `2.0**exponent`."""
    below = x <= _POWERS[exponent + _LEAST_EXPONENT]
    return (exponent << MAX_SCALE) - 1 if below else exponent << MAX_SCALE


def upper_bound(i: int, scale: int) -> float:
    """Return the inclusive upper bound of bucket `i` at `scale`, infinity past the largest double."""
    exponent = i + 1
    if scale <= 0:
        exponent <<= -scale
        return math.ldexp(1.0, exponent) if exponent < 1024 else math.inf
    whole = exponent >> scale
    if whole >= 1024:
        return math.inf
    part = (exponent & ((1 << scale) - 1)) / (1 << scale)
    return math.ldexp(2.0**part, whole)


@final
@mypyc_attr(acyclic=True)
class Buckets:
    """The buckets in use, ascending, and their counts: 12 bytes for each. Never changed. The scale is the histogram's."""

    def __init__(self, indices: vec[i32], counts: vec[i64]) -> None:
        self.indices: Final = indices
        self.counts: Final = counts

    def coarsened(self, by: i64) -> Buckets:
        """Return them at half the resolution, `by` times: bucket `i` becomes part of bucket `i >> by`."""
        if by == 0:
            return self
        n: i64 = len(self.indices)
        indices, counts = narrow_zeros(n), zeros(n)
        used: i64 = 0
        i: i64 = 0
        while i < n:
            bucket = i32(i64(self.indices[i]) >> by)
            if used == 0 or bucket != indices[used - 1]:
                indices[used] = bucket
                used += 1
            counts[used - 1] += self.counts[i]
            i += 1
        return Buckets(indices[:used], counts[:used])

    def plus(self, other: Buckets) -> Buckets:
        """Return the sum of both."""
        if not COMPILED:
            return _plus_interpreted(self, other)
        ours, theirs = self.indices, other.indices
        n: i64 = len(ours)
        m: i64 = len(theirs)
        if n == 0 or m == 0:
            return self if m == 0 else other
        our_counts, their_counts = self.counts, other.counts
        i: i64 = 0
        if n == m:
            while i < n and ours[i] == theirs[i]:
                i += 1
            if i == n:  # the same buckets, as most of the time
                sums = zeros(n)
                i = 0
                while i < n:
                    sums[i] = our_counts[i] + their_counts[i]
                    i += 1
                return Buckets(ours, sums)
        indices, counts = narrow_zeros(n + m), zeros(n + m)
        i = 0
        j: i64 = 0
        used: i64 = 0
        while i < n or j < m:
            if j == m or (i < n and ours[i] < theirs[j]):
                indices[used] = ours[i]
                counts[used] = our_counts[i]
                i += 1
            else:
                indices[used] = theirs[j]
                counts[used] = their_counts[j]
                if i < n and ours[i] == theirs[j]:
                    counts[used] += our_counts[i]
                    i += 1
                j += 1
            used += 1
        return Buckets(indices[:used], counts[:used])

    def total(self) -> i64:
        """Return the sum of the counts."""
        counts = self.counts
        n: i64 = len(counts)
        found: i64 = 0
        i: i64 = 0
        while i < n:
            found += counts[i]
            i += 1
        return found

    def items(self) -> list[tuple[int, int]]:
        """Return (bucket, count), ascending."""
        counts = self.counts
        return [(int(bucket), int(counts[i])) for i, bucket in enumerate(self.indices)]


def _plus_interpreted(ours: Buckets, theirs: Buckets) -> Buckets:
    # A dict does in C what the loop above would do in bytecode.
    counts: dict[Any, Any] = dict(zip(ours.indices, ours.counts, strict=True))
    for bucket, count in zip(theirs.indices, theirs.counts, strict=True):
        counts[bucket] = counts.get(bucket, 0) + count
    indices: Any = sorted(counts)
    ordered: Any = [counts[bucket] for bucket in indices]
    return Buckets(indices, ordered)


def counted(indices: vec[i64], shift: i64) -> Buckets:
    """Return the buckets of ascending indices at `MAX_SCALE`, each of which stands for a value."""
    n: i64 = len(indices)
    if n == 0:
        return NO_BUCKETS
    buckets, counts = narrow_zeros(n), zeros(n)
    last = indices[0] >> shift
    buckets[0] = i32(last)
    counts[0] = 1
    at: i64 = 0
    i: i64 = 1
    while i < n:
        bucket = indices[i] >> shift
        if bucket != last:
            at += 1
            buckets[at] = i32(bucket)
            last = bucket
        counts[at] += 1
        i += 1
    return Buckets(buckets, counts) if at + 1 == n else Buckets(buckets[: at + 1], counts[: at + 1])


def buckets_of(items: list[tuple[int, int]]) -> Buckets:
    """Return the buckets of (bucket, count), which are ascending."""
    made = Buckets(narrow_zeros(len(items)), zeros(len(items)))
    for at, (bucket, count) in enumerate(items):
        made.indices[at] = i32(bucket)
        made.counts[at] = count
    return made


#: No bucket at all.
NO_BUCKETS: Final = Buckets(narrow_zeros(0), zeros(0))


@final
@mypyc_attr(acyclic=True)
class BucketArray:
    """Counts of consecutive buckets, from bucket `start` on: 8 bytes for each, used or not. The scale is the histogram's."""

    def __init__(self) -> None:
        self.start: i64 = 0
        self.counts: vec[i64] = zeros(0)

    def first(self) -> i64:
        """Return the position of the first bucket in use, or -1 if all are empty."""
        counts = self.counts
        i: i64 = 0
        n: i64 = len(counts)
        while i < n:
            if counts[i] != 0:
                return i
            i += 1
        return -1

    def last(self) -> i64:
        """Return the position of the last bucket in use, or -1 if all are empty."""
        counts = self.counts
        i: i64 = len(counts)
        while i > 0:
            i -= 1
            if counts[i] != 0:
                return i
        return -1

    def cover(self, low: i64, high: i64, limit: i64) -> None:
        """Make the array reach from `low` to `high`, with room to grow to `limit` buckets; all used ones fit in these."""
        counts = self.counts
        n: i64 = len(counts)
        wanted = low
        first = self.first()
        if first >= 0:
            last = self.last()
            low = min(low, self.start + first)
            high = max(high, self.start + last)
        if low >= self.start and high < self.start + n:
            return
        size = high - low + 1
        # Half as much again, so that a spreading series grows a few times only; on the side where it spreads.
        room = min(size + (size >> 1) + 2, limit)
        start = low
        if first >= 0 and wanted < self.start + first:
            start = high - room + 1
        fresh = zeros(room)
        if first >= 0:
            i = first
            while i <= last:
                fresh[self.start + i - start] = counts[i]
                i += 1
        self.start = start
        self.counts = fresh

    def coarsen(self, by: i64) -> None:
        """Halve the resolution `by` times: bucket `i` becomes part of bucket `i >> by`."""
        counts = self.counts
        n: i64 = len(counts)
        if n == 0:
            return
        start = self.start >> by
        fresh = zeros(((self.start + n - 1) >> by) - start + 1)
        i: i64 = 0
        while i < n:
            fresh[((self.start + i) >> by) - start] += counts[i]
            i += 1
        self.start = start
        self.counts = fresh

    def packed(self, at_most: i64) -> Buckets:
        """Return the buckets in use, which are `at_most` so many."""
        counts = self.counts
        n: i64 = len(counts)
        room = min(n, at_most)
        indices, kept = narrow_zeros(room), zeros(room)
        used: i64 = 0
        i: i64 = 0
        while i < n:
            if counts[i] != 0:
                indices[used] = i32(self.start + i)
                kept[used] = counts[i]
                used += 1
            i += 1
        return Buckets(indices, kept) if used == room else Buckets(indices[:used], kept[:used])

    def clear(self) -> None:
        """Set all counts to zero."""
        clear(self.counts)

    def drop(self) -> None:
        """Forget everything, the layout too."""
        self.start = 0
        self.counts = zeros(0)
