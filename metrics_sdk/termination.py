"""SIGTERM, for who asks for it: what was recorded is delivered before the process ends."""

from __future__ import annotations

import _thread
import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NamedTuple, Protocol

from metrics_sdk.alarm import Alarm, Latch
from metrics_sdk.clock import monotonic
from metrics_sdk.errors import ConfigurationError

DRAINING_SECONDS = 30.0  # for how long a host is helped that has a handler of its own
_PAUSE_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 1.0  # for the main thread to hear that all is delivered


class Ending(Protocol):
    """What is to be delivered: an SDK."""

    def flush(self, timeout: float) -> object:
        """Deliver what there is, and go on."""

    def shutdown(self, timeout: float) -> object:
        """Deliver what there is, and end."""


class Asked(NamedTuple):
    """Who asked; `sdk` returns None when it is gone."""

    sdk: Callable[[], Ending | None]
    timeout: float


class Termination:
    """The handler of SIGTERM in a process.

    It does nothing itself but start threads: it may have interrupted a frame that holds what delivering needs. Where SIGTERM
    had its default action, the process ends by that signal, as it would have, once everything is delivered or the time is up.
    Where somebody else's handler was there, that one is called at once and decides what becomes of the process.
    """

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._previous: list[Any] = []  # what was there when this one was installed, the last time first
        self._inside: list[FrameType | None] = []  # what the signals have interrupted that previous handlers are at
        self._begun_in = 0  # the process that is ending
        self._over = False  # everything is delivered, or the time is up

    def add(self, key: int, sdk: Callable[[], Ending | None], timeout: float) -> None:
        """Deliver what `sdk` has as well; `key` tells one from another.

        Raises ConfigurationError outside of the main thread, where no handler can be installed, and where there is a handler
        that was not installed by Python.
        """
        installed: Any = signal.getsignal(signal.SIGTERM)
        if installed is None:
            raise ConfigurationError(
                "there is a handler of SIGTERM that was not installed by Python, and cannot be called from it"
            )
        self._asked = {at: one for at, one in self._asked.items() if one.sdk() is not None}
        self._asked[key] = Asked(sdk, timeout)
        if installed == self._handle:
            return
        self._previous.insert(0, installed)  # before the handler can be called
        try:
            signal.signal(signal.SIGTERM, self._handle)
        except ValueError as error:
            self._previous.pop(0)
            self._asked.pop(key, None)
            raise ConfigurationError(f"a handler of SIGTERM can be installed by the main thread alone: {error}") from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A handler that was there may call this one, which was there before it: then what was there before that counts. It
        # passes on what was interrupted, or nothing; a further signal has interrupted something else.
        level = len([one for one in self._inside if frame is None or one is frame])
        if level >= len(self._previous):
            return
        previous = self._previous[level]
        if callable(previous):
            self._inside.append(frame)
            try:
                self._help()
                previous(number, frame)
            finally:
                self._inside.pop()
        elif previous == signal.SIG_IGN:
            self._help()
        elif self._begun_in != os.getpid():  # of a child that was forked meanwhile, the threads are not there
            self._begun_in, self._over = os.getpid(), False
            self._aside(self._end)
        elif self._over:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _aside(self, work: Callable[[], None]) -> bool:
        try:
            _thread.start_new_thread(work, ())
        except RuntimeError:  # no thread can be had
            work()
            return False
        return True

    def _help(self) -> None:
        """Have everything delivered while the host ends."""
        try:
            _thread.start_new_thread(self._flush, ())
        except RuntimeError:
            self._each(lambda sdk, seconds: sdk.flush(seconds))

    def _flush(self) -> None:
        """Deliver again and again while the host ends as its own handler has told it to: that may end by the signal at last."""
        end = monotonic() + DRAINING_SECONDS
        while monotonic() < end:
            self._each(lambda sdk, seconds: sdk.flush(seconds))
            Alarm().sleep(_PAUSE_SECONDS)

    def _end(self) -> None:
        """Have everything delivered, and end the process when that is done or the time is up, whatever delivering does."""
        done = Latch()
        in_thread = self._aside(partial(self._shut_down, done))
        done.wait(max([one.timeout for one in self._asked.values()], default=0.0))
        self._over = True
        os.kill(os.getpid(), signal.SIGTERM)
        if in_thread:
            Alarm().sleep(_LONGEST_WAIT_SECONDS)
            os._exit(128 + signal.SIGTERM)  # the main thread is in a call that no signal interrupts

    def _shut_down(self, done: Latch) -> None:
        try:
            self._each(lambda sdk, seconds: sdk.shutdown(seconds))
        finally:
            done.open()

    def _each(self, deliver: Callable[[Ending, float], object]) -> None:
        asked = list(self._asked.values())
        deadline = monotonic() + max([one.timeout for one in asked], default=0.0)
        for at, one in enumerate(asked):
            sdk = one.sdk()
            seconds = max(0.0, deadline - monotonic()) / (len(asked) - at)  # one that hangs leaves time to the others
            if sdk is not None:
                self._deliver(partial(deliver, sdk, min(one.timeout, seconds)))

    def _deliver(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # this is a thread of ours, whatever an exporter raises
            import logging

            logging.getLogger("metrics_sdk").warning("delivering at SIGTERM failed: %r", error)


#: The one of this process: there is one handler of a signal.
TERMINATION = Termination()
