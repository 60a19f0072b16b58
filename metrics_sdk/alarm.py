"""Sleeping and waiting that can be ended from anywhere, a signal handler or finaliser included."""

from __future__ import annotations

import _thread


class Alarm:
    """One thread sleeps, any thread may wake it, also a signal handler or finaliser that interrupted another wake.

    A bare lock, held while nobody rings: `threading.Event.set` takes a lock of its own and deadlocks under re-entry. A ring
    that comes while nobody sleeps ends the next sleep at once.
    """

    def __init__(self) -> None:
        self._silence = _thread.allocate_lock()
        self._silence.acquire()

    def sleep(self, seconds: float | None) -> None:
        """Sleep for so long, or until somebody rings; None is until then only."""
        self._silence.acquire(timeout=-1 if seconds is None else min(max(0.0, seconds), _thread.TIMEOUT_MAX))

    def ring(self) -> None:
        """End the sleep."""
        try:
            self._silence.release()
        except RuntimeError:
            pass  # rung already


class Latch:
    """Closed until it is opened, once and for good. Like `threading.Event`, but opening it is one C call.

    `abandoned`: nobody waits any more. `failed`: what was waited for will not come; set before it is opened.
    """

    def __init__(self) -> None:
        self.abandoned = False
        self.failed = False
        self._opened = False
        self._closed = _thread.allocate_lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let everybody through who waits, or will."""
        self._opened = True
        try:
            self._closed.release()
        except RuntimeError:
            pass  # it is open

    def wait(self, seconds: float) -> bool:
        """Wait until it is opened; False: it was not in so many seconds, or what was waited for has failed."""
        # Once it is open nobody needs the lock: a handler may have interrupted its own thread while that had it.
        if not self._opened:
            if not self._closed.acquire(timeout=min(max(0.0, seconds), _thread.TIMEOUT_MAX)):
                return False
            self.open()
        return not self.failed

    def is_open(self) -> bool:
        """Tell whether it was opened."""
        return self.wait(0.0)
