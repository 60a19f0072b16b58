"""A call of somebody else's method that may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


class Call:
    """One call on a thread of its own, so that whoever hangs holds up nobody."""

    def __init__(self, method: Callable[..., Any], seconds: float, failed: Callable[[BaseException], None]) -> None:
        """Call `method(timeout_millis=…)`, which is told that it has `seconds`; `failed` is told what it raises."""
        self._method = method
        self._seconds = seconds
        self._done = threading.Event()
        self._failed = False
        self._tell = failed
        try:
            threading.Thread(target=self._run, name="metrics-sdk-reader", daemon=True).start()
        except RuntimeError:  # no thread is to be had, as on the interpreter's way out
            self._run()

    def _run(self) -> None:
        try:
            if self._method(timeout_millis=1000 * self._seconds) is False:
                self._failed = True
        except BaseException as error:  # SystemExit and the like included: they are the reader's, not the process's
            self._failed = True
            self._tell(error)
        finally:
            self._done.set()

    @property
    def has_ended(self) -> bool:
        """Whether it has returned."""
        return self._done.is_set()

    def ended_well(self, deadline: float) -> bool:
        """Tell whether it has returned before `deadline`, by the monotonic clock, and well."""
        return self._done.wait(max(0.0, deadline - time.monotonic())) and not self._failed
