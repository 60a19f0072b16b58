"""The worker of an exporter: whatever the exporter does, it happens to this thread alone."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from typing import NamedTuple

from metrics_sdk.clock import Clock
from metrics_sdk.config import Export
from metrics_sdk.faults import Faults
from metrics_sdk.health import ExporterHealth
from metrics_sdk.snapshot import Snapshot

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
BREAK_AFTER = 3  # failures in a row after which the circuit counts as open


class Job(NamedTuple):
    """A snapshot to export. `merged` is the number of values in it; `urgent` does not wait for a back-off to end."""

    snapshot: Snapshot
    merged: int
    urgent: bool
    done: threading.Event
    last: bool = False


class ExportWorker:
    """One exporter, its thread, and a bounded queue before it.

    Snapshots are cumulative, so only the newest matters: when the queue is full the oldest one is let go and counted, and after
    a failure the newest is what is tried again, after 1, 2, 4 … 60 seconds with jitter. An export that overruns its timeout is
    counted as failed at once and shows as "hanging" until it returns; no second one is begun beside it.
    """

    def __init__(self, export: Export, clock: Clock, faults: Faults, jitter: Callable[[], float] = random.random) -> None:
        self.export = export
        self._clock = clock
        self._faults = faults
        self._jitter = jitter
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, which has no worker thread and owes nothing."""
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting: Job | None = None
        self._retry_at = 0.0
        self._failures_in_a_row = 0
        self._busy_since: float | None = None
        self._overran = False
        self._stopped = False
        self._exports = self._failures = self._superseded = self._acknowledged = 0
        self._seconds = 0.0
        self._last_error = ""

    def start(self) -> None:
        """Start the thread, if it can be had; otherwise `submit` tries again."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=f"metrics-sdk-{self.export.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter is on its way out
                self._faults.report("thread", f"no thread for exporter {self.export.name}, it will be tried again", error)
            else:
                self._thread = thread

    def is_current_thread(self) -> bool:
        """Tell whether the exporter itself is calling."""
        return self._thread is threading.current_thread()

    def submit(self, snapshot: Snapshot, merged: int, urgent: bool = False, last: bool = False) -> threading.Event:
        """Hand over a snapshot; the event is set once this one, or a newer one, was exported."""
        job = Job(snapshot, merged, urgent, threading.Event(), last)
        while self._queue.qsize() >= self.export.queue_size:
            try:
                older = self._queue.get_nowait()
            except queue.Empty:
                break
            self._superseded += 1
            job = job._replace(urgent=job.urgent or older.urgent, done=_Both(older.done, job.done))
        self._queue.put(job)
        if not self._stopped:
            self.start()
        return job.done

    def run_inline(self, snapshot: Snapshot, merged: int) -> bool:
        """Export in the calling thread, for an SDK that may not start any."""
        return self._attempt(Job(snapshot, merged, True, threading.Event()))

    def shutdown_inline(self) -> None:
        """Shut the exporter down in the calling thread."""
        self._stopped = True
        self._shutdown_exporter()

    def join(self, timeout: float) -> bool:
        """Wait for the worker to end after its last job."""
        thread = self._thread
        if thread is not None and not self.is_current_thread():
            thread.join(max(0.0, timeout))
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._step()
            except BaseException as error:
                # The exporter's own failures are caught where it is called: this is for what is thrown into the thread.
                self._faults.report("worker", f"the worker of exporter {self.export.name} was interrupted and goes on", error)
        self._shutdown_exporter()

    def _step(self) -> None:
        """Wait for a snapshot, or for the time to try again; then export the newest."""
        job = self._waiting
        wait = None if job is None else max(0.0, self._retry_at - self._clock.monotonic())
        try:
            newer = self._queue.get(timeout=wait)
        except queue.Empty:
            pass
        else:
            if job is not None:
                newer = newer._replace(urgent=newer.urgent or job.urgent, done=_Both(job.done, newer.done))
            self._waiting = job = newer
        if job is None:
            return
        if job.urgent or self._clock.monotonic() >= self._retry_at:
            job = self._waiting = job._replace(urgent=False)
            if self._attempt(job):
                self._waiting = None
        if job.last:
            self._stopped = True

    def _attempt(self, job: Job) -> bool:
        started = self._busy_since = self._clock.monotonic()
        self._overran = False
        try:
            self.export.exporter.export(job.snapshot, self.export.timeout_seconds)
        except BaseException as error:  # SystemExit and the like included: they are the exporter's, not the process's
            self._failed(f"{type(error).__name__}: {error}")
            self._faults.report(f"exporter:{self.export.name}", f"exporter {self.export.name} failed", error)
            return False
        finally:
            self._seconds += self._clock.monotonic() - started
            self._busy_since = None
        self._exports += 1
        self._acknowledged = job.merged
        self._failures_in_a_row = 0
        self._retry_at = 0.0
        job.done.set()
        return True

    def _failed(self, why: str) -> None:
        if not self._overran:
            self._failures += 1
        self._last_error = why
        backoff = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures_in_a_row, 10))
        self._failures_in_a_row += 1
        self._retry_at = self._clock.monotonic() + backoff * (0.5 + 0.5 * self._jitter())

    def _shutdown_exporter(self) -> None:
        try:
            self.export.exporter.shutdown()
        except BaseException as error:
            self._faults.report(f"exporter:{self.export.name}", f"exporter {self.export.name} failed to shut down", error)

    def check(self) -> None:
        """Count an export that has overrun its timeout; called by the flusher."""
        since = self._busy_since
        if since is not None and not self._overran and self._clock.monotonic() - since > self.export.timeout_seconds:
            self._overran = True
            self._failures += 1
            self._last_error = f"no answer within {self.export.timeout_seconds:g} s"
            self._faults.report(f"exporter:{self.export.name}", f"exporter {self.export.name} hangs: {self._last_error}")

    def health(self, merged: int) -> ExporterHealth:
        """Return the counts; `merged` is the number of values that there are to acknowledge."""
        self.check()
        since = self._busy_since
        if self._stopped:
            state = "stopped"
        elif since is not None:
            state = "hanging" if self._overran else "exporting"
        elif self._failures_in_a_row:
            state = "open" if self._failures_in_a_row >= BREAK_AFTER else "backing_off"
        else:
            state = "idle"
        return ExporterHealth(
            name=self.export.name,
            state=state,
            exports=self._exports,
            failures=self._failures,
            superseded=self._superseded,
            queued=self._queue.qsize() + (self._waiting is not None),
            acknowledged=self._acknowledged,
            unacknowledged=merged - self._acknowledged,
            export_seconds=self._seconds,
            last_error=self._last_error,
        )


class _Both(threading.Event):
    """The event of a job that took the place of another: whoever waited for that one is told as well."""

    def __init__(self, older: threading.Event, newer: threading.Event) -> None:
        super().__init__()
        self._parts = (older, newer)

    def set(self) -> None:
        for part in self._parts:
            part.set()
        super().set()
