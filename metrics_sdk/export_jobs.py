"""What an exporter's worker is given to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from metrics_sdk.alarm import Latch
from metrics_sdk.collector import Collector
from metrics_sdk.snapshot import Exporter, Refused, Snapshot


class Content(Protocol):
    """What is exported. `settles_in_part`: whether points that are settled are gone, though others are not."""

    settles_in_part: bool

    def send(self, exporter: Any, timeout: float) -> Refused | None:
        """Hand it to the exporter, and return what that returns; what it raises is raised."""

    def settle(self, points: int | None = None) -> bool:
        """So many points at its front are not to be told again, None is all; tell whether it is all."""


class Cumulative:
    """A snapshot, for an exporter that takes snapshots."""

    settles_in_part = False

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def send(self, exporter: Exporter, timeout: float) -> Refused | None:
        """Export it."""
        return exporter.export(self.snapshot, timeout)

    def settle(self, points: int | None = None) -> bool:
        """The next one contains it all the same; tell whether that is all of this one."""
        return points is None or points >= sum([len(metric.points) for metric in self.snapshot.metrics])


class Collected:
    """What the reader of an exporter that has one collects: deltas, or streams that nobody else wants.

    Read when it is sent, with all deltas that were not acknowledged until then: so a job more or less makes no difference.
    """

    settles_in_part = True

    def __init__(self, collector: Collector, snapshot: Callable[[], Snapshot]) -> None:
        """`snapshot`: collects, with the collector's lock held."""
        self._collector = collector
        self._snapshot = snapshot

    def send(self, exporter: Exporter, timeout: float) -> Refused | None:
        """Export it."""
        with self._collector.lock:
            snapshot = self._snapshot()
        return exporter.export(snapshot, timeout)

    def settle(self, points: int | None = None) -> bool:
        """They are gone."""
        with self._collector.lock:
            return self._collector.acknowledge(points)


class Job:
    """Something to export, and who waits for it.

    `merged` is the number of values in it; an `urgent` one does not wait for a back-off to end. The one that has a time that it
    is `last_until`, by the monotonic clock, is tried once more if it fails, if there is time for that, and ends the worker.
    """

    def __init__(
        self, content: Content, merged: int, urgent: bool = False, last_until: float | None = None, number: int = 0
    ) -> None:
        """`number`: that of a content which was made later is higher, see `Exports`."""
        self.content = content
        self.merged = merged
        self.urgent = urgent
        self.last_until = last_until
        self.number = number
        self.attempts = 0
        self.made_in = os.getpid()
        self.over = False  # it was exported, or there is nothing left of it to export
        self.done = Latch()  # open once this snapshot, or a newer one, was exported
        self._acknowledged = self._failed = False
        self._waiting = [self.done] if urgent else []

    def supersede(self, older: Job) -> None:
        """Take the place of `older`: who waits for that one waits for this one now."""
        self.urgent = self.urgent or older.urgent
        self._waiting += [latch for latch in older._waiting if not latch.abandoned]
        if self._acknowledged:  # just now, before it could know of them
            self.acknowledge(self._failed)

    def acknowledge(self, failed: bool = False) -> None:
        """Tell everybody who waits that it has arrived, or that it never will."""
        self._failed = failed
        self._acknowledged = True
        for latch in list(self._waiting):
            latch.failed = failed
            latch.open()
