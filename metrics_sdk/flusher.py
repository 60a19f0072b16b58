"""The background thread: drain, close windows, hand snapshots to the exporters that are due."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable
from weakref import WeakMethod

from metrics_sdk.alarm import Alarm
from metrics_sdk.clock import Clock
from metrics_sdk.faults import Faults

LONGEST_BACKOFF_SECONDS = 60.0
_SOONEST = 0.001
_AFTER_FAILURE = 0.1


class Flusher:
    """Runs `work` at the times that `work` asks for, and survives whatever is thrown into it.

    Started by the first recording, so by a signal handler or a finaliser as well: hence a bare thread: `threading.Thread.start`
    waits for the new thread, under a lock. Ended by an
    exception that could not be caught, it is started again after a pause that doubles each time. It does not keep alive whose
    `work` it does: without that the thread ends.
    """

    def __init__(self, clock: Clock, faults: Faults, work: Callable[[], float], ended: Callable[[], None]) -> None:
        self._clock = clock
        self._faults = faults
        self._work = WeakMethod(work)  # returns the monotonic time of the next pass
        self._ended = WeakMethod(ended)
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, which has no such thread."""
        self._alarm = Alarm()
        self._get_ident = _thread.get_ident
        self._ident: int | None = None
        self._stopping = False
        self._pause = 0.0
        self._not_before = 0.0
        self.cpu_seconds = 0.0

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._ident is not None

    def is_current_thread(self) -> bool:
        """Tell whether the flusher itself is calling."""
        return self._ident == self._get_ident()

    def start(self) -> bool:
        """Start the thread. False: none can be had now, or none could be lately; recording is not affected."""
        if self._stopping or self._clock.monotonic() < self._not_before:
            return False
        return self._spawn(0.0)

    def _spawn(self, pause: float) -> bool:
        self._alarm = Alarm()  # of one kind with the thread that sleeps by it: gevent may have patched both since
        try:
            _thread.start_new_thread(self._run, (self._alarm, pause))
        except RuntimeError:  # no more threads, or the interpreter is on its way out
            self._not_before = self._clock.monotonic() + self._longer_pause()
            return False
        return True

    def _longer_pause(self) -> float:
        self._pause = min(LONGEST_BACKOFF_SECONDS, max(1.0, self._pause * 2))
        return self._pause

    def wake(self) -> None:
        """Let the next pass begin now."""
        self._alarm.ring()

    def stop(self) -> None:
        """End the thread after the pass that it is in."""
        self._stopping = True
        self.wake()

    def _run(self, alarm: Alarm, pause: float) -> None:
        self._get_ident = _thread.get_ident
        self._ident = self._get_ident()
        try:
            if pause:
                alarm.sleep(pause)
            while not self._stopping and alarm is self._alarm:
                try:
                    self._pass(alarm)
                except BaseException as error:
                    self._faults.report("flusher", "a pass of the flusher failed, it goes on", error)
                    alarm.sleep(_AFTER_FAILURE)
        finally:
            if alarm is self._alarm:  # else another thread has taken its place
                self._ident = None
                self._run_again()

    def _run_again(self) -> None:
        pause, self._pause = self._pause, max(1.0, self._pause)  # at once, the first time
        if not self._stopping and not self._spawn(pause and self._longer_pause()):
            ended = self._ended()
            if ended is not None:
                ended()

    def _pass(self, alarm: Alarm) -> None:
        next_pass = self._worked()
        self._pause = 0.0
        self.cpu_seconds = time.thread_time()
        if not self._stopping:
            alarm.sleep(max(_SOONEST, next_pass - self._clock.monotonic()))

    def _worked(self) -> float:
        work = self._work()
        if work is None:
            self._stopping = True
            return 0.0
        return work()
