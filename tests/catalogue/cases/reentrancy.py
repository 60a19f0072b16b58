"""Recording from inside recording: signal handlers, finalisers, garbage collection, exceptions that are thrown in."""

from __future__ import annotations

import ctypes
import gc
import itertools
import random
import signal
import threading
import time
import weakref
from fractions import Fraction
from typing import Any

from catalogue.case import case
from catalogue.host import Host

from metrics_sdk import MetricsSDK

#: Windows that close all the time, and room for every series that is made.
BUSY: dict[str, Any] = {
    "flush_interval_seconds": 1.0,  # with so many series a pass takes its time where the core is interpreted
    "resolutions": [(0.1, 0.5), (0.5, 2)],
    "max_series_per_instrument": 100_000,
    "max_instruments": 100_000,
}


def exact(sdk: MetricsSDK, recorded: int) -> None:
    """Every value is merged, and each histogram agrees with its own buckets."""
    assert sdk.flush(10), sdk.health()
    health = sdk.health()
    assert health.received == health.merged == recorded, (recorded, health)
    assert not health.dropped, health
    assert not health.faults, health
    for metric in sdk.snapshot().metrics:
        for point in metric.points:
            value: Any = point.value
            if hasattr(value, "positive"):
                in_buckets = sum([count for _, count in value.positive + value.negative])
                assert value.count == value.zero_count + in_buckets, value


@case("signal handler records", variants=("1 shard", "8 shards"))
def signal_handler(host: Host) -> None:
    """A timer of 1 kHz records in its handler, new series and new instruments too, while main records: nothing is missing."""
    sdk = host.sdk(shards=int(host.variant[0]), **BUSY)
    main, handled, latency = sdk.counter("main"), sdk.counter("handled"), sdk.histogram("latency")
    bound = main.bind({"from": "handler"})
    in_handler = itertools.count()
    mains = 0

    def handler(*_: object) -> None:
        serial = next(in_handler)
        handled.add(1)
        bound.add(1)
        handled.add(1, {"new": serial})
        latency.record(0.5, {"k": "v"})
        sdk.record(f"name{serial % 300}", 1.0)
        sdk.counter(f"declared{serial % 300}").add(1, {"k": serial % 7})

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    end = time.monotonic() + host.size(1, 5)
    while time.monotonic() < end:
        for number in range(200):
            main.add(1)
            main.add(1, {"i": number})
            latency.record(number, {"k": "v"})
            mains += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    handlers = next(in_handler)
    assert handlers > 100, handlers
    exact(sdk, 3 * mains + 6 * handlers)
    assert sdk.query("main").count == 2 * mains + handlers


@case("__del__, gc and weakref callbacks record")
def finalisers(host: Host) -> None:
    """Finalisers of all sorts record, new attribute sets and instruments too, wherever the collector runs: nothing is missing."""
    sdk = host.sdk(**BUSY)
    main, inner, latency = sdk.counter("main"), sdk.counter("inner"), sdk.histogram("latency")
    ticket = itertools.count()
    begun: list[int] = []
    ended: list[int] = []
    finalised: list[int] = []
    records = created = 0

    def record_all() -> None:
        serial = next(ticket)
        begun.append(1)
        inner.add(1)
        inner.add(1, {"new": serial})
        latency.record(serial, {"k": created})
        sdk.record(f"name{serial % 300}", 1.0)
        sdk.gauge(f"gauge{serial % 300}").set(serial, {"k": serial % 7})
        ended.append(1)

    class Finalised:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            record_all()
            finalised.append(1)

    def collecting(phase: str, info: object) -> None:
        record_all()

    gc.callbacks.append(collecting)
    gc.set_threshold(*((7, 2, 2) if host.size(0, 1) else (1, 2, 2)))
    end = time.monotonic() + host.size(1, 5)
    while time.monotonic() < end:
        for number in range(100):
            main.add(1)
            main.add(1, {"i": number})
            latency.record(number, {"k": created})  # a new series again and again: its cell is growing
            records += 3
        one = Finalised()
        weakref.finalize(one, record_all).atexit = False
        created += 1
    gc.callbacks.remove(collecting)
    gc.set_threshold(100_000)
    del one
    while len(finalised) < created or len(ended) < len(begun):  # a collection may be under way in another thread
        gc.collect()
    inside = len(ended)
    assert inside > 100, inside
    exact(sdk, records + 5 * inside)


class Thrown(Exception):
    """What another thread throws in."""


class ThrownByHandler(ValueError):
    """What the host's own handler throws: of a kind that conversions of odd values raise as well."""


@case("exception injected inside record", variants=("by a handler", "by another thread"))
def exception_injected(host: Host) -> None:
    """Exceptions at random instants propagate to the host, cost at most the call that they interrupt, and leave no lock held."""
    sdk = host.sdk(**BUSY)
    counter, latency = sdk.counter("c"), sdk.histogram("h")
    kind: type[Exception] = ThrownByHandler if host.variant == "by a handler" else Thrown
    values = [0.5, Fraction(1, 3), True] if kind is ThrownByHandler else [0.5]
    source = random.Random(3)
    wanted = host.size(500, 20_000)
    thrown = begun = done = 0
    wake = threading.Event()
    me = ctypes.c_ulong(threading.get_ident())

    def throw() -> None:
        while thrown < wanted:
            wake.wait(source.uniform(0.0001, 0.001))
            ctypes.pythonapi.PyThreadState_SetAsyncExc(me, ctypes.py_object(kind))

    def handler(*_: object) -> None:
        raise kind

    def work() -> None:
        # A call: on some releases an exception at a loop's back-jump skips the handlers of the loop's own frame.
        nonlocal begun, done
        if host.variant == "by a handler":
            signal.setitimer(signal.ITIMER_REAL, source.uniform(0.0001, 0.001))
        while thrown < wanted:
            begun += 1
            counter.add(1, {"k": begun % 5})
            done += 1
            begun += 1
            latency.record(values[begun % len(values)])
            done += 1
            if not begun % 1000:
                sdk.query("h")

    signal.signal(signal.SIGALRM, handler)
    thrower = threading.Thread(target=throw)
    if host.variant != "by a handler":
        thrower.start()
    while thrown < wanted:
        try:
            work()
        except kind:
            thrown += 1
    quiet = False
    while not quiet:  # one more may be on its way
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if thrower.ident is not None:
                thrower.join()
            quiet = True
        except kind:
            thrown += 1
    assert sdk.flush(10), sdk.health()
    health = sdk.health()
    assert health.received == health.merged, health
    assert not health.dropped, health
    assert not health.faults, health
    assert done - thrown <= health.merged <= begun, (done, begun, thrown, health)


@case("handler calls flush() or shutdown()", variants=("flush", "shutdown"))
def handler_flushes(host: Host) -> None:
    """A handler that flushes comes back, also inside of a flush or record of its own thread; the last one shuts down."""
    sdk = host.sdk(**BUSY)
    counter = sdk.counter("c")
    in_handler = itertools.count()
    longest = recorded = 0.0

    def handler(*_: object) -> None:
        nonlocal longest
        next(in_handler)
        started = time.monotonic()
        sdk.flush(0.2)
        longest = max(longest, time.monotonic() - started)

    def end(*_: object) -> None:
        sdk.shutdown(1.0)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    until = time.monotonic() + host.size(1, 5)
    while time.monotonic() < until:
        for number in range(50):
            counter.add(1, {"k": number})
            recorded += 1
        sdk.flush(0.2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert next(in_handler) > 10
    assert longest < 1.5, longest
    if host.variant == "shutdown":
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while not sdk.health().shut_down:
            counter.add(1)
            recorded += 1
            sdk.flush(0.2)
        assert sdk.health().received == recorded, (sdk.health(), recorded)
    else:
        exact(sdk, int(recorded))
