"""Where time comes from: the system, or a test's hand."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

# The machine's own, whatever becomes of `time` in a test: freezegun replaces the functions of `time` in every module that
# has one, under any name, which would stop the flusher and every deadline. It does not know what is wrapped.
_time = partial(time.time)
monotonic = partial(time.monotonic)
perf_counter = partial(time.perf_counter)


class Clock(Protocol):
    """Two clocks: `time` to stamp with, `monotonic` to measure and wait with."""

    def time(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Return Unix seconds."""
        return _time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return monotonic()


class ManualClock:
    """A clock that a test moves. Both clocks start at `start` and move together, unless `jump` sets the wall clock."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._time = start
        self._monotonic = start

    def time(self) -> float:
        """Return the Unix seconds it was set to."""
        return self._time

    def monotonic(self) -> float:
        """Return the seconds it was advanced to."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards: advance({seconds}); use jump() to set the wall clock back")
        self._time += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._time += seconds
