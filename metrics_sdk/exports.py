"""All exporters and subscribers of an SDK: who is due, what each is given, and who is waited for."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from metrics_sdk.clock import monotonic
from metrics_sdk.collector import Collector
from metrics_sdk.config import Config
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.table import Table
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.export import Export, check_width, takes_windows
from metrics_sdk.export_jobs import Collected, Content, Cumulative, Job
from metrics_sdk.exporting import ExportWorker
from metrics_sdk.faults import Faults
from metrics_sdk.feeds import Feed
from metrics_sdk.health import ExporterHealth
from metrics_sdk.snapshot import Snapshot
from metrics_sdk.store import AggregateMap
from metrics_sdk.subscriptions import Subscription
from metrics_sdk.temporality import Preference, by_kind
from metrics_sdk.view import Aggregation

_PATIENCE_SECONDS = 5.0  # for another thread that takes a snapshot
SUBSCRIBER_SECONDS = 0.5  # what the end of the process waits for a subscriber that is still at a window


class Home(Protocol):
    """What is needed of the SDK."""

    config: Config
    faults: Faults

    def merged(self) -> int:
        """Return how many values are merged."""

    def frozen(self, collector: Collector | None = None) -> Snapshot:
        """Return everything that is merged, as this reader is told it."""

    def collector(self, temporality: Preference, aggregation: Callable[[str], Aggregation | None] | None = None) -> Collector:
        """Return a reader of its own."""

    def release(self, collector: Collector) -> None:
        """Give a reader up."""

    def tables(self) -> Iterable[Table]:
        """Return the tables of all instruments."""

    def is_own_thread(self) -> bool:
        """Tell whether one of the SDK's own threads is calling."""


class Exports:
    """A worker for each exporter and subscriber; those who take windows have a feed of them."""

    def __init__(self, home: Home, store: AggregateMap, exports: Sequence[Export]) -> None:
        self._home = home
        self._store = store
        self.workers: list[ExportWorker] = []  # replaced, never changed: others go through it meanwhile
        self.feeds: dict[ExportWorker, Feed] = {}
        self._collectors: dict[ExportWorker, Collector] = {}  # of those that ask for what others do not
        self._changing: Any = threading.RLock()
        for export in distinct(exports):
            self.add(export)
        self._begin()

    def _begin(self) -> None:
        self._due: dict[ExportWorker, float] = {}
        self._numbers = itertools.count(1)
        self._taking: Any = threading.RLock()
        self._merged_closed = 0  # how many values are in windows that have closed

    def forked(self) -> None:
        """Begin anew in a forked child."""
        self._changing._at_fork_reinit()
        for worker in self.workers:
            worker.reset()
        for feed in list(self.feeds.values()):
            feed.reset()
        self._begin()

    def add(self, export: Export) -> ExportWorker:
        """Return a new worker for an exporter; its thread is not started."""
        worker = ExportWorker(export, self._home.config.clock, self._home.faults)
        if takes_windows(export.exporter):
            feed = Feed(self._store, self._home.tables, self._home.faults, getattr(export.exporter, "window_seconds", 0.0))
            self.feeds[worker] = feed
            self._store.feeds[feed] = None
        else:
            wish = _wish(export, self._home.config)
            if wish is not None or "delta" in by_kind(export.temporality).values():
                self._collectors[worker] = self._home.collector(export.temporality, wish)
        with self._changing:
            self.workers = [*self.workers, worker]
        return worker

    def subscribe(self, subscription: Subscription, start: bool) -> None:
        """Hand closed windows to a subscriber from now on."""
        width = self._home.config.resolutions[0].width
        worker = self.add(Export(subscription, name=subscription.name, timeout_seconds=max(1.0, width)))
        subscription.connect(self.feeds.get(worker), partial(_removed, weakref.ref(self), worker))
        if start:
            worker.start()

    def _remove(self, worker: ExportWorker) -> None:
        with self._changing:
            self.workers = [one for one in self.workers if one is not worker]
        feed = self.feeds.pop(worker, None)
        if feed is not None:
            self._store.feeds.pop(feed, None)
        worker.stop()

    def change(self, config: Config, given: bool) -> None:
        """Take on the intervals and timeouts of `config`, if they were `given`.

        Raises ConfigurationError for exporters that are new, and where a subscriber's windows could not be had any more.
        """
        workers = {id(worker.export.exporter): worker for worker in self.workers}
        for export in config.exporters if given else ():
            worker = workers.get(id(export.exporter))
            if worker is None or _reads(worker.export) != _reads(export):
                raise ConfigurationError(
                    "exporters cannot be added while running: only their intervals and timeouts can be changed"
                )
        for worker in self.workers:
            check_width(worker.export.exporter, config.resolutions)
        for export in distinct(config.exporters) if given else ():
            workers[id(export.exporter)].export = export
        self._due.clear()

    def start(self) -> None:
        """Start the threads of those that are there."""
        for worker in self.workers:
            worker.start()

    # ---- exporting ----------------------------------------------------------------------------------------------

    def closing(self) -> int | None:
        """Return how many values closed windows will have once the open one, if it has ended, is closed; None if it goes on."""
        ended = self._home.config.clock.time() >= self._store.opened() + self._store.window_seconds
        return self._home.merged() if self.feeds and ended else None

    def closed(self, merged: int) -> None:
        """Take note that a window has closed."""
        self._merged_closed = merged

    def is_due(self, now: float) -> bool:
        """Tell whether anybody is about to be given work, who wants to know what is observed now."""
        due = any([now >= self._due.get(worker, math.inf) for worker in self.workers if worker not in self.feeds])
        return due or self.closing() is not None

    def submit_due(self, now: float) -> None:
        """Give work to those who are due."""
        due: list[ExportWorker] = []
        for worker in self.workers:
            feed = self.feeds.get(worker)
            if feed is not None:
                if feed.is_due():
                    worker.start()
                    number = next(self._numbers)
                    worker.submit(Job(feed.delivery(with_open=False), self._merged_closed, number=number))
            elif now >= self._due.setdefault(worker, now + worker.export.interval_seconds):
                if not worker.is_exporting():  # else what it were given now would be old when it has time
                    due.append(worker)
                self._due[worker] = now + worker.export.interval_seconds  # ticks that were missed are skipped
        if due:
            number, merged, snapshot = self._taken(due)
            for worker in due:
                worker.start()
                worker.submit(Job(self._content(worker, snapshot), merged, number=number))
        for worker in self.workers:
            worker.check()

    def export_all(self, deadline: float, last: bool) -> bool:
        """Export everything now; tell whether all exporters acknowledged it before `deadline`. Nobody waits for subscribers."""
        if not self.workers:
            return True
        background = self._home.config.background
        workers = [worker for worker in self.workers if not isinstance(worker.export.exporter, Subscription)]
        last_until = deadline if last else None
        number, merged, snapshot = self._taken(workers)
        self._hand_over(number, last_until)
        jobs = [self._job(worker, number, merged, snapshot, last_until) for worker in workers]
        if not background:
            return all([worker.run_inline(job, deadline) for worker, job in zip(workers, jobs, strict=True)])
        threaded = [worker for worker in workers if worker.start()]
        done = [worker.submit(job) for worker, job in zip(workers, jobs, strict=True) if worker in threaded]
        for worker, job in zip(workers, jobs, strict=True):
            if worker not in threaded and not worker.run_inline(job, deadline):
                return False
        if self._home.is_own_thread():
            return False
        acknowledged = [latch.wait(deadline - monotonic()) for latch in done]
        for latch in done:
            latch.abandoned = True
        return all(acknowledged)

    def _hand_over(self, number: int, last_until: float | None) -> None:
        for worker in self.workers:
            if isinstance(worker.export.exporter, Subscription) and worker in self.feeds:
                job = self._job(worker, number, 0, None, last_until)
                if not self._home.config.background or not worker.start():
                    worker.run_inline(job)
                else:
                    worker.submit(job)

    def _job(self, worker: ExportWorker, number: int, merged: int, snapshot: Snapshot | None, last_until: float | None) -> Job:
        feed = self.feeds.get(worker)
        if feed is None:
            return Job(self._content(worker, snapshot), merged, True, last_until, number)
        with_open = last_until is not None or bool(getattr(worker.export.exporter, "accepts_open_windows", False))
        return Job(feed.delivery(with_open), merged if with_open else self._merged_closed, True, last_until, number)

    def _taken(self, workers: Sequence[ExportWorker]) -> tuple[int, int, Snapshot | None]:
        """Return a number, how many values are merged, and a snapshot, if one is needed.

        Guarantee: what has a higher number was made later, so an exporter is never told what is older than what it was told.
        Threads that flush wait for each other, but for a handler that interrupted this very work.
        """
        taken: list[tuple[int, int, Snapshot | None]] = []

        def take() -> None:
            number = next(self._numbers)
            merged = self._home.merged()  # before the snapshot: no more is acknowledged than was exported
            taken.append((number, merged, self._snapshot(workers)))

        if not exclusively(self._taking, take, _PATIENCE_SECONDS):
            take()
        return taken[0]

    def _snapshot(self, workers: Iterable[ExportWorker]) -> Snapshot | None:
        """Return the one snapshot of totals that does for all of these, None if none of them takes it."""
        takes = [worker for worker in workers if worker not in self.feeds and worker not in self._collectors]
        return self._home.frozen() if takes else None

    def _content(self, worker: ExportWorker, snapshot: Snapshot | None) -> Content:
        collector = self._collectors.get(worker)
        if collector is not None:
            return Collected(collector, partial(self._home.frozen, collector))
        assert snapshot is not None
        return Cumulative(snapshot)

    def join(self, deadline: float) -> None:
        """Wait for the workers to end after their last job."""
        for worker in self.workers:
            patience = SUBSCRIBER_SECONDS if isinstance(worker.export.exporter, Subscription) else math.inf
            worker.join(min(patience, deadline - monotonic()))

    def is_held_here(self) -> bool:
        """Tell whether the calling thread is making a snapshot, which a handler has interrupted."""
        return bool(self._taking._is_owned())

    def is_current_thread(self) -> bool:
        """Tell whether one of the exporters or subscribers is calling."""
        return any([worker.is_current_thread() for worker in self.workers])

    def health(self, merged: int) -> dict[str, ExporterHealth]:
        """Return how each is doing, by name."""
        return {worker.export.name: worker.health(merged) for worker in self.workers}


def _removed(exports: weakref.ref[Exports], worker: ExportWorker) -> None:
    """Let go of a subscriber's worker; its SDK may be gone."""
    home = exports()
    if home is None:
        worker.stop()
    else:
        home._remove(worker)


def _wish(export: Export, config: Config) -> Callable[[str], Aggregation | None] | None:
    """Return what an exporter wishes by kind, see `view.Wishes`; None where its histograms shall be as everybody's."""
    wanted = export.histogram_aggregation
    if wanted is None or wanted == (config.histogram_aggregation or "exponential"):
        return None
    wish = Aggregation(wanted)
    return lambda kind: wish if kind == "histogram" else None


def _reads(export: Export) -> tuple[object, ...]:
    """Return what cannot change while running: how its reader reads."""
    return (export.temporality, export.histogram_aggregation, export.queue_size)


def distinct(exports: Sequence[Export]) -> list[Export]:
    """Number the exporters that share a name, so that `health()` tells them apart."""
    seen: dict[str, int] = {}
    made = []
    for export in exports:
        seen[export.name] = number = seen.get(export.name, 0) + 1
        made.append(export if number == 1 else export.named(f"{export.name}-{number}"))
    return made
