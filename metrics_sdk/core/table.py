"""One instrument in one SDK: its identity, and its series by attributes."""

from __future__ import annotations

import math
from typing import Any, Final, final

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.attributes import OVERFLOW, Pairs, identity
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.reasons import DISABLED
from metrics_sdk.core.refusing import RefusingCell
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.series import Series
from metrics_sdk.core.sharded import new_cell

#: Units of time, as UCUM writes them, by what one second is in them.
PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9, "min": 1.0 / 60.0, "h": 1.0 / 3600.0}


_OVERFLOW_KEY: Final = identity(OVERFLOW)
SHARED_PAIRS: Final = 256  # pairs of key and value that series of an instrument have in common


@final
class Description:
    """What an instrument was declared as. Never changes; a provisional instrument gets another one.

    `provisional`: "record" or "timed" if the first use made it up, "" if it was declared. `where`: file and line of that.
    `per_second`: what one second is in its unit.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        unit: str,
        description: str,
        boundaries: tuple[float, ...] | None,
        provisional: str,
        where: str,
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.unit: Final = unit
        self.description: Final = description
        self.boundaries: Final = boundaries
        self.provisional: Final = provisional
        self.where: Final = where
        self.per_second: Final = PER_SECOND.get(unit, 1.0)


@final
class Table:
    """The series of one instrument.

    A series is looked up and added without a lock, by `setdefault`: a lock here would deadlock a signal handler that
    creates a series while its own thread does. At most `limit` series, then the overflow series takes the rest.
    """

    def __init__(
        self,
        scope: Scope,
        description: Description,
        empty: Aggregate,
        limit: int,
        locks: list[Any],
        stands_for: Table | None = None,
    ) -> None:
        """`stands_for`: the instrument's own table, in whose place values are counted as `disabled`: it is turned off."""
        self.scope: Final = scope
        self.description = description
        self.empty: Final = empty
        self.limit: Final = limit
        self.locks: Final = locks
        self.stands_for: Final = stands_for
        self.series: Final[dict[object, Series]] = {}
        self.pairs: Final[dict[Any, Any]] = {}
        self.windowed = scope.windowed
        self.windowed_since = 0.0  # when windows were turned on for this instrument, if they were off
        self.observed: frozenset[Series] | None = None  # observable instruments: the series seen at the last callback

    def own(self) -> Table:
        """Return the instrument's own table: this one, or that which it stands for."""
        stands_for = self.stands_for
        return self if stands_for is None else stands_for

    def find(self, pairs: Pairs) -> Series:
        """Return the series of these attributes, made at first sight; the overflow series once there are too many."""
        key = identity(pairs)
        series = self.series.get(key)
        if series is None:
            if key == _OVERFLOW_KEY or (len(self.series) >= self.limit and pairs):
                pairs = OVERFLOW  # this very object: by it the series is known
                key = _OVERFLOW_KEY
                series = self.series.get(key)
                if series is not None:
                    return series
            else:
                pairs = self._shared(pairs)
                key = identity(pairs)
            kind = self.description.kind
            lock = self.locks[hash((id(self), key)) & (len(self.locks) - 1)]
            made = Series(self.scope, pairs, self.empty, lock, self.windowed)
            shards = 1 if kind.aggregation == "last_value" else self.scope.shards  # of gauges the last store wins
            made.cell = new_cell(made, 0.0 if kind.monotonic else -math.inf, shards)
            if self.stands_for is not None:
                made.cell = RefusingCell(made, made.cell, DISABLED)
            series = self.series.setdefault(key, made)
            if series is not made:  # another thread was faster
                for cell in made.cell.parts():
                    self.scope.cells.pop(cell, None)
        return series

    def _shared(self, pairs: Pairs) -> Pairs:
        # A value that many series have is most likely among the first: each pair kept once saves 56 bytes a series.
        known = self.pairs
        kept: list[Any] = []
        pair: Any  # compiled, a tuple of two with a type of its own would be taken apart and made anew
        for pair in pairs:
            if type(pair[1]) is str:  # of other types, some that are equal are not the same
                pair = known.setdefault(pair, pair) if len(known) < SHARED_PAIRS else known.get(pair, pair)
            kept.append(pair)
        return tuple(kept)

    def listed(self) -> list[Series]:
        """Return the series that have, or had, a value in this process, oldest first."""
        return self.live(list(self.series.values()))

    def live(self, chosen: list[Series]) -> list[Series]:
        """Return those of `chosen`, in their order."""
        generation = self.scope.generation
        observed = self.observed
        return [
            series
            for series in chosen
            if series.state.generation == generation and series.state.merged and (observed is None or series in observed)
        ]
