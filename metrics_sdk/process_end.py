"""Where the end of a process is heard of, for SDKs that have something to deliver."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

_waiting: dict[int, Callable[[], object]] = {}


class ProcessEnd:
    """Calls `deliver` once when the process ends, until it is cancelled.

    At the interpreter's exit after the handlers of everybody who imported this package before registering theirs, so what these
    record is delivered. At the end of a child of `multiprocessing`, and of Celery's and billiard's, which run no such handlers.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver
        self._finalizer: Any = None
        self._signal: Any = None
        _waiting[id(self)] = deliver
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._finalizer = util.Finalize(None, deliver, exitpriority=10)
        celery: Any = sys.modules.get("celery.signals")
        if celery is not None:
            self._signal = celery.worker_process_shutdown
            self._signal.connect(self._shut_down, weak=False)

    def cancel(self) -> None:
        """Do not call."""
        _waiting.pop(id(self), None)
        if self._finalizer is not None:
            self._finalizer.cancel()
        if self._signal is not None:
            self._signal.disconnect(self._shut_down)

    def _shut_down(self, **_: object) -> None:
        self._deliver()


def _at_exit() -> None:
    for deliver in list(_waiting.values()):
        deliver()


atexit.register(_at_exit)
