"""Taking many cells, in slices that give the host its turn."""

from __future__ import annotations

import time
from typing import Final

from metrics_sdk.clock import perf_counter
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.scope import Scope

_clock: Final = time.perf_counter if COMPILED else perf_counter


def take_slice(scope: Scope, cells: list[Cell], at: int, seconds: float, busy: list[Cell]) -> int:
    """Take cells from position `at` on for about `seconds`; return the position to go on from.

    A cell leaves the dirty list before it is taken: a value recorded in between puts it there again. It returns to the
    list if it could not be taken, and is added to `busy`.
    """
    dirty = scope.dirty
    end = _clock() + seconds
    n = len(cells)
    while at < n:
        cell = cells[at]
        at += 1
        taken = False
        try:
            dirty.pop(cell, None)
            taken = cell.take()
        finally:
            if not taken:
                dirty[cell] = None
                busy.append(cell)
        if not at & 31 and _clock() >= end:
            break
    return at
