"""Recording from inside recording: signal handlers, finalisers, garbage collection. Each case is a process with a deadline."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

SECONDS = float(os.environ.get("METRICS_SDK_SECONDS", "1.5"))

CHECK = """
assert sdk.flush(10)
health = sdk.health()
assert health.received == health.merged == expected, (expected, health)
assert not health.dropped and not health.pending and not health.faults, health
assert sdk.query("main").count == mains, (sdk.query("main"), mains)
for metric in sdk.snapshot().metrics:
    for point in metric.points:
        if hasattr(point.value, "positive"):
            value = point.value
            assert value.count == value.zero_count + sum(n for _, n in value.positive + value.negative), value
assert sdk.shutdown(10)
print("exact")
"""


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 8])
def test_a_signal_handler_that_records_loses_nothing_and_blocks_nothing(run_python: Callable[..., str], shards: int) -> None:
    program = f"""
import signal, time
from metrics_sdk import MetricsSDK, Config
sdk = MetricsSDK(Config(shards={shards}, flush_interval_seconds=0.01, resolutions=[(0.1, 0.5), (0.5, 2)], max_series_per_instrument=100000,
                        max_instruments=100000))
main, handled, latency = sdk.counter("main"), sdk.counter("handled"), sdk.histogram("latency")
mains = records = handled_records = serial = 0

def handler(*_):
    global handled_records, serial
    handled_records += 6
    serial += 1
    handled.add(1)
    main_like.add(1)
    handled.add(1, {{"new": serial}})
    latency.record(0.5, {{"k": "v"}})
    sdk.record("name%d" % (serial % 300), 1.0)
    sdk.counter("declared%d" % (serial % 300)).add(1, {{"k": serial % 7}})

main_like = main.bind({{"from": "handler"}})
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + {SECONDS}
while time.monotonic() < end:
    for i in range(200):
        main.add(1)
        main.add(1, {{"i": i}})
        latency.record(i, {{"k": "v"}})
        mains += 2
        records += 3
signal.setitimer(signal.ITIMER_REAL, 0)
handlers = sdk.query("main", {{"from": "handler"}}).count
assert handlers > 100, handlers
mains += handlers
expected = records + handled_records
"""
    assert "exact\n" == run_python(program + CHECK, stderr=None)


@pytest.mark.slow
def test_finalisers_and_gc_callbacks_that_record_lose_nothing_and_block_nothing(run_python: Callable[..., str]) -> None:
    program = f"""
import gc, time, weakref, itertools
from metrics_sdk import MetricsSDK, Config
sdk = MetricsSDK(Config(flush_interval_seconds=0.01, resolutions=[(0.1, 0.5), (0.5, 2)], max_series_per_instrument=100000, max_instruments=100000))
main, inner = sdk.counter("main"), sdk.counter("inner")
latency = sdk.histogram("latency")
ticket, finalised = itertools.count(), []
mains = records = created = 0

def record_all():
    n = next(ticket)
    inner.add(1)
    inner.add(1, {{"new": n}})
    latency.record(n, {{"k": created}})
    sdk.record("name%d" % (n % 300), 1.0)
    sdk.gauge("gauge%d" % (n % 300)).set(n, {{"k": n % 7}})

class Finalised:
    def __init__(self): self.me = self
    def __del__(self):
        record_all()
        finalised.append(1)

gc.callbacks.append(lambda phase, info: record_all())
gc.set_threshold(1, 2, 2)
end = time.monotonic() + {SECONDS}
while time.monotonic() < end:
    for i in range(100):
        main.add(1)
        main.add(1, {{"i": i}})
        latency.record(i, {{"k": created}})  # a new series again and again: its cell is growing
        mains += 2
        records += 3
    one = Finalised()
    weakref.finalize(one, record_all).atexit = False
    created += 1
gc.callbacks.clear()
gc.set_threshold(100000)
del one
while len(finalised) < created:  # a collection may be under way in the flusher's thread: then ours is none
    gc.collect()
inside = next(ticket)
assert inside > 500
expected = records + 5 * inside
"""
    assert "exact\n" == run_python(program + CHECK, stderr=None)


@pytest.mark.slow
def test_an_exception_thrown_into_recording_reaches_the_host_and_costs_at_most_its_own_call(
    run_python: Callable[..., str],
) -> None:
    program = f"""
import signal, time, random
from metrics_sdk import MetricsSDK, Config
sdk = MetricsSDK(Config(flush_interval_seconds=0.01, resolutions=[(0.05, 0.5), (0.5, 5)]))
counter, latency = sdk.counter("c"), sdk.histogram("h")
class Boom(Exception): pass
def handler(*_): raise Boom
signal.signal(signal.SIGALRM, handler)
source = random.Random(3)
begun = done = booms = 0
end = time.monotonic() + {SECONDS}
def work():
    # A call: on some releases an exception at a loop's back-jump skips the handlers of the loop's own frame.
    global begun, done
    signal.setitimer(signal.ITIMER_REAL, source.uniform(0.0001, 0.002))
    while time.monotonic() < end:
        begun += 1
        counter.add(1, {{"k": begun % 5}})
        done += 1
        begun += 1
        latency.record(0.5)
        done += 1
        if not begun % 1000:
            sdk.query("h")

while True:
    try:
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except Boom:
        booms += 1
assert booms > 50, booms
assert sdk.flush(10)
health = sdk.health()
assert health.received == health.merged and not health.pending and not health.dropped, health
assert done - booms <= health.merged <= begun, (done, begun, booms, health)
assert health.faults == {{}}, health.faults
assert sdk.shutdown(10)
print("exact")
"""
    assert "exact\n" == run_python(program, stderr=None)
