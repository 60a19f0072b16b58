"""Closed time windows: start → the series that were active in it → their aggregates; in resolutions that coarsen with age.

Windows of histograms are kept packed, at about a byte for each bucket in use. They are kept by time and not by series: a series
that was idle in a window costs nothing there, and letting go of a window is one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.gathering import Gathering
from metrics_sdk.core.packing import pack
from metrics_sdk.core.series import Series
from metrics_sdk.resolutions import Ages, Resolution, divides, floor

#: What is kept of a series in a window: an aggregate, packed or not, or several that belong together.
Stored = Aggregate | bytes | tuple[Any, ...]
Window = dict[Series, Any]  # series → Stored
#: What was found: (start, end) of the window → what is stored of the series in it.
Found = dict[tuple[float, float], list[Any]]


class Level:
    """The windows of one width, by start."""

    def __init__(self, resolution: Resolution) -> None:
        self.width = resolution.width
        # A plain dict: one C call cannot be torn by an exception in its middle, as a change of a sorted container can. Sorting
        # the two hundred keys that there are takes 4 µs, for they are nearly in order.
        self.by_start: dict[float, Window] = {}

    def window(self, start: float) -> Window:
        """Return the window that begins at `start`, made if need be."""
        return self.by_start.setdefault(start, {})

    def starts(self, since: float, until: float) -> list[float]:
        """Return where the windows begin that reach into `since` to `until`, in order."""
        little = self.width * 1e-6  # multiples of a fraction such as 0.1 are not exact
        after, before = since - self.width + little, until - little
        return sorted([start for start in self.by_start if after < start < before])


class RollUp:
    """Windows on their way to a coarser one. What of a series is in `coarse` is in its place already."""

    def __init__(self, level: int, start: float, end: float) -> None:
        self.level = level
        self.start = start
        self.end = end
        self.coarse: Window = {}


class Windows:
    """The closed windows of the series that share a lock; call it with that lock held."""

    def __init__(self, resolutions: Sequence[Resolution]) -> None:
        self._levels = [Level(resolution) for resolution in resolutions]
        self._ages = Ages(resolutions)
        self._rolling: RollUp | None = None

    def _place(self, start: float, series: Series) -> Window:
        """Return the window that what `series` has at `start` goes into: a coarser one, where that took its place."""
        for level in range(len(self._levels) - 1, 0, -1):
            coarse = self._levels[level].by_start.get(floor(start, self._levels[level].width))
            if coarse is not None:
                return coarse
        rolling = self._rolling
        if rolling is not None and rolling.start <= start < rolling.end and series in rolling.coarse:
            return rolling.coarse
        return self._levels[0].window(floor(start, self._levels[0].width))

    def put(self, start: float, series: Series, closed: Aggregate) -> None:
        """Store the aggregate of a window. The same one again changes nothing; a further one (a value came late) is added."""
        window = self._place(start, series)
        stored = window.setdefault(series, closed)
        if stored is not closed and not any([aggregate is closed for aggregate in as_tuple(stored)]):
            window[series] = (*as_tuple(stored), closed)

    def pack(self, start: float, series: Series) -> None:
        """Store what is stored of a window in its smallest form, once nobody asks whether it is stored any more."""
        window = self._place(start, series)
        stored = window.get(series)
        if stored is not None:
            window[series] = _smallest(series, as_tuple(stored))

    def read(self, chosen: Iterable[tuple[Series, Aggregate | None]], since: float, until: float, found: Found) -> None:
        """Add to `found` what the windows that reach into `since` to `until` have of `chosen`.

        Those are pairs of a series and its open window, which counts as open even if it is stored already.
        """
        for number, level in enumerate(self._levels):
            coarser = self._levels[number + 1 :]
            for start in level.starts(since, until):
                if any([floor(start, above.width) in above.by_start for above in coarser]):
                    continue  # rolled up, and not yet gone
                window = level.by_start[start]
                parts: list[Any] = []
                for series, opened in chosen:
                    stored = window.get(series)
                    if stored is not None:
                        parts += [one for one in as_tuple(stored) if one is not opened]
                if parts:
                    found.setdefault((start, start + level.width), []).extend(parts)

    def copy(self, since: float, until: float, copies: list[tuple[float, float, list[tuple[Series, Any]]]]) -> None:
        """Add to `copies` what the windows that reach into `since` to `until` have: start, end, (series, stored)."""
        for number, level in enumerate(self._levels):
            coarser = self._levels[number + 1 :]
            for start in level.starts(since, until):
                if not any([floor(start, above.width) in above.by_start for above in coarser]):
                    copies.append((start, start + level.width, list(level.by_start[start].items())))

    def change(self, resolutions: Sequence[Resolution]) -> list[tuple[float, float, Window]]:
        """Go on with other resolutions; return the windows (start, width, content) whose width is none of these."""
        known = {level.width: level for level in self._levels}
        self._levels = [Level(resolution) for resolution in resolutions]
        self._ages = Ages(resolutions)
        self._rolling = None
        for level in self._levels:
            if level.width in known:
                level.by_start = known.pop(level.width).by_start
        return [(start, level.width, window) for level in known.values() for start, window in level.by_start.items()]

    def put_wider(self, start: float, width: float, batch: Iterable[tuple[Series, Any]]) -> None:
        """Add what a window of another width has to one that is a multiple of it; without any, it is let go of."""
        level = next((level for level in self._levels if divides(width, level.width)), None)
        if level is not None:
            window = level.window(floor(start, level.width))
            for series, stored in batch:
                window[series] = _smallest(series, (*as_tuple(window.get(series)), *as_tuple(stored)))

    # ---- ageing -------------------------------------------------------------------------------------------------

    def next_roll_up(self, now: float) -> tuple[RollUp, list[Series]] | None:
        """Return windows that are too old for their level, and the series still to be rolled up; None if there are none."""
        if self._rolling is None:
            for number, level in enumerate(self._levels[:-1]):
                width = self._levels[number + 1].width
                old = min(level.by_start, default=now)
                if old < self._ages.since(number, now):
                    start = floor(old, width)
                    self._rolling = RollUp(number, start, start + width)
                    break
        rolling = self._rolling
        if rolling is None:
            return None
        level = self._levels[rolling.level]
        active: dict[Series, None] = {}
        for start in level.starts(rolling.start, rolling.end):
            active.update(dict.fromkeys(level.by_start[start]))
        return rolling, [series for series in active if series not in rolling.coarse]

    def roll_up(self, rolling: RollUp, batch: Iterable[Series]) -> None:
        """Merge the windows of some series into the coarser one that is on its way."""
        if rolling is not self._rolling:
            return
        level = self._levels[rolling.level]
        windows = [level.by_start[start] for start in level.starts(rolling.start, rolling.end)]
        for series in batch:
            parts = [part for window in windows for part in as_tuple(window.get(series))]
            if parts and series not in rolling.coarse:
                rolling.coarse[series] = _smallest(series, parts)

    def rolled_up(self, rolling: RollUp) -> list[Window]:
        """Put the coarser window in the place of those that it was made of; return these, to be freed."""
        if rolling is not self._rolling:
            return []
        coarser, level = self._levels[rolling.level + 1], self._levels[rolling.level]
        coarser.by_start[rolling.start] = rolling.coarse  # from now on it counts, and the finer ones do not
        gone = [level.by_start.pop(start) for start in level.starts(rolling.start, rolling.end)]
        self._rolling = None
        return gone

    def evict(self, now: float) -> list[Window]:
        """Let go of the windows that are too old to keep; return them, to be freed.

        Where the clock was set back, of those that begin after `now` as well: they have yet to come.
        """
        gone: list[Window] = []
        oldest = self._ages.since(len(self._levels) - 1, now)
        for level in self._levels:
            for start in list(level.by_start):
                if start + level.width <= oldest or start > now:
                    gone.append(level.by_start.pop(start))
        if self._rolling is not None and self._rolling.start > now:
            self._rolling = None
        return gone

    def clear(self) -> None:
        """Let go of all."""
        for level in self._levels:
            level.by_start.clear()
        self._rolling = None


def as_tuple(stored: Any) -> tuple[Any, ...]:
    """Return what is stored as a tuple of aggregates, packed or not."""
    if stored is None:
        return ()
    return stored if isinstance(stored, tuple) else (stored,)


def _smallest(series: Series, parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        merged = parts[0]
    else:
        gathering = Gathering(series.empty)
        gathering.add(list(parts))
        merged = gathering.result()
    return pack(merged) if isinstance(merged, ExponentialHistogram) else merged
