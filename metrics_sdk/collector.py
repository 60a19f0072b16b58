"""What one reader collects: its streams, each as totals or as what has come since it was told last.

Deltas are gone only once they are acknowledged: until then they are held here, and the next collection has them again, with
what has come since. So a failed export loses nothing, and doubles nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from metrics_sdk.clock import Clock
from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.attributes import OVERFLOW, identity
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.exemplars import Exemplar
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.query import value_of
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Metric, Point
from metrics_sdk.streams import Streams
from metrics_sdk.temporality import Preference, by_kind
from metrics_sdk.view import Aggregation

_HELD_APART = 32  # parts of a series that nobody acknowledges, before they are merged into one
_CUT_TOGETHER = 64  # series that are cut between two looks at the clock


class Collector:
    """One reader's view of an SDK. Collecting may be done by one thread at a time; `lock` sees to that."""

    def __init__(
        self,
        streams: Streams,
        clock: Clock,
        temporality: Preference = "cumulative",
        aggregation: Callable[[Kind], Aggregation | None] | None = None,
        cardinality_limit: Callable[[Kind], int | None] | None = None,
    ) -> None:
        self.temporality = by_kind(temporality)
        self.lock: Any = threading.RLock()
        self._streams = streams
        self._clock = clock
        self._aggregation = aggregation
        self._cardinality_limit = cardinality_limit
        self._slots: dict[Table, int] = {}  # which tap of the series of a table is this reader's
        self._begin()

    def _begin(self) -> None:
        self.since = self.collected_at = self._clock.time()
        self._held: dict[Series, list[Aggregate]] = {}  # deltas that were cut and not acknowledged
        self._told: dict[Table, dict[object, Any]] = {}  # observed totals, by attributes, as they were acknowledged
        self._sent: Sent | None = None

    def forked(self) -> None:
        """Begin anew in a forked child: what the parent has not delivered is the parent's to deliver."""
        self.lock = threading.RLock()
        self._begin()

    # ---- wishes, see `view.Wishes` ------------------------------------------------------------------------------

    def aggregation(self, kind: Kind) -> Aggregation | None:
        """Return the aggregation for instruments of a kind, None for the default."""
        return None if self._aggregation is None else self._aggregation(kind)

    def cardinality_limit(self, kind: Kind) -> int | None:
        """Return the limit of attribute sets for instruments of a kind, None for the default."""
        return None if self._cardinality_limit is None else self._cardinality_limit(kind)

    @property
    def has_wishes(self) -> bool:
        """Whether it may need streams of its own."""
        return self._aggregation is not None or self._cardinality_limit is not None

    @property
    def deltas(self) -> bool:
        """Whether anything is told as deltas."""
        return "delta" in self.temporality.values()

    # ---- collecting ---------------------------------------------------------------------------------------------

    def collect(self) -> list[Metric]:
        """Return what there is to tell, of what is merged; call it with `lock` held. Drains nothing."""
        now = self.collected_at = self._clock.time()
        sent = self._sent = Sent(now)
        made = []
        for table in self._streams.tables(self):
            temporality = self.temporality[table.description.kind.name]
            gathered = table.stream.aggregation == "last_value"
            if temporality == "cumulative" or (gathered and table.description.kind.observable):
                points = cumulative(table, now)
            elif table.description.kind.observable and table.stream.aggregation == "sum":
                points = self._observed_deltas(table, now, sent)
            else:
                points = self._deltas(table, now, sent)
            if points:
                made.append(metric(table, points, temporality))
        return made

    def acknowledge(self) -> None:
        """What was collected last has arrived: its deltas are gone. Call it with `lock` held."""
        sent, self._sent = self._sent, None
        if sent is None:
            return
        for series, count in sent.parts.items():
            left = self._held.get(series, [])[count:]
            if left:
                self._held[series] = left
            else:
                self._held.pop(series, None)
        for table, totals in sent.totals.items():
            told = self._told.setdefault(table, {})
            for key, total in totals.items():
                told.pop(key, None)  # so that those that are gone come first
                told[key] = total
            while len(told) > 2 * table.stream.limit:
                told.pop(next(iter(told)))
        self.since = sent.time

    def begin(self) -> None:
        """Take note of what there is already: it is not part of the first deltas."""
        if self.deltas:
            with self.lock:
                for table in self._streams.tables(self):
                    if self._is_cut(table):
                        self._cut(table)
                self._held.clear()

    def _is_cut(self, table: Table) -> bool:
        kind = table.description.kind
        return self.temporality[kind.name] == "delta" and not (kind.observable and table.stream.aggregation != "explicit")

    def _slot(self, table: Table) -> int:
        slot = self._slots.get(table)
        if slot is None:
            slot = self._slots[table] = table.cuts
            table.cuts += 1
        return slot

    def _cut(self, table: Table) -> None:
        slot = self._slot(table)
        held = self._held
        for series in in_slices(list(table.series.values()), looking_every=_CUT_TOGETHER):
            exclusively(series.lock, partial(series.cut, slot, held), 1.0)

    def settle(self, table: Table, series: Series) -> None:
        """Cut a series that is about to expire; call it with its lock held."""
        if self._is_cut(table):
            series.cut(self._slot(table), self._held)
            parts = self._held.get(series)
            if parts and len(table.expired) >= table.stream.limit:
                # Nobody acknowledges anything: it is bounded, and told in the name of the overflow series.
                rest = self._held.setdefault(table.find(OVERFLOW), [])
                if len(rest) >= _HELD_APART:
                    rest[:] = [_merged(rest)]
                rest.extend(parts)
                self._held.pop(series, None)

    def holds(self, series: Series) -> bool:
        """Tell whether there is something of a series that was not acknowledged."""
        return series in self._held

    def _deltas(self, table: Table, now: float, sent: Sent) -> list[Point]:
        self._cut(table)
        gone = [series for series in table.expired if series in self._held]
        points = []
        for series in in_slices([*table.series.values(), *gone], looking_every=_CUT_TOGETHER):
            parts = self._held.get(series)
            if not parts:
                continue
            merged = parts[0] if len(parts) == 1 else _merged(parts)
            if len(parts) >= _HELD_APART:
                parts[:] = [merged]
            sent.parts[series] = len(parts)
            points.append(
                Point(series.attributes, value_of(merged, table.stream.extremes), self.since, now, self._exemplars(series))
            )
        return points

    def _exemplars(self, series: Series) -> tuple[Exemplar, ...]:
        return tuple([one for one in exemplars_of(series) if one.time >= self.since])

    def _observed_deltas(self, table: Table, now: float, sent: Sent) -> list[Point]:
        told = self._told.get(table, {})
        points = []
        totals: dict[object, Any] = sent.totals.setdefault(table, {})
        for series in in_slices(table.listed()):
            total: Any = series.observed_total()
            key = identity(series.attributes)
            before = told.get(key, 0)
            if table.kind.monotonic and total < before:
                before = 0  # what is observed has begun anew
            totals[key] = total
            points.append(Point(series.attributes, total - before, self.since, now, self._exemplars(series)))
        return points


def _merged(parts: list[Aggregate]) -> Aggregate:
    made = parts[0].copy()
    for part in parts[1:]:
        made.merge(part)
    return made


class Sent:
    """What a collection has told: of each series how many of the parts that are held, and the observed totals."""

    def __init__(self, time: float) -> None:
        self.time = time
        self.parts: dict[Series, int] = {}
        self.totals: dict[Table, dict[object, Any]] = {}


def cumulative(table: Table, now: float) -> list[Point]:
    """Return the totals of the series of a table."""
    if table.description.kind.observable and table.stream.aggregation == "sum":
        return [
            Point(series.attributes, series.observed_total(), table.created, now, exemplars_of(series))
            for series in in_slices(table.listed())
        ]
    extremes = table.stream.extremes
    return [
        Point(series.attributes, value_of(series.total(), extremes), series.current().created, now, exemplars_of(series))
        for series in in_slices(table.listed())
    ]


def metric(table: Table, points: list[Point], temporality: Any) -> Metric:
    """Return the metric that these points are of."""
    described = table.description
    return Metric(
        table.name,
        table.kind.name,
        described.unit,
        table.text,
        table.stream.boundaries,
        tuple(points),
        temporality,
        described.meter,
    )


def exemplars_of(series: Series) -> tuple[Exemplar, ...]:
    """Return the exemplars of a series, of this process."""
    reservoir = series.reservoir
    if reservoir is None or not reservoir.used:
        return ()
    created = series.current().created
    return tuple([one for one in reservoir.kept() if one.time >= created])
