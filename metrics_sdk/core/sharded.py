"""The cells of one series when recording is sharded by thread: each thread records into its own shard's."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsFloat, final

from metrics_sdk.core.append import AppendCell
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.in_place import InPlaceCell
from metrics_sdk.core.scope import thread_number

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series


def new_cell(series: Series, lowest: float, shard: int) -> Cell:
    """Return the build's cell for `shard` of `series`, the one that is there if another thread was faster."""
    made: Cell = InPlaceCell(series, lowest) if COMPILED else AppendCell(series, lowest, shard)
    return series.cells.setdefault(shard, made)


@final
class ShardedCell(Cell):
    """Hands each value to the cell of the shard that the calling thread was given at its first recording."""

    def __init__(self, series: Series, lowest: float, shards: int) -> None:
        super().__init__(series)
        self.lowest = lowest
        self.shards = shards

    def _mine(self) -> Cell:
        shard = thread_number() % self.shards
        cell = self.series.cells.get(shard)
        return new_cell(self.series, self.lowest, shard) if cell is None else cell

    def record(self, value: SupportsFloat) -> None:
        """Record into this thread's cell."""
        self._mine().record(value)

    def drop(self, reason: int) -> None:
        """Count one value as dropped, in this thread's cell."""
        self._mine().drop(reason)
