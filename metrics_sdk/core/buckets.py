"""Base-2 exponential buckets: which bucket a value belongs to, and a growing array of bucket counts.

Bucket `i` of scale `s` holds the values in `(base**i, base**(i + 1)]` with `base = 2 ** (2 ** -s)`, as the
OpenTelemetry metrics data model defines it (ExponentialHistogram, "Exponential Scale" and "Producer expectations").

Every index is first computed at the finest scale and then shifted to the wanted one. Two histograms of different scales
therefore put one value into buckets that nest exactly, which makes merging associative and equal to recording
everything once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.vectors import zeros

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int

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
    """Counts of consecutive buckets, from bucket `start` on. The scale is the histogram's."""

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
        """Make the array reach from bucket `low` to bucket `high`, with room to grow up to `limit` buckets."""
        counts = self.counts
        n: i64 = len(counts)
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
        """Halve the resolution `by` times: bucket `i` becomes bucket `i >> by`."""
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

    def add_all(self, other: Buckets, by: i64) -> None:
        """Add the counts of `other`, whose resolution is `by` halvings finer. The array must cover them."""
        counts = self.counts
        theirs = other.counts
        i = other.first()
        if i < 0:
            return
        end = other.last()
        start = self.start
        while i <= end:
            counts[((other.start + i) >> by) - start] += theirs[i]
            i += 1

    def items(self) -> list[tuple[int, int]]:
        """Return (bucket, count) of the buckets in use, ascending."""
        found: list[tuple[int, int]] = []
        i = self.first()
        if i >= 0:
            end = self.last()
            while i <= end:
                if self.counts[i] != 0:
                    found.append((int(self.start + i), int(self.counts[i])))
                i += 1
        return found
