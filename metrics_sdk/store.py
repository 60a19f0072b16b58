"""The aggregate map: where cells deliver to, and where readers read."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from time import sleep
from typing import Any, Protocol

from metrics_sdk.clock import Clock, monotonic
from metrics_sdk.core.aggregates import Aggregate
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.draining import take_slice
from metrics_sdk.core.exclusion import exclusively, result_exclusively
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.series import Series
from metrics_sdk.points import Points
from metrics_sdk.resolutions import Ages, Resolution, divides, floor
from metrics_sdk.slices import SLICE_SECONDS, in_slices
from metrics_sdk.windows import Found, Window, Windows

_CLOSED_TOGETHER = 16  # series whose windows are closed, or rolled up, under one hold of their lock: 20 to 200 µs
_READ_TOGETHER = 16  # series whose windows are read under one hold


class Feed(Protocol):
    """Who is told of what is added to windows that are closed already."""

    def add_late(self, series: Series, start: float, aggregate: Aggregate) -> None:
        """Take note of it; the same aggregate again changes nothing."""


class AggregateMap:
    """N locks, and as many sets of closed windows; a series belongs to one of them by its hash.

    A series' own state (its total and its open window) lives in the series. The lock excludes what could see a window twice or
    not at all: closing it, reading it, and, where the core is interpreted, merging into it. It is held around one helper call
    that does work on a few series, never across a callback, an exporter or logging.
    """

    def __init__(
        self, scope: Scope, clock: Clock, locks: int, resolutions: Sequence[Resolution], aligned_seconds: float
    ) -> None:
        """`resolutions`: those of windows, none for no windows. `aligned_seconds`: values taken less than this after a window's
        end still belong to it.
        """
        self.locks: list[Any] = [threading.RLock() for _ in range(locks)]
        self.resolutions = resolutions
        self.window_seconds = resolutions[0].width if resolutions else 0.0
        self._ages = Ages(resolutions)
        self._aligned_seconds = aligned_seconds
        self.windows_since = 0.0  # since when none was let go of that should be kept
        self._ages_inline = math.isinf(aligned_seconds)  # where no flusher does it
        self._scope = scope
        self._clock = clock
        self.points: Points | None = None  # values with a time of their own, which are drained as well
        self.feeds: dict[Feed, None] = {}  # those who are told of additions to closed windows
        self._windows = {id(lock): Windows(resolutions) for lock in self.locks}
        self.drain_lock: Any = threading.RLock()
        if resolutions:
            scope.window = floor(clock.time(), self.window_seconds)

    def forked(self) -> None:
        """Begin anew in a forked child, where a lock may be held by a thread that is no more."""
        for lock in self.locks:
            lock._at_fork_reinit()
        self.drain_lock._at_fork_reinit()
        for windows in self._windows.values():
            windows.clear()

    def drain(self, chosen: Iterable[Series] | None = None, timeout: float = 5.0) -> bool:
        """Take what the cells hold, of all series or of some; close the window if it has ended.

        Returns False if not all was taken within `timeout` seconds, or if the caller interrupted another drain.
        """
        cells = None
        if chosen is not None:
            cells = [cell for series in chosen for cell in series.cell.parts()]
        deadline = monotonic() + timeout
        return result_exclusively(self.drain_lock, partial(self._drain, cells, deadline), timeout, otherwise=False)

    def _drain(self, cells: list[Cell] | None, deadline: float) -> bool:
        scope = self._scope
        undrained = list(scope.undrained)
        for cell in undrained:  # first it is here as well as there, so a value in between is not forgotten
            scope.dirty[cell] = None
            scope.undrained.pop(cell, None)
        window = self._window_now()
        closes = window != scope.window
        now = self._clock.time()
        # What is taken soon after the end of a window was recorded before it, or nearly so: it is taken first.
        takes_first = closes and 0 <= now - scope.window - self.window_seconds < self._aligned_seconds
        if closes and not takes_first:
            self._close_windows(window)
        if cells is None or takes_first:
            cells = list(dict.fromkeys([*scope.dirty, *undrained]))  # a recorder may just be taking one off the list again
        else:
            cells = [cell for cell in cells if cell in scope.dirty or cell in undrained]
        complete = self._take(cells, deadline)
        if takes_first:
            self._close_windows(window)
        if self.points is not None:
            complete = self.points.take() and complete
        if closes and self._ages_inline:
            self.age()
        return complete

    def is_held_here(self) -> bool:
        """Tell whether the calling thread is draining or reading, which a handler has interrupted."""
        return any([lock._is_owned() for lock in (self.drain_lock, *self.locks)])

    def _window_now(self) -> float:
        """Return the start of the window that should be open."""
        opened = self._scope.window
        if not self.window_seconds:
            return opened
        now = self._clock.time()
        if 0 < opened - now <= self.window_seconds:
            return opened  # the clock was set back a little: the open window stays open until it has caught up
        return floor(now, self.window_seconds)

    def _take(self, cells: list[Cell], deadline: float) -> bool:
        """Take the cells; those that somebody else is taking again and again until the deadline."""
        while True:
            busy: list[Cell] = []
            at = 0
            while at < len(cells):
                at = take_slice(self._scope, cells, at, SLICE_SECONDS, busy)
                if at < len(cells):
                    sleep(0)
            if not busy or monotonic() > deadline or any([cell.series.lock._is_owned() for cell in busy]):
                return not busy  # of what this very thread is taking, further up, no more can be had now
            cells = busy
            sleep(0)

    def _close_windows(self, window: float) -> None:
        scope = self._scope
        for batch in in_slices(_batches(list(scope.opened), _CLOSED_TOGETHER), looking_every=1):
            exclusively(batch[0].lock, partial(self._close, batch), 1.0)
        scope.window = window

    def change(self, resolutions: Sequence[Resolution], aligned_seconds: float) -> bool:
        """Go on with other resolutions. Closed windows are kept where their width divides one of these.

        False: a drain is under way for longer than five seconds, and nothing has changed.
        """
        self._aligned_seconds = aligned_seconds
        return resolutions == self.resolutions or exclusively(self.drain_lock, partial(self._change, resolutions), 5.0)

    def _change(self, resolutions: Sequence[Resolution]) -> None:
        now = self._clock.time()
        if self.resolutions:
            self._drain(None, monotonic() + 5.0)
            self._close_windows(self._scope.window)
        for lock in self.locks:
            exclusively(lock, partial(self._windows[id(lock)].change, resolutions), 5.0)
        before = self.resolutions
        if not before or not all([any([divides(old.width, new.width) for new in resolutions]) for old in before]):
            self.windows_since = now
        self.window_seconds = resolutions[0].width if resolutions else 0.0
        self._ages = Ages(resolutions)
        self._scope.windowed = bool(resolutions)
        if resolutions:
            self._scope.window = floor(now, self.window_seconds)
        self.resolutions = resolutions  # last: if this is interrupted, it is done again from the beginning

    def age(self) -> None:
        """Roll up the windows that are too old for their resolution, and let go of those that are too old for any."""
        if self.resolutions and (self.points is None or self.points.is_settled()):
            for lock in self.locks:
                for window in self._aged(lock, self._windows[id(lock)]):
                    for _ in in_slices(range(len(window))):
                        window.popitem()  # freeing a large dict at once would be felt

    def _aged(self, lock: Any, windows: Windows) -> list[Window]:
        """Return the windows of the series that share a lock which have become too old."""
        now = self._scope.window
        gone: list[Window] = []
        nothing: list[Window] = []
        while True:
            due = result_exclusively(lock, partial(windows.next_roll_up, now), 1.0, otherwise=None)
            if due is None:
                break
            rolling, listed = due
            waiting: dict[Series, None] = {}
            for many in listed:
                for series in in_slices(many):
                    if series not in rolling.coarse:
                        waiting[series] = None
            batches = in_slices(_batches(list(waiting), _CLOSED_TOGETHER), looking_every=1)
            if not all([exclusively(lock, partial(windows.roll_up, rolling, batch), 1.0) for batch in batches]):
                break  # the next time
            if result_exclusively(lock, partial(windows.commit, rolling), 1.0, otherwise=False):
                gone += result_exclusively(lock, windows.finish, 1.0, otherwise=nothing)
        return gone + result_exclusively(lock, partial(windows.evict, now), 1.0, otherwise=nothing)

    def _close(self, batch: list[Series]) -> None:
        """Close the windows of series that share a lock, which is held."""
        # Stored first, then moved in the series: after an interruption in between it is stored again, in the place of what was
        # stored of it before; the series' state knows what that is.
        scope = self._scope
        windows = self._windows[id(batch[0].lock)]
        for series in batch:
            generation = scope.generation
            state = series.current()
            opened = state.open
            if opened is not None:
                series.note_stored(opened)
                windows.put(state.window, series, opened, series.current().stored)
                if scope.generation != generation:
                    windows.clear()  # forked in the meantime: it is the parent's
                    return
                series.close_window(opened)
                windows.pack(state.window, series)
            scope.opened.pop(series, None)

    def close_now(self, series: Series) -> None:
        """Close the open window of one series before its time; call it with the series' lock held."""
        self._close([series])

    def put_late(self, series: Series, start: float, aggregate: Aggregate) -> None:
        """Add to a closed window; call it with the series' lock held. The same aggregate again changes nothing."""
        self._windows[id(series.lock)].put(start, series, aggregate)
        for feed in list(self.feeds):
            feed.add_late(series, start, aggregate)

    def opened(self) -> float:
        """Return the start of the open window."""
        return float(self._scope.window)

    def pack_late(self, series: Series, start: float) -> None:
        """Pack a closed window that was added to; call it with the series' lock held."""
        self._windows[id(series.lock)].pack(start, series)

    def read(self, chosen: Iterable[Series], since: float, until: float) -> tuple[float, float, Found]:
        """Return what the windows that reach into `since` to `until` have of the series, and the interval that these cover.

        It is an interval of whole windows, as far as they are kept; it ends with infinity where the open window is part of it.
        """
        now = self._scope.window
        ages = self._ages  # one object, which `change` replaces
        if not ages.resolutions:
            return now, now, {}  # windows were turned off just now
        oldest = ages.since(len(ages.resolutions) - 1, now)
        start = ages.aligned(max(since, oldest), now)
        end = ages.end(until, now) if until <= now else math.inf
        waiting = list(chosen)
        while start < end:
            found = self._read_all(waiting, start, end)
            # After the clock was set back, or the resolutions were changed, windows may be wider than their age says.
            wider = min([start, *[window[0] for window in found]]), max([end, *[window[1] for window in found]])
            if wider[0] == start and (wider[1] == end or end == math.inf):
                return start, end, found
            start, end = wider
        return start, start, {}

    def _read_all(self, chosen: list[Series], since: float, until: float) -> Found:
        found: Found = {}
        for batch in in_slices(_batches(chosen, _READ_TOGETHER), looking_every=1):
            read = partial(self._read, batch, since, until, found)
            if not exclusively(batch[0].lock, read, 1.0):
                read()  # we are inside a handler that interrupted the holder: it will not move on before we return
        return found

    def read_everything(self, since: float, until: float, with_open: bool) -> dict[tuple[float, float], dict[Series, Any]]:
        """Return what the closed windows that reach into `since` to `until` have of each series, and the open window."""
        found: dict[tuple[float, float], dict[Series, Any]] = {}
        for lock in self.locks:
            copies: list[tuple[float, float, list[tuple[Series, Any]]]] = []
            copy = partial(self._windows[id(lock)].copy, since, until, copies)
            if not exclusively(lock, copy, 1.0):
                copy()  # as above
            for start, end, items in copies:
                window = found.setdefault((start, end), {})
                for series, stored in in_slices(items):
                    window[series] = stored
        if with_open:
            width = self.window_seconds
            for series in in_slices(list(self._scope.opened)):
                opened = series.window()
                if opened is not None:
                    found.setdefault((opened[0], opened[0] + width), {})[series] = opened[1]
        return found

    def _read(self, batch: list[Series], since: float, until: float, found: Found) -> None:
        # An open window may be stored already, and not yet moved, if closing it was interrupted: it counts as open.
        opened = [(state.open, *state.stored) for state in [series.current() for series in batch]]
        self._windows[id(batch[0].lock)].read(list(zip(batch, opened, strict=True)), since, until, found)
        for series in batch:
            window = series.window()
            if window is not None and since <= window[0] < until:
                found.setdefault((window[0], window[0] + self.window_seconds), []).append(window[1])


def _batches(chosen: list[Series], size: int) -> list[list[Series]]:
    """Return the series in batches of those that share a lock."""
    by_lock: dict[int, list[Series]] = {}
    for series in in_slices(chosen):
        by_lock.setdefault(id(series.lock), []).append(series)
    return [sharing[at : at + size] for sharing in by_lock.values() for at in range(0, len(sharing), size)]
