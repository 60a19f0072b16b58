"""Closed windows, handed to a function of the application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metrics_sdk.faults import Faults
from metrics_sdk.feeds import Feed, Window


class Subscription:
    """Calls back with each window that has closed, on a thread of its own, until `close()`.

    A callback that raises is counted in `failures` and called for the next window; one that is slow delays nobody, and what was
    rolled up before it came to it is counted in `missed`.
    """

    accepts_open_windows = False

    def __init__(self, callback: Callable[[Window], object], window_seconds: float, faults: Faults) -> None:
        self.callback = callback
        self.window_seconds = window_seconds
        self.failures = 0
        self.name = f"subscriber:{getattr(callback, '__qualname__', type(callback).__name__)}"
        self._faults = faults
        self._feed: Feed | None = None
        self._closing: Callable[[], None] = lambda: None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Subscription of {self.callback!r}>"

    def connect(self, feed: Feed | None, closing: Callable[[], None]) -> None:
        """Take the feed that the windows come from, and what ends it."""
        self._feed = feed
        self._closing = closing

    def export_windows(self, windows: Sequence[Window], timeout: float) -> None:
        """Call back with each."""
        for window in windows:
            if self._closed:
                return
            try:
                self.callback(window)
            except BaseException as error:  # SystemExit and the like included: they are the callback's, not the process's
                self.failures += 1
                self._faults.report(self.name, f"{self.name} failed", error)

    @property
    def missed(self) -> int:
        """How many windows were let go of before they could be handed over."""
        return 0 if self._feed is None else self._feed.missed

    def shutdown(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Call back no more."""
        self._closed = True
        self._closing()
