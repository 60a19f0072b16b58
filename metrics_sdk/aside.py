"""Work aside from an event loop, which goes on meanwhile."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


async def aside(work: Callable[[], R]) -> R:
    """Return what `work` returns, in a thread of its own: that of an executor may be taken, and is waited for at the exit.

    Cancelled, it raises CancelledError at once, and the work goes on unobserved. Where no thread can be had, the work is done
    in the calling one.
    """
    import asyncio  # who calls this has it

    loop = asyncio.get_running_loop()
    done: asyncio.Future[R] = loop.create_future()

    def settle(outcome: Any, error: BaseException | None) -> None:
        if not done.done():  # else nobody waits any more
            if error is None:
                done.set_result(outcome)
            else:
                done.set_exception(error)

    def run() -> None:
        outcome, failed = None, None
        try:
            outcome = work()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(settle, outcome, failed)
        except RuntimeError:
            pass  # the loop was closed meanwhile

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        return work()
    return await done
