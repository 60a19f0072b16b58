"""Ctrl-C, as a wish that is waited for."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[float], bool]]:
    """Inside the block Ctrl-C interrupts nothing: the block gets a function that waits for it, so many seconds at most, and
    says whether it came. The end is never cut short: whoever has no patience for it has SIGTERM.
    """
    # Of all that threads wait on, this queue alone may be used by a handler that interrupts the very thread that waits.
    pressed: queue.SimpleQueue[int] = queue.SimpleQueue()

    def wait(seconds: float) -> bool:
        try:
            pressed.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        return True

    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.put(number))
    try:
        yield wait
    finally:
        signal.signal(signal.SIGINT, before)
