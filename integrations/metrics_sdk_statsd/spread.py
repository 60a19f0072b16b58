"""A histogram as few values with weights, so that a server's timer comes out right.

The least and the greatest value stand for themselves. In between, each sample stands for some neighbours by rank; where in
their buckets all of them lie is one number for the histogram, `t` from 0 (as low as can be) to 1, and it is chosen so that the
sum comes out. At 0.5 values are spread evenly over their buckets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count as count_from
from typing import NamedTuple

from .buckets import Bucket, Buckets, buckets_of, edged
from .numerals import Unfit, writable

_MOST = 2**53  # from here on neither counts nor their reciprocals are exact


class Sample(NamedTuple):
    """`weight` times the value."""

    value: float
    weight: int


class Place(NamedTuple):
    """Where a sample can lie: at `base + width * t + tilt * min(t, 1 - t)`."""

    weight: int
    base: float
    width: float
    tilt: float

    def at(self, t: float) -> float:
        """Return the value at `t`."""
        return self.base + self.width * t + self.tilt * min(t, 1.0 - t)


def spread(buckets: Buckets, limit: int, weighed: bool) -> list[Sample]:
    """Return at most `limit` (8 or more) samples, ascending, with the histogram's count, sum, min and max.

    Up to `limit - 3` values each is a sample. Where there are more: `weighed` is for a server that takes a sample for as many
    values as it weighs; each bucket is one sample, or neighbours are where there are more buckets than samples. For any other
    server samples weigh the same, as far as possible, so that its mean and its percentiles come out although it does not weigh.

    Without min and max the edges of the buckets are the limits, and outermost ones that have no edge end at 0 or at their other
    edge, unless the sum says otherwise. A sum that contradicts the buckets is not reached. Raises Unfit where sum or extremes
    are not finite, or counts contradict each other.
    """
    count = buckets.count
    cells = [cell for cell in buckets_of(buckets) if cell.number]
    if count != sum([cell.number for cell in cells]) or count > _MOST or any([cell.number < 0 for cell in cells]):
        raise Unfit("the counts of its buckets do not add up to its count, or are beyond all numbers")
    if not math.isfinite(buckets.sum):
        raise Unfit("its sum is not a finite number")
    if not count:
        return []
    low, high = buckets.min, buckets.max
    if low is None or high is None:
        return _between(edged(cells, buckets.sum), buckets.sum, limit, weighed)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise Unfit("its min and max contradict each other")
    if count == 1:
        return [Sample(low, 1)]
    cells = [Bucket(cell.number, min(max(cell.low, low), high), max(min(cell.high, high), low)) for cell in cells]
    cells[0] = cells[0]._replace(number=cells[0].number - 1)
    cells[-1] = cells[-1]._replace(number=cells[-1].number - 1)
    rest = _between([cell for cell in cells if cell.number], math.fsum((buckets.sum, -low, -high)), limit, weighed)
    return [Sample(low, 1), *rest, Sample(high, 1)]


def _between(cells: list[Bucket], wanted: float, limit: int, weighed: bool) -> list[Sample]:
    if not cells:
        return []
    places = _places(cells, _weights(cells, limit - 3, weighed))  # besides min and max, and what may be left over
    lowest = math.fsum([place.weight * place.base for place in places])
    width = math.fsum([place.weight * place.width for place in places])
    middle = lowest + 0.5 * (width + math.fsum([place.weight * place.tilt for place in places]))
    if wanted <= middle:
        t = 0.5 * _share(wanted, lowest, middle)
    else:
        t = 0.5 + 0.5 * _share(wanted, middle, lowest + width)
    made = []
    for place in places:
        value = min(max(place.at(t), cells[0].low), cells[-1].high)  # rounding leads nobody out of the extremes
        left = place.weight
        while left:  # twice at most
            weight = writable(left)
            made.append(Sample(value, weight))
            left -= weight
    return made


def _share(wanted: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (wanted - low) / (high - low))) if high > low else 0.0


def _weights(cells: list[Bucket], most: int, weighed: bool) -> list[int]:
    """Return for how many values each sample stands, ascending by the values; where not `weighed`, a rate can say each."""
    count = sum([cell.number for cell in cells])
    if count <= most:
        return [1] * count
    if weighed:
        for together in count_from(-(-len(cells) // most)):
            made = [sum([cell.number for cell in cells[at : at + together]]) for at in range(0, len(cells), together)]
            if len(made) + sum([writable(weight) < weight for weight in made]) <= most:
                break
        return made
    made = []
    reached = 0
    for number in range(1, most + 1):
        made.append(writable(number * count // most - reached))
        reached += made[-1]
    if reached < count:
        made.insert(most // 2, count - reached)  # few, and in the middle, where one line more is hardly noticed
    return made


def _places(cells: list[Bucket], weights: Sequence[int]) -> list[Place]:
    """Return where samples of these weights can lie."""
    places: list[Place] = []
    index = reached = before = 0  # the bucket, the rank, and how many are in the buckets before
    for weight in weights:
        base = width = tilt = 0.0
        end = reached + weight
        while reached < end:
            count, low, high = cells[index]
            upto = min(end, before + count)
            part = (upto - reached) / weight
            base += part * low
            width += part * (high - low)
            tilt += part * (high - low) * ((reached + upto - 2 * before) / count - 1.0)
            reached = upto
            if reached == before + count:
                before = reached
                index += 1
        places.append(Place(weight, base, width, tilt))
    return places
