"""The thread that asks observable callbacks: one that takes its time holds up neither the flusher nor a reader for long."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

from metrics_sdk.alarm import Alarm, Latch
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.faults import Faults


class CallbackRunner:
    """Runs work on its own thread, and lets others wait for that, up to a limit.

    Started when it is first needed. Where no thread can be had, the work is done by the one who asks.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, which has no such thread."""
        self._alarm = Alarm()
        self._get_ident = _thread.get_ident
        self._waiting: dict[Latch, Callable[[], None]] = {}
        self._starting = threading.RLock()
        self._running = False
        self._stopping = False
        self._ident: int | None = None

    def is_current_thread(self) -> bool:
        """Tell whether a callback is calling."""
        return self._ident == self._get_ident()

    def run(self, work: Callable[[], None], timeout: float) -> bool:
        """Have the work done once, from now on; False: it was not within `timeout` seconds, and goes on."""
        if self.is_current_thread() or self._stopping:
            return True
        self.start()
        if not self._running:
            work()
            return True
        done = Latch()
        self._waiting[done] = work
        self._alarm.ring()
        if done.wait(timeout):
            return True
        self._waiting.pop(done, None)
        self._faults.report("callbacks", f"the observable callbacks did not end within {timeout:.3g} s, they go on")
        return False

    def start(self) -> None:
        """Start the thread, if it does not run and can be had."""
        exclusively(self._starting, self._start)

    def stop(self) -> None:
        """End the thread after what it is doing."""
        self._stopping = True
        self._alarm.ring()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            try:
                self._alarm = Alarm()  # of one kind with the thread that sleeps by it: gevent may have patched both since
                _thread.start_new_thread(self._run, (self._alarm,))
            except RuntimeError:
                self._running = False
            except BaseException:  # a handler's: whether there is a thread is not known, and the next one takes its place
                self._running = False
                raise

    def _run(self, alarm: Alarm) -> None:
        self._get_ident = _thread.get_ident
        self._ident = self._get_ident()
        try:
            while not self._stopping and alarm is self._alarm:
                try:
                    self._step(alarm)
                except BaseException as error:
                    self._faults.report("callbacks", "asking the observable callbacks was interrupted, it goes on", error)
        finally:
            if alarm is self._alarm:  # else another thread has taken its place
                self._ident = None
                self._running = False

    def _step(self, alarm: Alarm) -> None:
        alarm.sleep(None)
        for done, work in list(self._waiting.items()):
            try:
                work()
            finally:
                self._waiting.pop(done, None)
                done.open()
