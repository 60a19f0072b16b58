"""What Prometheus shall be told of a snapshot, by the rules that the documentation states, written once more."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from fractions import Fraction
from itertools import accumulate
from typing import Any, NamedTuple

from metrics_sdk_prometheus.names import family_name, unit_words

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot

_SUFFIXES = {"counter": ("", "_total", "_created"), "gauge": ("",), "histogram": ("", "_bucket", "_sum", "_count", "_created")}

Labels = tuple[tuple[str, str], ...]


class Expected(NamedTuple):
    """The points that one series is made of: several where different attributes look alike."""

    type: str
    family: str
    unit: str
    labels: Labels
    points: list[Point]

    def total(self) -> float:
        """Return what a sum amounts to, in the order of the points."""
        total: Any = 0
        for at, point in enumerate(self.points):
            total = total + point.value if at else point.value
        return float(total)

    def count_at(self, bound: float) -> int:
        """Return how many values of histograms are shown at an upper bound."""
        return sum([_count_at(point.value, bound) for point in self.points])

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum([point.value.count for point in self.points])  # type: ignore[union-attr]


def expected(snapshot: Snapshot, reserved: Collection[str] = ()) -> dict[tuple[str, Labels], Expected]:
    """Return the series by family and labels."""
    made: dict[tuple[str, Labels], Expected] = {}
    used: dict[str, str] = {}
    types: dict[str, str] = {}
    for metric in snapshot.metrics:
        kind = {"counter": "counter", "observable_counter": "counter", "histogram": "histogram"}.get(metric.kind, "gauge")
        words = unit_words(metric.unit)
        family = family_name(metric.name, words, kind == "counter")
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", family), family
        names = [family + suffix for suffix in _SUFFIXES[kind]]
        if types.get(family) != kind:
            if any([name in used for name in names]):
                continue  # it contradicts one that came before
            types[family] = kind
            used.update(dict.fromkeys(names, family))
        _add(made, metric, kind, family, words if family.endswith(f"_{words}") else "", reserved)
    return made


def _add(
    made: dict[tuple[str, Labels], Expected], metric: Metric, kind: str, family: str, unit: str, reserved: Collection[str]
) -> None:
    own: dict[Labels, list[Point]] = {}
    for point in metric.points:
        if kind != "counter" or point.value >= 0:  # type: ignore[operator]
            own.setdefault(labels(dict(point.attributes), reserved), []).append(point)
    for key, points in own.items():
        made.setdefault((family, key), Expected(kind, family, unit, key, points))  # else another instrument has it already


def labels(attributes: dict[str, Any], reserved: Collection[str] = ()) -> Labels:
    """Return labels as Prometheus's legacy character set has them; those without a text are none."""
    made: dict[str, str] = {}
    for key, value in sorted(attributes.items(), key=lambda item: item[0]):
        name = re.sub(r"[^a-zA-Z0-9]+", "_", key) or "_"
        name = f"_{name}" if name[0].isdigit() else f"exported_{name}" if name in ("le", "quantile", *reserved) else name
        made[name] = f"{made[name]};{text(value)}" if name in made else text(value)
    return tuple(sorted([(name, one) for name, one in made.items() if one]))


def text(value: Any) -> str:
    """Return the text of an attribute's value."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        if isinstance(value, (list, tuple)):
            value = json.dumps(value, ensure_ascii=False, default=str)
        return str(value).encode("utf-8", "replace").decode()
    except Exception:
        return "<unprintable>"


def _count_at(value: Any, bound: float) -> int:
    if isinstance(value, ExplicitBuckets):
        if bound == math.inf:
            return sum(value.bucket_counts)
        return [*accumulate(value.bucket_counts)][value.boundaries.index(bound)]
    assert isinstance(value, ExponentialBuckets)
    below = value.zero_count + sum([count for _, count in value.negative])
    if bound == math.inf:
        return below + sum([count for _, count in value.positive])
    exponent = math.frexp(bound)[1] - 1
    assert bound == math.ldexp(1.0, exponent), "a bound that is no power of two"
    # A bucket counts from the first power of two on that is above its lower edge.
    step = Fraction(2) ** -value.scale
    return below + sum([count for bucket, count in value.positive if exponent > bucket * step])


def has_sum(one: Expected) -> bool:
    """Tell whether a histogram's sum can only grow, so that it may be shown."""
    values: list[Any] = [point.value for point in one.points]
    if not sum([value.sum for value in values]) >= 0 or any([value.min is not None and value.min < 0 for value in values]):
        return False
    if isinstance(values[0], ExponentialBuckets):
        return not any([value.negative for value in values])
    return not (values[0].boundaries and values[0].boundaries[0] < 0)
