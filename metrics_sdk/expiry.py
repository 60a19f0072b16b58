"""Series that are forgotten: those that nothing was recorded into for a while, and observed ones that are not observed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from metrics_sdk.clock import Clock
from metrics_sdk.collector import Collector
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.slices import in_slices
from metrics_sdk.store import AggregateMap
from metrics_sdk.streams import Streams

_SWEEPS = 4  # in the time to live: a series lives for that long, and up to a quarter of it longer


class Expiry:
    """Lets series expire. What they amount to stays in the totals of queries, and their windows stay until they are too old."""

    def __init__(
        self,
        streams: Streams,
        store: AggregateMap,
        clock: Clock,
        collectors: Callable[[], Iterable[Collector]],
        lifetime: Callable[[], float | None],
        memory: Callable[[], float],
    ) -> None:
        """`lifetime`: seconds without a value after which a series expires, or None. `memory`: how long windows are kept."""
        self._streams = streams
        self._store = store
        self._clock = clock
        self._collectors = collectors
        self._lifetime = lifetime
        self._memory = memory
        self._seen: dict[Series, tuple[int, float]] = {}  # how many values a series had, and since when
        self._sweep_at = -math.inf
        # Two at once would both add to what remains. Who comes second does not wait: what is left is forgotten the next time.
        self._forgetting: Any = threading.RLock()
        self.expired = 0

    def forked(self) -> None:
        """Begin anew in a forked child, where the lock may be held by a thread that is no more."""
        self._forgetting._at_fork_reinit()

    def sweep(self) -> None:
        """Forget the series that have been idle for too long."""
        exclusively(self._forgetting, self._sweep)

    def forget_unobserved(self) -> None:
        """Forget the observed series that the last callbacks did not report."""
        exclusively(self._forgetting, self._forget_unobserved)

    def _sweep(self) -> None:
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
                    gone = self._expire(first, table, idle) or gone
                self._let_go(table)
            if gone:
                self._streams.renew_all(first)
        self._seen = seen
        self._streams.recount()

    def _forget_unobserved(self) -> None:
        for first in self._streams.first_tables():
            gone = False
            for table in first.all():
                observed = table.observed
                if observed is not None and len(table.series) > len(observed):
                    unseen = [one for one in list(table.series.values()) if one not in observed]
                    gone = self._expire(first, table, unseen) or gone
                    self._let_go(table)
            if gone:
                self._streams.renew_all(first)

    def _expire(self, first: Table, table: Table, chosen: list[Series]) -> bool:
        """Let series of a table expire; tell whether any did."""
        collectors = [one for one in self._collectors() if one.takes(first, table)]
        if collectors:
            # What nobody acknowledges is held: as much again as there are series, then they stay until somebody does.
            held = len([one for one in list(table.expired) if any([collector.holds(one) for collector in collectors])])
            chosen = chosen[: max(0, table.stream.limit - held)]
        gone = False
        for series in in_slices(chosen):
            if series.attributes and exclusively(series.lock, partial(self._expire_one, table, collectors, series), 1.0):
                gone = gone or series in table.expired
        return gone

    def _expire_one(self, table: Table, collectors: list[Collector], series: Series) -> None:
        self._store.close_now(series)
        for collector in collectors:
            collector.settle(table, series)
        if table.expire(series):
            self.expired += 1

    def _let_go(self, table: Table) -> None:
        """Forget for good what no window is left of, and no reader waits for."""
        oldest = self._clock.time() - self._memory()
        for series in list(table.expired):
            if table.expired.get(series, oldest) > oldest:
                break
            if not any([collector.holds(series) for collector in self._collectors()]):
                exclusively(series.lock, partial(self._let_go_of, table, series), 1.0)

    def _let_go_of(self, table: Table, series: Series) -> None:
        for collector in self._collectors():
            collector.forget(series)
        table.expired.pop(series, None)
        for cell in series.cell.parts():
            series.scope.cells.pop(cell, None)
