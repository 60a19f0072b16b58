"""Series as remote write has them: `TimeSeries` and `MetricMetadata`, fields of a `WriteRequest`.

Names and numbers of the fields are those of `remote.proto` and `types.proto` in Prometheus's prompb. "Prometheus Remote-Write
Specification" 1.0: the labels of a series are sorted by name, and all of them are there, `__name__` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import Any, NamedTuple

from metrics_sdk.protobuf import FIXED64, LENGTH, VARINT, double, message, tag, text, varint, whole
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Point

from .buckets import cumulative, may_hold_negatives
from .exemplars import by_bucket, exemplar_texts
from .families import Layout
from .labels import Scope, label_texts
from .messages import pairs
from .native import Numbers, fields_of, native_of
from .numerals import as_double, bound

#: The labels that tell where a series comes from. An attribute of such a name becomes `exported_…`, as when it is scraped.
TARGET = ("instance", "job")

_NATIVE = Numbers(count=1, sum=3, schema=4, zero_threshold=5, zero_count=6, negative=(8, 9), positive=(11, 12))
_TYPES = {"counter": 1, "gauge": 2, "info": 2, "histogram": 3}  # of MetricMetadata

_SERIES = tag(1, LENGTH)
_VALUE = Struct("<d").pack
#: The value that says that a series has ended, as no other NaN does.
_STALE = Struct("<Q").pack(0x7FF0000000000002)


class SeriesLabels(NamedTuple):
    """Labels but for `__name__` and `le`, sorted; these come in after `name_at` and `le_at` bytes."""

    attributes: object
    whole: bytes
    name_at: int
    le_at: int


class Name(NamedTuple):
    """What tells the series of a point apart: the labels `__name__` and, of buckets, `le`; and what is a native histogram."""

    name: bytes
    le: bytes = b""
    is_native: bool = False


def series_labels(target: Mapping[str, str], attributes: Sequence[tuple[str, Any]], scope: Scope | None = None) -> SeriesLabels:
    """Return the labels of the series of an attribute set, with those of `target`."""
    texts = label_texts(attributes, scope is not None, _RESERVED)
    everything = {**({} if scope is None else scope.texts), **texts, **target}
    names = sorted(everything)
    encoded = {name: pairs({name: everything[name]}) for name in names}

    def before(other: str) -> int:
        return sum([len(encoded[name]) for name in names if name < other])

    return SeriesLabels(attributes, b"".join(encoded.values()), before("__name__"), before("le"))


_RESERVED: Collection[str] = frozenset(TARGET)


class Writer:
    """Writes points as series of one time; `native`: exponential histograms as native ones, where that can be."""

    def __init__(self, time: float, native: bool) -> None:
        self._native = native
        self._milliseconds = milliseconds = math.floor(time * 1000)
        self._time = whole(2, milliseconds)
        self._sample = tag(2, LENGTH) + varint(9 + len(self._time)) + tag(1, FIXED64)
        self._names: dict[object, tuple[Name, ...]] = {}

    def series(self, layout: Layout, point: Point, labels: SeriesLabels) -> tuple[tuple[Name, ...], list[bytes]]:
        """Return what the series of a point are called, and the series. Raises one of `ODD` for what cannot be told."""
        value = point.value
        if layout.type != "histogram":
            suffix = layout.names[1] if layout.type in ("counter", "info") else layout.family
            names = self._known((layout.family, layout.type), lambda: (_name(suffix),))
            numbers: Sequence[float] = (value,)  # type: ignore[assignment]
            bounds: Sequence[float] = ()
        elif not isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
            raise TypeError("a number where buckets should be")
        else:
            native = native_of(value) if self._native and isinstance(value, ExponentialBuckets) else None
            if native is not None:
                names = self._known((layout.family, True), lambda: (Name(_name(layout.family).name, is_native=True),))
                told = fields_of(native, _NATIVE) + whole(15, self._milliseconds)
                return names, [self._one(labels, names[0], message(4, told), sorted(point.exemplars, key=_time))]
            bounds = layout.bounds(value)
            counts = cumulative(value, layout.exponents)
            has_sum = not may_hold_negatives(value)  # else it may fall, as in text
            at = value.boundaries if isinstance(value, ExplicitBuckets) else layout.exponents
            names = self._known((layout.family, at, has_sum), partial(_bucket_names, layout, bounds, has_sum))
            numbers = [*counts, *((value.sum,) if has_sum else ()), counts[-1]]
        exemplars = by_bucket(point.exemplars, bounds) if point.exemplars and layout.type != "gauge" else {}
        made = []
        for place, (name, number) in enumerate(zip(names, numbers, strict=True)):
            sample = self._sample + _VALUE(as_double(number)) + self._time
            made.append(self._one(labels, name, sample, (exemplars[place],) if place in exemplars else ()))
        return names, made

    def ended(self, names: Iterable[Name], labels: SeriesLabels) -> Iterator[bytes]:
        """Yield the series that are called so, with what says that they have ended."""
        for name in names:
            if name.is_native:
                told = whole(1, 0) + tag(3, FIXED64) + _STALE + tag(15, VARINT) + varint(self._milliseconds)
                yield self._one(labels, name, message(4, told), ())
            else:
                yield self._one(labels, name, self._sample + _STALE + self._time, ())

    def _one(self, labels: SeriesLabels, name: Name, told: bytes, exemplars: Iterable[Exemplar]) -> bytes:
        others, name_at, le_at = labels.whole, labels.name_at, labels.le_at
        content = b"".join([others[:name_at], name.name, others[name_at:le_at], name.le, others[le_at:], told])
        for exemplar in exemplars:
            if exemplar.value == exemplar.value and math.isfinite(exemplar.time):
                time = whole(3, math.floor(exemplar.time * 1000))
                content += message(3, pairs(exemplar_texts(exemplar)) + double(2, as_double(exemplar.value)) + time)
        return _SERIES + varint(len(content)) + content

    def _known(self, key: object, make: Callable[[], tuple[Name, ...]]) -> tuple[Name, ...]:
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = make()
        return found


def metadata(layout: Layout) -> bytes:
    """Return what is known of a family."""
    name = layout.names[1] if layout.type in ("counter", "info") else layout.family
    return message(3, whole(1, _TYPES[layout.type]) + text(2, name) + text(4, layout.help) + text(5, layout.unit))


def _bucket_names(layout: Layout, bounds: Sequence[float], has_sum: bool) -> tuple[Name, ...]:
    name = _name(f"{layout.family}_bucket")
    les = [*[bound(one) for one in bounds], "+Inf"]
    others = [_name(layout.family + suffix) for suffix in (("_sum", "_count") if has_sum else ("_count",))]
    return (*[name._replace(le=pairs({"le": le})) for le in les], *others)


def _name(text: str) -> Name:
    return Name(pairs({"__name__": text}))


def _time(exemplar: Exemplar) -> float:
    return exemplar.time
