"""Merging many aggregates into one, as queries do: windows of series, packed or not."""

from __future__ import annotations

from typing import Any, Final, final

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.buckets import BucketArray, Buckets
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.exponential import ExponentialHistogram, halvings
from metrics_sdk.core.packing import unpack

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int


@final
class Gathering:
    """Merges what it is given; merging histograms one into the other would allocate two arrays for each."""

    def __init__(self, empty: Aggregate) -> None:
        """`empty`: an aggregate of the kind that is to come."""
        self.empty: Final = empty
        self._positive: Final = BucketArray()
        self._negative: Final = BucketArray()
        self._made: Final = empty.fresh()

    def add(self, many: list[Any]) -> None:
        """Merge `many` aggregates, which may be packed. Raises ValueError for bytes that are none."""
        for one in many:
            given = unpack(one, self.empty) if isinstance(one, bytes) else one
            if isinstance(given, ExponentialHistogram):
                self._add_exponential(given)
            else:
                self._made.merge(given)

    def _add_exponential(self, given: ExponentialHistogram) -> None:
        made = self._made
        assert isinstance(made, ExponentialHistogram)
        if given.count == 0:
            return
        self._reach(made, self._positive, given.positive, given.shift)
        self._reach(made, self._negative, given.negative, given.shift)
        _count(self._positive, given.positive, made.shift - given.shift)
        _count(self._negative, given.negative, made.shift - given.shift)
        made.add_facts(given)

    def _reach(self, made: ExponentialHistogram, ours: BucketArray, theirs: Buckets, their_shift: i64) -> None:
        """Lower the resolution to theirs, or further, and grow the array, until it reaches all of their buckets."""
        by = max(0, their_shift - made.shift)
        if by:
            self._coarsen(made, by)
        n: i64 = len(theirs.indices)
        if n == 0:
            return
        down = made.shift - their_shift
        low = i64(theirs.indices[0]) >> down
        high = i64(theirs.indices[n - 1]) >> down
        if low >= ours.start and high < ours.start + len(ours.counts):
            return
        first = ours.first()
        widest = max(high, ours.start + ours.last()) if first >= 0 else high
        lowest = min(low, ours.start + first) if first >= 0 else low
        by = halvings(lowest, widest, made.max_buckets, made.shift)
        if by:
            self._coarsen(made, by)
        ours.cover(low >> by, high >> by, made.max_buckets)

    def _coarsen(self, made: ExponentialHistogram, by: i64) -> None:
        self._positive.coarsen(by)
        self._negative.coarsen(by)
        made.shift += by

    def result(self) -> Aggregate:
        """Return everything merged so far."""
        made = self._made.copy()
        if isinstance(made, ExponentialHistogram):
            made.positive = self._positive.packed(made.max_buckets)
            made.negative = self._negative.packed(made.max_buckets)
        return made


def _count(ours: BucketArray, theirs: Buckets, down: i64) -> None:
    counts = ours.counts
    n: i64 = len(theirs.indices)
    i: i64 = 0
    while i < n:
        counts[(i64(theirs.indices[i]) >> down) - ours.start] += theirs.counts[i]
        i += 1
