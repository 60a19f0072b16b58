"""Series that look alike: different attribute sets whose labels are the same text, such as `1` and `"1"`.

Prometheus takes one sample per series and scrape, so what looks alike has to become one, without a value being lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Point

from .buckets import coarser
from .labels import AnyLabels

L = TypeVar("L", bound=AnyLabels)


def merged(points: Sequence[Point], labels: Sequence[L], kind: str) -> tuple[list[Point], list[L]]:
    """Return points of one instrument and their labels, with those that look alike merged.

    Sums and buckets add up; of gauges the last one stays.
    """
    found: dict[object, tuple[Point, L]] = {}
    for point, label in zip(points, labels):
        known = found.get(label.whole)
        if known is not None:
            point = _last(known[0], point) if kind.endswith("gauge") else _sum(known[0], point)
        found[label.whole] = (point, label)
    return [point for point, _ in found.values()], [label for _, label in found.values()]


def unlike(points: Sequence[Point], labels: Sequence[L], shown: set[object]) -> tuple[list[Point], list[L]]:
    """Return the points, and their labels, that look like none of those `shown`."""
    chosen = [(point, label) for point, label in zip(points, labels) if label.whole not in shown]
    return [point for point, _ in chosen], [label for _, label in chosen]


def _last(one: Point, other: Point) -> Point:
    return other if other.time >= one.time else one


def _sum(one: Point, other: Point) -> Point:
    a, b = one.value, other.value
    value: float | ExplicitBuckets | ExponentialBuckets
    if isinstance(a, ExplicitBuckets) and isinstance(b, ExplicitBuckets):
        value = _explicit(a, b)
    elif isinstance(a, ExponentialBuckets) and isinstance(b, ExponentialBuckets):
        value = _exponential(a, b)
    elif isinstance(a, (int, float)) and isinstance(b, (int, float)):
        try:
            value = a + b
        except OverflowError:  # an int beyond the doubles, and a double
            value = math.inf if a > 0 else -math.inf
    else:  # of one instrument, all values are of one kind
        value = b
    start, end = min(one.start_time, other.start_time), max(one.time, other.time)
    return Point(other.attributes, value, start, end, (*one.exemplars, *other.exemplars))


def _explicit(a: ExplicitBuckets, b: ExplicitBuckets) -> ExplicitBuckets:
    if a.boundaries != b.boundaries:
        return b
    return b._replace(
        count=a.count + b.count,
        sum=a.sum + b.sum,
        min=_least(a.min, b.min),
        bucket_counts=tuple([x + y for x, y in zip(a.bucket_counts, b.bucket_counts)]),
    )


def _exponential(a: ExponentialBuckets, b: ExponentialBuckets) -> ExponentialBuckets:
    scale = min(a.scale, b.scale)
    return b._replace(
        count=a.count + b.count,
        sum=a.sum + b.sum,
        min=_least(a.min, b.min),
        scale=scale,
        zero_count=a.zero_count + b.zero_count,
        positive=coarser((a.positive, a.scale - scale), (b.positive, b.scale - scale)),
        negative=coarser((a.negative, a.scale - scale), (b.negative, b.scale - scale)),
    )


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)
