"""A sleep that can be ended from anywhere."""

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
