"""Totals as what has come since they were told last.

The SDK's own metrics, and those of producers, are cumulative to every exporter. A line of a counter adds, so what is sent of
these is the difference to what was sent before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from metrics_sdk.snapshot import ExplicitBuckets, Metric, Point

from .numerals import Unfit


class Told(NamedTuple):
    """The total of a series that was told: its value and the time it was of."""

    value: float | ExplicitBuckets
    time: float


class Totals:
    """What was told of each cumulative series: one number, or the buckets.

    They are not forgotten when a series is away, as it is when its producer fails once: it would be told all over again. But
    only as many are kept as twice those that there are, the ones that were told last.
    """

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._pending: list[tuple[int, str, Told]] = []

    def begin(self) -> None:
        """Forget what was asked for, and not settled."""
        self._pending = []

    def change(self, index: int, metric: Metric, point: Point) -> float | ExplicitBuckets:
        """Return what is new of the point with this number in the snapshot, everything if the series has begun anew.

        Raises Unfit for what has no difference.
        """
        value = point.value
        if not isinstance(value, (int, float, ExplicitBuckets)):
            # The differences of exponential ones would need both at one scale; no producer is known that has any.
            raise Unfit("cumulative, and only counters and histograms with given boundaries can be told as what has come")
        if isinstance(value, float) and not math.isfinite(value):
            raise Unfit("not a finite number")  # and nothing to take a difference to
        key = repr((metric.name, metric.kind, metric.meter, point.attributes))  # which tells 1, 1.0 and True apart
        told = self._told.get(key)
        self._pending.append((index, key, Told(value, point.time)))
        if told is None or point.start_time > told.time:
            return value
        if isinstance(value, ExplicitBuckets):
            return _buckets_since(told.value, value)
        if isinstance(told.value, ExplicitBuckets) or not value >= told.value:
            return value
        return value - told.value

    def settle(self, points: int) -> None:
        """So many points at the front of the snapshot were told."""
        for index, key, told in self._pending:
            if index < points:
                self._told.pop(key, None)  # so that those that are gone come first
                self._told[key] = told
        while len(self._told) > 2 * len(self._pending) + 1024:
            self._told.pop(next(iter(self._told)))
        self._pending = []


def _buckets_since(told: float | ExplicitBuckets, now: ExplicitBuckets) -> ExplicitBuckets:
    if not isinstance(told, ExplicitBuckets) or told.boundaries != now.boundaries:
        return now
    counts = tuple([count - before for count, before in zip(now.bucket_counts, told.bucket_counts)])
    if now.count < told.count or any([count < 0 for count in counts]):
        return now
    return ExplicitBuckets(now.count - told.count, now.sum - told.sum, None, None, now.boundaries, counts)
