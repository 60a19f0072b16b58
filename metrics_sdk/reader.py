"""Answers queries from an SDK's tables and windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import sleep
from typing import Any, TypeVar

from metrics_sdk.clock import Clock
from metrics_sdk.collector import exemplars_of
from metrics_sdk.core.attributes import Pairs
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.interval import Seconds, Time, interval
from metrics_sdk.query import Aggregate, Grouped, gathered, unknown
from metrics_sdk.selection import Tags, checked_keys, group_of, includes, tags_of
from metrics_sdk.slices import in_slices
from metrics_sdk.store import AggregateMap
from metrics_sdk.streams import Streams

T = TypeVar("T")

_SELECTIONS = 64  # choices of attributes that are remembered for each instrument
_TRIES = 100  # a sweep lets series go in slices of half a millisecond, so one of these hits upon a pause


class Reader:
    """Chooses series, drains the instruments that it is asked for and no others, and merges what they have."""

    def __init__(self, streams: Streams, store: AggregateMap, clock: Clock, observe: Callable[[], object]) -> None:
        """`observe`: runs the observable callbacks."""
        self.started_at = 0.0  # since when there can be values
        self._streams = streams
        self._store = store
        self._clock = clock
        self._observe = observe
        self._selections: dict[Table, dict[Tags, tuple[tuple[int, int], list[Series]]]] = {}

    def query(self, name: str, attributes: object, last: Seconds | None, since: Time | None, until: Time | None) -> Aggregate:
        """See `MetricsSDK.query`."""
        asked = self._interval(last, since, until)
        tables = self._tables(name)
        self._refresh(tables, attributes, asked)
        return _steady(tables, lambda: self._answer(tables[-1], self._live(tables, attributes), asked))

    def query_by(
        self,
        name: str,
        keys: Sequence[str],
        attributes: object,
        last: Seconds | None,
        since: Time | None,
        until: Time | None,
    ) -> Grouped:
        """See `MetricsSDK.query_by`."""
        keys = checked_keys(keys)
        asked = self._interval(last, since, until)
        tables = self._tables(name)
        self._refresh(tables, attributes, asked)

        def grouped() -> Grouped:
            groups: dict[Any, list[Series]] = {}
            for series in self._live(tables, attributes):
                groups.setdefault(group_of(series.attributes, keys), []).append(series)
            return Grouped({key: self._answer(tables[-1], chosen, asked) for key, chosen in groups.items()})

        return _steady(tables, grouped)

    def query_all(
        self, last: Seconds | None, since: Time | None, until: Time | None
    ) -> Mapping[str, Mapping[Pairs, Aggregate]]:
        """See `MetricsSDK.query_all`."""
        asked = self._interval(last, since, until)
        self._observe()
        self._store.drain()
        answer: dict[str, dict[Pairs, Aggregate]] = {}
        for name in self._streams.names():
            tables = [table for table in self._streams.named(name) if asked is None or table.windowed]
            found = _steady(tables, partial(self._by_attributes, tables, asked))
            if found:
                answer[tables[-1].name] = found
        return answer

    def _by_attributes(self, tables: list[Table], asked: tuple[float, float] | None) -> dict[Pairs, Aggregate]:
        alike: dict[Pairs, list[Series]] = {}
        for series in self._live(tables, None):
            alike.setdefault(series.attributes, []).append(series)
        return {pairs: self._answer(tables[-1], chosen, asked) for pairs, chosen in alike.items()}

    def _interval(self, last: Seconds | None, since: Time | None, until: Time | None) -> tuple[float, float] | None:
        asked = interval(self._clock.time(), last, since, until)
        if asked is not None and not self._store.resolutions:
            raise ValueError("windows are turned off by Config(resolutions=()): only queries of all time can be answered")
        return asked

    def _tables(self, name: str) -> list[Table]:
        tables = self._streams.named(name) if isinstance(name, str) else []
        if not tables:
            raise unknown(name, self._streams.names())
        return tables

    def _refresh(self, tables: list[Table], attributes: object, asked: object) -> None:
        """Merge what was recorded until now into the series that are asked for."""
        tags = tags_of(attributes)
        if asked is not None and not all([table.windowed for table in tables]):
            raise ValueError(f"{tables[-1].name!r} has no windows, as Config(without_windows=…) has it: only totals")
        if any([table.description.kind.observable for table in tables]):
            self._observe()
        self._store.drain([series for table in tables for series in self._matching(table, tags)])

    def _live(self, tables: list[Table], attributes: object) -> list[Series]:
        """Return the series that are asked for and have values."""
        tags = tags_of(attributes)
        return [series for table in tables for series in table.live(self._matching(table, tags))]

    def _answer(self, table: Table, chosen: Sequence[Series], asked: tuple[float, float] | None) -> Aggregate:
        named = (table.name, table.kind.name, table.description.unit)
        now = self._clock.time()
        if asked is None:
            merged = gathered(table.empty, [series.total() for series in in_slices(chosen)])
            offset = sum([one.offset() for one in chosen])
            exemplars = exemplars_of(chosen, -math.inf, told=False)
            return Aggregate(named, table.empty, merged, self._since(), now, offset, None, exemplars)
        start, end, found = self._store.read(chosen, *asked)
        merged = gathered(table.empty, [part for parts in found.values() for part in parts])
        first_end = min([window[1] for window in found], default=math.inf)
        there = max(self._since(), self._store.windows_since, table.windowed_since)
        if there < first_end:  # else the clock was set back since
            start = max(start, there)
        now = max(now, self._store.opened())  # set back by a little, the clock is behind the open window
        end = min(end, now)
        exemplars = tuple([one for one in exemplars_of(chosen, start, told=False) if one.time <= end])
        return Aggregate(named, table.empty, merged, start, end, 0, found, exemplars)

    def _since(self) -> float:
        """Return since when there can be values: the process began, or the first one with a time of its own."""
        points = self._store.points
        return self.started_at if points is None else min(self.started_at, points.earliest)

    def _matching(self, table: Table, tags: Tags) -> list[Series]:
        if tags is None:
            return table.known()
        selections = self._selections.setdefault(table, {})
        known = selections.get(tags)
        version = (len(table.series), table.leavings)  # series are added, or leave
        if known is None or known[0] != version:
            found = [one for one in table.known() if includes(one.attributes, tags)]
            if len(selections) >= _SELECTIONS:
                selections.clear()
            known = selections[tags] = (version, found)
        return known[1]


def _steady(tables: Sequence[Table], read: Callable[[], T]) -> T:
    """Return what `read` returns, read while no series expired: else what it amounts to could be seen twice, or not at all."""
    for _ in range(_TRIES):
        before = [table.version() for table in tables]
        found = read()
        if -1 not in before and before == [table.version() for table in tables]:
            break
        sleep(0)
    return found
