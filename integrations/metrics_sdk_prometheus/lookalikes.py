"""Series that look alike: different attribute sets whose labels are the same text, such as `1` and `"1"`.

Prometheus takes one sample per series and scrape, so what looks alike has to become one, without a value being lost.
"""

from __future__ import annotations

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Point

from .labels import Labels


def merged(points: list[Point], labels: list[Labels], kind: str) -> tuple[list[Point], list[Labels]]:
    """Return points of one instrument and their labels, with those that look alike merged.

    Sums and buckets add up; of gauges the last one stays.
    """
    found: dict[str, tuple[Point, Labels]] = {}
    for point, label in zip(points, labels):
        known = found.get(label.braces)
        if known is not None:
            point = _last(known[0], point) if kind.endswith("gauge") else _sum(known[0], point)
        found[label.braces] = (point, label)
    return [point for point, _ in found.values()], [label for _, label in found.values()]


def unlike(points: list[Point], labels: list[Labels], shown: set[str]) -> tuple[list[Point], list[Labels]]:
    """Return the points, and their labels, that look like none of those `shown`."""
    chosen = [(point, label) for point, label in zip(points, labels) if label.braces not in shown]
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
        value = a + b
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
        positive=_together(a.positive, a.scale - scale, b.positive, b.scale - scale),
        negative=_together(a.negative, a.scale - scale, b.negative, b.scale - scale),
    )


def _together(
    a: tuple[tuple[int, int], ...], finer: int, b: tuple[tuple[int, int], ...], also_finer: int
) -> tuple[tuple[int, int], ...]:
    counts: dict[int, int] = {}
    for buckets, by in ((a, finer), (b, also_finer)):
        for bucket, count in buckets:
            counts[bucket >> by] = counts.get(bucket >> by, 0) + count
    return tuple(sorted(counts.items()))


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)
