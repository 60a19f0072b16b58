"""The worker of an exporter: whatever the exporter does, it happens to this thread alone."""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from time import monotonic as _monotonic
from typing import Any, Protocol

from metrics_sdk.alarm import Alarm, Latch
from metrics_sdk.clock import Clock
from metrics_sdk.collector import Collector
from metrics_sdk.config import Export
from metrics_sdk.core.exclusion import exclusively, result_exclusively
from metrics_sdk.errors import ExportError
from metrics_sdk.faults import Faults
from metrics_sdk.health import ExporterHealth
from metrics_sdk.snapshot import Exporter, Refused, Snapshot

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0  # the other side may ask for more; it could be a mistake for all that anybody knows
BREAK_AFTER = 3  # failures in a row after which the circuit counts as open


class Content(Protocol):
    """What is exported."""

    def send(self, exporter: Any, timeout: float) -> Refused | None:
        """Hand it to the exporter, and return what that returns; what it raises is raised."""

    def settle(self, points: int | None = None) -> bool:
        """So many points at its front are not to be told again, None is all; tell whether it is all."""


class Cumulative:
    """A snapshot, for an exporter that takes snapshots."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def send(self, exporter: Exporter, timeout: float) -> Refused | None:
        """Export it."""
        return exporter.export(self.snapshot, timeout)

    def settle(self, points: int | None = None) -> bool:
        """The next one contains it all the same; tell whether that is all of this one."""
        return points is None or points >= sum([len(metric.points) for metric in self.snapshot.metrics])


class Deltas:
    """What has come since the last export that succeeded, of an exporter with a reader of its own.

    Read when it is sent, with all that was not acknowledged until then: so a job more or less makes no difference.
    """

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

    def __init__(self, content: Content, merged: int, urgent: bool = False, last_until: float | None = None) -> None:
        self.content = content
        self.merged = merged
        self.urgent = urgent
        self.last_until = last_until
        self.number = self.attempts = 0
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


class ExportWorker:
    """One exporter, its thread, and a bounded queue before it.

    What is exported later contains what was before, so only the newest matters: when the queue is full the oldest one is let go
    and counted, and after a failure the newest is what is tried again, after 1, 2, 4 … 60 seconds with jitter, or when the
    other side wants it. An export that overruns its timeout is counted as failed at once and shows as "hanging" until it
    returns; no second one is begun beside it.
    """

    def __init__(self, export: Export, clock: Clock, faults: Faults, jitter: Callable[[], float] | None = None) -> None:
        self.export = export
        self._clock = clock
        self._faults = faults
        self._jitter = jitter
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, which has no worker thread and owes nothing."""
        self._jobs: deque[Job] = deque()  # a job stays in it until it is exported: nothing is lost if the thread is interrupted
        self._numbers = count(1)
        self._alarm = Alarm()
        self._starting = threading.RLock()
        self._inline: Any = threading.RLock()
        self._running = False
        self._ident: int | None = None
        self._ended = Latch()
        self._retry_at = 0.0
        self._quiet_until = 0.0  # what the other side has asked for
        self._failures_in_a_row = 0
        self._busy_since: float | None = None
        self._overran = False
        self._ending = self._stopped = False
        self._exports = self._failures = self._superseded = self._acknowledged = self._refused = 0
        self._seconds = 0.0
        self._last_error = ""

    def start(self) -> bool:
        """Start the thread, if it does not run; False: none can be had now. Waits for nothing, so a recording may call it.

        A bare thread for that reason, and early: some releases start none once the interpreter is on its way out.
        """
        if not self._running and not self._stopped:
            exclusively(self._starting, self._start)
        return self._running or self._stopped

    def _start(self) -> None:
        if self._running:
            return
        self._running = True
        try:
            _thread.start_new_thread(self._run, (self._alarm,))
        except RuntimeError:
            self._running = False

    def is_current_thread(self) -> bool:
        """Tell whether the exporter itself is calling."""
        return self._ident == _thread.get_ident()

    def submit(self, job: Job) -> Latch:
        """Hand over a snapshot; the latch of an urgent one opens once it, or a newer one, was exported."""
        if self._ending:
            return job.done
        self._ending = job.last_until is not None
        job.number = next(self._numbers)
        self._jobs.append(job)
        while len(self._jobs) > self.export.queue_size:
            job.supersede(self._jobs.popleft())
            self._superseded += 1
        self._alarm.ring()
        return job.done

    def run_inline(self, job: Job) -> bool:
        """Export in the calling thread, for an SDK that may not start any; False as well if the exporter is at it already.

        One at a time, or two would tell the same deltas. Nobody who records waits for this lock.
        """
        if self._quiet_until > self._clock.monotonic() and job.last_until is None:
            return False
        work = partial(self._attempt, job)
        return result_exclusively(self._inline, work, self.export.timeout_seconds, otherwise=False)

    def join(self, timeout: float) -> bool:
        """Wait for the worker to end after its last job; where it has no thread, end it here."""
        if self._running:
            return self.is_current_thread() or self._ended.wait(max(0.0, timeout))
        if not self._stopped:
            self._stopped = True
            self._shutdown_exporter()
        return True

    def stop(self) -> None:
        """End the thread after the export that it is in; what waits is not exported."""
        self._stopped = True
        self._alarm.ring()

    def _run(self, alarm: Alarm) -> None:
        self._ident = _thread.get_ident()
        ended = self._ended
        try:
            while not self._stopped and alarm is self._alarm:
                try:
                    self._step()
                except BaseException as error:
                    # The exporter's own failures are caught where it is called: this is for what is thrown into the thread.
                    self._faults.report(
                        "worker", f"the worker of exporter {self.export.name} was interrupted, it goes on", error
                    )
            self._shutdown_exporter()
        finally:
            self._ident = None
            self._running = False
            ended.open()

    def _step(self) -> None:
        """Export the newest snapshot, or sleep until there is one or it is time to try again."""
        jobs = self._jobs
        if not jobs:
            self._alarm.sleep(None)
            return
        job = jobs[-1]
        urgent = any([one.urgent for one in list(jobs)])
        wait = (self._quiet_until if urgent else self._retry_at) - self._clock.monotonic()
        if job.last_until is not None and urgent:
            wait = 0.0  # there will be no other time
        if wait > 0:
            if job.last_until is not None and (job.attempts > 1 or _monotonic() + wait >= job.last_until):
                self._stopped = True
                for one in list(jobs):
                    one.acknowledge(failed=True)
            else:
                self._alarm.sleep(wait)
            return
        self._attempt(job)
        for one in list(jobs):
            if one.number <= job.number:  # newer ones have come in the meantime
                one.urgent = False
                if job.over:
                    self._let_go(one, job)
        if job.last_until is not None and job.over:
            self._stopped = True

    def _let_go(self, one: Job, exported: Job) -> None:
        if one is not exported:
            exported.supersede(one)
        try:
            self._jobs.remove(one)
        except ValueError:
            pass  # a newer one has just taken its place

    def _attempt(self, job: Job) -> bool:
        job.attempts += 1
        started = self._busy_since = self._clock.monotonic()
        self._overran = False
        try:
            refused = job.content.send(self.export.exporter, self.export.timeout_seconds)
        except BaseException as error:  # SystemExit and the like included: they are the exporter's, not the process's
            self._failed(error)
            if isinstance(error, ExportError):
                self._refused += error.refused
                if error.settled and job.content.settle(error.settled):
                    job.over = True
                    job.acknowledge(failed=True)
            return False
        finally:
            self._seconds += self._clock.monotonic() - started
            self._busy_since = None
        self._exports += 1
        self._acknowledged = job.merged
        self._failures_in_a_row = 0
        self._retry_at = 0.0
        job.content.settle()
        job.over = True
        job.acknowledge()
        if isinstance(refused, Refused):  # of exporters of one's own, anything may come
            self._refused += refused.points
            self._last_error = refused.why
            what = f"{refused.points} points of exporter {self.export.name} were refused: {refused.why}"
            self._faults.report(f"refused:{self.export.name}", what)
        return True

    def _failed(self, error: BaseException) -> None:
        if not self._overran:
            self._failures += 1
        self._last_error = f"{type(error).__name__}: {error}"
        backoff = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures_in_a_row, 10))
        self._failures_in_a_row += 1
        now = self._clock.monotonic()
        asked = error.retry_after_seconds if isinstance(error, ExportError) else 0.0
        self._quiet_until = now + min(asked, LONGEST_RETRY_AFTER_SECONDS)
        self._retry_at = max(self._quiet_until, now + backoff * (0.5 + 0.5 * (self._jitter or _chance)()))
        self._faults.report(f"exporter:{self.export.name}", f"exporter {self.export.name} failed", error)

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
            queued=len(self._jobs),
            acknowledged=self._acknowledged,
            unacknowledged=merged - self._acknowledged,
            refused=self._refused,
            export_seconds=self._seconds,
            last_error=self._last_error,
        )


def _chance() -> float:
    import random  # 5 ms, and not before something has failed

    return random.random()
