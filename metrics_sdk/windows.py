"""Closed time windows: start → the series that were active in it → their aggregates; in resolutions that coarsen with age.

Windows of histograms are kept packed, at about a byte for each bucket in use. They are kept by time and not by series: a series
that was idle in a window costs nothing there, and letting go of a window is one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.gathering import Gathering
from metrics_sdk.core.packing import pack
from metrics_sdk.core.series import Series
from metrics_sdk.resolutions import Ages, Resolution, divides, floor

#: What is kept of each series: an aggregate, packed or not, or a tuple of several that belong together.
Window = dict[Series, Any]
#: What was found: (start, end) of the window → what is stored of the series in it.
Found = dict[tuple[float, float], list[Any]]


class Level:
    """The windows of one width, by start."""

    def __init__(self, width: float) -> None:
        self.width = width
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
    """Windows on their way to a coarser one. What of a series is in `coarse` need not be merged any more.

    Once it is `committed`, `coarse` counts, and those that it was made of do not. `again`: something was added to these since.
    """

    def __init__(self, start: float, width: float, coarse: Window, committed: bool) -> None:
        self.start = start
        self.width = width
        self.end = start + width
        self.coarse = coarse
        self.committed = committed
        self.again = False

    def covers(self, start: float) -> bool:
        """Tell whether a window that begins at `start` is part of it."""
        little = self.width * 1e-6
        return self.start - little < start < self.end - little


class Windows:
    """The closed windows of the series that share a lock; call it with that lock held.

    There is a level for each resolution, and one for each width of earlier resolutions as long as it has windows.
    """

    def __init__(self, resolutions: Sequence[Resolution]) -> None:
        self._resolutions: Sequence[Resolution] = ()
        self._levels: list[Level] = []
        self._finest: Level | None = None
        self._rolling: RollUp | None = None
        self.change(resolutions)

    def change(self, resolutions: Sequence[Resolution]) -> None:
        """Go on with other resolutions. What is kept is of widths that one of these is a multiple of."""
        if self._rolling is not None and self._rolling.committed:
            self.finish()
        self._rolling = None
        levels = {resolution.width: Level(resolution.width) for resolution in resolutions}
        for level in self._levels:
            if level.width in levels or (level.by_start and any([divides(level.width, width) for width in levels])):
                levels[level.width] = level
        self._levels = [levels[width] for width in sorted(levels)]
        self._finest = levels[resolutions[0].width] if resolutions else None
        self._resolutions = resolutions
        self._ages = Ages(resolutions)

    def _level(self, width: float) -> Level:
        return next(level for level in self._levels if level.width == width)

    # ---- writing ------------------------------------------------------------------------------------------------

    def _place(self, start: float, series: Series) -> Window | None:
        """Return the window that what `series` has at `start` goes into; None without windows."""
        finest = self._finest
        if finest is None:
            return None
        rolling = self._rolling
        if rolling is not None and rolling.covers(start):
            if rolling.committed or series in rolling.coarse:
                return rolling.coarse
            rolling.again = True
        found = finest.by_start.get(start)
        return finest.window(floor(start, finest.width)) if found is None else found

    def put(self, start: float, series: Series, closed: Aggregate, earlier: Sequence[Any] = ()) -> None:
        """Store the aggregate of a window, in the place of `earlier` ones: it contains what they do.

        The same one again changes nothing; a further one (a value came late) is added.
        """
        window = self._place(start, series)
        if window is not None and series not in window:
            window[series] = closed
        elif window is not None:
            replaced = {id(closed), *[id(one) for one in earlier]}
            others = [one for one in as_tuple(window.get(series)) if id(one) not in replaced]
            # A tuple for each series would set off the host's garbage collector, window by window: so only for a second one.
            window[series] = (*others, closed) if others else closed

    def pack(self, start: float, series: Series) -> None:
        """Store what is stored of a window in its smallest form, once nobody asks whether it is stored any more."""
        window = self._place(start, series)
        stored = None if window is None else window.get(series)
        if window is not None and isinstance(stored, (tuple, ExponentialHistogram)):
            window[series] = _smallest(series, as_tuple(stored))

    # ---- reading ------------------------------------------------------------------------------------------------

    def visible(self, since: float, until: float) -> Iterator[tuple[float, float, Window]]:
        """Yield start, end and content of the windows that reach into `since` to `until`."""
        rolling = self._rolling if self._rolling is not None and self._rolling.committed else None
        for level in self._levels:
            for start in level.starts(since, until):
                window = level.by_start[start]
                gone = rolling is not None and level.width < rolling.width and rolling.covers(start)
                if not gone and (rolling is None or window is not rolling.coarse):
                    yield start, start + level.width, window
        if rolling is not None and rolling.start < until and rolling.end > since:
            yield rolling.start, rolling.end, rolling.coarse

    def read(self, chosen: Iterable[tuple[Series, Sequence[Any]]], since: float, until: float, found: Found) -> None:
        """Add to `found` what the windows that reach into `since` to `until` have of `chosen`.

        Those are pairs of a series and what counts as part of its open window, even if it is stored already.
        """
        for start, end, window in self.visible(since, until):
            parts: list[Any] = []
            for series, opened in chosen:
                stored = window.get(series)
                if type(stored) is bytes:
                    parts.append(stored)  # what is packed is no part of an open window
                elif stored is not None:
                    parts += [one for one in as_tuple(stored) if not any([one is other for other in opened])]
            if parts:
                found.setdefault((start, end), []).extend(parts)

    def copy(self, since: float, until: float, copies: list[tuple[float, float, list[tuple[Series, Any]]]]) -> None:
        """Add to `copies` what the windows that reach into `since` to `until` have: start, end, (series, stored)."""
        for start, end, window in self.visible(since, until):
            copies.append((start, end, list(window.items())))

    # ---- ageing -------------------------------------------------------------------------------------------------

    def next_roll_up(self, now: float) -> tuple[RollUp, list[list[Series]]] | None:
        """Return windows that are too old for their width, and the series in each; None if there are none."""
        rolling = self._rolling
        if rolling is None:
            for number, (_width, _span) in enumerate(self._resolutions[:-1]):
                width = self._resolutions[number + 1].width
                oldest = min([min(level.by_start, default=now) for level in self._levels if level.width < width], default=now)
                if oldest < self._ages.since(number, now):
                    rolling = self._rolling = RollUp(floor(oldest, width), width, {}, committed=False)
                    break
        return None if rolling is None else (rolling, [list(window) for window in self._sources(rolling)])

    def _sources(self, rolling: RollUp) -> list[Window]:
        """Return what is merged: narrower windows, and what is in the place of the coarser one already."""
        narrower = [
            level.by_start[start]
            for level in self._levels
            if level.width < rolling.width
            for start in level.starts(rolling.start, rolling.end)
        ]
        there = self._level(rolling.width).by_start.get(rolling.start)
        return [*narrower, there] if there is not None and there is not rolling.coarse else narrower

    def roll_up(self, rolling: RollUp, batch: Iterable[Series]) -> None:
        """Merge what some series have into the coarser window that is on its way."""
        if rolling is not self._rolling or rolling.committed:
            return
        sources = self._sources(rolling)
        for series in batch:
            if series not in rolling.coarse:
                parts = [part for window in sources for part in as_tuple(window.get(series))]
                if parts:
                    rolling.coarse[series] = _smallest(series, parts)

    def commit(self, rolling: RollUp) -> bool:
        """Let the coarser window count, and no longer those that it was made of. False: something was added to these."""
        if rolling is self._rolling and not rolling.committed:
            if rolling.again:
                rolling.again = False
                return False
            self._rolling = RollUp(rolling.start, rolling.width, rolling.coarse, committed=True)  # one store: that is it
        return True

    def finish(self) -> list[Window]:
        """Put the coarser window in its place, and return those that it was made of, to be freed."""
        rolling = self._rolling
        if rolling is None or not rolling.committed:
            return []
        self._level(rolling.width).by_start[rolling.start] = rolling.coarse
        gone: list[Window] = []
        for level in self._levels:
            if level.width < rolling.width:
                gone += [level.by_start.pop(start) for start in level.starts(rolling.start, rolling.end)]
        self._rolling = None
        return gone

    def evict(self, now: float) -> list[Window]:
        """Let go of the windows that are too old to keep; return them, to be freed.

        Where the clock was set back, of those that begin after `now` as well: they have yet to come.
        """
        gone: list[Window] = []
        if not self._resolutions:
            return gone
        oldest = self._ages.since(len(self._resolutions) - 1, now)
        for level in self._levels:
            for start in list(level.by_start):
                if start + level.width <= oldest or start > now:
                    gone.append(level.by_start.pop(start))
        if self._rolling is not None and not self._rolling.committed and self._rolling.start > now:
            self._rolling = None
        return gone

    def clear(self) -> None:
        """Let go of all."""
        self._rolling = None
        for level in self._levels:
            level.by_start.clear()


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
