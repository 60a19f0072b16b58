"""Mutual exclusion that no interrupt can orphan and no re-entry can deadlock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from metrics_sdk.core.attributes import raised_by_signal_handler

T = TypeVar("T")


def exclusively(lock: Any, work: Callable[[], object], timeout: float = 0.0) -> bool:
    """Call `work` with `lock`, an RLock, held; return whether it was called.

    It is not where another thread holds the lock for longer than `timeout` seconds (0: it is only tried), nor where this
    thread holds it already: then the caller interrupted `work` itself, and waiting would be for ever.

    The lock is held around this one call. An exception may arrive between any two steps here, and on some releases one
    that arrives at a loop's back-jump skips `finally` in its own frame: so `work` is a call, and what is released is
    whatever turns out to be ours.
    """
    if lock._is_owned():
        return False
    taken = False
    try:
        taken = bool(lock.acquire(timeout=timeout) if timeout > 0.0 else lock.acquire(False))
        if taken:
            work()
    finally:
        try:
            lock.release()
        except RuntimeError as error:  # it never was ours
            if raised_by_signal_handler(error):
                raise
    return taken


def result_exclusively(lock: Any, work: Callable[[], T], timeout: float, otherwise: T) -> T:
    """Return what `work` returns, called as `exclusively` does; `otherwise` where it was not called."""
    done: list[T] = []
    exclusively(lock, lambda: done.append(work()), timeout)
    return done[0] if done else otherwise
