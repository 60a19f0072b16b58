"""The cell of an instrument that is turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, SupportsFloat, final

from metrics_sdk.core.cells import Cell

if TYPE_CHECKING:
    from metrics_sdk.core.series import Series


@final
class RefusingCell(Cell):
    """Counts every value as dropped, in another cell of the same series."""

    def __init__(self, series: Series, inner: Cell, reason: int) -> None:
        super().__init__(series)
        self.inner: Final = inner
        self.reason: Final = reason

    def parts(self) -> list[Cell]:
        """Return the cells that hold what there is."""
        return self.inner.parts()

    def record(self, value: SupportsFloat) -> None:
        """Count the value as dropped."""
        self.inner.drop(self.reason)

    def drop(self, reason: int) -> None:
        """Count one value as dropped."""
        self.inner.drop(reason)
