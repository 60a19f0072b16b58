"""The buckets of a histogram of either kind, with their edges."""

from __future__ import annotations

import math
from typing import NamedTuple

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets

Buckets = ExplicitBuckets | ExponentialBuckets


class Bucket(NamedTuple):
    """So many values between two edges, which may be infinite."""

    number: int
    low: float
    high: float


def buckets_of(buckets: Buckets) -> list[Bucket]:
    """Return the buckets, those without values too, ascending."""
    if isinstance(buckets, ExplicitBuckets):
        edges = (-math.inf, *buckets.boundaries, math.inf)
        return [Bucket(count, low, high) for count, low, high in zip(buckets.bucket_counts, edges, edges[1:])]
    step = 2.0**-buckets.scale
    negative = [Bucket(count, -_power((i + 1) * step), -_power(i * step)) for i, count in reversed(buckets.negative)]
    positive = [Bucket(count, _power(i * step), _power((i + 1) * step)) for i, count in buckets.positive]
    return [*negative, Bucket(buckets.zero_count, 0.0, 0.0), *positive]


def _power(exponent: float) -> float:
    return math.inf if exponent >= 1024.0 else 2.0**exponent


def edged(cells: list[Bucket], total: float) -> list[Bucket]:
    """Return the buckets with an end to the outermost ones."""
    if len(cells) == 1 and math.isinf(cells[0].low) and math.isinf(cells[0].high):
        return [Bucket(cells[0].number, total / cells[0].number, total / cells[0].number)]
    made = [
        Bucket(
            count,
            min(0.0, high) if math.isinf(low) else low,
            max(0.0, low) if math.isinf(high) else high,
        )
        for count, low, high in cells
    ]
    least = math.fsum([cell.number * cell.low for cell in made])
    most = math.fsum([cell.number * cell.high for cell in made])
    if total > most and math.isinf(cells[-1].high):
        made[-1] = made[-1]._replace(high=made[-1].high + (total - most) / made[-1].number)
    if total < least and math.isinf(cells[0].low):
        made[0] = made[0]._replace(low=made[0].low - (least - total) / made[0].number)
    return made
