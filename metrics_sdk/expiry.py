"""Series that are forgotten: those that nothing was recorded into for a while, and observed ones that are not observed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

from metrics_sdk.clock import Clock
from metrics_sdk.collector import Collector
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.slices import in_slices
from metrics_sdk.streams import Streams

_SWEEPS = 4  # in the time to live: a series lives for that long, and up to a quarter of it longer


class Expiry:
    """Lets series expire. What they amount to stays in the totals of queries, and their windows stay until they are too old."""

    def __init__(
        self,
        streams: Streams,
        clock: Clock,
        collectors: Callable[[], Iterable[Collector]],
        lifetime: Callable[[], float | None],
        memory: Callable[[], float],
    ) -> None:
        """`lifetime`: seconds without a value after which a series expires, or None. `memory`: how long windows are kept."""
        self._streams = streams
        self._clock = clock
        self._collectors = collectors
        self._lifetime = lifetime
        self._memory = memory
        self._seen: dict[Series, tuple[int, float]] = {}  # how many values a series had, and since when
        self._sweep_at = -math.inf
        self.expired = 0

    def sweep(self) -> None:
        """Forget the series that have been idle for too long."""
        lifetime = self._lifetime()
        now = self._clock.monotonic()
        if lifetime is None or now < self._sweep_at:
            return
        self._sweep_at = now + lifetime / _SWEEPS
        seen: dict[Series, tuple[int, float]] = {}
        for first in self._streams.first_tables():
            pinned = self._streams.pinned(first)
            gone = False
            for table in first.all():
                if not table.description.kind.observable:
                    idle: list[Series] = []
                    for series in in_slices([one for one in list(table.series.values()) if one not in pinned]):
                        count = int(series.current().merged)
                        before = self._seen.get(series)
                        if before is None or before[0] != count:
                            before = (count, now)
                        seen[series] = before
                        if now - before[1] >= lifetime:
                            idle.append(series)
                    gone = self._expire(table, idle) or gone
                self._let_go(table)
            if gone:
                self._streams.renew_all(first)
        self._seen = seen

    def forget_unobserved(self) -> None:
        """Forget the observed series that the last callbacks did not report."""
        for first in self._streams.first_tables():
            gone = False
            for table in first.all():
                observed = table.observed
                if observed is not None and len(table.series) > len(observed):
                    gone = self._expire(table, [one for one in list(table.series.values()) if one not in observed]) or gone
                    self._let_go(table)
            if gone:
                self._streams.renew_all(first)

    def _expire(self, table: Table, chosen: list[Series]) -> bool:
        gone = False
        for series in in_slices(chosen):
            if series.attributes and exclusively(series.lock, partial(self._expire_one, table, series), 1.0):
                gone = gone or series in table.expired
        return gone

    def _expire_one(self, table: Table, series: Series) -> None:
        for collector in self._collectors():
            collector.settle(table, series)
        if table.expire(series):
            self.expired += 1

    def _let_go(self, table: Table) -> None:
        """Forget for good what no window is left of, and no reader waits for."""
        oldest = self._clock.time() - self._memory()
        for series, when in list(table.expired.items()):
            if when > oldest:
                break
            if not any([collector.holds(series) for collector in self._collectors()]):
                table.expired.pop(series, None)
                for cell in series.cell.parts():
                    series.scope.cells.pop(cell, None)
