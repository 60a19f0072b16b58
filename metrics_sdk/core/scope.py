"""What all cells of one SDK share: the epoch, and the list of cells that hold something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

from metrics_sdk.core.attributes import Cuts, Pairs
from metrics_sdk.core.build import COMPILED

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from metrics_sdk.core.cells import Cell
    from metrics_sdk.core.exemplars import Sampler
    from metrics_sdk.core.series import Observed, Series

#: The epoch of a scope that was shut down. No cell's epoch ever equals it.
CLOSED: Final = -1

this_thread: Final[Any] = threading.local()
_tickets: Final = count()


def thread_number() -> int:
    """Return a small number that is this thread's for its whole life, given out in turn."""
    try:
        number: int = this_thread.number
    except AttributeError:
        number = this_thread.number = next(_tickets)
    return number


@final
class Scope:
    """The shared part of all cells of one SDK.

    A compiled cell compares `epoch` with its own: a difference means "something happened since the last record": the cell
    was taken, or the process forked, or the SDK was shut down. That one comparison is all that a record pays for them.
    """

    put_point: Callable[[Any, object, object], None]
    """Takes a cell, a value and its time. `points.Points` sets it before anybody records."""

    def __init__(self, shards: int, windowed: bool, start: Callable[[], None], now: Callable[[], float], timer: Any) -> None:
        self.shards: Final = shards
        self.windowed = windowed
        self.start: Final = start
        self.now: Final = now
        self.timer: Final = timer  # makes what Histogram.time() returns; it lives above the core
        self.generation: i64 = 1  # counts the forks that this process descends from
        self.epoch: i64 = 1  # the generation, or CLOSED
        self.began = now()  # since when this process records
        self.running = False  # whether the flusher was started in this process
        self.cuts: Final = Cuts()
        self.window = 0.0  # start of the open window
        self.takes: i64 = 0
        self.series = 0  # of all streams
        self.max_series = 1 << 62
        self.sampler: Sampler | None = None  # which values become exemplars; None: none
        self.denied: Callable[[str], bool] | None = None  # keys of attributes that are left out; None: none
        # These are changed one entry at a time and never swapped: a recorder may hold a reference.
        self.dirty: Final[dict[Cell, None]] = {}
        self.undrained: Final[dict[Cell, None]] = {}  # those that hold something while no flusher can be had
        self.opened: Final[dict[Series, None]] = {}
        self.observed: Final[dict[Series, Observed]] = {}  # the totals of observable instruments
        self.refused: Final[dict[Series, None]] = {}  # those that values were dropped of since it was last told
        self.cells: Final[dict[Cell, None]] = {}  # those that cannot notice a fork by themselves

    def permitted(self, pairs: Pairs) -> Pairs:
        """Return those of the attributes whose keys are not denied."""
        denied = self.denied
        return pairs if denied is None else tuple([pair for pair in pairs if not denied(pair[0])])

    def is_closed(self) -> bool:
        """Tell whether the SDK was shut down."""
        return self.epoch == CLOSED

    def close(self) -> None:
        """Count everything that is recorded from now on as `after_shutdown`."""
        self.epoch = CLOSED

    def forked(self) -> None:
        """Begin anew in a forked child: what the parent recorded is the parent's to deliver.

        Compiled cells notice by their epoch when they are next used. Interpreted ones have no such check on their fast path,
        so they are all emptied here: not only the dirty ones, for one may have been about to get on the list, or just taken
        off it. Only one thread exists at this moment.
        """
        self.generation += 1
        self.began = self.now()
        if self.epoch != CLOSED:
            self.epoch = self.generation
        self.running = False
        for cell in self.cells:
            cell.abandon()
        self.dirty.clear()
        self.undrained.clear()
        self.opened.clear()
