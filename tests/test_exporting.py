"""The exporter's worker: whatever an exporter does stays with it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK, Snapshot
from metrics_sdk.clock import ManualClock
from metrics_sdk.errors import ExportError
from metrics_sdk.export_jobs import Collected, Cumulative, Job
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.exporting import ExportWorker
from metrics_sdk.faults import Faults
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Refused


class Gate:
    """An exporter that waits until it is let go, and tells when it is entered."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        self.entered.set()
        self.open.wait(30)

    def shutdown(self) -> None:
        pass


class Raising:
    def __init__(self, error: BaseException, times: int = 10**9) -> None:
        self.error = error
        self.left = times
        self.delivered: list[Snapshot] = []

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        self.delivered.append(snapshot)

    def shutdown(self) -> None:
        raise self.error


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.002)


def test_an_exporter_is_never_called_twice_at_once_and_missed_ticks_are_let_go() -> None:
    gate = Gate()
    sdk = MetricsSDK(Config(exporters=[Export(gate, interval_seconds=0.01, queue_size=2)], flush_interval_seconds=0.01))
    sdk.counter("c").add(1)
    assert gate.entered.wait(10)
    flushes = sdk.health().flushes
    until(lambda: sdk.health().flushes >= flushes + 5)
    assert sdk.health().exporters["Gate"].queued <= 2  # the first tick, and one before the worker had begun
    gate.open.set()
    assert sdk.shutdown(10)


def test_retries_wait_1_2_4_to_60_seconds_with_jitter_and_totals_are_right_afterwards() -> None:
    clock = ManualClock()
    exporter = Raising(OSError("down"), times=9)
    worker = ExportWorker(Export(exporter), clock, Faults(clock), jitter=lambda: 1.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    sdk.counter("c").add(5)
    snapshot = sdk.snapshot()
    waits = []
    while not exporter.delivered:
        worker.run_inline(Job(Cumulative(snapshot), 5))
        waits.append(worker._retry_at - clock.monotonic())
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == waits[:9]
    assert (9, 1, 5, 0) == (
        worker.health(5).failures, worker.health(5).exports, worker.health(5).acknowledged, worker.health(5).unacknowledged,
    )  # fmt: skip
    assert snapshot == exporter.delivered[0]
    half = ExportWorker(Export(Raising(OSError())), clock, Faults(clock), jitter=lambda: 0.0)
    half.run_inline(Job(Cumulative(snapshot), 5))
    assert 0.5 == half._retry_at - clock.monotonic()


def test_after_several_failures_the_circuit_shows_as_open() -> None:
    clock = ManualClock()
    worker = ExportWorker(Export(Raising(OSError())), clock, Faults(clock))
    states = []
    for _ in range(4):
        worker.run_inline(Job(Cumulative(MetricsSDK(Config(background=False)).snapshot()), 0))
        states.append(worker.health(0).state)
    assert ["backing_off", "backing_off", "open", "open"] == states


def test_a_flush_retries_at_once_what_is_backing_off() -> None:
    exporter = Raising(OSError("down"), times=1)
    sdk = MetricsSDK(Config(exporters=[Export(exporter, interval_seconds=60)]))
    sdk.counter("c").add(1)
    assert not sdk.flush(0.3)
    assert sdk.flush(5)
    assert 1 == len(exporter.delivered)
    assert "OSError: down" == sdk.health().exporters["Raising"].last_error
    sdk.shutdown(0.5)


def test_the_worker_survives_an_exception_thrown_into_its_thread() -> None:
    import ctypes

    memory = MemoryExporter()
    sdk = MetricsSDK(Config(exporters=[memory]))
    sdk.counter("c").add(1)
    assert sdk.flush()
    ident = sdk._exports.workers[0]._ident
    assert ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
    assert sdk.flush()
    assert sdk._exports.workers[0]._ident == ident
    assert 1 == sdk.health().faults["worker"]
    assert sdk.shutdown()


def test_an_exporter_may_use_the_sdk_that_drives_it_without_hanging() -> None:
    class Curious:
        def __init__(self) -> None:
            self.answers: list[Any] = []

        def export(self, snapshot: Snapshot, timeout: float) -> None:
            sdk.counter("inner").add(1)
            self.answers.append((sdk.query("c").sum, sdk.flush(5), sdk.health().received > 0))

        def shutdown(self) -> None:
            pass

    curious = Curious()
    sdk = MetricsSDK(Config(exporters=[curious]))
    sdk.counter("c").add(1)
    started = time.monotonic()
    assert sdk.flush(5)
    assert (1, False, True) == curious.answers[0]
    assert sdk.shutdown(5)
    assert time.monotonic() - started < 4


def test_exporters_of_one_class_have_names_of_their_own() -> None:
    sdk = MetricsSDK(Config(exporters=[MemoryExporter(), MemoryExporter(), Export(MemoryExporter(), name="third")]))
    assert ["MemoryExporter", "MemoryExporter-2", "third"] == list(sdk.health().exporters)


@pytest.mark.parametrize("not_an_exporter", [None, "console", object(), MemoryExporter])
def test_what_is_no_exporter_raises_at_configuration(not_an_exporter: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError)):
        Config(exporters=not_an_exporter)
    if not_an_exporter is not MemoryExporter:
        with pytest.raises(ConfigurationError, match="export"):
            Config(exporters=[not_an_exporter])


# ---- deltas ---------------------------------------------------------------------------------------------------------


class Adding:
    """Adds up the deltas that it is given; every export that `fails` says so of does not arrive."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        self.fails = fails
        self.calls = 0
        self.sums: dict[Any, float] = {}
        self.buckets: dict[Any, int] = {}
        self.at_once = threading.Lock()

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        assert self.at_once.acquire(blocking=False), "two exports at once"
        try:
            self.calls += 1
            if self.fails(self.calls):
                raise OSError("down")
            for metric in snapshot.metrics:
                for point in metric.points if metric.temporality == "delta" else ():
                    value: Any = point.value
                    if metric.kind == "histogram":
                        for bucket, count in enumerate(value.bucket_counts):
                            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
                    else:
                        self.sums[point.attributes] = self.sums.get(point.attributes, 0) + value
        finally:
            self.at_once.release()

    def shutdown(self) -> None:
        pass


def test_deltas_are_exact_with_an_exporter_that_fails_now_and_then() -> None:
    adding = Adding(lambda call: call % 3 != 0)
    sdk = MetricsSDK(Config(background=False, clock=ManualClock(), exporters=[Export(adding, temporality="delta")]))
    counter, histogram = sdk.counter("c"), sdk.histogram("h", boundaries=[10])
    arrived = 0
    for number in range(30):
        counter.add(number, {"k": number % 2})
        histogram.record(number)
        arrived += sdk.flush()
    assert (10, {(("k", 0),): 210, (("k", 1),): 225}, {0: 11, 1: 19}) == (arrived, adding.sums, adding.buckets)
    assert 435 == sdk.query("c").sum
    health = sdk.health().exporters["Adding"]
    assert (10, 20, 60, 0) == (health.exports, health.failures, health.acknowledged, health.unacknowledged)


def test_two_readers_of_deltas_do_not_disturb_each_other() -> None:
    good, bad = Adding(lambda call: False), Adding(lambda call: call < 5)
    exports = [Export(one, temporality="delta") for one in (good, bad)]
    sdk = MetricsSDK(Config(background=False, exporters=[*exports, MemoryExporter()]))
    for number in range(5):
        sdk.counter("c").add(number)
        assert sdk.flush() is (number == 4)
        assert {(): sum(range(number + 1))} == good.sums
    assert good.sums == bad.sums


def test_a_snapshot_that_is_superseded_doubles_and_loses_nothing() -> None:
    adding = Adding(lambda call: False)
    clock = ManualClock()
    sdk = MetricsSDK(Config(background=False, clock=clock))
    collector = sdk.collector("delta")
    worker = ExportWorker(Export(adding, queue_size=2), clock, Faults(clock))
    contents = []
    for number in (1, 2, 4, 8):
        sdk.counter("c").add(number)
        sdk.flush()
        contents.append(Collected(collector, lambda: sdk.frozen(collector)))
        worker.submit(Job(contents[-1], 0, number=number))
    assert 2 == worker.health(0).superseded
    while worker._jobs:
        worker._step()
    assert {(): 15} == adding.sums
    for content in contents:  # what was let go, and what was delivered, once more
        worker.run_inline(Job(content, 0))
    assert {(): 15} == adding.sums


@pytest.mark.slow
def test_deltas_are_exact_in_the_background_with_an_exporter_that_fails_now_and_then() -> None:
    adding = Adding(lambda call: call % 3 == 1)
    sdk = MetricsSDK(
        Config(exporters=[Export(adding, temporality="delta", interval_seconds=0.005)], flush_interval_seconds=0.005)
    )
    counter = sdk.counter("c")

    def record() -> None:
        for number in range(5000):
            counter.add(1, {"k": number % 5})

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            sdk.flush(1)
            thread.join(0.001)
    for _ in range(20):  # two out of three arrive
        if sdk.flush(5):
            break
    adding.fails = lambda call: False
    assert {(("k", key),): 4000 for key in range(5)} == adding.sums
    assert sdk.shutdown()
    assert {(("k", key),): 4000 for key in range(5)} == adding.sums


def test_threads_that_flush_without_a_background_send_each_delta_once() -> None:
    adding = Adding(lambda call: call % 4 == 1)
    sdk = MetricsSDK(Config(background=False, exporters=[Export(adding, temporality="delta")]))
    counter = sdk.counter("c")

    def record() -> None:
        for _ in range(50):
            counter.add(1)
            sdk.flush()

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not sdk.flush():
        pass
    assert {(): 200} == adding.sums


def test_an_exporter_that_flushes_inline_is_not_called_again_from_within() -> None:
    class Flushing(Adding):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            assert not sdk.flush(1)
            super().export(snapshot, timeout)

    flushing = Flushing(lambda call: False)
    sdk = MetricsSDK(Config(background=False, exporters=[Export(flushing, temporality="delta")]))
    sdk.counter("c").add(1)
    assert sdk.flush()
    assert (1, {(): 1}) == (flushing.calls, flushing.sums)


def test_a_shutdown_delivers_the_last_deltas() -> None:
    adding = Adding(lambda call: False)
    sdk = MetricsSDK(Config(exporters=[Export(adding, temporality="delta", interval_seconds=1000)]))
    sdk.counter("c").add(3)
    assert sdk.flush()
    sdk.counter("c").add(4)
    assert sdk.shutdown()
    assert {(): 7} == adding.sums


# ---- exporters that tell how far they came ----------------------------------------------------------------------


class Telling:
    """An exporter that raises, or returns, one thing after another, and then accepts; its worker has a clock that stands."""

    def __init__(self, *outcomes: ExportError | Refused | None) -> None:
        self.outcomes = list(outcomes)
        self.given: list[Snapshot] = []

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        self.given.append(snapshot)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, ExportError):
            raise outcome
        return outcome

    def shutdown(self) -> None:
        pass


def told(exporter: Telling, clock: ManualClock, **options: Any) -> MetricsSDK:
    return MetricsSDK(Config(background=False, clock=clock, exporters=[Export(exporter, name="it", **options)]))


def test_how_long_the_other_side_wants_peace_is_respected_by_flushes_too_up_to_an_hour() -> None:
    clock = ManualClock()
    exporter = Telling(ExportError("busy", retry_after_seconds=90), ExportError("mad", retry_after_seconds=1e9))
    sdk = told(exporter, clock)
    sdk.counter("c").add(1)
    assert not sdk.flush()
    clock.advance(89)
    assert not sdk.flush()
    assert 1 == len(exporter.given)
    clock.advance(2)
    assert not sdk.flush()
    clock.advance(3601)
    assert sdk.flush()
    assert 3 == len(exporter.given)


def test_a_worker_waits_as_long_as_the_other_side_asks_for_and_longer_than_its_own_back_off() -> None:
    clock = ManualClock()
    worker = ExportWorker(
        Export(Telling(ExportError("busy", retry_after_seconds=30))), clock, Faults(clock), jitter=lambda: 1.0
    )
    worker.run_inline(Job(Cumulative(MetricsSDK(Config(background=False)).snapshot()), 0))
    assert 30 == worker._retry_at - clock.monotonic()


def test_a_flush_in_the_background_respects_it_too() -> None:
    exporter = Telling(ExportError("busy", retry_after_seconds=30))
    sdk = MetricsSDK(Config(exporters=[Export(exporter, name="it", interval_seconds=60)]))
    sdk.counter("c").add(1)
    assert not sdk.flush(0.5)
    assert not sdk.flush(0.3)
    assert 1 == len(exporter.given)
    assert sdk.shutdown(5)  # there will be no other time
    assert 2 == len(exporter.given)


def test_what_was_refused_is_counted_logged_and_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    sdk = told(Telling(Refused(2, "odd label"), ExportError("401 who are you", settled=10**6, refused=5)), ManualClock())
    sdk.counter("c").add(1)
    assert sdk.flush()
    health = sdk.health().exporters["it"]
    assert (2, 1, 0, 0, "odd label") == (
        health.refused, health.exports, health.failures, health.unacknowledged, health.last_error,
    )  # fmt: skip
    assert "2 points of exporter it were refused: odd label" in caplog.text
    assert 1 == sdk.health().faults["refused:it"]
    assert not sdk.flush()
    health = sdk.health().exporters["it"]
    assert (7, 1, "ExportError: 401 who are you") == (health.refused, health.failures, health.last_error)
    shown = next(metric for metric in sdk.snapshot().metrics if metric.name == "metrics_sdk.export.refused")
    assert [7] == [point.value for point in shown.points]


def test_deltas_that_are_settled_are_not_told_again_and_the_others_are_with_their_own_start() -> None:
    clock = ManualClock()
    exporter = Telling(ExportError("in the middle", settled=1))
    sdk = told(exporter, clock, temporality="delta")
    begun = clock.time()
    counter = sdk.counter("c")
    counter.add(1, {"k": "a"})
    counter.add(2, {"k": "b"})
    clock.advance(10)
    assert not sdk.flush()
    broken_off = clock.time()
    counter.add(10, {"k": "a"})
    counter.add(20, {"k": "b"})
    clock.advance(10)
    assert sdk.flush()
    again = clock.time()
    counter.add(100, {"k": "a"})
    counter.add(200, {"k": "b"})
    clock.advance(10)
    assert sdk.flush()

    def shown(snapshot: Snapshot) -> list[tuple[object, ...]]:
        points = next(metric for metric in snapshot.metrics if metric.name == "c").points
        return [(point.attributes[0][1], point.value, point.start_time, point.time) for point in points]

    assert [("a", 1, begun, broken_off), ("b", 2, begun, broken_off)] == shown(exporter.given[0])
    assert [("a", 10, broken_off, again), ("b", 22, begun, again)] == shown(exporter.given[1])
    assert [("a", 100, again, clock.time()), ("b", 200, again, clock.time())] == shown(exporter.given[2])


def test_a_snapshot_that_is_settled_though_it_failed_is_not_tried_again_and_a_flush_does_not_wait_for_it() -> None:
    exporter = Telling(ExportError("400 no", settled=10**6, refused=3))
    sdk = MetricsSDK(Config(exporters=[Export(exporter, interval_seconds=60)]))
    sdk.counter("c").add(1)
    started = time.monotonic()
    assert not sdk.flush(10)
    assert time.monotonic() - started < 5
    until(lambda: 0 == sdk.health().exporters["Telling"].queued)
    assert 1 == len(exporter.given)
    assert sdk.flush(10)
    assert sdk.shutdown(5)


def test_the_last_export_is_tried_once_more_if_there_is_time_for_it() -> None:
    exporter = Raising(OSError("not now"), times=1)
    sdk = MetricsSDK(Config(exporters=[Export(exporter, interval_seconds=60)]))
    sdk.counter("c").add(1)
    assert sdk.shutdown(10)
    assert 1 == len(exporter.delivered)
    for timeout, longest, attempts in ((10.0, 3.0, 2), (0.4, 1.0, 1)):
        gone = Raising(OSError("never"))
        sdk = MetricsSDK(Config(exporters=[Export(gone, interval_seconds=60)]))
        sdk.counter("c").add(1)
        started = time.monotonic()
        assert not sdk.shutdown(timeout)
        assert time.monotonic() - started < longest
        assert attempts == sdk.health().exporters["Raising"].failures


# ---- how an exporter wants to be driven -------------------------------------------------------------------------


class Choosy(Telling):
    interval_seconds = 7
    timeout_seconds = 3
    temporality = "delta"
    temporalities = ("delta",)


def test_an_exporter_is_driven_as_it_wants_unless_it_is_told_otherwise() -> None:
    export = Export(Choosy())
    assert (7.0, 3.0, "delta", None) == (
        export.interval_seconds, export.timeout_seconds, export.temporality, export.histogram_aggregation,
    )  # fmt: skip
    export = Export(Choosy(), interval_seconds=1, timeout_seconds=2, temporality="delta")
    assert (1.0, 2.0) == (export.interval_seconds, export.timeout_seconds)
    assert (60.0, 30.0, "cumulative") == (
        Export(Telling()).interval_seconds, Export(Telling()).timeout_seconds, Export(Telling()).temporality,
    )  # fmt: skip


@pytest.mark.parametrize("temporality", ["cumulative", "lowmemory", {"counter": "delta"}])
def test_a_temporality_that_an_exporter_cannot_carry_is_refused(temporality: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Choosy cannot carry .*s as cumulative, only as delta"):
        Export(Choosy(), temporality=temporality)


def test_an_exporter_gets_the_histograms_that_it_wishes_and_queries_keep_theirs() -> None:
    wishing, other = Telling(), Telling()
    exports = [Export(wishing, histogram_aggregation="explicit"), Export(other, name="other")]
    sdk = MetricsSDK(Config(background=False, exporters=exports))
    sdk.histogram("h").record(3.0)
    assert sdk.flush()

    def value(exporter: Telling) -> object:
        return next(metric for metric in exporter.given[-1].metrics if metric.name == "h").points[0].value

    assert isinstance(value(wishing), ExplicitBuckets)
    assert isinstance(value(other), ExponentialBuckets)
    assert not sdk.query("h").interpolated


def test_an_exporter_that_is_there_twice_or_a_coroutine_is_refused() -> None:
    exporter = Telling()
    with pytest.raises(ConfigurationError, match="is there twice"):
        Config(exporters=[exporter, Export(exporter)])

    class Coroutine(Telling):
        async def export(self, snapshot: Snapshot, timeout: float) -> None:  # type: ignore[override]
            pass

    with pytest.raises(ConfigurationError, match="must not be a coroutine"):
        Export(Coroutine())


@pytest.mark.parametrize(
    ("exporter", "temporality"),
    [
        (Choosy(), {"counter": "delta", "histogram": "delta", "observable_counter": "delta", "up_down_counter": "delta"}),
        (
            Choosy(),
            {"counter": "delta", "histogram": "delta", "observable_counter": "delta", "observable_up_down_counter": "delta"},
        ),
    ],
)
def test_changes_of_what_goes_up_and_down_are_refused_where_they_would_pass_for_values(
    exporter: Choosy, temporality: Any
) -> None:
    with pytest.raises(ConfigurationError, match="up_down_counters as delta"):
        Export(exporter, temporality=temporality)


def test_without_threads_an_export_ends_with_the_deadline_of_who_asked() -> None:
    timeouts: list[float] = []

    class Asked(Telling):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            timeouts.append(timeout)

    sdk = MetricsSDK(Config(background=False, exporters=[Export(Asked(), timeout_seconds=20)]))
    sdk.counter("c").add(1)
    assert sdk.flush(3)
    assert sdk.flush(60)
    assert sdk.shutdown(0.5)
    assert timeouts[0] <= 3
    assert 20 == timeouts[1]
    assert timeouts[2] <= 0.5


def test_points_of_totals_that_come_again_are_counted_as_refused_once_they_are_settled_alone() -> None:
    sdk = told(Telling(*[ExportError("503 later", settled=3, refused=2)] * 3), ManualClock())
    sdk.counter("c").add(1)
    assert [False, False, False, True] == [sdk.flush() for _ in range(4)]
    assert 0 == sdk.health().exporters["it"].refused


def test_a_recovery_and_a_mere_warning_are_logged_and_are_no_faults(caplog: pytest.LogCaptureFixture) -> None:
    sdk = told(Telling(ExportError("503"), Refused(0, "be careful")), ManualClock())
    sdk.counter("c").add(1)
    assert [False, True] == [sdk.flush(), sdk.flush()]
    assert "exporter it works again, after 1 failures in a row" in caplog.text
    assert "exporter it is told: be careful" in caplog.text
    assert {"exporter:it": 1} == dict(sdk.health().faults)
    assert 0 == sdk.health().exporters["it"].refused


def test_of_flushes_in_several_threads_none_exports_what_is_older_than_what_was_exported() -> None:
    seen: list[float] = []

    class Watching(Telling):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            seen.append(next(metric for metric in snapshot.metrics if metric.name == "c").points[0].value)  # type: ignore[arg-type]

    sdk = MetricsSDK(Config(exporters=[Watching()]))
    counter = sdk.counter("c")
    not_there: list[tuple[float, float]] = []

    def flushing() -> None:
        for _ in range(150):
            counter.add(1)
            least = sdk.query("c").sum
            if sdk.flush(20) and max(seen) < least:
                not_there.append((least, max(seen)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=flushing) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(seen) == seen
    assert not not_there
    assert sdk.shutdown(10)


def test_a_snapshot_that_was_made_before_one_that_is_queued_or_exported_gives_way_to_it() -> None:
    clock = ManualClock()
    exporter = Telling()
    sdk = MetricsSDK(Config(background=False, clock=clock))
    counter = sdk.counter("c")
    worker = ExportWorker(Export(exporter, queue_size=1), clock, Faults(clock))
    jobs = []
    for number in (1, 2, 3):
        counter.add(1)
        jobs.append(Job(Cumulative(sdk.snapshot()), number, urgent=True, number=number))
    newer, older = worker.submit(jobs[1]), worker.submit(jobs[0])
    worker._step()
    assert (True, True) == (newer.wait(0), older.wait(0))
    assert worker.submit(jobs[0]).wait(0)
    worker.submit(jobs[2])
    worker._step()
    assert [2, 3] == [next(m for m in snapshot.metrics if m.name == "c").points[0].value for snapshot in exporter.given]


def test_a_flush_that_comes_while_the_worker_ends_is_told_at_once() -> None:
    clock = ManualClock()
    worker = ExportWorker(Export(Telling()), clock, Faults(clock))
    content = Cumulative(MetricsSDK(Config(background=False)).snapshot())
    worker.submit(Job(content, 0, urgent=True, last_until=time.monotonic() + 5, number=1))
    late = worker.submit(Job(content, 0, urgent=True, number=2))
    assert late.is_open() or late.failed
    assert not late.wait(0)
