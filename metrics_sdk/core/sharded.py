"""The cell of a series when recording is sharded by thread: each thread records into its own shard's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, SupportsFloat, final

from metrics_sdk.core.append import AppendCell
from metrics_sdk.core.attributes import raised_by_signal_handler
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.in_place import InPlaceCell
from metrics_sdk.core.scope import this_thread, thread_number

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series


def new_cell(series: Series, lowest: float, shards: int) -> Cell:
    """Return what values for `series` are recorded into. `lowest`: the smallest value that is accepted."""
    return ShardedCell(series, lowest, shards) if shards > 1 else _new_part(series, lowest, 0)


def _new_part(series: Series, lowest: float, shard: int) -> Cell:
    return InPlaceCell(series, lowest) if COMPILED else AppendCell(series, lowest, shard)


@final
class ShardedCell(Cell):
    """Hands each value to the cell of the shard that the calling thread was given at its first recording."""

    def __init__(self, series: Series, lowest: float, shards: int) -> None:
        super().__init__(series)
        self.lowest: Final = lowest
        self.shards: Final = shards
        self.by_shard: Final[dict[int, Cell]] = {}

    def parts(self) -> list[Cell]:
        """Return the cells of the shards that have recorded."""
        return list(self.by_shard.values())

    def _mine(self) -> Cell:
        shard = thread_number() % self.shards
        cell = self.by_shard.get(shard)
        if cell is None:  # the one that is there if another thread of this shard was faster
            made = _new_part(self.series, self.lowest, shard)
            cell = self.by_shard.setdefault(shard, made)
            if cell is not made:
                self.series.scope.cells.pop(made, None)
        return cell

    def record(self, value: SupportsFloat) -> None:
        """Record into this thread's cell."""
        try:
            cell = self.by_shard[this_thread.number % self.shards]
        except (AttributeError, KeyError) as error:  # slow path: the first value of this thread, or of its shard
            if raised_by_signal_handler(error):
                raise
            cell = self._mine()
        cell.record(value)

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return self.lowest

    def drop(self, reason: int) -> None:
        """Count one value as dropped, in this thread's cell."""
        self._mine().drop(reason)
