"""The interpreted cell: a value is appended to a list, and a take merges the list in bulk.

Guarantee: nothing is lost or counted twice, whoever interrupts: a signal handler, a finaliser, another thread, an exception
injected between two bytecodes. Nobody ever waits.
Assumption: one C call on a list or dict, and one attribute store, cannot be cut in half; appends only ever add at the end.
Races avoided: a take makes three commits, each a single C call or store and each repeatable: cut the values into a batch
that stays at the head of the list; show a state that includes the batch and names it; drop the batch. Whoever finds
a batch at the head finishes the job, and skips the merge if the state names that batch already. Values are never held
in a local variable alone.
The recorder appends first and looks at the dirty list afterwards, while a take leaves the dirty list first and cuts
afterwards: so a value is in the cut, or its recorder sees that the cell must be listed again.
"""

from __future__ import annotations

import sys
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, SupportsFloat, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import FLOAT_MAX, INT64_MAX, INT64_MIN
from metrics_sdk.core.attributes import raised_by_signal_handler
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.numbers import to_float
from metrics_sdk.core.reasons import AFTER_SHUTDOWN, INVALID_VALUE, NEGATIVE, NON_FINITE, REASONS

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series, State

FOLD_AT: Final = 1024  # values after which the recorder takes its own cell; a power of two
LARGEST_BATCH: Final = 8192  # values merged under the lock at a time: a millisecond, so that a recorder's own take gets in
CAP: Final = 1 << 20  # values that a cell holds at most, when takes are held up

_SMALL: Final = (1 << 30) - 1  # the largest int of one digit


@mypyc_attr(native_class=False)
class Batch(list):  # type: ignore[type-arg]
    """Values that were cut from a cell's list together, merged together, and named by the state that includes them."""


@final
class Drop:
    """A dropped value, appended in the place of the value so that drops are exact in the same way."""

    def __init__(self, reason: int) -> None:
        self.reason: Final = reason


DROPS: Final = tuple([Drop(reason) for reason in range(len(REASONS))])


@final
class AppendCell(Cell):
    """Appends, and is taken in bulk; see the module's contract."""

    def __init__(self, series: Series, lowest: float, shard: int) -> None:
        super().__init__(series)
        self.dirty: Final = series.scope.dirty
        self.lowest: Final = max(lowest, -FLOAT_MAX)  # 0 for monotonic sums
        self.lowest_int: Final = 0 if lowest == 0.0 else -_SMALL
        self.shard: Final = shard
        self.pending: list[Any] = []
        self.full: Any = repeat(None, sys.maxsize)  # counts down: `next` is one C call
        series.scope.cells[self] = None

    def record(self, value: SupportsFloat) -> None:
        """Take `value` in, or count it as dropped."""
        # Each comparison is one that CPython specialises: with an int of one digit, with a float.
        number: Any = value
        kind = type(value)
        if (
            (number >= self.lowest_int and number <= _SMALL)
            if kind is int
            else (kind is float and number >= self.lowest and number <= FLOAT_MAX)
        ):
            try:
                pending = self.pending
                pending.append(number)
                if self in self.dirty and len(pending) & 1023:
                    return
                self._listed(pending)
            except BaseException:  # a signal handler's: the value may be in already, so a drain must look here
                self.dirty[self] = None
                raise
        else:
            self._record_slowly(value)

    def _record_slowly(self, value: SupportsFloat) -> None:
        # slow path: large ints, numbers of other types, and what is dropped
        number: Any = value if type(value) is int and INT64_MIN <= value <= INT64_MAX else to_float(value)
        if number is None:
            self.drop(INVALID_VALUE)
        elif number - number != 0.0:
            self.drop(NON_FINITE)
        elif number < self.lowest:
            self.drop(NEGATIVE)
        else:
            self._append(number)

    def _append(self, item: Any) -> None:
        try:
            pending = self.pending
            pending.append(item)
            self._listed(pending)
        except BaseException:
            self.dirty[self] = None
            raise

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return self.lowest

    def drop(self, reason: int) -> None:
        """Count one value as dropped."""
        self._append(DROPS[reason])

    def _listed(self, pending: list[Any]) -> None:
        # slow path: first value since the last take, or FOLD_AT values without one, or the SDK was shut down
        scope = self.series.scope
        if scope.is_closed():
            if not self.take():
                self.dirty[self] = None
            return
        self.dirty[self] = None
        if self.series.table is not None:
            self.series.table.restore(self.series)
        if len(pending) >= FOLD_AT and not self.take() and len(pending) >= CAP:
            # Takes are held up: until one succeeds, values are counted instead of kept, at no cost to the common case.
            self.record = self._count_excess  # type: ignore[method-assign]
            if len(self.pending) < CAP:  # one has, just now
                self._keep_again()
        if not scope.running:
            scope.start()
            if not scope.running:  # nobody may come to take it: the next value asks for the flusher again
                self.dirty.pop(self, None)
                scope.undrained[self] = None

    def _count_excess(self, value: SupportsFloat) -> None:
        next(self.full)

    def take(self) -> bool:
        """Move what was recorded into the series. False: somebody else is at it, or this thread is, further up."""
        left = len(self.pending)
        while left > 0:
            if not exclusively(self.series.lock, self._take):
                return False
            left -= LARGEST_BATCH
        self._keep_again()
        return True

    def _keep_again(self) -> None:
        try:
            # Not by __dict__: once that was looked at, CPython finds the attributes of this object more slowly.
            del self.record
        except AttributeError as error:  # it is not there, as nearly always
            if raised_by_signal_handler(error):
                raise

    def _take(self) -> None:
        series = self.series
        for _ in (1, 2):  # finish an interrupted batch, then cut one of our own
            pending = self.pending
            if not pending:
                return
            batch = pending[0]
            if type(batch) is not Batch:
                size = min(len(pending), LARGEST_BATCH)
                batch = Batch(pending[:size])
                if self.pending is not pending:
                    return  # forked in the meantime: these are the parent's
                pending[:size] = (batch,)
            if not self._is_merged(batch):
                state = self._merged(batch)
                if self.pending is not pending:
                    return
                series.state = state
            pending[:1] = ()

    def _is_merged(self, batch: object) -> bool:
        batches = self.series.current().batches
        return len(batches) > self.shard and batches[self.shard] is batch

    def _merged(self, batch: list[Any]) -> State:
        series = self.series
        if series.scope.is_closed():
            state = series.fold([], self.shard, batch)
            state.drop(AFTER_SHUTDOWN, len(batch))
            return state
        try:
            return series.fold(batch, self.shard, batch)
        except TypeError as error:  # a Drop among the values cannot be added or compared
            if raised_by_signal_handler(error):
                raise
            drops = [item for item in batch if type(item) is Drop]
            if not drops:
                raise
            state = series.fold([item for item in batch if type(item) is not Drop], self.shard, batch)
            _count_drops(state, drops)
            series.scope.refused[series] = None
            return state

    def abandon(self) -> None:
        """Forget what a forked parent had recorded."""
        self.pending = []
        self.full = repeat(None, sys.maxsize)
        self._keep_again()

    def excess(self) -> int:
        """Return how many values were dropped because the list was at its cap."""
        return sys.maxsize - length_hint(self.full)

    def pending_count(self) -> int:
        """Return how many values, and drops, the state does not include yet."""
        pending = list(self.pending)
        held = len(pending)
        if held and type(pending[0]) is Batch:
            held += (0 if self._is_merged(pending[0]) else len(pending[0])) - 1
        return held


def _count_drops(state: State, drops: list[Drop]) -> None:
    for drop in drops:
        state.drop(drop.reason, 1)
