"""The histogram with given boundaries."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import Aggregate, float_sum, rank_of, saturated
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.vectors import clear, zeros

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from librt.vecs import vec


@final
@mypyc_attr(acyclic=True)
class ExplicitHistogram(Aggregate):
    """Counts per bucket between given boundaries, each bucket including its upper bound; sum, min, max."""

    def __init__(self, boundaries: tuple[float, ...], bounds: vec[float]) -> None:
        """`bounds`: the boundaries once more, as `vectors.floats` returns them."""
        super().__init__()
        self.boundaries: Final = boundaries
        self.bounds: Final = bounds
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
        return ExplicitHistogram(self.boundaries, self.bounds)

    def bucket_counts(self) -> tuple[int, ...]:
        """Return the counts, one more than there are boundaries."""
        return tuple([int(c) for c in self.counts])

    def percentile(self, q: float) -> float | None:
        """Interpolate linearly within the bucket that holds the rank."""
        if self.count == 0:
            return None
        rank = rank_of(q, self.count)
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
