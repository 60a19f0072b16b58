"""The cell: what one buffer holds of one series. Two ways to record into it, one interface.

`in_place.InPlaceCell` updates its aggregate with every value and is used where the core is compiled;
`append.AppendCell` appends values to a list and is used where it is interpreted. `sharded.ShardedCell` picks this
thread's cell among several.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, SupportsFloat

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series


class Cell:
    """Takes the values of one series. No method raises, none waits.

    `record`, `record_in`, `drop` and `least` are for any cell, the others for those that `parts()` returns.
    """

    def __init__(self, series: Series) -> None:
        self.series = series

    def parts(self) -> list[Cell]:
        """Return the cells that hold values: this one, or those of the shards."""
        return [self]

    def targets(self) -> list[Cell]:
        """Return a cell for each series that values go to."""
        return [self]

    def record(self, value: SupportsFloat) -> None:
        """Take `value` in, or count it as dropped."""

    def record_in(self, context: object, value: SupportsFloat) -> None:
        """The same, in a context that is given: where it comes from matters for exemplars alone."""
        self.record(value)

    def drop(self, reason: int) -> None:
        """Count one value as dropped."""

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return -math.inf

    def take(self) -> bool:
        """Move what was recorded into the series. False: the cell is being taken already, try again later."""
        return True

    def abandon(self) -> None:
        """Forget what a forked parent had recorded."""

    def settle(self) -> int:
        """Count no more what was merged, and return how many values that were, where the cell counts them."""
        return 0

    def accepted(self) -> int:
        """Return how many values were taken in since the start or the last fork, where the cell counts them."""
        return 0

    def pending_count(self) -> int:
        """Return how many values the cell holds, counted from its content."""
        return 0

    def excess(self) -> int:
        """Return how many values were dropped as `buffer_full`."""
        return 0

    def contended_count(self) -> int:
        """Return how many records found the cell taken."""
        return 0
