"""The lines of a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot

from .buckets import Buckets
from .dialects import MILLISECONDS, Dialect
from .numerals import Unfit, number, rate
from .spread import spread
from .texts import SCOPE_TAG, constant_tags, name_with, safe_name, tags_of

COUNTERS = frozenset(("counter", "observable_counter"))


class Lines:
    """Writes the points of one snapshot."""

    def __init__(
        self,
        dialect: Dialect,
        prefix: str,
        snapshot: Snapshot,
        resource_tags: Mapping[str, str],
        tags: Mapping[str, Any],
    ) -> None:
        self._dialect = dialect
        self._prefix = prefix
        self._constant = constant_tags(dialect, snapshot.resource, resource_tags, tags) if dialect.has_tags else {}
        self._taken = {*self._constant, SCOPE_TAG}
        self._metric: Metric | None = None
        self._name = ""

    def of(self, metric: Metric, point: Point, value: float | Buckets) -> list[str]:
        """Return the texts of a point with this value: each is one line, or lines that belong into the same datagram.

        Nothing for a counter that is zero and a histogram without values. Raises Unfit for what cannot be written.
        """
        if metric is not self._metric:  # mostly there are more points of it
            self._metric, self._name = metric, safe_name(self._dialect, f"{self._prefix}{metric.name}")
        name = self._name
        tail = ""
        if self._dialect.has_tags:
            tags = list(self._constant.values())
            if metric.meter is not None and metric.meter.name:
                tags += tags_of(self._dialect, [(SCOPE_TAG, metric.meter.name)])
            tags += tags_of(self._dialect, point.attributes, self._taken)
            tail = f"|#{','.join(tags)}" if tags else ""
        else:
            name = name_with(self._dialect, name, point.attributes)
        if isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
            return self._timer(name, value, metric.unit, tail)
        text = number(value)
        if metric.kind in COUNTERS:
            return [] if text == "0" else [f"{name}:{text}|c{tail}"]
        if text.startswith("-") and self._dialect.signs_are_changes:
            return [f"{name}:0|g{tail}\n{name}:{text}|g{tail}"]
        return [f"{name}:{text}|g{tail}"]

    def _timer(self, name: str, buckets: Buckets, unit: str, tail: str) -> list[str]:
        dialect = self._dialect
        many, one = MILLISECONDS.get(unit, (1, 1)) if dialect.in_milliseconds else (1, 1)
        made = []
        for value, weight in spread(buckets, dialect.max_samples, dialect.weighs):
            if value < 0.0 and dialect.signs_are_changes:
                raise Unfit("a timer of this dialect has no negative values")
            sampled = f"|@{rate(weight)}" if weight > 1 else ""
            made.append(f"{name}:{number(value * many / one)}|{dialect.timer}{sampled}{tail}")
        return made
