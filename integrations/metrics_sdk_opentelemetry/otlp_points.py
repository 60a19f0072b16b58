"""Points as OTLP's data points: opentelemetry-proto's metrics.proto and common.proto, 1.x.

Written with `metrics_sdk.protobuf`, since most of a point stays the same from one export to the next: its attributes, encoded,
are remembered. What comes out is what the official classes read, and the tests read it with these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from metrics_sdk.protobuf import FIXED64, LENGTH, VARINT, double, message, packed_doubles, tag, text, varint, whole, zigzag
from metrics_sdk.snapshot import (
    Attributes,
    Exemplar,
    ExplicitBuckets,
    ExponentialBuckets,
    Metric,
    Point,
)

_WIDEST = 65_536  # buckets between the first and the last one of a histogram that anybody would want to read

# NumberDataPoint: start_time_unix_nano 2, time_unix_nano 3, then as_double 4 or as_int 6.
_DOUBLE_POINT = Struct("<BQBQBd").pack
_INT_POINT = Struct("<BQBQBq").pack
# HistogramDataPoint, ExponentialHistogramDataPoint: start_time_unix_nano 2, time_unix_nano 3, count 4, sum 5; the latter has
# zero_count 7 besides.
_NO_SUM = Struct("<BQBQBQ").pack
_ALL = Struct("<BQBQBQBdBdBd").pack  # with minimum and maximum
_ZEROS = Struct("<BQ").pack

_DATA_POINT = tag(1, LENGTH)  # data_points, of Gauge, Sum, Histogram and ExponentialHistogram alike
_SCALE, _POSITIVE, _NEGATIVE = tag(6, VARINT), tag(8, LENGTH), tag(9, LENGTH)  # of ExponentialHistogramDataPoint
_OFFSET, _BUCKET_COUNTS = tag(1, VARINT), tag(2, LENGTH)  # of its Buckets


class Layout(NamedTuple):
    """Which field of Metric a kind of point belongs in, and which fields it has its attributes and exemplars in."""

    metric: int
    attributes: int
    exemplars: int


GAUGE = Layout(5, 7, 5)
NUMBER = Layout(7, 7, 5)
_EXPLICIT = Layout(9, 9, 8)
_EXPONENTIAL = Layout(10, 1, 11)


class PointEncoder:
    """Encodes data points, and remembers the attributes of series. For one thread at a time."""

    def __init__(self, cached_series: int, cached_bytes: int) -> None:
        """Remember at most `cached_series` series, and none with more than `cached_bytes` of attributes."""
        self._cached_series = cached_series
        self._cached_bytes = cached_bytes
        # By the field that they are in, and by identity, which is faster than by value and tells `1`, `1.0` and `True` apart;
        # the value keeps the key alive.
        self._attributes: dict[int, dict[int, tuple[Attributes, bytes]]] = {7: {}, 9: {}, 1: {}}
        self._bounds: tuple[object, bytes, Callable[..., bytes]] = (None, b"", bytes)
        self._missed = False  # there was no room for a series

    def forget(self, series: int) -> None:
        """Let go of what is no more: where far more than so many series are remembered, or the room for these is taken."""
        for known in self._attributes.values():
            if len(known) > 2 * series + 1024 or (self._missed and len(known) >= self._cached_series >= series):
                known.clear()
        self._missed = False

    def encoded(self, layout: Layout, point: Point) -> bytes:
        """Return a data point as the messages of all kinds have it. Raises something for what cannot be encoded."""
        attributes, value, start_time, time, exemplars = point
        start, end = int(start_time * 1e9), int(time * 1e9)
        if layout is _EXPLICIT:
            body = self._explicit(value, start, end)  # type: ignore[arg-type]  # else it raises, and is left out
        elif layout is _EXPONENTIAL:
            body = _exponential(value, start, end)  # type: ignore[arg-type]
        else:
            body = _number(value, start, end, layout is GAUGE)
        if attributes:
            known = self._attributes[layout.attributes].get(id(attributes))
            body += known[1] if known is not None else self._remembered(attributes, layout.attributes)
        if exemplars:
            body += b"".join([message(layout.exemplars, _exemplar(one)) for one in exemplars])
        return _DATA_POINT + varint(len(body)) + body

    def _remembered(self, attributes: Attributes, field: int) -> bytes:
        made = key_values(field, attributes)
        known = self._attributes[field]
        if len(known) >= self._cached_series:
            self._missed = True
        elif len(made) <= self._cached_bytes:
            known[id(attributes)] = (attributes, made)
        return made

    def _explicit(self, value: ExplicitBuckets, start: int, end: int) -> bytes:
        count, total, least, most, boundaries, counts = value
        if boundaries is not self._bounds[0]:  # those of the metric before; hashing a tuple of floats takes a while
            self._bounds = (boundaries, *self._bounds_of(boundaries))
        if boundaries and boundaries[-1] == math.inf:
            counts = (*counts[:-2], counts[-2] + counts[-1])
        _, encoded, pack = self._bounds
        return _extent(count, total, least, most, start, end, 0x59, 0x61) + encoded + pack(*counts)

    def _bounds_of(self, boundaries: tuple[float, ...]) -> tuple[bytes, Callable[..., bytes]]:
        """Return boundaries, encoded with what stands before the counts, and what packs the counts."""
        finite = boundaries[:-1] if boundaries and boundaries[-1] == math.inf else boundaries
        size = len(finite) + 1
        return packed_doubles(7, finite) + tag(6, LENGTH) + varint(8 * size), Struct(f"<{size}Q").pack


def layout_of(metric: Metric) -> Layout:
    """Return what kind of points a metric has."""
    value = metric.points[0].value if metric.points else 0
    if isinstance(value, ExplicitBuckets):
        return _EXPLICIT
    if isinstance(value, ExponentialBuckets):
        return _EXPONENTIAL
    return GAUGE if metric.kind.endswith("gauge") else NUMBER


def _number(value: Any, start: int, end: int, is_gauge: bool) -> bytes:
    if is_gauge:
        start = 0
    if type(value) is int and -(2**63) <= value < 2**63:
        return _INT_POINT(0x11, start, 0x19, end, 0x31, value)
    if not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} is no number")
    value = float(value)  # an int beyond 64 bits among them
    if value - value != 0.0 and not is_gauge:
        raise ValueError(f"{value} is no sum")
    return _DOUBLE_POINT(0x11, start, 0x19, end, 0x21, value)


def _extent(
    count: int, total: float, least: float | None, most: float | None, start: int, end: int, low: int, high: int
) -> bytes:
    """Return the times, count, sum, minimum and maximum, the latter two with these tags.

    Of the last three, those that are not finite, or not known, are left out.
    """
    if least is not None and most is not None and total - total + (least - least) + (most - most) == 0.0:
        return _ALL(0x11, start, 0x19, end, 0x21, count, 0x29, total, low, least, high, most)
    made = _NO_SUM(0x11, start, 0x19, end, 0x21, count)
    for tagged, number in ((0x29, total), (low, least), (high, most)):
        if number is not None and number - number == 0.0:
            made += double(tagged >> 3, number)
    return made


def _exponential(value: ExponentialBuckets, start: int, end: int) -> bytes:
    count, total, least, most, scale, zeros, positive, negative = value
    made = _extent(count, total, least, most, start, end, 0x61, 0x69) + _SCALE + varint(zigzag(scale))
    if zeros:
        made += _ZEROS(0x39, zeros)
    if positive:
        buckets = _buckets(positive)
        made += _POSITIVE + varint(len(buckets)) + buckets
    if negative:
        buckets = _buckets(negative)
        made += _NEGATIVE + varint(len(buckets)) + buckets
    return made


def _buckets(used: tuple[tuple[int, int], ...]) -> bytes:
    first = used[0][0]
    width = used[-1][0] - first + 1
    if not 0 < width <= _WIDEST:
        raise ValueError(f"its buckets reach from {first} to {used[-1][0]}")
    packed = bytearray(width)
    for index, count in used:
        if not 0 <= count < 128:  # there, a varint is the number itself
            packed = _packed(used, first, width)
            break
        packed[index - first] = count
    return b"".join((_OFFSET, varint(zigzag(first)), _BUCKET_COUNTS, varint(len(packed)), packed))


def _packed(used: tuple[tuple[int, int], ...], first: int, width: int) -> bytearray:
    counts = [b"\0"] * width
    for index, count in used:
        if count < 0:
            raise ValueError(f"a bucket with {count} values")
        counts[index - first] = varint(count)
    return bytearray().join(counts)


def _exemplar(one: Exemplar) -> bytes:
    made = _ZEROS(0x11, int(one.time * 1e9)) + key_values(7, one.attributes)
    value: Any = one.value
    if type(value) is int and -(2**63) <= value < 2**63:
        made += tag(6, FIXED64) + value.to_bytes(8, "little", signed=True)
    else:
        made += double(3, value)
    if one.span_id:
        made += message(4, one.span_id.to_bytes(8, "big"))
    if one.trace_id:
        made += message(5, one.trace_id.to_bytes(16, "big"))
    return made


def key_values(number: int, attributes: Attributes) -> bytes:
    """Return attributes in normal form as repeated KeyValue."""
    return b"".join([message(number, text(1, key) + message(2, _any_value(value))) for key, value in attributes])


def _any_value(value: object) -> bytes:
    if isinstance(value, bool):
        return whole(2, value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return whole(3, value)
    if isinstance(value, float):
        return double(4, value)
    if isinstance(value, (tuple, list)):
        return message(5, b"".join([message(1, _any_value(one)) for one in value]))
    # Not by `text`, which leaves the empty one out: here it is a value.
    return message(1, str(value).encode("utf-8", "replace"))
