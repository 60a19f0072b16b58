"""The compiled cell: a value is added to the cell's aggregate at once.

Guarantee: a record is either complete or has not begun, whoever interrupts.
Assumption: compiled code under the GIL is not preempted between two stores. It gives up the GIL, runs signal handlers
or the garbage collector only where it calls into the interpreter. So whatever can raise or call out (conversion, growth)
comes before the first store, and no store allocates a container.
Race avoided: a take that is on its way marks the cell as held; a record that arrives in it (from a finaliser, say) is
appended to `pending`, and the take merges that as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, SupportsFloat, final

from metrics_sdk.core.aggregates import INT64_MAX, INT64_MIN, Aggregate
from metrics_sdk.core.aggregation import new_recorder
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.numbers import to_float
from metrics_sdk.core.reasons import AFTER_SHUTDOWN, INVALID_VALUE, NEGATIVE, NON_FINITE
from metrics_sdk.core.scope import CLOSED

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series

CLEAN: Final = 0  # epoch of a cell that has nothing to take
HELD: Final = -2  # epoch of a cell that is being taken


@final
class InPlaceCell(Cell):
    """Aggregates in place; see the module's contract."""

    def __init__(self, series: Series, lowest: float) -> None:
        super().__init__(series)
        self.scope: Final = series.scope
        self.aggregate: Final[Aggregate] = new_recorder(series.empty)
        self.lowest: Final = lowest  # 0.0 for monotonic sums, else -inf
        self.epoch: i64 = CLEAN
        self.generation: i64 = series.scope.generation
        self.count: i64 = 0  # never reset but by a fork: kept apart from what the aggregate counts
        self.contended: i64 = 0
        self.pending: list[Any] | None = None

    def record(self, value: SupportsFloat) -> None:
        """Take `value` in, or count it as dropped."""
        if isinstance(value, float):
            x = value
            if self.epoch == self.scope.epoch and x - x == 0.0 and x >= self.lowest and self.aggregate.add(x):
                self.count += 1
                return
        elif type(value) is int:
            try:
                n: i64 = value
            except (OverflowError, ValueError):  # beyond 64 bits
                self._record_slowly(value)
                return
            if self.epoch == self.scope.epoch and (n >= 0 or self.lowest != 0.0) and self.aggregate.add_int(n):
                self.count += 1
                return
        self._record_slowly(value)

    def _record_slowly(self, value: SupportsFloat) -> None:
        # slow path: first record since a take or a fork, a cell being taken, odd values, a histogram that must grow
        number: Any = value if type(value) is int and INT64_MIN <= value <= INT64_MAX else to_float(value)
        scope = self.scope
        epoch = scope.epoch
        if epoch == CLOSED:
            self.drop(AFTER_SHUTDOWN)
        elif number is None:
            self.drop(INVALID_VALUE)
        elif number - number != 0.0:
            self.drop(NON_FINITE)
        elif number < self.lowest:
            self.drop(NEGATIVE)
        else:
            if self.generation != epoch:
                self.abandon()
            if self.epoch == HELD:
                made: list[Any] = []  # before it is stored: allocating it may collect garbage, and a finaliser record
                if self.pending is None:
                    self.pending = made
                self.pending.append(number)
                self.contended += 1
            else:
                self._store(number)
                if self.epoch == CLEAN:
                    if scope.running:  # else nobody may come to take it: the next value asks for the flusher again
                        self.epoch = epoch
                    scope.dirty[self] = None
            self.count += 1
            if self.series.table is not None:
                self.series.table.restore(self.series)
            if not scope.running:
                scope.start()

    def _store(self, number: Any) -> None:
        aggregate = self.aggregate
        x = float(number)
        if isinstance(number, int):
            n: i64 = number
            if not aggregate.add_int(n):
                aggregate.make_room(x)
                aggregate.add_int(n)
        elif not aggregate.add(x):
            aggregate.make_room(x)
            aggregate.add(x)

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return self.lowest

    def drop(self, reason: int) -> None:
        """Count one value as dropped."""
        self.series.drop(reason)

    def take(self) -> bool:
        """Move what was recorded into the series: one compiled call, which nothing can interrupt midway."""
        if self.generation != self.scope.generation:
            return True
        if self.epoch == HELD:
            return False
        self.epoch = HELD
        self.series.absorb(self.aggregate)
        self.aggregate.clear()
        pending = self.pending
        while pending:
            self.pending = None
            for number in pending:
                self._store(number)
            self.series.absorb(self.aggregate)
            self.aggregate.clear()
            pending = self.pending
        self.epoch = CLEAN
        return True

    def hold(self) -> None:
        """Mark the cell as being taken, so that a test sees records take the append branch."""
        self.epoch = HELD

    def release(self) -> None:
        """End `hold()`; what was appended is pending, and the next take merges it."""
        self.epoch = CLEAN
        self.scope.dirty[self] = None

    def abandon(self) -> None:
        """Forget what a forked parent had recorded."""
        self.generation = self.scope.generation
        self.epoch = CLEAN
        self.count = 0
        self.contended = 0
        self.pending = None
        self.aggregate.clear()

    def settle(self) -> int:
        """Count no more what was merged, and return how many values that were."""
        merged = self.accepted() - self.pending_count()
        self.count -= merged
        return merged

    def accepted(self) -> int:
        """Return how many values were taken in since the start or the last fork."""
        return int(self.count) if self.generation == self.scope.generation else 0

    def pending_count(self) -> int:
        """Return how many of them the cell holds."""
        if self.generation != self.scope.generation:
            return 0
        return int(self.aggregate.count) + (0 if self.pending is None else len(self.pending))

    def contended_count(self) -> int:
        """Return how many records found the cell taken."""
        return int(self.contended)
