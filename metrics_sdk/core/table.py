"""One stream of an instrument in one SDK: its series by attributes."""

from __future__ import annotations

import math
from typing import Any, Final, final

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.attributes import EXPIRED, OVERFLOW, Pairs, identity
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.exemplars import ExemplarCell, reservoir_for
from metrics_sdk.core.fan_out import FanOutCell
from metrics_sdk.core.kinds import COUNTER, GAUGE, HISTOGRAM, UP_DOWN_COUNTER, Kind
from metrics_sdk.core.reasons import DISABLED
from metrics_sdk.core.refusing import RefusingCell
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.series import Series
from metrics_sdk.core.sharded import new_cell
from metrics_sdk.core.stream import Stream

#: Units of time, as UCUM writes them, by what one second is in them.
PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9, "min": 1.0 / 60.0, "h": 1.0 / 3600.0}


_OVERFLOW_KEY: Final = identity(OVERFLOW)
SHARED_PAIRS: Final = 256  # pairs of key and value that series of an instrument have in common


@final
class Description:
    """What an instrument was declared as. Never changes; a provisional instrument gets another one.

    `boundaries`: those that were declared, None if none were. `provisional`: "record" or "timed" if the first use made it up,
    "" if it was declared. `where`: file and line of that. `meter`: whose instrument it is, None for the SDK's own. `key`: by
    which it is told apart from the other instruments of an SDK. `per_second`: what one second is in its unit.
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
        meter: Any = None,
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.unit: Final = unit
        self.description: Final = description
        self.boundaries: Final = boundaries
        self.provisional: Final = provisional
        self.where: Final = where
        self.meter: Final = meter
        # Names of the SDK's own are unique; a meter's need not be.
        self.key: Final[object] = name.lower() if meter is None else (meter, name.lower(), kind.name, unit, description)
        self.per_second: Final = PER_SECOND.get(unit, 1.0)


@final
class Table:
    """The series of one stream.

    A series is looked up and added without a lock, by `setdefault`: a lock here would deadlock a signal handler that
    creates a series while its own thread does. At most `stream.limit` series, and `scope.max_series` of all streams; then
    the overflow series takes the rest.
    """

    def __init__(
        self,
        scope: Scope,
        description: Description,
        stream: Stream,
        empty: Aggregate,
        locks: list[Any],
        stands_for: Table | None = None,
        reason: int = DISABLED,
    ) -> None:
        """`stands_for`: the instrument's own table, in whose place values are counted as dropped for `reason`."""
        self.scope: Final = scope
        self.description = description
        self.stream: Final = stream
        self.empty: Final = empty
        self.locks: Final = locks
        self.stands_for: Final = stands_for
        self.reason: Final = reason
        self.others: tuple[Table, ...] = ()  # the tables of the instrument's further streams; the first one has them
        self.created: Final = scope.now()
        self.series: Final[dict[object, Series]] = {}
        self.expired: Final[dict[Series, float]] = {}  # when; kept while there may be windows of them
        self.remains: Series | None = None  # what expired series amount to
        self.pairs: Final[dict[Any, Any]] = {}
        self.windowed = scope.windowed
        self.windowed_since = 0.0  # when windows were turned on for this instrument, if they were off
        self.observed: frozenset[Series] | None = None  # observable instruments: the series seen at the last callback
        self.observed_at = -math.inf  # when that was, by the monotonic clock
        # The readers that take what has come since their last collection, by slot, see `Series.cut`; None for one that is gone.
        self.cutters: Final[list[Any]] = []
        self.twins = False  # whether a series has come back beside another one with its attributes
        self.leavings = 0  # how many series have expired, or come back
        self.moving = False  # whether what one amounts to is on its way to `remains`
        self.overflowed = False  # whether the overflow series was needed

    @property
    def name(self) -> str:
        """The stream's name; an instrument may be renamed without a trace, where it was made up at first."""
        name = self.stream.name
        return name if name else self.description.name

    @property
    def text(self) -> str:
        """What the stream measures, for people."""
        text = self.stream.description
        return text if text else self.description.description

    @property
    def kind(self) -> Kind:
        """The kind of instrument that such a stream is the default of: the instrument's, unless a view aggregates otherwise.

        The sum of a histogram only grows, as OpenTelemetry has it: what is negative is dropped there.
        """
        kind = self.description.kind
        aggregation = self.stream.aggregation
        if aggregation == kind.aggregation:
            return kind
        if aggregation == "sum":
            return COUNTER if kind.monotonic or kind is HISTOGRAM else UP_DOWN_COUNTER
        if aggregation == "last_value":
            return GAUGE
        return kind if kind.aggregation == "histogram" else HISTOGRAM

    def describe(self, description: Description) -> None:
        """Give the instrument another description, which its series fit."""
        for table in self.all():
            table.description = description

    def all(self) -> list[Table]:
        """Return the tables of all streams of the instrument, of which this is the first."""
        return [self, *self.others]

    def own(self) -> Table:
        """Return the instrument's own table: this one, or that which it stands for."""
        stands_for = self.stands_for
        return self if stands_for is None else stands_for

    def cell_for(self, pairs: Pairs) -> Cell:
        """Return what values with these attributes are recorded into: a cell of this stream, and of the others if there are."""
        pairs = self.scope.permitted(pairs)
        cell = self._cell(pairs)
        return FanOutCell([cell, *[other._cell(pairs) for other in self.others]]) if self.others else cell

    def _cell(self, pairs: Pairs) -> Cell:
        cell = self.find(self.stream.kept(pairs)).cell
        if isinstance(cell, ExemplarCell):
            dropped = self.stream.dropped(pairs)
            if dropped:
                return ExemplarCell(cell.inner, cell.sampler, cell.reservoir, dropped)
        return cell

    def find(self, pairs: Pairs) -> Series:
        """Return the series of these attributes, made at first sight; the overflow series once there are too many."""
        key = identity(pairs)
        series = self.series.get(key)
        if series is None:
            scope = self.scope
            limit = self.stream.limit
            if self.description.kind.observable:
                limit += limit  # those of this time come before those of the last time are forgotten
            full = bool(pairs) and (len(self.series) >= limit or scope.series >= scope.max_series)
            if full or key == _OVERFLOW_KEY:
                self.overflowed = self.overflowed or full
                pairs = OVERFLOW  # this very object: by it the series is known
                key = _OVERFLOW_KEY
                series = self.series.get(key)
                if series is not None:
                    return series
            else:
                pairs = self._shared(pairs)
                key = identity(pairs)
            made = self._new(pairs, key)
            series = self.series.setdefault(key, made)
            if series is made:
                scope.series += 1
            else:  # another thread was faster
                for cell in made.cell.parts():
                    scope.cells.pop(cell, None)
        return series

    def _new(self, pairs: Pairs, key: object) -> Series:
        lock = self.locks[hash((id(self), key)) & (len(self.locks) - 1)]
        made = Series(self.scope, pairs, self.empty, lock, self.windowed)
        stream = self.stream
        shards = 1 if stream.aggregation == "last_value" else self.scope.shards  # of gauges the last store wins
        monotonic = self.description.kind.monotonic or self.kind.monotonic
        made.cell = new_cell(made, 0.0 if monotonic else -math.inf, shards)
        if self.stands_for is not None:
            made.cell = RefusingCell(made, made.cell, self.reason)
        elif self.scope.sampler is not None:
            made.cell = ExemplarCell(made.cell, self.scope.sampler, reservoir_for(stream), ())
        return made

    # ---- expiry -------------------------------------------------------------------------------------------------

    def expire(self, series: Series) -> bool:
        """Forget a series: what it amounts to goes to `remains`. Call it with the series' lock held.

        False: it has something to take, or there is a reader who has not cut it. Each step may be repeated: if this is
        interrupted, the series is there as before, or is gone.
        """
        if not self.owns(series):
            return False
        now = self.scope.now()  # of the host: from here on nothing calls out
        remains = self.remains
        if remains is None:
            remains = self.remains = self._new(EXPIRED, (id(self), EXPIRED))
        series.table = self  # from now on, what is recorded into it brings it back
        if not series.is_idle([slot for slot, one in enumerate(self.cutters) if one is not None]):
            series.table = None
            return False
        try:
            self.moving = True
            if not remains.inherit(series, now):
                return False
            self.leavings += 1
        finally:
            self.moving = False
        self.expired[series] = now
        if self.series.pop(self._place(series), None) is not None:
            self.scope.series -= 1
        if series.table is None:  # it was used just now
            self.restore(series)
        return True

    def restore(self, series: Series) -> None:
        """Take back a series that had expired, since a value is recorded into it. Never raises, takes no lock."""
        series.table = None
        self.leavings += 1
        self.expired.pop(series, None)
        if not self.owns(series):
            key = identity(series.attributes)
            if self.series.setdefault(key, series) is not series:  # another one has taken its place: both are listed
                self.series[(key, id(series))] = series
                self.twins = True
            self.scope.series += 1

    def version(self) -> int:
        """Return what is the same after reading all series as before if no series left meanwhile; -1 while one does."""
        return -1 if self.moving else self.leavings

    def _place(self, series: Series) -> object:
        """Return the key that a series is listed under, if it is."""
        key = identity(series.attributes)
        return key if self.series.get(key) is series else (key, id(series))

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

    def is_used(self) -> bool:
        """Tell whether any value was recorded."""
        for series in list(self.series.values()):
            if series.current().merged or any([cell.pending_count() for cell in series.cell.parts()]):
                return True
        return self.remains is not None

    def overflow(self) -> Series | None:
        """Return the overflow series, None if it was not needed."""
        return self.series.get(_OVERFLOW_KEY)

    def owns(self, series: Series) -> bool:
        """Tell whether a series is this table's."""
        return self.series.get(self._place(series)) is series

    def known(self) -> list[Series]:
        """Return the series that there are, and those that there were."""
        found = list(self.series.values())
        if self.expired:  # one that is just leaving, or coming back, may be in both
            found = list(dict.fromkeys([*found, *self.expired]))
        if self.remains is not None:
            found.append(self.remains)
        return found

    def live(self, chosen: list[Series]) -> list[Series]:
        """Return those of `chosen` that have, or had, in their order; those that have expired as well."""
        generation = self.scope.generation
        observed = self.observed
        return [
            series
            for series in chosen
            if series.state.generation == generation
            and (series.state.merged or series in self.expired)
            and (observed is None or series in observed)
        ]
