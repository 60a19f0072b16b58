"""Aggregates as bytes: how closed windows of histograms are kept, and what a store writes to a file.

Numbers have 7 bits a byte, the lowest first, where the top bit says that more follow; those that may be negative have their
sign in the lowest bit. An exponential histogram, after sum, min and max as doubles: shift, zeros, and for positive and for
negative buckets how many are in use, and runs of them: the distance from the run before, its length, and by how much each
count differs from the one before. Neighbours differ little, so that most buckets take one byte.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, final

from metrics_sdk.core.aggregates import Aggregate, LastValue, Sum
from metrics_sdk.core.buckets import MAX_SCALE, NO_BUCKETS, Buckets
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.explicit import ExplicitHistogram
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.vectors import narrow_zeros, octets, zeros

if COMPILED:
    from mypy_extensions import i32, i64, u8
else:
    i32 = i64 = u8 = int

if TYPE_CHECKING:
    from librt.vecs import vec

_FACTS: Final = struct.Struct("<ddd")
_LAST: Final = struct.Struct("<ddddqq")
_SUM: Final = struct.Struct("<qqd?")
_LONGEST: Final = 10  # bytes of a number of 64 bits
NEAR: Final = 3  # buckets less than so far apart are one run: an empty one between takes a byte, a new run two
_SPAN: Final = 1000.0  # between the smallest and the largest value: what the promised error holds for


def least_shift(max_buckets: int) -> int:
    """Return the shift at which three decades fill `max_buckets`: a finer resolution is not worth keeping in a window."""
    return int(MAX_SCALE) - max(0, math.floor(math.log2(max_buckets / math.log2(_SPAN))))


def pack(aggregate: Aggregate) -> bytes:
    """Return what `aggregate` holds."""
    if isinstance(aggregate, ExponentialHistogram):
        return _pack_exponential(aggregate)
    if isinstance(aggregate, Sum):
        return bytes(_SUM.pack(aggregate.count, aggregate.ints, aggregate.floats, aggregate.exact))
    if isinstance(aggregate, LastValue):
        a = aggregate
        return bytes(_LAST.pack(a.last, a.sum, a.min, a.max, a.count, a.order))
    assert isinstance(aggregate, ExplicitHistogram)
    out = octets(_LONGEST * len(aggregate.counts))
    at: i64 = 0
    for count in aggregate.counts:
        at = _put(out, at, count)
    return bytes(_FACTS.pack(aggregate.sum, aggregate.min, aggregate.max)) + bytes(out[:at])


def unpack(data: bytes, empty: Aggregate) -> Aggregate:
    """Return the aggregate that `data` was made of, one of the same kind as `empty`. Raises ValueError for other data."""
    made = empty.fresh()
    try:
        if isinstance(made, ExponentialHistogram):
            _unpack_exponential(data, made)
        elif isinstance(made, Sum):
            made.count, made.ints, made.floats, made.exact = _SUM.unpack(data)
        elif isinstance(made, LastValue):
            made.last, made.sum, made.min, made.max, made.count, made.order = _LAST.unpack(data)
        else:
            assert isinstance(made, ExplicitHistogram)
            _unpack_explicit(data, made)
    except (struct.error, IndexError) as error:
        raise ValueError(f"these {len(data)} bytes are no such aggregate") from error
    return made


def _pack_exponential(histogram: ExponentialHistogram) -> bytes:
    by = max(0, i64(least_shift(int(histogram.max_buckets))) - histogram.shift)
    positive, negative = histogram.positive.coarsened(by), histogram.negative.coarsened(by)
    out = octets(_LONGEST * (6 + (NEAR + 2) * (len(positive.indices) + len(negative.indices))))
    at = _put(out, 0, histogram.shift + by)
    at = _put(out, at, histogram.zeros)
    at = _put_buckets(out, at, positive)
    at = _put_buckets(out, at, negative)
    facts: bytes = _FACTS.pack(histogram.sum, histogram.min, histogram.max)
    return facts + bytes(out[:at])


def _unpack_exponential(data: bytes, made: ExponentialHistogram) -> None:
    made.sum, made.min, made.max = _FACTS.unpack_from(data)
    reader = _Reader(data)
    made.shift = reader.number()
    made.zeros = reader.number()
    made.positive = reader.buckets()
    made.negative = reader.buckets()
    made.count = made.zeros + made.positive.total() + made.negative.total()


def _unpack_explicit(data: bytes, made: ExplicitHistogram) -> None:
    made.sum, made.min, made.max = _FACTS.unpack_from(data)
    reader = _Reader(data)
    n: i64 = len(made.counts)
    i: i64 = 0
    while i < n:
        made.counts[i] = reader.number()
        made.count += made.counts[i]
        i += 1


def _put(out: vec[u8], at: i64, number: i64) -> i64:
    while number > 127:
        out[at] = u8((number & 127) | 128)
        number >>= 7
        at += 1
    out[at] = u8(number)
    return at + 1


def _put_buckets(out: vec[u8], at: i64, buckets: Buckets) -> i64:
    indices, counts = buckets.indices, buckets.counts
    n: i64 = len(indices)
    at = _put(out, at, n)
    after: i64 = 0
    i: i64 = 0
    while i < n:
        first = i64(indices[i])
        end = i
        while end + 1 < n and i64(indices[end + 1]) - i64(indices[end]) <= NEAR:
            end += 1
        at = _put_signed(out, at, first - after)
        after = i64(indices[end]) + 1
        at = _put(out, at, after - first)
        before: i64 = 0
        bucket = first
        while bucket < after:
            count: i64 = 0
            if i64(indices[i]) == bucket:
                count = counts[i]
                i += 1
            at = _put_signed(out, at, count - before)
            before = count
            bucket += 1
    return at


def _put_signed(out: vec[u8], at: i64, number: i64) -> i64:
    return _put(out, at, -2 * number - 1 if number < 0 else 2 * number)


@final
class _Reader:
    """Reads the numbers, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data: Final = data
        self.at: i64 = _FACTS.size

    def number(self) -> i64:
        at = self.at
        byte: i64 = self.data[at]
        at += 1
        found = byte & 127
        shift: i64 = 7
        while byte > 127:
            byte = self.data[at]
            at += 1
            found |= (byte & 127) << shift
            shift += 7
        self.at = at
        return found

    def signed(self) -> i64:
        number = self.number()
        return -(number >> 1) - 1 if number & 1 else number >> 1

    def buckets(self) -> Buckets:
        n = self.number()
        if n == 0:
            return NO_BUCKETS
        if n > len(self.data):
            raise IndexError(n)
        indices, counts = narrow_zeros(n), zeros(n)
        bucket: i64 = 0
        i: i64 = 0
        while i < n:
            bucket += self.signed()
            after = bucket + self.number()
            count: i64 = 0
            while bucket < after:
                count += self.signed()
                if count != 0:
                    indices[i] = i32(bucket)  # raises IndexError where there are more than there should be
                    counts[i] = count
                    i += 1
                bucket += 1
        return Buckets(indices, counts)
