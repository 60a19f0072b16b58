"""MetricsSDK: builds the parts from a Config, and owns start, flush, fork and shutdown."""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from metrics_sdk.alarm import Latch
from metrics_sdk.aside import aside
from metrics_sdk.callbacks import CallbackRunner
from metrics_sdk.checks import check_seconds
from metrics_sdk.clock import monotonic
from metrics_sdk.collector import Collector, cumulative, metric
from metrics_sdk.config import CHANGEABLE, Config
from metrics_sdk.core import IN_MAIN_INTERPRETER, kinds
from metrics_sdk.core.attributes import Pairs
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.instruments import Attributes, Counter, Directory, Gauge, Histogram, UpDownCounter
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.table import PER_SECOND, Table
from metrics_sdk.errors import ConfigurationError, DeclarationError
from metrics_sdk.expiry import Expiry
from metrics_sdk.export import check_width
from metrics_sdk.exports import Exports
from metrics_sdk.faults import Faults
from metrics_sdk.feeds import Window
from metrics_sdk.flusher import Flusher
from metrics_sdk.health import Accounts, Health, account, as_metrics
from metrics_sdk.interval import Seconds, Time
from metrics_sdk.journal import Journal
from metrics_sdk.parallelism import Concurrency
from metrics_sdk.points import Points
from metrics_sdk.process_end import ProcessEnd
from metrics_sdk.produced import fit
from metrics_sdk.query import Aggregate, Grouped
from metrics_sdk.reader import Reader
from metrics_sdk.registry import Observable, Observations, Registry
from metrics_sdk.resource import Resource
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Metric, Snapshot
from metrics_sdk.store import AggregateMap
from metrics_sdk.streams import Streams, matches
from metrics_sdk.subscriptions import Subscription
from metrics_sdk.temporality import Preference
from metrics_sdk.timing import Instrumented, Timed, instrument_by_name
from metrics_sdk.tracing import sampler
from metrics_sdk.view import Aggregation

OBSERVE_SECONDS = 5.0  # how long a reader waits for observable callbacks


class MetricsSDK:
    """One set of instruments, their aggregates, and the exporters that carry them away.

    Nothing is started, opened or read before the first value is recorded. All methods may be called from any thread.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        registry: Registry | None = None,
        directory: Directory | None = None,
        at_exit: Callable[[], object] | None = None,
    ) -> None:
        """Build an SDK that works as `config` says.

        `registry`: take over these instruments, they record here from now on. `directory`: list the instruments there.
        `at_exit`: what to do at the interpreter's exit, `shutdown()` by default.
        """
        config = Config() if config is None else config
        if not isinstance(config, Config):
            raise ConfigurationError(f"an SDK is configured with a Config, not {config!r}")
        if not IN_MAIN_INTERPRETER:  # whoever destroys it while a thread is there ends the process
            config = Config(**{**vars(config), "background": False})
        self.config = config
        self.max_instruments = config.max_instruments
        self.resource = Resource(config.resource)
        self._clock = config.clock
        self.faults = Faults(config.clock)
        self._scope = Scope(_shards(config), bool(config.resolutions), self._started, config.clock.time, Timed)
        self._store = AggregateMap(self._scope, config.clock, config.map_locks, config.resolutions, _aligned(config))
        self._reconfiguring = threading.RLock()
        self._points = self._store.points = Points(self._scope, config.clock, self._store, config, self.is_own_thread)
        self._flusher = Flusher(config.clock, self.faults, self._pass, self._flusher_ended)
        self._callbacks = CallbackRunner(self.faults)
        self._scope.max_series = config.max_series
        if config.denied_attributes:
            self._scope.denied = partial(matches, config.denied_attributes)
        self._scope.sampler = sampler(config.exemplar_filter or "always_off", config.clock.time)
        self.streams = Streams(self._scope, self._store, config.clock, self.faults, lambda: self.config)
        self._journal = Journal(self.streams, self._scope, self.faults, self.health)
        self._on_exit = at_exit
        self._collectors: dict[Collector, None] = {}
        self._expiry = Expiry(
            self.streams,
            self._store,
            config.clock,
            lambda: list(self._collectors),
            lambda: self.config.series_ttl_seconds,
            self._memory,
        )
        self._exports = Exports(self, self._store, config.exporters)
        self._reader = Reader(self.streams, self._store, config.clock, lambda: self._observe(OBSERVE_SECONDS))
        self._reset_process_state()
        if registry is None:
            self.registry = Registry(self, directory)
        else:
            self.registry = registry
            for section in list(registry.sections.values()):
                section.fold()  # what has happened until now is for the SDK before
            registry.redirect(self)
        self.record = self.registry.directory.record
        """`record(name, value, attributes=None)`: record with the instrument of that name, else a provisional histogram."""
        _living[id(self)] = weakref.ref(self)
        weakref.finalize(self, _living.pop, id(self), None).atexit = False

    def reconfigure(self, **changes: Any) -> Config:
        """Change how the SDK works while it is running; return the configuration that it has now.

        What can be changed are the fields `flush_interval_seconds`, `health_report_interval_seconds`, `resolutions`,
        `disabled`, `without_windows`, and with `exporters` the intervals and timeouts of those there are. Closed windows are
        kept where their width divides one of the new ones. Raises ConfigurationError, and then nothing has changed.
        """
        unknown = sorted(set(changes) - CHANGEABLE)
        if unknown:
            raise ConfigurationError(
                f"{', '.join(unknown)} cannot be changed while running: only {', '.join(sorted(CHANGEABLE))}"
            )
        with self._reconfiguring:
            config = Config(**{**vars(self.config), **changes})
            self._exports.change(config, given="exporters" in changes)
            if not self._store.change(config.resolutions, _aligned(config)):
                raise ConfigurationError("a drain has been under way for five seconds: nothing was changed, try again")
            self.config = config
            for instrument in self.streams.instruments():
                self.streams.arrange(instrument)
        self._flusher.wake()
        return config

    def _reset_process_state(self) -> None:
        self._started_at = self._reader.started_at = self._clock.time()
        self._flushes = 0
        self._flush_seconds = 0.0
        self._report_due = 0.0
        self._shutdowns: list[list[int]] = []  # the threads that called it: the first one's does the work
        self._shut_down = Latch()
        self._shutdown_result = False
        self._starting = threading.RLock()
        self._end: ProcessEnd | None = None
        self._produced: list[Metric] = []  # what others had to tell when they were asked last

    # ---- declaring ----------------------------------------------------------------------------------------------

    def counter(self, name: str, *, unit: str = "", description: str = "") -> Counter:
        """Return the counter of that name: it adds up what only grows."""
        made: Counter = self.registry.declare(kinds.COUNTER, name, unit, description)
        return made

    def up_down_counter(self, name: str, *, unit: str = "", description: str = "") -> UpDownCounter:
        """Return the up-down counter of that name: it adds up what grows and shrinks by amounts."""
        made: UpDownCounter = self.registry.declare(kinds.UP_DOWN_COUNTER, name, unit, description)
        return made

    def gauge(self, name: str, *, unit: str = "", description: str = "") -> Gauge:
        """Return the gauge of that name: it holds the value that was set last."""
        made: Gauge = self.registry.declare(kinds.GAUGE, name, unit, description)
        return made

    def histogram(
        self, name: str, *, unit: str = "", description: str = "", boundaries: Sequence[float] | None = None
    ) -> Histogram:
        """Return the histogram of that name: base-2 exponential, or explicit with ascending upper `boundaries`."""
        made: Histogram = self.registry.declare(kinds.HISTOGRAM, name, unit, description, boundaries)
        return made

    def observable_counter(
        self, name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = ""
    ) -> Observable:
        """Read a total that only grows by calling back at every flush; returns a handle with `close()`."""
        return self.registry.observe(kinds.OBSERVABLE_COUNTER, name, callback, unit, description)

    def observable_up_down_counter(
        self, name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = ""
    ) -> Observable:
        """Read a total that grows and shrinks by calling back at every flush; returns a handle with `close()`."""
        return self.registry.observe(kinds.OBSERVABLE_UP_DOWN_COUNTER, name, callback, unit, description)

    def observable_gauge(
        self, name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = ""
    ) -> Observable:
        """Read a value by calling back at every flush; returns a handle with `close()`.

        The callback returns a number, or an iterable of (number, attributes). One that raises costs its own values alone.
        """
        return self.registry.observe(kinds.OBSERVABLE_GAUGE, name, callback, unit, description)

    def timed(self, name: str, attributes: Attributes | None = None) -> Timed:
        """Measure durations into the histogram `name`: a decorator for any kind of function, and a context manager.

        In seconds, unless the instrument was declared with another unit of time. What raises is recorded with the
        attribute `error.type` in addition.
        """
        return Timed(self._duration_histogram(name), attributes)

    def concurrency(self, name: str) -> Concurrency:
        """Return the section `name`, which tells how parallel it really runs: a context manager, and a decorator."""
        registry = self.registry
        known: Concurrency | None = registry.sections.get(name)
        if known is None:
            known = registry.sections.setdefault(name, Concurrency(lambda: cast("MetricsSDK", registry.home), name))
        return known

    def instrument(self, target: str, name: str, attributes: Attributes | None = None) -> Instrumented:
        """Time a callable that is not yours, named "module:Class.method", now or when its module is first imported.

        Returns a handle with `close()`, which puts the original back.
        """
        return instrument_by_name(target, self.timed(name, attributes))

    def _duration_histogram(self, name: str) -> Histogram:
        known = self.registry.declared.get(name.lower()) if isinstance(name, str) else None
        if isinstance(known, Histogram):
            if known.unit and known.unit not in PER_SECOND:
                raise DeclarationError(f"{name!r} has the unit {known.unit!r}: durations cannot be recorded in it")
            return known
        if callable(name):
            raise DeclarationError(f'timed() needs a name: write @timed("name"), not @timed, before {name!r}')
        made: Histogram = self.registry.declare(kinds.HISTOGRAM, name, "s", "Duration.", provisional="timed")
        return made

    # ---- reading ------------------------------------------------------------------------------------------------

    def query(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        last: Seconds | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Aggregate:
        """Return what was recorded under `name`, up to this moment.

        `attributes`: merge the series that include these; None is all, {} only the series without any. `last`: seconds, or a
        timedelta; `since` and `until`: Unix seconds, or datetimes with a time zone. These are answered from the windows that
        reach into the interval; the answer's `start` and `end` say what they cover. Raises UnknownInstrument, and ValueError
        for an impossible interval.
        """
        return self._reader.query(name, attributes, last, since, until)

    def query_by(
        self,
        name: str,
        *keys: str,
        attributes: Attributes | None = None,
        last: Seconds | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Grouped:
        """Return the same apart for each value of the attribute that `keys` names, or for each combination of several."""
        return self._reader.query_by(name, keys, attributes, last, since, until)

    def query_all(
        self, *, last: Seconds | None = None, since: Time | None = None, until: Time | None = None
    ) -> Mapping[str, Mapping[Pairs, Aggregate]]:
        """Return the aggregate of every series: by name, then by its attributes as a sorted tuple of pairs.

        Series whose attributes are equal for Python (1, 1.0 and True) come merged, under one key.
        """
        return self._reader.query_all(last, since, until)

    def snapshot(self) -> Snapshot:
        """Return everything there is, frozen: what exporters get. Runs the callbacks and drains first."""
        self._observe(OBSERVE_SECONDS)
        self._store.drain()
        return self.frozen()

    def frozen(self, collector: Collector | None = None) -> Snapshot:
        """Return everything that is merged, as a reader is told it; drains nothing."""
        now = self._clock.time()
        if collector is not None:
            metrics = collector.collect()
        else:
            told = [(table, cumulative(table, now)) for table in self.streams.tables(None)]
            metrics = [metric(table, points, "cumulative") for table, points in told if points]
        metrics += [*self._produced, *as_metrics(self._health(explain=False), self._started_at, now)]
        return Snapshot(self.resource(), now, tuple(metrics))

    def _ask(self, on_demand: bool) -> None:
        """Run the callbacks, and have others produce what they have to tell, if somebody wants to know."""
        if self.registry.home is self and not self._scope.is_closed():
            self.registry.run_callbacks(on_demand)
        if on_demand:
            self._produced = self._produce()

    def _produce(self) -> list[Metric]:
        """Return what others have to tell; one that fails costs its own metrics alone."""
        made: list[Metric] = []
        for producer in self.config.producers:
            name = type(producer).__name__
            try:
                produced = list(producer.produce())
            except Exception as error:
                self.faults.report(f"producer:{name}", f"the producer {name} failed", error)
                continue
            for one in in_slices(produced):
                try:
                    metric, left_out = fit(one)
                    made.append(metric)
                    if left_out:
                        self.faults.report(f"producer:{name}", f"{left_out} points of {metric.name!r} of {name} are none")
                except Exception as error:  # what it is, nobody knows
                    self.faults.report(f"producer:{name}", f"a metric of the producer {name} is left out", error)
        return made

    def collector(
        self,
        temporality: Preference = "cumulative",
        aggregation: Callable[[str], Aggregation | None] | None = None,
        cardinality_limit: Callable[[str], int | None] | None = None,
    ) -> Collector:
        """Return a reader of its own: with its temporality, and with streams of its own where it wishes others than there are.

        `aggregation` and `cardinality_limit` return what it prefers for a kind of instrument, None for the default.
        """
        made = Collector(self.streams, self._clock, temporality, aggregation, cardinality_limit)
        if made.reader not in self.streams.readers:
            self.streams.add_reader(made.reader)
        self._store.drain()  # what was recorded before is not for this reader to tell
        made.begin()
        self._collectors[made] = None
        return made

    def release(self, collector: Collector) -> None:
        """Give a reader up."""
        self._collectors.pop(collector, None)
        collector.end()
        self.streams.remove_reader(collector)

    def collect(self, collector: Collector, timeout: float = OBSERVE_SECONDS, acknowledged: bool = False) -> Snapshot:
        """Ask the callbacks, drain, and return what this reader is told.

        Its deltas come again until `collector.acknowledge()` says that they have arrived; `acknowledged`: they have.
        Raises TimeoutError if another collection of this reader does not end within `timeout` seconds.
        """
        deadline = monotonic() + timeout
        if not collector.lock.acquire(timeout=max(0.0, timeout)):
            raise TimeoutError(f"this reader is collecting already, and does not end within {timeout:g} s")
        try:
            asked_at = monotonic()
            answered = self._observe(deadline - asked_at)
            self._store.drain(timeout=max(0.1, deadline - monotonic()))
            self._expiry.forget_unobserved()
            # A callback that does not answer in time costs what was to be asked after it, and no counter.
            metrics = collector.collect(-math.inf if answered else asked_at)
            if acknowledged:
                collector.acknowledge()
            return Snapshot(self.resource(), collector.collected_at, (*metrics, *self._produced))
        finally:
            collector.lock.release()

    def health(self) -> Health:
        """Return the accounting, and how the parts are doing. Drains nothing."""
        return self._health(explain=True)

    def _health(self, explain: bool) -> Health:
        counted = Accounts(self.streams.accounted(), self._points.waiting(), explain)
        merged = counted.total.merged
        return Health(
            compiled=COMPILED,
            received=counted.total.received,
            merged=merged,
            dropped=counted.total.dropped,
            pending=counted.total.pending,
            contended=counted.contended,
            cut=self._scope.cuts.count,
            instruments=counted.instruments,
            series=counted.total.series,
            expired=self._expiry.expired,
            flushes=self._flushes,
            flush_seconds=self._flush_seconds,
            flusher_cpu_seconds=self._flusher.cpu_seconds,
            flusher_running=self._flusher.running,
            shut_down=self._scope.is_closed(),
            faults=self.faults.counts(),
            exporters=self._exports.health(merged),
        )

    def subscribe(self, callback: Callable[[Window], object], *, every: float | None = None) -> Subscription:
        """Call `callback(window)` with each window that has closed, on a thread of its own; returns a handle with `close()`.

        `every`: seconds, a multiple of the width of the finest windows, which is the default. The window has `start`, `end`,
        and `aggregates()`: what each series has in it. What comes late to a window that was handed over already comes as a
        further window of the same time, with a `revision`.
        """
        import inspect  # 7 ms, and not before somebody subscribes

        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise ConfigurationError(f"a subscriber is a plain function of a window, not {callback!r}")
        if every is not None:
            check_seconds("every", every)
        resolutions = self.config.resolutions
        width = every if every is not None else resolutions[0].width if resolutions else 0.0
        subscription = Subscription(callback, width, self.faults)
        check_width(subscription, resolutions)
        self._exports.subscribe(subscription, start=self._scope.running and self.config.background)
        return subscription

    # ---- life cycle ---------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 5.0) -> bool:
        """Merge everything that was recorded before the call, and export it.

        True: it is merged, and every exporter acknowledged it, within `timeout` seconds. Called by an exporter, a callback or a
        handler that interrupted a flush, it returns False at once: the flush that is under way goes on.
        """
        deadline = monotonic() + timeout
        observed = self._observe(timeout / 2, on_demand=bool(self._exports.workers))  # the rest is for the exporters
        drained = self._store.drain(timeout=max(0.0, deadline - monotonic())) and observed
        self._journal.tell_refused()  # also where nothing but drops has come, and no flusher runs
        if not self.config.background:
            self._store.age()
            self._expiry.forget_unobserved()
            self._expiry.sweep()
        if self._scope.is_closed():
            return drained and self._shutdown_result
        if self.is_own_thread():  # it may not wait for exporters, nor may one of them wait for itself or another
            return False
        return drained and self._exports.export_all(deadline, last=False)

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Stop: refuse later values (counted as `after_shutdown`), drain, merge, export a last time, end the threads.

        True: everything was merged and acknowledged within `timeout` seconds. The first call does the work, others wait for it
        and return what it returned. Runs at the interpreter's exit by itself.
        """
        deadline = monotonic() + timeout
        me = [threading.get_ident()]
        self._shutdowns.append(me)
        first = self._shutdowns[0]
        if first is not me:
            # A handler that interrupted the very thread that is at it, or what it waits for, may not wait.
            if first != me and not self.is_own_thread() and not self._interrupts_itself():
                self._shut_down.wait(timeout)
            return self._shutdown_result
        if self._interrupts_itself():
            try:
                _thread.start_new_thread(self._shut_down_now, (deadline,))
                first[0] = 0
                return False
            except RuntimeError:
                pass  # no thread can be had: what the interrupted frame holds is not exported
        self._shut_down_now(deadline)
        return self._shutdown_result

    def _interrupts_itself(self) -> bool:
        """Tell whether this is a handler that has interrupted its own thread where that holds what is to be delivered."""
        return self._store.is_held_here() or self._exports.is_held_here()

    def _shut_down_now(self, deadline: float) -> None:
        try:
            self._shutdown_result = self._shutdown(deadline)
        finally:
            self._shut_down.open()
            if self._end is not None:
                self._end.cancel()
        self._journal.report("DEBUG", "final ")

    def _shutdown(self, deadline: float) -> bool:
        # One that hangs leaves half of the time to the exporters.
        complete = self._observe((deadline - monotonic()) / 2, on_demand=bool(self._exports.workers))
        if COMPILED:
            self._scope.close()
        else:  # an interpreted cell has no such check on its fast path: it stops when it is taken for the last time
            complete = self._store.drain(timeout=deadline - monotonic()) and complete
            self._scope.close()
        complete = self._store.drain(timeout=max(0.1, deadline - monotonic())) and complete
        self._flusher.stop()
        self._callbacks.stop()
        complete = self._exports.export_all(deadline, last=True) and complete
        self._exports.join(deadline)
        return complete

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Flush as `flush()` does, while the event loop goes on."""
        return await aside(partial(self.flush, timeout))

    async def ashutdown(self, timeout: float = 5.0) -> bool:
        """Shut down as `shutdown()` does, while the event loop goes on."""
        return await aside(partial(self.shutdown, timeout))

    def deliver_on_sigterm(self, timeout: float | None = None) -> None:
        """Have everything delivered when SIGTERM ends the process, within `timeout` seconds; see `termination`.

        `timeout`: None is `shutdown_timeout_seconds`. What is recorded after the signal is counted as `after_shutdown`. A
        handler that was there before is called as ever, and decides what becomes of the process. Call it in the main thread,
        after whatever else installs handlers; raises ConfigurationError elsewhere.
        """
        handle_sigterm(id(self), weakref.ref(self), self.config.shutdown_timeout_seconds if timeout is None else timeout)

    def is_own_thread(self) -> bool:
        """Tell whether one of the SDK's own threads is calling."""
        own = self._flusher.is_current_thread() or self._callbacks.is_current_thread()
        return own or self._exports.is_current_thread()

    def __del__(self) -> None:
        # Nobody holds it any more, nor an instrument of it. This may be the garbage collector, anywhere: it waits for nothing.
        if getattr(self, "_end", None) is not None and self.config.background and not self._scope.is_closed():
            assert self._end is not None
            self._end.deliver = self._at_exit  # should the process end before that thread has
            try:
                _thread.start_new_thread(self.shutdown, (self.config.shutdown_timeout_seconds,))
            except RuntimeError:
                pass  # the interpreter is on its way out, or has no thread left: the exit delivers

    def __enter__(self) -> MetricsSDK:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown(self.config.shutdown_timeout_seconds)

    async def __aenter__(self) -> MetricsSDK:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.ashutdown(self.config.shutdown_timeout_seconds)

    # ---- what the parts call ------------------------------------------------------------------------------------

    def _observe(self, timeout: float, on_demand: bool = True) -> bool:
        """Ask the callbacks; False: they did not all answer within `timeout` seconds.

        `on_demand`: somebody wants to know; else it is the flusher's turn, and callbacks that are for readers alone rest.
        """
        for section in list(self.registry.sections.values()) if self.registry.home is self else ():
            section.fold()
        observables = list(self.registry.observables) if self.registry.home is self and not self._scope.is_closed() else []
        asks = any([on_demand or not one.on_demand for one in observables])
        if not asks and not (on_demand and self.config.producers):
            return True
        work = partial(self._ask, on_demand)
        if self.config.background:
            return self._callbacks.run(work, timeout)
        work()
        return True

    def _started(self) -> None:
        """Called by the recording path, anywhere, while no flusher runs in this process: waits for nothing."""
        exclusively(self._starting, self._start)

    def _start(self) -> None:
        if self._scope.running:
            return
        try:
            self._scope.running = True
            self._start_all()
        except BaseException:  # a handler's: the next value shall try again
            self._scope.running = False
            raise

    def _start_all(self) -> None:
        if self._end is None:
            # Where there is no thread that could deliver what an SDK has that nobody holds any more, the exit does so.
            keeps = not self.config.background and bool(self.config.exporters)
            self._end = ProcessEnd(self._at_exit if keeps else partial(_end, weakref.ref(self)))
        if self.config.background:
            self._scope.running = self._flusher.start()
            if self._scope.running:
                self._exports.start()
                if self.config.producers or self.registry.observables:
                    self._callbacks.start()  # at the interpreter's exit, some releases start no thread any more

    def _flusher_ended(self) -> None:
        """Called by the flusher's thread, which ends and could start no other."""
        self._scope.running = False
        self._store.drain(timeout=0.1)  # so that the next value of each series asks for a flusher again

    def _at_exit(self) -> None:
        if self._on_exit is not None:
            self._on_exit()
        else:
            self.shutdown(self.config.shutdown_timeout_seconds)

    def _pass(self) -> float:
        """Do what the background thread does each time; return when it should do so again."""
        config = self.config
        started = self._clock.monotonic()
        if not self._flushes:
            self._report_due = started + (config.health_report_interval_seconds or 0.0)
        self._flushes += 1
        self._observe(max(0.1, config.flush_interval_seconds), on_demand=self._exports.is_due(started))
        opened = self._store.opened()
        closing = self._exports.closing()
        self._store.drain()
        if closing is not None and self._store.opened() != opened:
            self._exports.closed(closing)
        self._store.age()
        self._journal.tell_refused()
        self._expiry.forget_unobserved()
        self._expiry.sweep()
        self._exports.submit_due(started)
        if config.health_report_interval_seconds is not None and started >= self._report_due:
            self._report_due = started + config.health_report_interval_seconds
            self._journal.report("INFO")
        now = self._clock.monotonic()
        self._flush_seconds += now - started
        next_pass = max(started + config.flush_interval_seconds, now)
        if self._store.window_seconds:
            next_pass = min(next_pass, now + self._scope.window + self._store.window_seconds - self._clock.time())
        return next_pass

    def _memory(self) -> float:
        """Return for how many seconds there can be windows of what is no more."""
        return max([resolution.span + resolution.width for resolution in self.config.resolutions], default=0.0)

    def tables(self) -> list[Table]:
        """Return the tables that queries are answered from."""
        return self.streams.queried()

    def merged(self) -> int:
        """Return how many values are merged."""
        return sum([int(account(table.known()).merged) for table in self.streams.all_tables()])

    def _forked(self) -> None:
        """Begin anew in a forked child. Takes no lock, starts no thread, logs nothing."""
        self._scope.forked()
        self.streams.forked()
        self._store.forked()
        for section in self.registry.sections.values() if self.registry.home is self else ():
            section.reset()
        self._points.forked()
        self._flusher.reset()
        self._callbacks.reset()
        self._expiry.forked()
        for collector in list(self._collectors):
            collector.forked()
        self.registry.forked()
        self._exports.forked()
        self._reconfiguring = threading.RLock()
        if self._end is not None:
            self._end.forget()
        self._reset_process_state()


def _end(reference: weakref.ref[MetricsSDK]) -> None:
    sdk = reference()
    if sdk is not None:
        sdk._at_exit()


def handle_sigterm(key: int, sdk: Callable[[], MetricsSDK | None], timeout: float) -> None:
    """Have what `sdk` returns, if it does, deliver everything when SIGTERM comes."""
    from metrics_sdk.termination import TERMINATION  # when it is asked for

    check_seconds("timeout", timeout)
    TERMINATION.add(key, sdk, timeout)


def _shards(config: Config) -> int:
    if config.shards != "auto":
        return int(config.shards)
    return 1 if _has_gil() else 2 * (os.cpu_count() or 1)


def _aligned(config: Config) -> float:
    # Where no flusher wakes at the edges of windows, what is taken late belongs to the window that was open.
    return config.flush_interval_seconds if config.background else float("inf")


def _has_gil() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


_living: dict[int, weakref.ref[MetricsSDK]] = {}


def _forked() -> None:
    for reference in list(_living.values()):
        sdk = reference()
        if sdk is not None:
            sdk._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
