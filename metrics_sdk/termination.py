"""SIGTERM, for who asks for it: what was recorded is delivered before the process ends."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from metrics_sdk.alarm import Alarm
from metrics_sdk.clock import monotonic
from metrics_sdk.errors import ConfigurationError

_LONGEST_WAIT_SECONDS = 1.0  # for the main thread to hear that all is delivered


class Ending(Protocol):
    """What is to be delivered: an SDK."""

    def flush(self, timeout: float) -> object:
        """Deliver what there is, and go on."""

    def shutdown(self, timeout: float) -> object:
        """Deliver what there is, and end."""


class Termination:
    """The handler of SIGTERM in a process.

    It does nothing itself but start a thread: it may have interrupted a frame that holds what delivering needs. Where SIGTERM
    had its default action, the process ends by that signal, as it would have, once everything is delivered or the time is up.
    Where somebody else's handler was there, that one is called at once and decides what becomes of the process.
    """

    def __init__(self) -> None:
        self._sdks: dict[int, Callable[[], Ending | None]] = {}
        self._timeout = 0.0
        self._previous: list[Any] = []  # what was there when this one was installed, the last time first
        self._begun_in = 0  # the process that is ending
        self._delivered = False
        self._level = 0

    def add(self, key: int, sdk: Callable[[], Ending | None], timeout: float) -> None:
        """Deliver what `sdk` has as well; None: it is gone. `key` tells one from another.

        Raises ConfigurationError outside of the main thread, where no handler can be installed.
        """
        self._timeout = max(self._timeout, timeout)
        installed: Any = signal.getsignal(signal.SIGTERM)
        if installed != self._handle:
            try:
                signal.signal(signal.SIGTERM, self._handle)
            except ValueError as error:
                raise ConfigurationError(f"a handler of SIGTERM can be installed by the main thread alone: {error}") from None
            self._previous.insert(0, installed)
        self._sdks[key] = sdk

    def _handle(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[self._level] if self._level < len(self._previous) else signal.SIG_DFL
        if callable(previous):
            self._level += 1  # should that one call this one, which was there before it, then what was there before that counts
            try:
                self._aside(self._flush)
                previous(number, frame)
            finally:
                self._level -= 1
        elif previous == signal.SIG_IGN:
            self._aside(self._flush)
        elif self._begun_in != os.getpid():  # of a child that was forked meanwhile, the thread is not there
            self._begun_in, self._delivered = os.getpid(), False
            self._aside(self._end)
        elif self._delivered:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _aside(self, work: Callable[[], None]) -> None:
        try:
            _thread.start_new_thread(work, ())
        except RuntimeError:  # no thread can be had
            work()

    def _flush(self) -> None:
        self._each(lambda sdk, seconds: sdk.flush(seconds))

    def _end(self) -> None:
        self._each(lambda sdk, seconds: sdk.shutdown(seconds))
        self._delivered = True
        os.kill(os.getpid(), signal.SIGTERM)
        if _thread.get_ident() != threading.main_thread().ident:
            Alarm().sleep(_LONGEST_WAIT_SECONDS)
            os._exit(128 + signal.SIGTERM)  # the main thread is in a call that no signal interrupts

    def _each(self, deliver: Callable[[Ending, float], object]) -> None:
        deadline = monotonic() + self._timeout
        sdks = [sdk for sdk in [one() for one in list(self._sdks.values())] if sdk is not None]
        for at, sdk in enumerate(sdks):
            seconds = max(0.0, deadline - monotonic()) / (len(sdks) - at)  # one that hangs leaves time to the others
            try:
                deliver(sdk, seconds)
            except Exception as error:
                import logging

                logging.getLogger("metrics_sdk").warning("delivering at SIGTERM failed: %r", error)


#: The one of this process: there is one handler of a signal.
TERMINATION = Termination()
