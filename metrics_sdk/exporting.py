"""The worker of an exporter: whatever the exporter does, it happens to this thread alone."""

from __future__ import annotations

import _thread
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from metrics_sdk.alarm import Alarm, Latch
from metrics_sdk.clock import Clock, monotonic
from metrics_sdk.core.exclusion import exclusively, result_exclusively
from metrics_sdk.errors import ExportError
from metrics_sdk.export import Export
from metrics_sdk.export_jobs import Job
from metrics_sdk.faults import Faults
from metrics_sdk.health import ExporterHealth
from metrics_sdk.snapshot import Refused
from metrics_sdk.tracing import unobserved

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0  # the other side may ask for more; it could be a mistake for all that anybody knows
_LEAST_SECONDS = 0.1  # what an exporter gets that is asked when there is no time left
_PATIENCE_SECONDS = 0.05  # for the queue, which is held for microseconds, unless a handler has interrupted whoever holds it
BREAK_AFTER = 3  # failures in a row after which the circuit counts as open


class ExportWorker:
    """One exporter, its thread, and a bounded queue before it.

    What is exported later contains what was before, so only the newest matters: when the queue is full the oldest one is let go
    and counted, and after a failure the newest is what is tried again, after 1, 2, 4 … 60 seconds with jitter, or when the
    other side wants it. An export that overruns its timeout is counted as failed at once and shows as "hanging" until it
    returns; no second one is begun beside it.
    """

    def __init__(self, export: Export, clock: Clock, faults: Faults, jitter: Callable[[], float] | None = None) -> None:
        import logging  # 3 ms, for `Faults`: by when it is needed it may be the interpreter's exit  # noqa: F401

        self.export = export
        self._clock = clock
        self._faults = faults
        self._jitter = jitter
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, which has no worker thread and owes nothing."""
        self._jobs: deque[Job] = deque()  # a job stays in it until it is exported: nothing is lost if the thread is interrupted
        self._exported = 0  # the number of the newest job that was exported
        self._queueing: Any = threading.RLock()
        self._alarm = Alarm()
        self._get_ident = _thread.get_ident
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
            # Of one kind with the thread that sleeps by them: gevent may have patched both since.
            self._alarm, self._ended = Alarm(), Latch()
            _thread.start_new_thread(self._run, (self._alarm, self._ended))
        except RuntimeError:
            self._running = False
        except BaseException:  # a handler's: whether there is a thread is not known, and the next one takes its place
            self._running = False
            raise

    def is_current_thread(self) -> bool:
        """Tell whether the exporter itself is calling."""
        return self._ident == self._get_ident()

    def is_exporting(self) -> bool:
        """Tell whether an export is under way."""
        return self._busy_since is not None

    def submit(self, job: Job) -> Latch:
        """Hand over a snapshot; the latch of an urgent one opens once it, or a newer one, was exported."""
        if self._ending:
            job.acknowledge(failed=True)
            return job.done
        self._ending = job.last_until is not None
        if not exclusively(self._queueing, partial(self._queue, job), _PATIENCE_SECONDS):
            self._jobs.append(job)  # inside of a handler that interrupted this very thread: the order matters less
        self._alarm.ring()
        return job.done

    def _queue(self, job: Job) -> None:
        """Put a job in its place, by its number: threads that made their contents one after the other have raced since.

        Guarantee: no job is lost, and the newest is the last one. Assumption: what changes the queue holds this lock.
        """
        jobs = self._jobs
        at = len(jobs)
        while at and jobs[at - 1].number > job.number:
            at -= 1
        jobs.insert(at, job)
        while len(jobs) > self.export.queue_size:
            jobs[1].supersede(jobs.popleft())
            self._superseded += 1

    def run_inline(self, job: Job, deadline: float = math.inf) -> bool:
        """Export in the calling thread, for an SDK that may not start any; False as well if the exporter is at it already.

        One at a time, or two would tell the same deltas. Nobody who records waits for this lock. `deadline`: of the monotonic
        clock; the exporter gets no more time than there is until then, but a little.
        """
        if 0 < job.number <= self._exported:
            return True
        if self._quiet_until > self._clock.monotonic() and job.last_until is None:
            return False
        timeout = min(self.export.timeout_seconds, max(_LEAST_SECONDS, deadline - monotonic()))
        work = partial(self._attempt, job, timeout)
        return result_exclusively(self._inline, work, timeout, otherwise=False)

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

    def _run(self, alarm: Alarm, ended: Latch) -> None:
        self._get_ident = _thread.get_ident
        self._ident = self._get_ident()
        try:
            while not self._stopped and alarm is self._alarm:
                try:
                    self._step()
                except BaseException as error:
                    # The exporter's own failures are caught where it is called: this is for what is thrown into the thread.
                    self._faults.report(
                        "worker", f"the worker of exporter {self.export.name} was interrupted, it goes on", error
                    )
            if alarm is self._alarm:  # else the exporter has forked, and this is the child: it is the parent's
                self._shutdown_exporter()
        finally:
            if alarm is self._alarm:  # else another thread has taken its place
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
        if job.number <= self._exported:  # a newer one was exported before this one came
            job.acknowledge()
            self._let_go(job, job)
            self._stopped = self._stopped or job.last_until is not None
            return
        urgent = any([one.urgent for one in list(jobs)])
        wait = (self._quiet_until if urgent else self._retry_at) - self._clock.monotonic()
        if job.last_until is not None and urgent:
            wait = 0.0  # there will be no other time
        if wait > 0:
            if job.last_until is not None and (job.attempts > 1 or monotonic() + wait >= job.last_until):
                self._stopped = True
                for one in list(jobs):
                    one.acknowledge(failed=True)
            else:
                self._alarm.sleep(wait)
            return
        timeout = self.export.timeout_seconds
        if job.last_until is not None:
            timeout = min(timeout, max(_LEAST_SECONDS, job.last_until - monotonic()))
        self._attempt(job, timeout)
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
        if not exclusively(self._queueing, partial(self._remove, one), _PATIENCE_SECONDS):
            self._remove(one)

    def _remove(self, job: Job) -> None:
        try:
            self._jobs.remove(job)
        except ValueError:
            pass  # a newer one has just taken its place

    def _attempt(self, job: Job, timeout: float) -> bool:
        if job.made_in != os.getpid():
            return False  # the host's own thread was forked by an exporter, inside of a flush: it is the parent's job
        job.attempts += 1
        started = self._busy_since = self._clock.monotonic()
        self._overran = False
        try:
            refused = unobserved(partial(job.content.send, self.export.exporter, timeout))
        except BaseException as error:  # SystemExit and the like included: they are the exporter's, not the process's
            if job.made_in != os.getpid():
                return False  # this exporter has forked, and this is the child
            self._failed(error)
            if isinstance(error, ExportError):
                job.over = bool(error.settled) and job.content.settle(error.settled)
                if job.over or job.content.settles_in_part:  # else they come again, and may be refused again
                    self._refused += error.refused
                if job.over:
                    job.acknowledge(failed=True)
            return False
        finally:
            if job.made_in == os.getpid():
                self._seconds += self._clock.monotonic() - started
                self._busy_since = None
        if job.made_in != os.getpid():
            return False
        self._exports += 1
        self._acknowledged = job.merged
        self._exported = max(self._exported, job.number)
        if self._failures_in_a_row:
            what = f"exporter {self.export.name} works again, after {self._failures_in_a_row} failures in a row"
            self._faults.tell(f"recovered:{self.export.name}", what)
        self._failures_in_a_row = 0
        self._retry_at = 0.0
        job.content.settle()
        job.over = True
        job.acknowledge()
        if isinstance(refused, Refused) and refused.points > 0:  # of exporters of one's own, anything may come
            self._refused += refused.points
            self._last_error = refused.why
            what = f"{refused.points} points of exporter {self.export.name} were refused: {refused.why}"
            self._faults.report(f"refused:{self.export.name}", what)
        elif isinstance(refused, Refused):
            self._faults.tell(f"told:{self.export.name}", f"exporter {self.export.name} is told: {refused.why}")
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
    return int.from_bytes(os.urandom(4)) / 2**32  # `random` takes 5 ms to import, and it may be the interpreter's exit
