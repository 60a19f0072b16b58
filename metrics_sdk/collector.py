"""What one reader collects: its streams, each as totals or as what has come since it was told last.

Deltas are gone only once they are acknowledged: until then they are held here, and the next collection has them again, with
what has come since. So a failed export loses nothing, and doubles nothing.

What is held of a series is a list, which others share: the flusher cuts what is about to expire. Guarantee: no part is lost
or told twice. Assumption: one C call on a list cannot be torn. Parts are only ever added at the end, with the series' lock
held, and only the collector, with its own lock held, takes them off, at the front, and only as many as it has looked at.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from metrics_sdk.clock import Clock
from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.attributes import identity
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.exemplars import Exemplar
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.query import gathered, value_of
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Metric, Point
from metrics_sdk.streams import Streams
from metrics_sdk.temporality import Preference, by_kind
from metrics_sdk.view import Aggregation, Wishes

_HELD_APART = 32  # parts of a series that nobody acknowledges, before they are merged into one
_CUT_TOGETHER = 64  # series that are cut between two looks at the clock


class Collector:
    """One reader's view of an SDK. Collecting may be done by one thread at a time; `lock` sees to that."""

    def __init__(
        self,
        streams: Streams,
        clock: Clock,
        temporality: Preference = "cumulative",
        aggregation: Callable[[str], Aggregation | None] | None = None,
        cardinality_limit: Callable[[str], int | None] | None = None,
    ) -> None:
        self.temporality = by_kind(temporality)
        self.lock: Any = threading.RLock()
        self._streams = streams
        self._clock = clock
        self._aggregation = aggregation
        self._cardinality_limit = cardinality_limit
        self._slots: dict[Table, int] = {}  # which tap of the series of a table is this reader's
        self._begin()
        self._joined = self.since

    def _begin(self) -> None:
        self.since = self.collected_at = self._clock.time()
        self._held: dict[Series, list[Aggregate]] = {}  # deltas that were cut and not acknowledged
        # Until when those are told that have arrived where others have not; by attributes, since series may expire meanwhile.
        self._ahead: dict[tuple[Table, object], float] = {}
        # Observed totals, by attributes, as they were acknowledged; what others were told of before is not told again.
        self._told: dict[Table, dict[object, Any]] = {}
        for table in self._streams.tables(self.reader):
            if self.temporality[table.description.kind.name] == "delta" and table.description.kind.observable:
                self._told[table] = observed_totals(table)
        self._sent: Sent | None = None

    def forked(self) -> None:
        """Begin anew in a forked child: what the parent has not delivered is the parent's to deliver.

        Its series begin anew as well, with nothing in them of a reader before.
        """
        self.lock = threading.RLock()
        self._begin()
        self._joined = -math.inf

    # ---- wishes, see `view.Wishes` ------------------------------------------------------------------------------

    def aggregation(self, kind: str) -> Aggregation | None:
        """Return the aggregation for instruments of a kind, None for the default."""
        return None if self._aggregation is None else self._aggregation(kind)

    def cardinality_limit(self, kind: str) -> int | None:
        """Return the limit of attribute sets for instruments of a kind, None for the default."""
        return None if self._cardinality_limit is None else self._cardinality_limit(kind)

    @property
    def reader(self) -> Wishes | None:
        """Whose streams it reads: its own if it has wishes, else those of everybody without."""
        return None if self._aggregation is None and self._cardinality_limit is None else self

    # ---- collecting ---------------------------------------------------------------------------------------------

    def collect(self, observed_since: float = -math.inf) -> list[Metric]:
        """Return what there is to tell, of what is merged; call it with `lock` held. Drains nothing.

        Of observables, those that were observed at `observed_since` or later, by the monotonic clock.
        """
        now = self.collected_at = self._clock.time()
        sent = self._sent = Sent(now)
        made = []
        for table in self._streams.tables(self.reader):
            if table.description.kind.observable and table.observed_at < observed_since:
                continue
            temporality = self.temporality[table.description.kind.name]
            if self._is_cut(table):
                points = self._deltas(table, now, sent)
            elif temporality == "delta" and table.stream.aggregation == "sum":
                points = self._observed_deltas(table, now, sent)
            else:
                points = cumulative(table, now)
                sent.points.extend([None] * len(points))
            if points:
                made.append(metric(table, points, temporality))
        return made

    def acknowledge(self, points: int | None = None) -> bool:
        """What was collected last has arrived, or so many points at its front: their deltas are gone.

        Tell whether that is all there was. Call it with `lock` held.
        """
        sent = self._sent
        if sent is None:
            return True
        left = len(sent.points) if points is None else min(points, len(sent.points))
        partly = left < len(sent.points)
        while left > 0:
            left -= 1
            arrived = sent.points.popleft()
            if arrived is not None:
                arrived(sent.time if partly else None)
        if partly:
            return False
        self.since = sent.time
        self._ahead.clear()
        self._sent = None
        return True

    def _has_arrived(self, table: Table, parts: list[tuple[Series, int]], until: float | None) -> None:
        """Let go of what was told of series with the same attributes; `until`: others have not arrived yet."""
        for series, count in parts:
            del self._held[series][:count]
        if until is not None:
            self._ahead[table, identity(parts[0][0].attributes)] = until

    def _total_has_arrived(self, table: Table, series: Series, total: Any, until: float | None) -> None:
        told = self._told.setdefault(table, {})
        key = identity(series.attributes)
        told.pop(key, None)  # so that those that are gone come first
        told[key] = total
        while len(told) > 2 * table.stream.limit:
            told.pop(next(iter(told)))
        if until is not None:
            self._ahead[table, key] = until

    def begin(self) -> None:
        """Take note of what there is already: it is not part of the first deltas."""
        with self.lock:
            self._begin()
            self._joined = self.since
            for table in self._streams.tables(self.reader):
                if self._is_cut(table):
                    self._cut(table)
            for parts in self._held.values():
                parts.clear()

    def end(self) -> None:
        """Take no more: nobody waits for this reader."""
        with self.lock:
            for table, slot in self._slots.items():
                table.cutters[slot] = None

    def _is_cut(self, table: Table) -> bool:
        kind = table.description.kind
        return self.temporality[kind.name] == "delta" and not kind.observable

    def _slot(self, table: Table) -> int:
        slot = self._slots.get(table)
        if slot is None:
            slot = self._slots[table] = self._streams.slot_for(table, self)
            for series in list(table.series.values()):  # what was left of a reader that had the slot before
                if table.created < self._joined:
                    exclusively(series.lock, partial(series.cut, slot, {}), 1.0)
        return slot

    def _cut(self, table: Table) -> None:
        slot = self._slot(table)
        held = self._held
        for series in in_slices(list(table.series.values()), looking_every=_CUT_TOGETHER):
            exclusively(series.lock, partial(series.cut, slot, held), 1.0)

    # ---- what expires -------------------------------------------------------------------------------------------

    def takes(self, first: Table, table: Table) -> bool:
        """Tell whether the series of a table, one of those that `first` leads to, must be cut before they expire."""
        return self._is_cut(table) and table in self._streams.of(first, self.reader)

    def settle(self, table: Table, series: Series) -> None:
        """Cut a series that is about to expire; call it with its lock held."""
        series.cut(self._slot(table), self._held)

    def holds(self, series: Series) -> bool:
        """Tell whether there is something of a series that was not acknowledged."""
        return bool(self._held.get(series))

    def forget(self, series: Series) -> None:
        """Let go of a series that it holds nothing of; call it with its lock held."""
        if not self.holds(series):
            self._held.pop(series, None)

    # ---- deltas -------------------------------------------------------------------------------------------------

    def _deltas(self, table: Table, now: float, sent: Sent) -> list[Point]:
        self._cut(table)
        gone = [series for series in list(table.expired) if self.holds(series)]
        points = []
        listed = list(dict.fromkeys([*table.series.values(), *gone]))
        for alike in in_slices(together(listed, table.twins or bool(gone)), looking_every=_CUT_TOGETHER):
            parts: list[Aggregate] = []
            told: list[tuple[Series, int]] = []
            for series in alike:
                held = self._held_of(series)
                if held:
                    parts += held
                    told.append((series, len(held)))
            if parts:
                merged = parts[0] if len(parts) == 1 else gathered(table.empty, parts)
                value = value_of(merged, table.stream.extremes)
                since = self._told_until(table, alike[0])
                points.append(Point(alike[0].attributes, value, since, now, exemplars_of(alike, since)))
                sent.points.append(partial(self._has_arrived, table, told))
        return points

    def _told_until(self, table: Table, series: Series) -> float:
        return self._ahead.get((table, identity(series.attributes)), self.since) if self._ahead else self.since

    def _held_of(self, series: Series) -> list[Aggregate]:
        """Return what is held of a series."""
        held = self._held.get(series)
        if not held:
            return []
        parts = held[:]  # one call: what is added from here on is not told
        if len(parts) >= _HELD_APART:
            held[: len(parts)] = parts = [gathered(series.empty, parts)]
        return parts

    def _observed_deltas(self, table: Table, now: float, sent: Sent) -> list[Point]:
        told = self._told.get(table, {})
        points = []
        for series in in_slices(table.listed()):
            total: Any = series.observed_total()
            before = told.get(identity(series.attributes), 0)
            if table.kind.monotonic and total < before:
                before = 0  # what is observed has begun anew
            since = self._told_until(table, series)
            points.append(Point(series.attributes, total - before, since, now, exemplars_of([series], since)))
            sent.points.append(partial(self._total_has_arrived, table, series, total))
        return points


class Sent:
    """What a collection has told: for each point, in order, what is to be done once it has arrived, None for nothing."""

    def __init__(self, time: float) -> None:
        self.time = time
        self.points: deque[Callable[[float | None], None] | None] = deque()


def cumulative(table: Table, now: float) -> list[Point]:
    """Return the totals of the series of a table."""
    if table.description.kind.observable and table.stream.aggregation == "sum":
        since = max(table.created, table.scope.began)
        return [
            Point(series.attributes, series.observed_total(), since, now, exemplars_of([series], since))
            for series in in_slices(table.listed())
        ]
    extremes = table.stream.extremes
    if not table.twins:  # nearly always, and this takes half the time of a scrape
        return [
            Point(
                series.attributes,
                value_of(series.total(), extremes),
                series.current().created,
                now,
                exemplars_of((series,), series.current().created) if series.has_exemplars else (),
            )
            for series in in_slices(table.listed())
        ]
    points = []
    for alike in in_slices(together(table.listed(), table.twins)):
        total = gathered(table.empty, [series.total() for series in alike])
        created = alike[0].current().created
        points.append(Point(alike[0].attributes, value_of(total, extremes), created, now, exemplars_of(alike, created)))
    return points


def together(chosen: list[Series], twins: bool) -> Iterable[list[Series]]:
    """Return the series, those together that have the same attributes; where there are no `twins`, each is by itself."""
    if not twins:
        return [[series] for series in chosen]
    made: dict[object, list[Series]] = {}
    for series in chosen:
        made.setdefault(identity(series.attributes), []).append(series)
    return made.values()


def observed_totals(table: Table) -> dict[object, Any]:
    """Return the totals of an observable instrument as the callbacks told them last, here or in a forked parent."""
    observed = [(series, series.scope.observed.get(series)) for series in list(table.series.values())]
    return {identity(series.attributes): one.total for series, one in observed if one is not None}


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


def exemplars_of(alike: Iterable[Series], since: float, told: bool = True) -> tuple[Exemplar, ...]:
    """Return the exemplars of series, of this process, which are not older than `since`.

    `told`: a reader is told them, and a new sample begins.
    """
    kept = [(series, series.reservoir) for series in alike if series.reservoir is not None and series.reservoir.used]
    if not kept:
        return ()
    found = [
        one
        for series, reservoir in kept
        for one in reservoir.kept()
        if one.time >= since and one.time >= series.current().created
    ]
    if told:
        for _series, reservoir in kept:
            reservoir.begin()
    return tuple(found)
