"""Where the end of a process is heard of, for SDKs that have something to deliver."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any


class ProcessEnd:
    """Calls `deliver` once when the process ends, until it is cancelled.

    At the interpreter's exit after the handlers of everybody who imported this package before registering theirs, so what these
    record is delivered. At the end of a child of `multiprocessing`, and of Celery's and billiard's, which run no such handlers.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self.deliver = deliver
        self._finalizer: Any = None
        self._signal: Any = None
        _waiting[id(self)] = self
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._finalizer = util.Finalize(None, self, exitpriority=10)
        celery: Any = sys.modules.get("celery.signals")
        if celery is not None:
            self._connect(celery.worker_process_shutdown)

    def _connect(self, signal: Any) -> None:
        # This may be a handler that has interrupted somebody who connects: then it is done without.
        lock = getattr(signal, "lock", None)
        if lock is None or lock.acquire(blocking=False):
            if lock is not None:
                lock.release()
            self._signal = signal
            signal.connect(self, weak=False)

    def __call__(self, **_: object) -> None:
        """Deliver now."""
        self.deliver()

    def cancel(self) -> None:
        """Do not call."""
        self.forget()
        if self._finalizer is not None:
            self._finalizer.cancel()
        if self._signal is not None:
            self._signal.disconnect(self)

    def forget(self) -> None:
        """Do not call at the interpreter's exit; takes no lock, so a forked child may call it."""
        _waiting.pop(id(self), None)


_waiting: dict[int, ProcessEnd] = {}


def _at_exit() -> None:
    """Let everybody deliver, also where one of them is interrupted, by Ctrl-C for instance."""
    interrupted: BaseException | None = None
    for one in list(_waiting.values()):
        try:
            one()
        except BaseException as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


atexit.register(_at_exit)
