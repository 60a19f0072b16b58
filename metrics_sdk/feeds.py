"""Closed windows on their way to those who take windows: a store, a subscriber.

What is on its way is told by one number: the start of the first window that was not acknowledged. Whatever was not is read
again from the windows that are kept, so nothing is queued, and an exporter that fails loses nothing before these are rolled up.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from metrics_sdk.core.aggregates import Aggregate as CoreAggregate
from metrics_sdk.core.attributes import Pairs, identity
from metrics_sdk.core.packing import pack
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.faults import Faults
from metrics_sdk.query import Aggregate, gathered
from metrics_sdk.resolutions import floor
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import WindowExporter
from metrics_sdk.store import AggregateMap
from metrics_sdk.windows import as_tuple

LATE_KEPT = 10_000  # additions to windows that were acknowledged already


class Item(NamedTuple):
    """What one series has in a window; `data` is an aggregate as `Aggregate.to_bytes()` returns it."""

    name: str
    kind: str
    unit: str
    boundaries: tuple[float, ...] | None
    max_buckets: int
    attributes: Pairs
    data: bytes


class Window:
    """All that was recorded between `start` and `end` (Unix seconds), of the SDK in the process that `source` identifies.

    The same window may come again, with more in it, until its `end` has passed: what came before then counts no more. Of
    a window with a `revision` other than 0, the content is in addition to that of the others: it came late.
    """

    def __init__(
        self,
        source: str,
        start: float,
        end: float,
        revision: int,
        parts: Mapping[Series, tuple[Table, list[Any]]],
        names: Mapping[Table, str],
    ) -> None:
        """`names`: what `aggregates()` calls them."""
        self.source = source
        self.start = start
        self.end = end
        self.revision = revision
        self._parts = parts
        self._names = names

    def items(self) -> Iterator[Item]:
        """Yield what each series has. What differs in nothing that an item has, of two meters, is one item with both in it."""
        likeness = {table: _likeness(table) for table in {table: None for table, _parts in self._parts.values()}}
        tables_like = Counter(likeness.values())
        shared: dict[object, tuple[Series, Table, list[Any]]] = {}
        for series, (table, parts) in self._parts.items():
            alike = likeness[table]
            if tables_like[alike] == 1:
                yield _item(series, table, parts)
            else:
                key = (alike, identity(series.attributes))
                shared.setdefault(key, (series, table, []))[2].extend(parts)
        for one in shared.values():
            yield _item(*one)

    def aggregates(self) -> dict[str, dict[Pairs, Aggregate]]:
        """Return the aggregate of every series: by name, then by its attributes as a sorted tuple of pairs.

        What meters with instruments of one name have comes merged, as a query answers it, and so do attributes that are equal
        for Python (1, 1.0 and True). Where such instruments differ in kind, unit or boundaries, those like the one made first
        keep the name; the others come as `name#2`, `name#3`, and so on.
        """
        together: dict[str, dict[Pairs, tuple[Table, list[Any]]]] = {}
        for series, (table, parts) in self._parts.items():
            by_attributes = together.setdefault(self._names[table], {})
            by_attributes.setdefault(series.attributes, (table, []))[1].extend(parts)
        return {
            name: {attributes: self._aggregate(*one) for attributes, one in by_attributes.items()}
            for name, by_attributes in together.items()
        }

    def _aggregate(self, table: Table, parts: list[Any]) -> Aggregate:
        named = (table.name, table.kind.name, table.description.unit)
        merged = gathered(table.empty, parts)
        return Aggregate(named, table.empty, merged, self.start, self.end, 0, {(self.start, self.end): parts})

    def __repr__(self) -> str:
        return f"<Window {self.start:g} .. {self.end:g}, {len(self._parts)} series>"


def _item(series: Series, table: Table, parts: list[Any]) -> Item:
    one = parts[0] if len(parts) == 1 else gathered(table.empty, parts)
    data = one if isinstance(one, bytes) else pack(one)
    return Item(*_likeness(table), series.attributes, data)


def _likeness(table: Table) -> tuple[str, str, str, tuple[float, ...] | None, int]:
    """Return what an item tells of its series besides their attributes."""
    max_buckets = int(getattr(table.empty, "max_buckets", 0))
    return table.name, table.kind.name, table.description.unit, table.stream.boundaries, max_buckets


def _told(tables: Iterable[Table]) -> tuple[list[Table], list[Table]]:
    """Return the tables that windows tell of, and those that they do not.

    Where views call several streams of an instrument the same, each has all values: the first is told, as in queries.
    """
    told: dict[object, Table] = {}
    untold = []
    for table in tables:
        if told.setdefault((table.description.key, table.name.lower()), table) is not table:
            untold.append(table)
    return list(told.values()), untold


def _names(tables: list[Table]) -> dict[Table, str]:
    """Return what `Window.aggregates` calls the tables; see there."""
    taken = {table.name for table in tables}
    made: dict[str, dict[object, str]] = {}
    names: dict[Table, str] = {}
    for table in tables:
        sort = (table.kind.name, table.description.unit, table.stream.boundaries)
        known = made.setdefault(table.name, {})
        if sort not in known:
            free = (f"{table.name}#{number}" for number in count(len(known) + 1))
            known[sort] = next(one for one in free if one not in taken) if known else table.name
            taken.add(known[sort])
        names[table] = known[sort]
    return names


class Delivery:
    """The windows that one attempt to export carries."""

    settles_in_part = False

    def __init__(self, feed: Feed, windows: list[Window], until: float, late: list[tuple[CoreAggregate, Window]]) -> None:
        """`late`: what came late to windows that were acknowledged before, each with what it was."""
        self._feed = feed
        self._windows = windows
        self._until = until
        self._late = late
        self._included = list(feed.late.items())  # what had come late to the windows themselves, by now
        self._sent: list[Window] = []

    def send(self, exporter: WindowExporter, timeout: float) -> None:
        """Hand over those that were not acknowledged in the meantime."""
        feed = self._feed
        self._sent = [one for one in self._windows if one.end > feed.since]
        late = [window for aggregate, window in self._late if aggregate in feed.late]
        if self._sent or late:
            exporter.export_windows([*self._sent, *late], timeout)

    def settle(self, points: int | None = None) -> bool:
        """They have arrived. Windows have no points to count: it is all of them, or, if `points` is said, none."""
        if points is not None:
            return False
        feed = self._feed
        for aggregate, _window in self._late:
            feed.late.pop(aggregate, None)
        for aggregate, (_revision, _series, start) in self._included:
            if any([one.start <= start < one.end for one in self._sent]):
                feed.late.pop(aggregate, None)
        feed.since = max(feed.since, self._until)
        return True


class Feed:
    """The windows of an SDK for one of those who take them, `width` seconds wide, 0 for the finest that there are."""

    def __init__(self, store: AggregateMap, tables: Callable[[], Iterable[Table]], faults: Faults, width: float = 0.0) -> None:
        self._store = store
        self._faults = faults
        self._tables = tables
        self._width = width
        self.late: dict[CoreAggregate, tuple[int, Series, float]] = {}
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child."""
        self.source = os.urandom(16).hex()
        self.since = self.offered = floor(self._store.opened(), self.width)
        self.missed = self._told = 0
        self._missed_until = -math.inf
        self.late.clear()
        self._revisions = count(1)

    @property
    def width(self) -> float:
        """The width of the windows that are handed over."""
        return self._width or self._store.window_seconds

    def add_late(self, series: Series, start: float, aggregate: CoreAggregate) -> None:
        """Take note of an addition to a closed window; the same one again changes nothing. Called with locks held."""
        if start < max(self.since, self.offered) and aggregate not in self.late:
            self.late[aggregate] = (next(self._revisions), series, start)
            while len(self.late) > LATE_KEPT:
                self.late.pop(next(iter(self.late)), None)
                self.missed += 1

    def is_due(self) -> bool:
        """Tell whether there are windows that were not offered yet."""
        self._follow_the_clock()
        return floor(self._store.opened(), self.width) > self.offered or bool(self.late)

    def _follow_the_clock(self) -> None:
        opened = floor(self._store.opened(), self.width)
        if opened < self.since:  # it was set back: what is recorded from now on has not been delivered
            self.since = self.offered = opened

    def delivery(self, with_open: bool) -> Delivery:
        """Return what was not acknowledged yet; the open window as it is now, if it is asked for."""
        self._follow_the_clock()
        until = floor(self._store.opened(), self.width)
        tables: dict[Series, Table] = {}
        same: dict[Series, Series] = {}  # of those that have the attributes of another one, which expired: that one
        told, untold = _told(self._tables())
        names = _names(told)
        doubles = {series for table in untold for series in table.known()}
        for table in told:
            known: dict[object, Series] = {}
            for series in in_slices(table.live(table.known())):
                tables[series] = table
                if table.leavings:
                    same[series] = known.setdefault(identity(series.attributes), series)
        windows: dict[tuple[float, float], dict[Series, tuple[Table, list[Any]]]] = {}
        upper = math.inf if with_open else until
        little = 1e-6 * self.width  # multiples of a fraction such as 0.2 are not exact
        for (start, end), by_series in self._store.read_everything(self.since, upper, with_open).items():
            if start < self.since - little or end - start > self.width + little:
                self._missed_window(end)
                continue
            own = floor(start, self.width)
            window = windows.setdefault((own, own + self.width), {})
            for series, stored in in_slices(by_series.items()):
                if series in tables:
                    window.setdefault(same.get(series, series), (tables[series], []))[1].extend(as_tuple(stored))
        made = [Window(self.source, start, end, 0, window, names) for (start, end), window in sorted(windows.items())]
        late = []
        for aggregate, (revision, series, start) in list(self.late.items()):
            own = floor(start, self.width)
            if series in doubles:
                self.late.pop(aggregate, None)
            elif start < self.since and series in tables:
                added: dict[Series, tuple[Table, list[Any]]] = {series: (tables[series], [aggregate])}
                late.append((aggregate, Window(self.source, own, own + self.width, revision, added, names)))
        self.offered = max(self.offered, until)
        if self.missed > self._told:
            self._told = self.missed
            self._faults.report("missed_windows", "a window was rolled up, or came late, before it could be delivered")
        return Delivery(self, made, until, late)

    def _missed_window(self, end: float) -> None:
        if end > self._missed_until:
            self._missed_until = end
            self.missed += 1
