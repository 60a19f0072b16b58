"""A snapshot as protobuf: `io.prometheus.client.MetricFamily`, each message with its length before it.

Names and numbers of the fields are those of `metrics.proto` in Prometheus's client_model. Histograms have the buckets that they
have as text; exponential ones are native histograms besides, of which Prometheus takes one or the other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from metrics_sdk.protobuf import FIXED64, LENGTH, double, message, tag, text, varint, whole
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Point

from .buckets import cumulative
from .exemplars import by_bucket, exemplar_texts
from .exposition import ODD, Walk
from .families import Layout
from .formats import PROTOBUF
from .labels import Scope, label_texts
from .native import Numbers, fields_of, native_of
from .numerals import as_double

_TYPES = {"counter": 0, "gauge": 1, "info": 1, "histogram": 4}
_NATIVE = Numbers(count=1, sum=2, schema=5, zero_threshold=6, zero_count=7, negative=(9, 10), positive=(12, 13))

_METRIC = tag(4, LENGTH)
_COUNTER = tag(3, LENGTH)
_GAUGE = tag(2, LENGTH) + varint(9)  # a double with its tag
_VALUE = Struct(f"<{len(tag(1, FIXED64))}sd").pack
_IS_VALUE = tag(1, FIXED64)
_BOUND = tag(2, FIXED64)


class Pairs(NamedTuple):
    """Labels as `LabelPair` messages, in the field that a `Metric` has them in."""

    attributes: object
    whole: bytes


def pairs_of(attributes: Sequence[tuple[str, Any]], scope: Scope | None = None, reserved: Collection[str] = ()) -> Pairs:
    """Return the labels of an attribute set, as `labels_of` does for text."""
    texts = label_texts(attributes, scope is not None, reserved)
    return Pairs(attributes, pairs(texts if scope is None else {**scope.texts, **texts}))


def pairs(texts: Mapping[str, str]) -> bytes:
    """Return labels as field 1 of a message: `LabelPair`, or `Label` of remote write, which is alike."""
    return b"".join([message(1, text(1, name) + text(2, value)) for name, value in texts.items() if value])


def messages(walk: Walk[Pairs]) -> Iterator[bytes]:
    """Yield the families that a walk comes by; nothing, b"", where it pauses. A value that cannot be told is left out."""
    made: list[bytes] = []
    created: dict[float, bytes] = {}  # most series have begun at one of a few times
    last: Layout | None = None
    for layout, points, labels, begins in walk:
        if begins:
            if last is not None and made:
                yield _family(last, made)
            last, made = layout, []
        for point, label in zip(points, labels):
            try:
                since = created.get(point.start_time)
                if since is None:
                    since = created[point.start_time] = _timestamp(point.start_time)
                content = label.whole + _BY_TYPE[layout.type](layout, point, since)
            except ODD as problem:
                walk.leave_out_odd(layout, problem)
            else:
                made.append(_METRIC + varint(len(content)) + content)
            if layout.type == "histogram":  # a wide one takes 70 µs
                yield b""
        yield b""
    if last is not None and made:
        yield _family(last, made)


def _family(layout: Layout, metrics: list[bytes]) -> bytes:
    name = PROTOBUF.resource_family if layout.type == "info" else layout.family
    if layout.type == "counter":
        name += PROTOBUF.counter_suffix
    about = text(1, name) + text(2, layout.help) + whole(3, _TYPES[layout.type]) + text(5, layout.unit)
    content = about + b"".join(metrics)
    return varint(len(content)) + content


def _counter(layout: Layout, point: Point, since: bytes) -> bytes:
    content = _VALUE(_IS_VALUE, as_double(point.value)) + (message(3, since) if since else b"")  # type: ignore[arg-type]
    for exemplar in by_bucket(point.exemplars, ()).values():
        content += message(2, _exemplar(exemplar))
    return _COUNTER + varint(len(content)) + content


def _gauge(layout: Layout, point: Point, since: bytes) -> bytes:
    return _GAUGE + _VALUE(_IS_VALUE, as_double(point.value))  # type: ignore[arg-type]


def _histogram(layout: Layout, point: Point, since: bytes) -> bytes:
    value = point.value
    if not isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
        raise ValueError("a number where buckets should be")
    counts = cumulative(value, layout.exponents)
    native = native_of(value) if isinstance(value, ExponentialBuckets) else None
    # The sum is always there, even one that may fall: readers would take one that is not for 0.
    made = [whole(1, counts[-1]) + double(2, as_double(value.sum)) if native is None else fields_of(native, _NATIVE)]
    bounds = layout.bounds(value)
    exemplars = by_bucket(point.exemplars, bounds) if point.exemplars else {}
    for at, (count, bound) in enumerate(zip(counts, (*bounds, math.inf), strict=True)):
        bucket = whole(1, count) + _VALUE(_BOUND, bound)
        if at in exemplars:
            bucket += message(3, _exemplar(exemplars[at]))
        made.append(message(3, bucket))
    if since:
        made.append(message(15, since))
    if native is not None:
        known = [one for one in point.exemplars if one.value == one.value and math.isfinite(one.time)]
        made += [message(16, _exemplar(one)) for one in sorted(known, key=_time)]
    return message(7, b"".join(made))


def _exemplar(exemplar: Exemplar) -> bytes:
    time = _timestamp(exemplar.time)
    return pairs(exemplar_texts(exemplar)) + double(2, as_double(exemplar.value)) + (message(3, time) if time else b"")


def _timestamp(time: float) -> bytes:
    """Return a `google.protobuf.Timestamp`, nothing for what is no time."""
    if not math.isfinite(time):
        return b""
    seconds = math.floor(time)
    return whole(1, seconds) + whole(2, min(999_999_999, int((time - seconds) * 1e9)))


def _time(exemplar: Exemplar) -> float:
    return exemplar.time


_BY_TYPE = {"counter": _counter, "gauge": _gauge, "info": _gauge, "histogram": _histogram}
