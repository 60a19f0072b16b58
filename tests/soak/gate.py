"""A barrier now and then: everybody who records comes to rest, so that accounts can be compared exactly."""

from __future__ import annotations

import threading
import time


class Gate:
    """Open, those inside pass it without waiting; closed, they wait at it, and `close` returns once all of them do."""

    def __init__(self) -> None:
        self.closed = False
        self.ending = False  # nobody is to go on
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0

    def enter(self) -> None:
        """Be one of those who are waited for. Called by who starts a thread, before it starts."""
        with self._changed:
            self._inside += 1

    def leave(self) -> None:
        """Be none any more."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def passes(self) -> bool:
        """Wait while it is closed; tell whether to go on."""
        if self.closed:
            with self._changed:
                self._waiting += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self.closed)
                self._waiting -= 1
        return not self.ending

    def close(self, seconds: float) -> None:
        """Stop everybody who is inside. Raises AssertionError if they do not come within so many seconds."""
        self.closed = True
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._waiting < self._inside:
                assert time.monotonic() < deadline, f"{self._inside - self._waiting} threads did not come to rest"
                self._changed.wait(0.2)

    def open(self) -> None:
        """Let everybody go on."""
        with self._changed:
            self.closed = False
            self._changed.notify_all()
