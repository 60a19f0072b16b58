"""Snapshots as OTLP's `ExportMetricsServiceRequest`: opentelemetry-proto's metrics.proto, common.proto and resource.proto, 1.x.

Written with `metrics_sdk.protobuf`, since most of a point stays the same from one export to the next: its attributes, encoded,
are remembered. What comes out is what the official classes read, and the tests read it with these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, NamedTuple

from metrics_sdk.http_target import Request
from metrics_sdk.protobuf import FIXED64, LENGTH, VARINT, double, message, packed_doubles, tag, text, varint, whole, zigzag
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import (
    Attributes,
    Exemplar,
    ExplicitBuckets,
    ExponentialBuckets,
    Meter,
    Metric,
    Point,
    Snapshot,
    normalise,
)
from metrics_sdk.version import __version__

_OWN = Meter("metrics_sdk", __version__)  # the scope of what is recorded with the SDK's own instruments
_TEMPORALITY = {"delta": 1, "cumulative": 2}
_MONOTONIC = ("counter", "observable_counter")
_HEAD = 6  # bytes that a tag and a length take at most
_WIDEST = 65_536  # buckets between the first and the last one of a histogram that anybody would want to read

# NumberDataPoint: start_time_unix_nano 2, time_unix_nano 3, then as_double 4 or as_int 6.
_DOUBLE_POINT = Struct("<BQBQBd").pack
_INT_POINT = Struct("<BQBQBq").pack
# HistogramDataPoint, ExponentialHistogramDataPoint: start_time_unix_nano 2, time_unix_nano 3, count 4, sum 5; the latter has
# zero_count 7 besides.
_NO_SUM = Struct("<BQBQBQ").pack
_SUM = Struct("<BQBQBQBd").pack
_ZEROS = Struct("<BQ").pack
_EXTREMES = Struct("<BdBd").pack


_DATA_POINT = tag(1, LENGTH)  # data_points, of Gauge, Sum, Histogram and ExponentialHistogram alike
_SCALE, _POSITIVE, _NEGATIVE = tag(6, VARINT), tag(8, LENGTH), tag(9, LENGTH)  # of ExponentialHistogramDataPoint
_OFFSET, _BUCKET_COUNTS = tag(1, VARINT), tag(2, LENGTH)  # of its Buckets


class _Layout(NamedTuple):
    """Which field of Metric a kind of point belongs in, and which fields it has its attributes and exemplars in."""

    metric: int
    attributes: int
    exemplars: int


_GAUGE = _Layout(5, 7, 5)
_NUMBER = _Layout(7, 7, 5)
_EXPLICIT = _Layout(9, 9, 8)
_EXPONENTIAL = _Layout(10, 1, 11)


class Encoder:
    """Makes requests of snapshots, and remembers the attributes of series. For one thread at a time."""

    def __init__(self, max_request_bytes: int, *, cached_series: int = 100_000, cached_bytes: int = 1000) -> None:
        """No request is larger than `max_request_bytes`.

        At most `cached_series` series are remembered, and none with more than `cached_bytes` of attributes.
        """
        self._max_request_bytes = max_request_bytes
        self._cached_series = cached_series
        self._cached_bytes = cached_bytes
        # By the field that they are in, and by identity, which is faster than by value and tells `1`, `1.0` and `True` apart;
        # the value keeps the key alive.
        self._attributes: dict[int, dict[int, tuple[Attributes, bytes]]] = {7: {}, 9: {}, 1: {}}
        self._boundaries: dict[tuple[float, ...], tuple[bytes, Callable[..., bytes]]] = {}

    def requests(self, snapshot: Snapshot) -> Iterator[Request]:
        """Yield the requests, each encoded when the one before it is done with; between points others get their turn.

        A point that cannot be encoded costs itself alone.
        """
        envelope = message(1, key_values(1, normalise(snapshot.resource)))
        batch = _Batch(envelope, self._max_request_bytes)
        told = 0
        for metric in snapshot.metrics:
            told += len(metric.points)
            layout = _layout(metric)
            batch.open(metric, layout)
            for point in in_slices(metric.points):
                try:
                    made = self._point(layout, point)
                except Exception as error:  # whatever is in there, of producers above all, it costs this point alone
                    batch.leave_out(f"a point of {metric.name!r} cannot be encoded: {error}")
                    continue
                if not batch.add(made):
                    if batch.fits_alone(made):
                        yield batch.request()
                        batch = _Batch(envelope, self._max_request_bytes)
                        batch.open(metric, layout)
                        batch.add(made)
                    else:
                        batch.leave_out(f"a point of {metric.name!r} is larger than a request may be")
        if batch.points:
            yield batch.request()
        # What is gone has to be forgotten some time.
        for known in self._attributes.values():
            if len(known) > 2 * told + 1024:
                known.clear()
        if len(self._boundaries) > 1024:
            self._boundaries.clear()

    def _point(self, layout: _Layout, point: Point) -> bytes:
        """Return a data point as the messages of all kinds have it. Raises something for what cannot be encoded."""
        attributes, value, start_time, time, exemplars = point
        start, end = int(start_time * 1e9), int(time * 1e9)
        if layout is _EXPLICIT:
            body = self._explicit(value, start, end)  # type: ignore[arg-type]  # else it raises, and is left out
        elif layout is _EXPONENTIAL:
            body = _exponential(value, start, end)  # type: ignore[arg-type]
        else:
            body = _number(value, start, end, layout is _GAUGE)
        if attributes:
            known = self._attributes[layout.attributes].get(id(attributes))
            body += known[1] if known is not None else self._remembered(attributes, layout.attributes)
        if exemplars:
            body += b"".join([message(layout.exemplars, _exemplar(one)) for one in exemplars])
        return _DATA_POINT + varint(len(body)) + body

    def _remembered(self, attributes: Attributes, field: int) -> bytes:
        made = key_values(field, attributes)
        known = self._attributes[field]
        if len(made) <= self._cached_bytes and len(known) < self._cached_series:
            known[id(attributes)] = (attributes, made)
        return made

    def _explicit(self, value: ExplicitBuckets, start: int, end: int) -> bytes:
        counts, boundaries = value.bucket_counts, value.boundaries
        known = self._boundaries.get(boundaries)
        if known is None:
            finite = boundaries[:-1] if boundaries and boundaries[-1] == math.inf else boundaries
            size = len(finite) + 1
            known = (packed_doubles(7, finite) + tag(6, LENGTH) + varint(8 * size), Struct(f"<{size}Q").pack)
            self._boundaries[boundaries] = known
        if boundaries and boundaries[-1] == math.inf:
            counts = (*counts[:-2], counts[-2] + counts[-1])
        return _extent(value, start, end) + _extremes(value, 0x59, 0x61) + known[0] + known[1](*counts)


def _layout(metric: Metric) -> _Layout:
    value = metric.points[0].value if metric.points else 0
    if isinstance(value, ExplicitBuckets):
        return _EXPLICIT
    if isinstance(value, ExponentialBuckets):
        return _EXPONENTIAL
    return _GAUGE if metric.kind.endswith("gauge") else _NUMBER


class _Batch:
    """What goes into one request: metrics by meter, each opened, and then given points."""

    def __init__(self, resource: bytes, max_bytes: int) -> None:
        self._resource = resource
        self._max_bytes = max_bytes
        self._scopes: dict[Meter, list[bytes]] = {}
        self._size = len(resource) + _HEAD
        self._opened: tuple[Metric, _Layout] | None = None
        self._pieces: list[bytes] = []
        self._envelope = 0  # bytes around the points of the metric that is open
        self._unfit = 0
        self._why = ""
        self.points = 0

    def open(self, metric: Metric, layout: _Layout) -> None:
        """Go on with another metric."""
        self._close()
        self._opened = (metric, layout)
        meter = metric.meter or _OWN
        self._envelope = len(_about(metric)) + 4 * _HEAD
        if meter not in self._scopes:
            self._envelope += len(_scope(meter)) + _HEAD

    def add(self, point: bytes) -> bool:
        """Add a point; False: there is no room for it."""
        size = self._size + len(point) + (0 if self._pieces else self._envelope)
        if size > self._max_bytes:
            return False
        self._size = size
        self._pieces.append(point)
        self.points += 1
        return True

    def fits_alone(self, point: bytes) -> bool:
        """Tell whether a request has room for the point if it has nothing else; if this one has something else."""
        metric = self._opened[0] if self._opened else None
        alone = len(self._resource) + len(point) + 6 * _HEAD
        if metric is not None:
            alone += len(_about(metric)) + len(_scope(metric.meter or _OWN))
        return alone <= self._max_bytes and bool(self._pieces or self._scopes)

    def leave_out(self, why: str) -> None:
        """Take note of a point that is not sent."""
        self.points += 1
        self._unfit += 1
        self._why = self._why or why

    def request(self) -> Request:
        """Return the request; without a body, if there is nothing to send."""
        self._close()
        scopes = [
            message(2, _scope(meter) + b"".join(metrics) + text(3, meter.schema_url or ""))
            for meter, metrics in self._scopes.items()
        ]
        body = message(1, self._resource + b"".join(scopes)) if scopes else b""
        return Request(body, self.points, self._unfit, self._why)

    def _close(self) -> None:
        if self._pieces and self._opened is not None:
            metric, layout = self._opened
            data = b"".join(self._pieces)
            if layout is not _GAUGE:
                data += whole(2, _TEMPORALITY[metric.temporality])
            if layout is _NUMBER and metric.kind in _MONOTONIC:
                data += whole(3, 1)
            made = message(2, _about(metric) + message(layout.metric, data))
            self._scopes.setdefault(metric.meter or _OWN, []).append(made)
            self._pieces = []


def _about(metric: Metric) -> bytes:
    return text(1, metric.name) + text(2, metric.description) + text(3, metric.unit)


def _scope(meter: Meter) -> bytes:
    return message(1, text(1, meter.name) + text(2, meter.version or "") + key_values(3, meter.attributes))


def _number(value: Any, start: int, end: int, is_gauge: bool) -> bytes:
    if is_gauge:
        start = 0
    if type(value) is int and -(2**63) <= value < 2**63:
        return _INT_POINT(0x11, start, 0x19, end, 0x31, value)
    value = float(value)  # an int beyond 64 bits among them
    if value - value != 0.0 and not is_gauge:
        raise ValueError(f"{value} is no sum")
    return _DOUBLE_POINT(0x11, start, 0x19, end, 0x21, value)


def _extent(value: ExplicitBuckets | ExponentialBuckets, start: int, end: int) -> bytes:
    """Return the times, the count, and the sum unless it is not finite."""
    total = value.sum
    if total - total == 0.0:
        return _SUM(0x11, start, 0x19, end, 0x21, value.count, 0x29, total)
    return _NO_SUM(0x11, start, 0x19, end, 0x21, value.count)


def _extremes(value: ExplicitBuckets | ExponentialBuckets, low: int, high: int) -> bytes:
    """Return the minimum and the maximum, with these tags; those that are not finite, or not known, are left out."""
    least, most = value.min, value.max
    if least is not None and most is not None and least - most - (least - most) == 0.0:
        return _EXTREMES(low, least, high, most)
    made = b"" if least is None or least - least != 0.0 else double(low >> 3, least)
    return made if most is None or most - most != 0.0 else made + double(high >> 3, most)


def _exponential(value: ExponentialBuckets, start: int, end: int) -> bytes:
    made = _extent(value, start, end) + _extremes(value, 0x61, 0x69) + _SCALE + varint(zigzag(value.scale))
    if value.zero_count:
        made += _ZEROS(0x39, value.zero_count)
    if value.positive:
        buckets = _buckets(value.positive)
        made += _POSITIVE + varint(len(buckets)) + buckets
    if value.negative:
        buckets = _buckets(value.negative)
        made += _NEGATIVE + varint(len(buckets)) + buckets
    return made


def _buckets(used: tuple[tuple[int, int], ...]) -> bytes:
    first = used[0][0]
    width = used[-1][0] - first + 1
    if not 0 < width <= _WIDEST:
        raise ValueError(f"its buckets reach from {first} to {used[-1][0]}")
    packed = bytearray(width)
    for index, count in used:
        if count > 127:  # below, a varint is the number itself
            packed = _packed(used, first, width)
            break
        packed[index - first] = count
    return b"".join((_OFFSET, varint(zigzag(first)), _BUCKET_COUNTS, varint(len(packed)), packed))


def _packed(used: tuple[tuple[int, int], ...], first: int, width: int) -> bytearray:
    counts = [b"\0"] * width
    for index, count in used:
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
    if isinstance(value, int):
        return whole(3, value)
    if isinstance(value, float):
        return double(4, value)
    if isinstance(value, (tuple, list)):
        return message(5, b"".join([message(1, _any_value(one)) for one in value]))
    # Not by `text`, which leaves the empty one out: here it is a value.
    return message(1, str(value).encode("utf-8", "replace"))
