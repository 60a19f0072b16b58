"""Closed time windows: start → the series that were active in it → their aggregates. Sorted, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.series import Series


class Windows:
    """The closed windows of the series that share a lock; call it with that lock held.

    Kept by time and not by series: a series that was idle in a window costs nothing there, and evicting a window is one step.
    """

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self._by_start: Any = None  # SortedDict[float, dict[Series, Aggregate | tuple[Aggregate, ...]]]

    def put(self, start: float, series: Series, closed: Aggregate) -> None:
        """Store the aggregate of a window. The same one again changes nothing; a further one (a value came late) is added."""
        if not self.kept:
            return
        windows = self._by_start
        if windows is None:
            from sortedcontainers import SortedDict  # takes 11 ms to import: not before the first window closes

            windows = self._by_start = SortedDict()
        window = windows.get(start)
        if window is None:
            window = windows[start] = {}
        stored = window.setdefault(series, closed)
        if stored is not closed and not any([aggregate is closed for aggregate in _as_tuple(stored)]):
            # A tuple for each series would set off the host's garbage collector, window by window: so only for a second one.
            window[series] = (*_as_tuple(stored), closed)

    def of(self, series: Series, after: float, until: float) -> Iterator[tuple[float, Aggregate]]:
        """Yield (start, aggregate) of the windows that start after `after` and not after `until`, in order."""
        if self._by_start is not None:
            for start in self._by_start.irange(after, until, inclusive=(False, True)):
                for aggregate in _as_tuple(self._by_start[start].get(series)):
                    yield start, aggregate

    def evict(self, before: float, since: float) -> None:
        """Let go of the windows that begin earlier than `before` or, where the clock was set back, not earlier than `since`."""
        windows = self._by_start
        while windows and windows.peekitem(0)[0] < before:
            windows.popitem(0)
        while windows and windows.peekitem(-1)[0] >= since:
            windows.popitem(-1)

    def clear(self) -> None:
        """Let go of all."""
        self._by_start = None


def _as_tuple(stored: Aggregate | tuple[Aggregate, ...] | None) -> tuple[Aggregate, ...]:
    if stored is None:
        return ()
    return stored if isinstance(stored, tuple) else (stored,)
