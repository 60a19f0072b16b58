"""Native histograms: the buckets of an exponential histogram as Prometheus has them, whatever message they travel in.

The source is "Native Histograms", Prometheus's specification. They differ from OpenTelemetry's exponential histograms in three
ways. A bucket has the number of its upper bound, `(base**(i - 1), base**i]`, where OpenTelemetry's has that of its lower one.
Scales, called schemas, end at 8 and at -4. And there is a zero bucket of some width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metrics_sdk.protobuf import double, message, packed_varints, tag, varint, whole, zigzag
from metrics_sdk.snapshot import ExponentialBuckets

from .buckets import coarser
from .numerals import as_double

FINEST_SCHEMA, COARSEST_SCHEMA = 8, -4

#: How far from zero the zero bucket reaches. It must not be 0, or readers would take a histogram without values for a classic
#: one. Every bucket lies beyond this, at any schema: of the least normal number, 2**-1022, those of schema -4 begin here. So no
#: value counts as a zero that is none, and `histogram_quantile()` finds no bucket on the wrong side of it.
ZERO_THRESHOLD = 2.0**-1024

_GAP = 2  # so many empty buckets are told as such, in a byte each; more of them by the beginning of a new span


class Side(NamedTuple):
    """The positive or the negative buckets: (gap since the last span, length) of each span, and the counts' differences."""

    spans: list[tuple[int, int]]
    deltas: list[int]


class Native(NamedTuple):
    """A native histogram, whose `count` is that of the values in all of its buckets."""

    schema: int
    count: int  # type: ignore[assignment]  # as everybody calls it; no one counts entries of this tuple
    sum: float
    zero_count: int
    negative: Side
    positive: Side


class Numbers(NamedTuple):
    """The numbers that a message's fields have."""

    count: int  # type: ignore[assignment]  # as above
    sum: int
    schema: int
    zero_threshold: int
    zero_count: int
    negative: tuple[int, int]
    positive: tuple[int, int]


def native_of(value: ExponentialBuckets) -> Native | None:
    """Return `value` as a native histogram; None if its buckets are wider than any schema's.

    A finer scale than the finest schema is merged down to it, exactly. Raises ValueError for buckets that cannot be.
    """
    if value.scale < COARSEST_SCHEMA:
        return None
    by = max(0, value.scale - FINEST_SCHEMA)
    negative, positive = [coarser((side, by)) if by else side for side in (value.negative, value.positive)]
    count = value.zero_count + sum([count for _, count in negative]) + sum([count for _, count in positive])
    if value.zero_count < 0:
        raise ValueError("a count below zero")
    return Native(value.scale - by, count, as_double(value.sum), value.zero_count, _side(negative), _side(positive))


def _side(buckets: Sequence[tuple[int, int]]) -> Side:
    spans: list[tuple[int, int]] = []
    deltas: list[int] = []
    begin = after = before = 0  # of the span; the number after the last one; the last count
    gap = 0
    for bucket, count in buckets:
        number = bucket + 1
        if count < 0 or (deltas and number < after):
            raise ValueError("buckets with counts below zero, or out of order")
        if not deltas:
            gap = begin = after = number
        elif number - after > _GAP:
            spans.append((gap, after - begin))
            gap, begin = number - after, number
        elif number > after:
            deltas += [-before, 0][: number - after]
            before = 0
        deltas.append(count - before)
        before, after = count, number + 1
    if deltas:
        spans.append((gap, after - begin))
    return Side(spans, deltas)


def fields_of(native: Native, numbers: Numbers) -> bytes:
    """Return the fields of a message that `native` is told by."""
    made = [
        whole(numbers.count, native.count),
        double(numbers.sum, native.sum),
        whole(numbers.schema, zigzag(native.schema)),
        double(numbers.zero_threshold, ZERO_THRESHOLD),
        whole(numbers.zero_count, native.zero_count),
    ]
    for (spans, deltas), (span_number, delta_number) in (
        (native.negative, numbers.negative),
        (native.positive, numbers.positive),
    ):
        if deltas:
            made += [message(span_number, _OFFSET + varint(zigzag(gap)) + whole(2, length)) for gap, length in spans]
            made.append(packed_varints(delta_number, [zigzag(delta) for delta in deltas]))
    return b"".join(made)


_OFFSET = tag(1, 0)
