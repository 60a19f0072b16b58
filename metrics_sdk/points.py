"""Values with a time of their own: buffered, then merged into the windows that they belong to.

They cannot be added to what is counted now, so they go as points into the bounded buffer of the thread's shard, and a drain
merges them. Guarantee, as everywhere: none is lost or counted twice, whoever interrupts. A take cuts a batch that stays at the
head of the buffer; works out what each series is given, and keeps that in the batch; merges it series by series, each of which
names the batch; and drops the batch. Whoever finds a batch at the head finishes the job, and skips the series that name it.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import sleep
from types import FrameType
from typing import Any, Protocol

from metrics_sdk.clock import Clock, monotonic
from metrics_sdk.config import Config
from metrics_sdk.core.aggregates import INT64_MAX, INT64_MIN, Aggregate
from metrics_sdk.core.attributes import handler_codes, raised_by_signal_handler
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.exclusion import exclusively, result_exclusively
from metrics_sdk.core.numbers import to_float
from metrics_sdk.core.reasons import (
    AFTER_SHUTDOWN,
    BUFFER_FULL,
    INVALID_TIMESTAMP,
    INVALID_VALUE,
    LATE,
    NEGATIVE,
    NON_FINITE,
)
from metrics_sdk.core.scope import Scope, thread_number
from metrics_sdk.core.series import Series
from metrics_sdk.interval import is_a
from metrics_sdk.resolutions import floor

_BATCH = 512  # points merged between two offers of the GIL
_AHEAD_SECONDS = 60.0  # clocks of other machines may be ahead of ours by less than this
_MORE = 8192
_PAUSE_SECONDS = 0.001
_WAIT_SECONDS = 0.01  # for the drain lock, before it is looked whether there is room


class Point:
    """A value, its time, and the series that it is for."""

    __slots__ = ("series", "time", "value")

    def __init__(self, series: Series, value: float, time: float) -> None:
        self.series = series
        self.value = value
        self.time = time


class Given:
    """What a batch gives to one series: to closed windows, by start, to the open one, and drops by reason."""

    def __init__(self, series: Series) -> None:
        self.windows: dict[float, Aggregate] = {}
        self.closed = series.empty.fresh()
        self.opened = series.empty.fresh()
        self.dropped: dict[int, int] = {}


class Batch(list[Any]):
    """Points that were cut from a buffer together. `given` is set once, before anything is merged."""

    evicted = False
    given: dict[Series, Given] | None = None


class Places(Protocol):
    """What points need of the aggregate map."""

    locks: list[Any]
    drain_lock: Any
    window_seconds: float

    def put_late(self, series: Series, start: float, aggregate: Aggregate) -> None:
        """Add to a closed window; call it with the series' lock held. The same aggregate again changes nothing."""

    def pack_late(self, series: Series, start: float) -> None:
        """Pack a closed window that was added to; call it with the series' lock held."""


class Points:
    """The buffers, one for each shard, and what becomes of a point where its buffer is full."""

    def __init__(self, scope: Scope, clock: Clock, places: Places, config: Config, is_own_thread: Callable[[], bool]) -> None:
        """`is_own_thread`: tells whether it is one of the SDK's own threads that asks, which may not wait."""
        self._scope = scope
        self._clock = clock
        self._places = places
        self._config = config
        self._is_own_thread = is_own_thread
        self.forked()
        scope.put_point = self.put

    def forked(self) -> None:
        """Begin anew: at the start, and in a forked child, where what waits is the parent's."""
        self._buffers: list[list[Any]] = [[] for _ in range(self._scope.shards)]
        # By shard: held while a batch is cut and merged.
        self._locks: list[Any] = [threading.RLock() for _ in self._buffers]
        self.earliest = math.inf  # the time of the oldest point that was merged

    # ---- recording ----------------------------------------------------------------------------------------------

    def put(self, cell: Cell, value: object, timestamp: object) -> None:
        """Take in a value for the series of `cell`, or count it as dropped."""
        number: Any = value if type(value) is int and INT64_MIN <= value <= INT64_MAX else to_float(value)
        time = _seconds(timestamp)
        if self._scope.is_closed():
            cell.drop(AFTER_SHUTDOWN)
        elif number is None:
            cell.drop(INVALID_VALUE)
        elif number - number != 0.0:
            cell.drop(NON_FINITE)
        elif number < cell.least():
            cell.drop(NEGATIVE)
        elif time is None:
            cell.drop(INVALID_TIMESTAMP)
        else:
            shard = thread_number() % len(self._buffers)
            if len(self._buffers[shard]) < self._config.point_buffer_size or self._make_room(shard):
                self._buffers[shard].append(Point(cell.series, number, time))
            else:
                cell.drop(BUFFER_FULL)
            if not self._scope.running:
                self._scope.start()

    def _make_room(self, shard: int) -> bool:
        policy = self._config.point_overflow
        if policy == "drop_oldest":
            exclusively(self._locks[shard], partial(self._evict, shard))
            # While a batch is being merged, which is about to make room, the oldest cannot be dropped: some more may wait then.
            return len(self._buffers[shard]) < self._config.point_buffer_size + _MORE
        if policy == "block":
            lock = self._places.drain_lock
            deadline = monotonic() + self._config.point_block_seconds
            ours = any([one._is_owned() for one in (lock, *self._locks, *self._places.locks)])  # inside a finaliser, say
            waits = not ours and not self._is_own_thread() and not _in_signal_handler()
            while waits and monotonic() < deadline:
                # Whoever waits does the flusher's work; where another thread is at it, there will be room.
                exclusively(lock, self.take, _WAIT_SECONDS)
                if len(self._buffers[shard]) < self._config.point_buffer_size:
                    return True
                sleep(_PAUSE_SECONDS)
        return False

    def _evict(self, shard: int) -> None:
        """Drop the oldest points, some at a time."""
        size = self._config.point_buffer_size
        if self._cut(shard, max(len(self._buffers[shard]) - size + 1, size // 64), evict=True):
            self._take_batch(shard, 0.0, {})

    # ---- draining -----------------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Merge those that wait; call it with the drain lock held. False: a series was locked for too long."""
        added: dict[tuple[Series, float], None] = {}
        complete = all([self._take_shard(shard, added) for shard in range(len(self._buffers))])
        if self.is_settled():  # as long as a batch is not done with, what it added must be known by its identity
            for series, start in added:
                exclusively(series.lock, partial(self._places.pack_late, series, start), 1.0)
        return complete

    def _take_shard(self, shard: int, added: dict[tuple[Series, float], None]) -> bool:
        items = self._buffers[shard]
        left = len(items)  # not what is recorded meanwhile: there may be no end of it
        while left > 0 and items:
            take = partial(self._take_batch, shard, 1.0, added)
            taken = result_exclusively(self._locks[shard], take, 1.0, otherwise=0)
            if not taken:
                return False
            left -= taken
            sleep(0)
        return True

    def is_settled(self) -> bool:
        """Tell whether no batch is half merged."""
        return not any([items and type(items[0]) is Batch for items in self._buffers])

    def _cut(self, shard: int, size: int, evict: bool = False) -> bool:
        """Cut the oldest points into a batch. False: there is one already, or nothing to cut."""
        items = self._buffers[shard]
        if not items or type(items[0]) is Batch:
            return False
        batch = Batch(items[: min(size, len(items))])
        batch.evicted = evict
        if self._buffers[shard] is items:  # else forked in the meantime: these are the parent's
            items[: len(batch)] = (batch,)
        return True

    def _take_batch(self, shard: int, timeout: float, added: dict[tuple[Series, float], None]) -> int:
        """Merge the oldest points; return how many, 0 if that could not be finished. `added`: takes note of closed windows."""
        self._cut(shard, _BATCH)
        items = self._buffers[shard]
        if not items:
            return 0
        batch = items[0]
        given = batch.given
        if given is None:
            given = batch.given = self._given(batch)
        for series, part in given.items():
            exclusively(series.lock, partial(self._merge, items, shard, series, batch, part), timeout)
        if not all([series.has_merged(batch, shard) for series in given]) or self._buffers[shard] is not items:
            return 0
        items[:1] = ()
        for series, part in given.items():
            for start in part.windows:
                added[series, start] = None
        return len(batch)

    def _merge(self, items: list[Any], shard: int, series: Series, batch: Batch, part: Given) -> None:
        if self._buffers[shard] is not items or series.has_merged(batch, shard):
            return
        for start, aggregate in part.windows.items():
            self._places.put_late(series, start, aggregate)
        series.merge_points(batch, shard, part.closed, part.opened, part.dropped)

    def _given(self, batch: Batch) -> dict[Series, Given]:
        now = self._clock.time()
        oldest, newest = now - self._config.allowed_lateness_seconds, now + _AHEAD_SECONDS
        width, window = self._places.window_seconds, self._scope.window
        values: dict[Series, dict[float | None, list[Any]]] = {}
        made: dict[Series, Given] = {}
        for point in batch:
            series = point.series
            part = made.get(series)
            if part is None:
                part = made[series] = Given(series)
                values[series] = {}
            reason = BUFFER_FULL if batch.evicted else LATE if point.time < oldest else INVALID_TIMESTAMP
            if batch.evicted or not oldest <= point.time <= newest:
                part.dropped[reason] = part.dropped.get(reason, 0) + 1
            else:
                self.earliest = min(self.earliest, point.time)
                start = floor(point.time, width) if series.windowed and width else None
                values[series].setdefault(None if start is None or start >= window else start, []).append(point.value)
        for series, by_start in values.items():
            part = made[series]
            for start, numbers in by_start.items():
                if start is None:
                    part.opened.fold(numbers)
                else:
                    aggregate = part.windows[start] = series.empty.fresh()
                    aggregate.fold(numbers)
                    part.closed.merge(aggregate)
        return made

    # ---- accounting ---------------------------------------------------------------------------------------------

    def waiting(self) -> dict[Series, int]:
        """Return how many points wait, by series."""
        counted: Counter[Series] = Counter()
        for shard, items in enumerate(list(self._buffers)):
            for item in list(items):
                if type(item) is Batch:
                    counted.update([point.series for point in item if not point.series.has_merged(item, shard)])
                else:
                    counted[item.series] += 1
        return counted


def _seconds(timestamp: Any) -> float | None:
    """Return the Unix seconds that `timestamp` stands for, None for what is no time."""
    try:
        if is_a("datetime", timestamp):
            return None if timestamp.tzinfo is None else float(timestamp.timestamp())
        seconds = None if isinstance(timestamp, bool) else to_float(timestamp)
        return seconds if seconds is not None and math.isfinite(seconds) else None
    except Exception as error:  # of a time zone that is not ours
        if raised_by_signal_handler(error):
            raise
        return None


def _in_signal_handler() -> bool:
    codes = handler_codes()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False
