"""The aggregate map: where cells deliver to, and where readers read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from metrics_sdk.clock import Clock
from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.draining import take_slice
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.slices import SLICE_SECONDS, in_slices
from metrics_sdk.windows import Windows

_CLOSED_TOGETHER = 16  # series whose windows are closed under one hold of their lock: 20 µs


class AggregateMap:
    """N locks, and as many sets of closed windows; a series belongs to one of them by its hash.

    A series' own state (its total and its open window) lives in the series. The lock excludes what could see a window twice or
    not at all: closing it, reading it, and, where the core is interpreted, merging into it. It is held around one helper call
    that does work on a few series, never across a callback, an exporter or logging.
    """

    def __init__(
        self, scope: Scope, clock: Clock, locks: int, window_seconds: float, windows_kept: int, aligned_seconds: float
    ) -> None:
        """`aligned_seconds`: values taken less than this after a window's end still belong to it."""
        self.locks: list[Any] = [threading.RLock() for _ in range(locks)]
        self.window_seconds = window_seconds
        self.windows_kept = windows_kept
        self._aligned_seconds = aligned_seconds
        self._scope = scope
        self._clock = clock
        self._windows = {id(lock): Windows(windows_kept) for lock in self.locks}
        self._drain_lock: Any = threading.RLock()
        if window_seconds:
            scope.window = self._window_at(clock.time())

    def forked(self) -> None:
        """Begin anew in a forked child, where a lock may be held by a thread that is no more."""
        for lock in self.locks:
            lock._at_fork_reinit()
        self._drain_lock._at_fork_reinit()
        for windows in self._windows.values():
            windows.clear()

    def drain(self, tables: Iterable[Table] | None = None, timeout: float = 5.0) -> bool:
        """Take what the cells hold, of all instruments or of some; close the window if it has ended.

        Returns False if not all was taken within `timeout` seconds, or if the caller interrupted another drain.
        """
        cells = None
        if tables is not None:
            chosen = [series for table in tables for series in list(table.series.values())]
            cells = [cell for series in chosen for cell in series.cell.parts()]
        done: list[bool] = []
        deadline = time.monotonic() + timeout
        exclusively(self._drain_lock, lambda: done.append(self._drain(cells, deadline)), timeout)
        return done == [True]

    def _drain(self, cells: list[Cell] | None, deadline: float) -> bool:
        scope = self._scope
        window = scope.window
        ended = False
        if self.window_seconds:
            now = self._clock.time()
            window = self._window_at(now)
            ended = window != scope.window
            if ended and not 0 <= now - scope.window - self.window_seconds < self._aligned_seconds:
                self._close_windows(window)
                ended = False
        if cells is None or ended:
            cells = list(scope.dirty)
        else:
            cells = [cell for cell in cells if cell in scope.dirty]
        complete = self._take(cells, deadline)
        if ended:
            self._close_windows(window)
        return complete

    def _take(self, cells: list[Cell], deadline: float) -> bool:
        """Take the cells; those that somebody else is taking again and again until the deadline."""
        while True:
            busy: list[Cell] = []
            at = 0
            while at < len(cells):
                at = take_slice(self._scope, cells, at, SLICE_SECONDS, busy)
                if at < len(cells):
                    time.sleep(0)
            if not busy or time.monotonic() > deadline:
                return not busy
            cells = busy
            time.sleep(0)

    def _close_windows(self, window: float) -> None:
        scope = self._scope
        by_lock: dict[int, list[Series]] = {}
        for series in in_slices(list(scope.opened)):
            by_lock.setdefault(id(series.lock), []).append(series)
        batches = [
            sharing[at : at + _CLOSED_TOGETHER]
            for sharing in by_lock.values()
            for at in range(0, len(sharing), _CLOSED_TOGETHER)
        ]
        for batch in in_slices(batches, looking_every=1):
            exclusively(batch[0].lock, partial(self._close, batch), 1.0)
        scope.window = window
        for lock in self.locks:
            windows = self._windows[id(lock)]
            exclusively(lock, partial(windows.evict, self.oldest(), window), 1.0)

    def oldest(self) -> float:
        """Return the start of the oldest window that is kept."""
        return self._scope.window - self.windows_kept * self.window_seconds

    def _close(self, batch: list[Series]) -> None:
        """Close the windows of series that share a lock, which is held."""
        # Stored first, then moved in the series: an interruption in between makes it be stored again, which changes nothing.
        scope = self._scope
        windows = self._windows[id(batch[0].lock)]
        for series in batch:
            generation = scope.generation
            state = series.current()
            opened = state.open
            if opened is not None:
                windows.put(state.window, series, opened)
                if scope.generation != generation:
                    windows.clear()  # forked in the meantime: it is the parent's
                    return
                series.close_window(opened)
            scope.opened.pop(series, None)

    def _window_at(self, now: float) -> float:
        return now - now % self.window_seconds

    def recent(self, series: Series, since: float) -> Iterator[tuple[float, Aggregate]]:
        """Yield (start, aggregate) of the windows of `series` that end after `since`, in order; the open one last."""
        found: list[tuple[float, Aggregate]] = []
        read = partial(self._read_recent, series, since, found)
        if not exclusively(series.lock, read, 1.0):
            read()  # we are inside a handler that interrupted the holder: it will not move on before we return
        yield from found

    def _read_recent(self, series: Series, since: float, found: list[tuple[float, Aggregate]]) -> None:
        opened = series.current().open  # stored already, but not yet moved, if closing it was interrupted
        for start, aggregate in self._windows[id(series.lock)].of(series, since - self.window_seconds, self._scope.window):
            if aggregate is not opened:
                found.append((start, aggregate))
        window = series.window()
        if window is not None and window[0] + self.window_seconds > since:
            found.append(window)
