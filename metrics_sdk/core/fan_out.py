"""The cell of an instrument that feeds several streams."""

from __future__ import annotations

from typing import Final, SupportsFloat, final

from metrics_sdk.core.cells import Cell


@final
class FanOutCell(Cell):
    """Hands each value to a cell of each stream. Its `series` is the first one's."""

    def __init__(self, cells: list[Cell]) -> None:
        super().__init__(cells[0].series)
        self.cells: Final = cells

    def parts(self) -> list[Cell]:
        """Return the cells that hold values."""
        return [part for cell in self.cells for part in cell.parts()]

    def targets(self) -> list[Cell]:
        """Return a cell for each series."""
        return [target for cell in self.cells for target in cell.targets()]

    def record(self, value: SupportsFloat) -> None:
        """Record `value` in each."""
        for cell in self.cells:
            cell.record(value)

    def record_in(self, context: object, value: SupportsFloat) -> None:
        """Record `value` in each, in a context that is given."""
        for cell in self.cells:
            cell.record_in(context, value)

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return self.cells[0].least()

    def drop(self, reason: int) -> None:
        """Count one value as dropped in each."""
        for cell in self.cells:
            cell.drop(reason)
