"""Exporters, and the threads that serve them: whatever they do or happens to them, it stays with them, and totals are exact."""

from __future__ import annotations

import _thread
import ctypes
import logging
import random
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger, check_accounts
from receiver import Behaviour, Receiver, reply, reset

from metrics_sdk import Export, MetricsSDK, Snapshot
from metrics_sdk.clock import ManualClock
from metrics_sdk.protobuf import fields

ERRORS: dict[str, type[BaseException]] = {
    one.__name__: one for one in (Exception, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError)
}


#: Seconds after which a value that comes every 0.05 or 0.1 is late, on a machine that others use: what hangs here hangs for 60.
ON_TIME = 2.0


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def in_silence() -> None:
    """Let nothing be logged to stderr: failures are what these cases provoke."""
    logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())


class Adding(Ledger):
    """A ledger of deltas: it adds up what comes, and each that arrives counts once. `fails`: says so before anything is kept."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.fails = fails
        self.sums: dict[str, float] = {}
        self.at_once = 0
        self._busy = threading.Lock()

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Add it."""
        if not self._busy.acquire(blocking=False):
            self.at_once += 1
            return
        try:
            if self.fails():
                raise OSError("down")
            for metric in snapshot.metrics:
                for point in metric.points if metric.temporality == "delta" else ():
                    value: Any = point.value
                    self.sums[metric.name] = self.sums.get(metric.name, 0) + value
            super().export(snapshot, timeout)
        finally:
            self._busy.release()

    def total(self, name: str) -> float:
        """Return what has come of a counter."""
        return self.sums.get(name, 0)


# ---- what exporters raise, and what is thrown into our threads ---------------------------------------------------


@case("exporter raises Exception, SystemExit, KeyboardInterrupt, GeneratorExit", variants=tuple(ERRORS))
def raises(host: Host) -> None:
    """An exporter and a subscriber raise; their workers live on, it is counted, the others are on time; later all is delivered."""
    in_silence()
    error = ERRORS[host.variant]
    broken = threading.Event()
    threads: set[int] = set()

    class Raising(Ledger):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            threads.add(threading.get_ident())
            if not broken.is_set():
                raise error("no")
            super().export(snapshot, timeout)

        def shutdown(self) -> None:
            raise error("no")

    windows: list[float] = []

    def subscriber(window: Any) -> None:
        windows.append(window.start)
        if len(windows) == 1:
            raise error("no")

    raising = Raising()
    sdk = host.sdk(exporters=[Export(raising, interval_seconds=0.1)], flush_interval_seconds=0.1, resolutions=[(0.2, 10)])
    subscription = sdk.subscribe(subscriber)
    counter = sdk.counter("c")
    for number in range(1, 4):
        counter.add(1)
        assert host.ledger(sdk).wait_for("c", number, ON_TIME), sdk.health()
    until(lambda: len(windows) >= 2)
    told = sdk.health().exporters["Raising"]
    assert (told.acknowledged, told.unacknowledged) == (0, 3), told
    assert told.failures >= 1
    assert error.__name__ in told.last_error, told
    assert subscription.failures == 1
    broken.set()
    assert sdk.flush(5), sdk.health()
    assert raising.total("c") == 3
    assert len(threads) == 1, "it is the same worker"
    assert sdk.shutdown(5)
    assert sdk.health().faults["exporter:Raising"] == told.failures + 1, "that of its shutdown as well"


def throw_into(ident: int | None, error: type[BaseException]) -> None:
    """Throw an exception into a thread, which gets it between two of its steps."""
    if ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))


@case("flusher killed mid-drain", variants=("flusher", "worker", "callbacks"), deadline=180)
def killed(host: Host) -> None:
    """SystemExit is thrown into one of our threads again and again while it works: it goes on or begins anew; totals are exact."""
    in_silence()
    delta = Adding()
    sdk = host.sdk(
        exporters=[Export(delta, temporality="delta", interval_seconds=0.01)],
        flush_interval_seconds=0.002,
        resolutions=[(0.05, 0.5), (0.5, 5)],
    )
    counters = [sdk.counter(f"c{number}") for number in range(20)]
    observable = sdk.observable_gauge("g", lambda: 1.0)
    source = random.Random(3)
    recorded = 0
    for _ in range(host.size(60, 2000)):
        for counter in counters:
            counter.add(1, {"k": recorded % 7})
            recorded += 1
        threads = {
            "flusher": [sdk._flusher],
            "worker": sdk._exports.workers,
            "callbacks": [sdk._callbacks],
        }
        for thread in threads[host.variant]:
            throw_into(thread._ident, SystemExit)
        time.sleep(source.uniform(0, 0.005))  # the moment is what is random
    # What has just been exported may be exported once more, where the worker was interrupted before it could take note.
    until(lambda: sdk.flush(5), 20)
    health = sdk.health()
    assert sum([host.ledger(sdk).total(f"c{number}") for number in range(20)]) == recorded, health
    assert sum([one.merged for name, one in health.instruments.items() if name.startswith("c")]) == recorded, health
    if host.variant != "worker":
        assert sum(delta.sums.values()) - delta.sums.get("g", 0) == recorded, (delta.sums, health)
    assert sum(health.faults.values()) > 0, "nothing was thrown"
    observable.close()
    until(lambda: sdk.health().flushes > health.flushes)  # one that was ended for good begins anew after a pause


@case("no thread can start", variants=("at first", "later"))
def without_threads(host: Host) -> None:
    """No thread can be had, from the start or after the flusher was killed: flush() works inline, and it is tried again, seldom."""
    in_silence()
    clock = ManualClock()
    start = _thread.start_new_thread
    tried: list[float] = []

    def none_left(*given: object) -> int:
        tried.append(clock.monotonic())
        raise RuntimeError("can't start new thread")

    sdk = host.sdk(flush_interval_seconds=0.02, clock=clock)
    counter = sdk.counter("c")
    if host.variant == "later":
        counter.add(1)
        until(lambda: sdk.health().flusher_running)
        _thread.start_new_thread = none_left  # type: ignore[assignment]
        source = random.Random(2)
        while sdk.health().flusher_running:  # it takes two: the second while it is busy with the first
            throw_into(sdk._flusher._ident, SystemExit)
            time.sleep(source.uniform(0, 0.0002))
    else:
        _thread.start_new_thread = none_left  # type: ignore[assignment]
        counter.add(1)
    before, tried_at = len(tried), clock.monotonic()
    for _ in range(1000):
        counter.add(1)
        sdk.query("c")
    assert len(tried) - before <= 2, tried
    values = 1100  # more than an interpreted cell takes at once: it looks for a flusher no sooner
    while clock.monotonic() < tried_at + 130:
        clock.advance(1)
        for _ in range(values):
            counter.add(1)
    waits = [later - earlier for earlier, later in pairwise(tried[before:])]
    assert waits == sorted(waits), waits
    assert 5 <= len(waits) <= 9, f"1, 2, 4 … 60 seconds: {waits}"
    assert sdk.flush(5), sdk.health()
    recorded = sdk.health().received
    assert host.ledger(sdk).total("c") == recorded == 1001 + 130 * values, recorded
    _thread.start_new_thread = start
    clock.advance(61)
    counter.add(1)
    until(lambda: sdk.health().flusher_running)
    assert sdk.flush(5), sdk.health()
    assert host.ledger(sdk).total("c") == recorded + 1
    assert sdk.shutdown(5)


# ---- threads of the host --------------------------------------------------------------------------------------------


@case("10,000 short threads", deadline=300)
def short_threads(host: Host) -> None:
    """Threads record and end, and what they keep for themselves records when it is let go: exact, and nothing grows."""
    sdk = host.sdk(flush_interval_seconds=0.05)
    counter, latency, last_words = sdk.counter("c"), sdk.histogram("h"), sdk.counter("last.words")
    kept = threading.local()

    class Keepsake:
        def __del__(self) -> None:
            last_words.add(1, {"k": "v"})
            latency.record(0.5)

    def life() -> None:
        kept.keepsake = Keepsake()
        counter.add(1)
        counter.add(1, {"k": "v"})
        latency.record(0.25, {"k": "v"})

    def generation(size: int) -> None:
        threads = [threading.Thread(target=life) for _ in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lives = host.size(1000, 10_000)
    generation(50)
    sdk.flush(5)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(lives // 50 - 1):
        generation(50)
    until(lambda: sdk.query("last.words").count == lives)  # a thread is joined before all that it kept is gone
    assert sdk.flush(5)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200_000, after - before
    assert (sdk.query("c").sum, sdk.query("h").count) == (2 * lives, 2 * lives)
    assert sdk.health().received == sdk.health().merged == 5 * lives, sdk.health()


@case("thread blocked for ever with values in its buffer")
def blocked(host: Host) -> None:
    """Threads record into every kind of cell and then wait for something that does not come: it is delivered all the same."""
    for shards in (1, 8):
        sdk = host.sdk(flush_interval_seconds=0.1, shards=shards)
        recorded, never = threading.Barrier(5), threading.Event()

        def block(sdk: MetricsSDK = sdk, recorded: threading.Barrier = recorded, never: threading.Event = never) -> None:
            for number in range(5):
                sdk.counter("c").add(1, {"k": number})
                sdk.histogram("h").record(number)
                sdk.record("p", 1, timestamp=time.time() - 1)
            recorded.wait()
            never.wait(60)

        threads = [threading.Thread(target=block) for _ in range(4)]
        for thread in threads:
            thread.start()
        recorded.wait()
        for name in ("c", "h", "p"):
            assert host.ledger(sdk).wait_for(name, 20, 2), (name, sdk.health())
        never.set()
        for thread in threads:
            thread.join()


@case("concurrent `flush()`", deadline=120)
def flushed_at_once(host: Host) -> None:
    """Two threads flush without a break, the flusher does, and two record: totals and deltas are exact, one export at a time."""
    delta = Adding()
    sdk = host.sdk(exporters=[Export(delta, temporality="delta", interval_seconds=0.005)], flush_interval_seconds=0.005)
    counter = sdk.counter("c")
    stop = threading.Event()
    recorded, answers = [0, 0], []

    def record(seed: int) -> None:
        while not stop.is_set():
            for number in range(50):
                counter.add(1, {"k": (number + seed) % 9})
            recorded[seed] += 50
            time.sleep(0)

    def flush() -> None:
        while not stop.is_set():
            answers.append(sdk.flush(5))

    threads = [threading.Thread(target=record, args=(seed,)) for seed in range(2)]
    threads += [threading.Thread(target=flush) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(host.size(8, 100) / 10)
    stop.set()
    for thread in threads:
        thread.join()
    assert sdk.flush(5), sdk.health()
    assert len(answers) > 10
    assert set(answers) == {True}
    assert host.ledger(sdk).total("c") == delta.total("c") == sdk.query("c").sum == sum(recorded), sdk.health()
    assert delta.at_once == 0


# ---- exporters that are down, hang, or are slow ---------------------------------------------------------------------


@case("exporter down for 60 s, then back", deadline=120)
def down(host: Host) -> None:
    """Four exporters are down for a minute, of totals and of deltas: tried again ever more seldom, each at its time; then exact."""
    in_silence()
    clock = ManualClock()
    ends = clock.monotonic() + host.size(60, 600)
    attempts: list[list[float]] = [[], [], [], []]

    def failing(number: int) -> bool:
        attempts[number].append(clock.monotonic())
        return clock.monotonic() < ends

    exporters = [Adding(lambda number=number: failing(number)) for number in range(4)]  # type: ignore[misc]
    exports = [
        Export(one, temporality="cumulative" if number == 0 else "delta", interval_seconds=1, name=f"it{number}")
        for number, one in enumerate(exporters)
    ]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=0.001, clock=clock)
    counter = sdk.counter("c")
    recorded = 0
    step = 0.25
    while clock.monotonic() < ends or any([one.last is None for one in exporters]):
        counter.add(1)
        recorded += 1
        clock.advance(step)
        flushes = sdk.health().flushes
        until(lambda flushes=flushes: sdk.health().flushes >= flushes + 2)  # type: ignore[misc]
        assert clock.monotonic() < ends + 70, [one[-1] - ends for one in attempts]
    for times in attempts:
        waits = [later - earlier for earlier, later in pairwise(times)]
        tries = [one for one in times if one < ends]
        for number, wait in enumerate(waits[: len(tries)]):
            most = min(60.0, 2.0**number)
            # A worker may get its turn some steps of the clock after the step that was its turn, but none before.
            assert most / 2 <= wait <= most + 8, f"wait {number} was {wait}: {waits}"
        assert 4 <= len(tries) <= host.size(9, 25), tries
    assert len({tuple(times) for times in attempts}) > 1, "all at the very same times: no jitter"
    assert sdk.flush(10), sdk.health()
    assert [recorded] * 3 == [one.total("c") for one in exporters[1:]], recorded
    last: Any = exporters[0].last
    assert Ledger.total(exporters[0], "c") == host.ledger(sdk).total("c") == recorded, last
    assert {0} == {one.at_once for one in exporters}
    assert sdk.shutdown(10)


@case("exporter hangs for ever")
def hangs(host: Host) -> None:
    """One exporter of totals and one of deltas hang: the others are on time, it is visible, and the memory stays what it is."""
    in_silence()
    leave = threading.Event()

    class Hanging:
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            leave.wait(60)

        def shutdown(self) -> None:
            pass

    exports = [
        Export(Hanging(), interval_seconds=0.01, timeout_seconds=0.05, name="totals"),
        Export(Hanging(), interval_seconds=0.01, timeout_seconds=0.05, temporality="delta", name="deltas"),
    ]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=0.05, resolutions=[(0.1, 1)])
    counter = sdk.counter("c")
    recorded = 0

    def record(intervals: int) -> None:
        nonlocal recorded
        for _ in range(intervals):
            for number in range(100):
                counter.add(1, {"k": number})
            recorded += 100
            assert host.ledger(sdk).wait_for("c", recorded, ON_TIME), sdk.health()

    record(10)  # windows come and go from here on
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    record(host.size(12, 300))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    health = sdk.health()
    assert after - before < 300_000, after - before
    for name in ("totals", "deltas"):
        told = health.exporters[name]
        assert (told.state, told.failures, told.acknowledged, told.unacknowledged) == ("hanging", 1, 0, recorded), told
        assert told.queued <= 3, told
    started = time.monotonic()
    assert not sdk.flush(0.2), "they have not acknowledged it"
    assert time.monotonic() - started < 0.2 + ON_TIME
    leave.set()
    until(lambda: sdk.flush(5))


@case("exporter slower than the interval")
def slow(host: Host) -> None:
    """An export takes three intervals: never two at once, ticks are skipped, and nothing is in the queue when recording ends."""
    interval = 0.05
    began: list[float] = []
    delta = Adding(lambda: bool(time.sleep(3 * interval)))  # type: ignore[func-returns-value]

    class Slow(Ledger):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            began.append(time.monotonic())
            time.sleep(3 * interval)
            began.append(time.monotonic())
            super().export(snapshot, timeout)

    exporter = Slow()
    exports = [
        Export(exporter, interval_seconds=interval, name="totals"),
        Export(delta, interval_seconds=interval, temporality="delta", name="deltas"),
    ]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=interval)
    counter = sdk.counter("c")
    ends = time.monotonic() + host.size(9, 60) / 10
    recorded = 0
    while time.monotonic() < ends:
        counter.add(1)
        recorded += 1
        time.sleep(0.001)
    exports_until_now, health = exporter.exports, sdk.health()
    assert began == sorted(began)
    assert delta.at_once == 0
    seconds = host.size(9, 60) / 10
    assert exports_until_now <= seconds / (3 * interval) + 1, exports_until_now
    assert exports_until_now >= 2, exports_until_now
    assert health.exporters["totals"].queued <= 2
    # At most what waits is exported behind the one that is under way: not all the ticks that were missed.
    assert sdk.flush(5), sdk.health()
    assert exporter.exports - exports_until_now <= 3, exporter.exports
    assert exporter.total("c") == delta.total("c") == host.ledger(sdk).total("c") == recorded


# ---- exporters that are instrumented themselves ---------------------------------------------------------------------


@case(
    "exporter's own client is instrumented with us, or logs through a handler that records",
    variants=("records", "logs", "http"),
)
def instrumented(host: Host) -> None:
    """What an export does is measured by the very SDK that it serves: it happens once for each export, and no more."""
    from metrics_sdk_opentelemetry import OTLPExporter

    counts = {"exports": 0, "fails": 0}
    logger = logging.getLogger("metrics_sdk")

    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sdk.counter("log.records").add(1, {"level": record.levelname})

    class Busy(Ledger):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            counts["exports"] += 1
            with sdk.timed("export.duration"):
                sdk.counter("exports").add(1)
            if host.variant == "logs":
                logger.error("exporting %d metrics", len(snapshot.metrics))
                if counts["exports"] % 2:
                    raise OSError("which is logged, too")
            super().export(snapshot, timeout)

    logger.addHandler(Recording())
    receiver = Receiver() if host.variant == "http" else None
    exporter: Any = Busy() if receiver is None else OTLPExporter(receiver.url)
    sdk = host.sdk(exporters=[Export(exporter, interval_seconds=0.05, name="it")], flush_interval_seconds=0.05)
    handles = []
    if receiver is not None:
        handles = [
            sdk.instrument(f"http.client:HTTPConnection.{name}", f"client.{name}") for name in ("request", "getresponse")
        ]
    sdk.counter("c").add(1)
    time.sleep(0.8)  # if it fed itself it would do so all this time
    exports = sdk.health().exporters["it"].exports + sdk.health().exporters["it"].failures
    received = sdk.health().received
    assert 1 <= exports <= 18, exports
    assert exports < received <= 1 + 4 * (exports + 2), (exports, received)
    for handle in handles:
        handle.close()
    logger.handlers.clear()
    in_silence()
    until(lambda: sdk.flush(5))
    assert sdk.shutdown(5) or host.variant == "logs", sdk.health()
    check_accounts(sdk.health())
    assert sdk.query("c").sum == 1
    if receiver is not None:
        assert sdk.query("client.request").count >= exports
        receiver.stop()


# ---- servers that misbehave -----------------------------------------------------------------------------------------


def _endless(length: str) -> Behaviour:
    """Answer with a body that goes on and on."""

    def answer(connection: Any, asked: object) -> None:
        connection.sendall(f"HTTP/1.1 503 No\r\n{length}\r\n\r\n".encode())
        for _ in range(1024):
            connection.sendall(b"x" * (1 << 20))

    return answer


FAULTS: dict[str, Callable[[Receiver], Behaviour]] = {
    "never answers": lambda receiver: receiver.hang,
    "drips": lambda receiver: receiver.drip,
    "resets": lambda receiver: reset,
    "redirects": lambda receiver: reply(307, b"", f"Location: {receiver.url}/elsewhere"),
    "413": lambda receiver: reply(413, b"too large"),
    "429 with Retry-After 1e9": lambda receiver: reply(429, b"", "Retry-After: 1000000000"),
    "5xx": lambda receiver: reply(503, b"no"),
    "truncated": lambda receiver: lambda connection, asked: b"HTTP/1.1 50",
    "no HTTP": lambda receiver: lambda connection, asked: b"\x00\xffwhat?\r\n\r\n",
    "1 GB": lambda receiver: _endless("Content-Length: 1073741824"),
    "endless": lambda receiver: _endless("Transfer-Encoding: identity"),
}


@case("server misbehaves", variants=tuple(FAULTS), deadline=90)
def misbehaving_server(host: Host) -> None:
    """Two exporters by HTTP meet such a server: each attempt ends in time, nobody else notices; afterwards totals are exact."""
    import cramjam
    from metrics_sdk_opentelemetry import OTLPExporter
    from metrics_sdk_prometheus import RemoteWriteExporter

    in_silence()
    receiver = Receiver()
    receiver.otherwise = FAULTS[host.variant](receiver)
    exports = [
        Export(OTLPExporter(f"{receiver.url}/otlp"), interval_seconds=0.1, timeout_seconds=0.3, name="otlp"),
        Export(RemoteWriteExporter(f"{receiver.url}/write"), interval_seconds=0.1, timeout_seconds=0.3, name="write"),
    ]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=0.1)
    counter = sdk.counter("c")
    recorded = 0
    longest = 0.0
    tracemalloc.start()
    for _ in range(6):
        counter.add(1)
        recorded += 1
        assert host.ledger(sdk).wait_for("c", recorded, ON_TIME), sdk.health()
        started = time.monotonic()
        assert not sdk.flush(0.1)
        longest = max(longest, time.monotonic() - started)
    receiver.wait_for(2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert longest < 0.1 + ON_TIME, longest
    assert peak < 40 << 20, f"{peak >> 20} MB"
    until(lambda: all([sdk.health().exporters[name].failures for name in ("otlp", "write")]))
    told = [sdk.health().exporters[name] for name in ("otlp", "write")]
    assert {(one.exports, one.acknowledged) for one in told} == {(0, 0)}, told
    assert not [one for one in receiver.asked if one.path not in ("/otlp", "/write")], "a redirect was followed"
    if host.variant.startswith("429"):
        assert len(receiver.asked) == 2, "it wants peace, and flushes respect that"
    receiver.otherwise = reply()
    counter.add(1)
    recorded += 1
    if not host.variant.startswith("429"):  # it would be asked again in an hour, not in 30 years: tests/test_exporting.py
        until(lambda: sdk.flush(2), 20)
    assert sdk.shutdown(10), sdk.health()
    receiver.stop()
    last = {one.path: one for one in receiver.accepted}
    assert total_of(last["/otlp"].content) == recorded
    assert sample_of(bytes(cramjam.snappy.decompress_raw(last["/write"].body))) == recorded


def total_of(body: bytes) -> float:
    """Return what an OTLP request says of the counter "c", by the official schema."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    said: Any = ExportMetricsServiceRequest.FromString(body)
    metrics = [one for resource in said.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
    (point,) = [point for metric in metrics if metric.name == "c" for point in metric.sum.data_points]
    return float(point.as_int or point.as_double)


def sample_of(body: bytes) -> float:
    """Return the sample of "c_total" in a remote write request."""
    for number, series in fields(body):
        content = (
            [(one, value) for one, value in fields(series) if isinstance(value, bytes)] if isinstance(series, bytes) else []
        )
        if number == 1 and any([value.endswith(b"\x12\x07c_total") for one, value in content if one == 1]):
            sample = dict(fields(next(value for one, value in content if one == 2)))
            (made,) = struct.unpack("<d", sample[1])  # type: ignore[arg-type]
            return float(made)
    raise AssertionError("no c_total")
