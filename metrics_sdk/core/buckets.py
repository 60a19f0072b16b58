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
from metrics_sdk.core.vectors import clear, narrow_zeros, zeros

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


def index(x: float) -> i64:
    """Return the bucket of `x` at `MAX_SCALE`, for finite `x >= SMALLEST_NORMAL`.

    The logarithm alone can be wrong by one next to a power of two, where buckets must be exact: there the exponent
    decides.
    """
    i: i64 = i64(math.log(x) * _FACTOR + _POSITIVE) - _POSITIVE_INT
    if ((i + 1) & (_PER_OCTAVE - 1)) < 2:
        return _index_near_power(x)
    return i


def _index_near_power(x: float) -> i64:
    mantissa, exponent = math.frexp(x)
    e: i64 = exponent
    if mantissa == 0.5:
        return ((e - 1) << MAX_SCALE) - 1
    if mantissa < 0.75:
        return (e - 1) << MAX_SCALE
    return (e << MAX_SCALE) - 1


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
        indices, counts = self.indices, self.counts
        n: i64 = len(indices)
        used: i64 = 0
        i: i64 = 0
        while i < n:
            if i == 0 or i64(indices[i]) >> by != i64(indices[i - 1]) >> by:
                used += 1
            i += 1
        made = Buckets(narrow_zeros(used), zeros(used))
        at: i64 = -1
        i = 0
        while i < n:
            if i == 0 or i64(indices[i]) >> by != i64(indices[i - 1]) >> by:
                at += 1
                made.indices[at] = i32(i64(indices[i]) >> by)
            made.counts[at] += counts[i]
            i += 1
        return made

    def plus(self, other: Buckets) -> Buckets:
        """Return the sum of both."""
        if not COMPILED:
            return _plus_interpreted(self, other)
        ours, theirs = self.indices, other.indices
        n: i64 = len(ours)
        m: i64 = len(theirs)
        if n == 0 or m == 0:
            return self if m == 0 else other
        i: i64 = 0
        j: i64 = 0
        used = n + m
        while i < n and j < m:
            if ours[i] < theirs[j]:
                i += 1
            else:
                if ours[i] == theirs[j]:
                    used -= 1
                j += 1
        made = Buckets(narrow_zeros(used), zeros(used))
        indices, counts = made.indices, made.counts
        i = j = 0
        at: i64 = 0
        while at < used:
            if j == m or (i < n and ours[i] < theirs[j]):
                indices[at] = ours[i]
                counts[at] = self.counts[i]
                i += 1
            else:
                indices[at] = theirs[j]
                counts[at] = other.counts[j]
                if i < n and ours[i] == theirs[j]:
                    counts[at] += self.counts[i]
                    i += 1
                j += 1
            at += 1
        return made

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
        self.released: i64 = 0  # the size of the array that was let go

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

    def cover(self, bucket: i64, limit: i64) -> None:
        """Make the array reach to `bucket`, with room to grow up to `limit` buckets; that is enough to hold all used ones."""
        counts = self.counts
        n: i64 = len(counts)
        if n == 0 and 0 <= bucket - self.start < self.released:
            self.counts = zeros(self.released)
            return
        low = high = bucket
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
        if first >= 0 and low < self.start + first:
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
        self.released = 0
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

    def packed(self) -> Buckets:
        """Return the buckets in use."""
        counts = self.counts
        n: i64 = len(counts)
        used: i64 = 0
        i: i64 = 0
        while i < n:
            if counts[i] != 0:
                used += 1
            i += 1
        made = Buckets(narrow_zeros(used), zeros(used))
        at: i64 = 0
        i = 0
        while at < used:
            if counts[i] != 0:
                made.indices[at] = i32(self.start + i)
                made.counts[at] = counts[i]
                at += 1
            i += 1
        return made

    def restart(self) -> None:
        """Forget everything, the layout too."""
        self.start = 0
        self.counts = zeros(0)
        self.released = 0

    def clear(self, keep: bool) -> None:
        """Set all counts to zero. Unless it is to be kept, the array is let go until it is needed again."""
        if keep:
            clear(self.counts)
        elif len(self.counts):
            self.released = len(self.counts)
            self.counts = zeros(0)
