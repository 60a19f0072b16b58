"""Where an SDK may find itself: event loops, subinterpreters, no threads, imported twice, dropped, copied, told to end."""

from __future__ import annotations

import asyncio
import atexit
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from textwrap import dedent
from typing import Any

import pytest
from catalogue.case import case
from catalogue.host import IGNORED, PREAMBLE, TESTS, Host, Ledger, beyond, check_accounts, resources

from metrics_sdk import Config, Export, MetricsSDK, Snapshot


class Hanging:
    """An exporter that does not return before it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Hang."""
        self.go.wait(30)

    def shutdown(self) -> None:
        """Nothing is held."""


# ---- asyncio ----------------------------------------------------------------------------------------------------


@case("asyncio")
def asyncio_tasks(host: Host) -> None:
    """Ten thousand tasks record, some are cancelled in the middle: all is counted, and cancellation passes through."""
    sdk = host.sdk()
    counter = sdk.counter("c")
    tasks = host.size(2_000, 10_000)
    cancelled = 0

    @sdk.timed("work")
    async def work(number: int) -> None:
        counter.add(1, {"k": number % 7})
        await asyncio.sleep(0 if number % 10 else 3600)
        counter.add(1)

    async def main() -> None:
        nonlocal cancelled
        made = [asyncio.create_task(work(number)) for number in range(tasks)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in made[::10]:
            task.cancel()
        for outcome in await asyncio.gather(*made, return_exceptions=True):
            cancelled += isinstance(outcome, asyncio.CancelledError)

    asyncio.run(main())
    assert cancelled == tasks / 10, cancelled
    assert sdk.query("c").sum == 2 * tasks - cancelled
    assert sdk.query("work").count == tasks
    assert sdk.query("work", {"error.type": "CancelledError"}).count == cancelled


@case("asyncio: flush and shutdown")
def asyncio_flush(host: Host) -> None:
    """With an exporter that hangs, `aflush()` and `ashutdown()` end in time, the loop turns meanwhile, and both can be cancelled."""
    hanging = Hanging()
    sdk = host.sdk(exporters=[Export(hanging, name="hanging")])
    sdk.counter("c").add(1)

    async def main() -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.005)

        turning = asyncio.create_task(turn())
        started = time.monotonic()
        assert await sdk.aflush(0.3) is False
        assert time.monotonic() - started < 2
        assert turns > 10, turns
        flushing = asyncio.create_task(sdk.aflush(20))
        await asyncio.sleep(0.01)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        hanging.go.set()
        assert await sdk.aflush(10) is True
        assert host.ledger(sdk).total("c") == 1
        async with MetricsSDK(Config(exporters=[ledger := Ledger()])) as other:
            other.counter("c").add(3)
        assert ledger.total("c") == 3
        turning.cancel()

    asyncio.run(main())


# ---- no threads -------------------------------------------------------------------------------------------------


@case("without threads: freeze and thaw", needs=("fork",))
def inline(host: Host) -> None:
    """Without a thread `flush()` alone delivers, and a process that is frozen between its calls loses and doubles nothing."""
    threads = resources()["threads"]
    sdk = host.sdk(background=False)
    counter = sdk.counter("invocations")
    for invocation in range(1, 4):
        counter.add(1)
        assert sdk.flush(5)
        assert host.ledger(sdk).total("invocations") == invocation
        assert resources()["threads"] == threads
        thaw = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
        thaw.wait()
    assert sdk.query("invocations", last=60).count == 3


SUBINTERPRETER = """
import sys
sys.path[:0] = {path!r}
import metrics_sdk as metrics
from metrics_sdk.testing import MemoryExporter
memory = MemoryExporter()
sdk = metrics.configure(metrics.Config(exporters=[memory], flush_interval_seconds=0.01))
counter = metrics.counter("c")
for number in range(1000):
    counter.add(1, {{"k": number % 10}})
assert metrics.query("c").sum == 1000
health = metrics.health()
assert health.received == health.merged + health.pending == 1000, health
if {flushes}:
    assert metrics.flush(5), metrics.health()
    assert sum([point.value for point in memory.metric("c").points]) == 1000
open("delivered", "a").write("x")
"""


@case("subinterpreters", variants=("isolated", "isolated, first in main", "legacy", "legacy, first in main"), needs=("gil",))
def subinterpreters(host: Host) -> None:
    """Destroyed with values pending and an SDK at work, it takes nothing with it: no abort, and the main one goes on."""
    kind, _, first_in_main = host.variant.partition(", ")
    program = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    program, kind, first_in_main = sys.argv[1:]
    if first_in_main:
        import metrics_sdk
        sdk = metrics_sdk.MetricsSDK()
        sdk.counter("main").add(1)
    for _ in range(5):
        made = interpreters.create(kind) if sys.version_info >= (3, 13) else interpreters.create(isolated=kind == "isolated")
        failed = interpreters.run_string(made, program)
        assert failed is None, failed
        interpreters.destroy(made)
    import metrics_sdk
    sdk = metrics_sdk.MetricsSDK() if not first_in_main else sdk
    sdk.counter("main").add(1)
    assert sdk.query("main").sum == (2 if first_in_main else 1)
    assert sdk.flush(5)
    """
    for flushes in (True, False):
        host.python(program, SUBINTERPRETER.format(path=sys.path, flushes=flushes), kind, first_in_main)
    assert len((host.folder / "delivered").read_text()) == 10


# ---- imported twice, two of them, dropped, copied ---------------------------------------------------------------


@case("imported twice, reloaded, two SDKs")
def imported_twice(host: Host) -> None:
    """Loaded again, the package says so, and no value is counted twice: each copy delivers its own."""
    program = """
    import importlib, io, json, logging, sys
    told = io.StringIO()
    logging.basicConfig(stream=told)
    import metrics_sdk
    from metrics_sdk.exporters import JsonLinesExporter
    metrics_sdk.configure(metrics_sdk.Config(exporters=[JsonLinesExporter("first")]))
    counter = metrics_sdk.counter("c")
    counter.add(1)
    importlib.reload(metrics_sdk.default)
    importlib.reload(metrics_sdk)
    metrics_sdk.counter("c").add(10)
    counter.add(100)
    assert metrics_sdk.query("c").sum == 111, metrics_sdk.query("c")
    assert "" == told.getvalue()
    for name in [name for name in sys.modules if name.partition(".")[0] == "metrics_sdk"]:
        del sys.modules[name]
    import metrics_sdk as again
    assert "imported a second time" in told.getvalue(), told.getvalue()
    from metrics_sdk.exporters import JsonLinesExporter
    again.configure(again.Config(exporters=[JsonLinesExporter("second")]))
    again.counter("c").add(1000)
    counter.add(10000)
    assert again.query("c").sum == 1000
    """
    host.python(program)
    check = """
    import json
    for path, expected in (("first", 10111), ("second", 1000)):
        found = [json.loads(line) for line in open(path)]
        assert [one["value"] for one in found if one["name"] == "c"] == [expected], found
    """
    host.python(check)
    one, two = host.sdk(), host.sdk()
    one.counter("c").add(1)
    two.counter("c").add(2)
    assert (one.flush(5), two.flush(5)) == (True, True)
    assert (host.ledger(one).total("c"), host.ledger(two).total("c")) == (1, 2)
    told = [host.ledger(sdk).last for sdk in (one, two)]
    instances = {snapshot.resource["service.instance.id"] for snapshot in told if snapshot is not None}
    assert len(instances) == 2, "a backend takes the two for one"


@case("SDKs that are dropped", variants=("cumulative", "delta"))
def dropped(host: Host) -> None:
    """An SDK that nobody holds, nor an instrument of it, delivers what it has and leaves no thread, hook or memory behind."""
    before = resources()
    ledger = Ledger()
    ended = threading.Event()
    ledger.shutdown = ended.set  # type: ignore[method-assign]
    temporality: Any = host.variant
    sdk = MetricsSDK(Config(exporters=[Export(ledger, interval_seconds=60, temporality=temporality)]))
    gone = weakref.ref(sdk)
    counter = sdk.counter("c")
    counter.add(5)
    del sdk
    gc.collect()
    counter.add(2)
    assert gone() is not None, "an instrument of it is still there"
    del counter
    gc.collect()
    assert ended.wait(10), "it was not shut down"
    assert ledger.total("c") == 7
    deadline = time.monotonic() + 5
    while beyond(resources(), before) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not beyond(resources(), before)
    gc.collect()
    assert gone() is None
    hooks = atexit._ncallbacks()
    for _ in range(50):
        idle = MetricsSDK(Config(exporters=[Ledger()]))
        idle.counter("c")
        weakest = weakref.ref(idle)
        del idle
    gc.collect()
    assert weakest() is None
    assert atexit._ncallbacks() == hooks


@case("SDKs that are dropped")
def dropped_at_the_end(host: Host) -> None:
    """The process ends right after the last reference is gone, with an exporter that takes its time: it is delivered all the same."""
    program = """
    import gc, time
    from metrics_sdk import Config, MetricsSDK
    class Slow:
        def export(self, snapshot, timeout):
            time.sleep(0.3)
            print([point.value for metric in snapshot.metrics if metric.name == "c" for point in metric.points])
        def shutdown(self): pass
    sdk = MetricsSDK(Config(exporters=[Slow()]))
    sdk.counter("c").add(5)
    del sdk
    gc.collect()
    """
    assert host.python(program) == "[5]\n"


@case("copies and pickles", variants=("copy", "pickle", "elsewhere"))
def copies(host: Host) -> None:
    """A copy of an instrument is that instrument; unpickled, it is the same-named one, in another process as well."""
    import metrics_sdk as metrics

    ledger = Ledger()
    host.watch(metrics.configure(Config(exporters=[Export(ledger, name="ledger")])), None)
    plain = metrics.counter("c", unit="{thing}", description="Things.")
    explicit = metrics.histogram("h", boundaries=[1, 2])
    metrics.record("made.up", 1)
    every: list[Any] = [plain, plain.bind({"k": "v"}), explicit, metrics.gauge("g"), metrics.up_down_counter("u")]
    if host.variant == "copy":
        for one in every:
            assert copy.copy(one) is one
            assert copy.deepcopy({"in": [one]})["in"][0] is one
    elif host.variant == "pickle":
        for one in every:
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                assert pickle.loads(pickle.dumps(one, protocol)) is one
        private = host.sdk().counter("c")
        with pytest.raises(TypeError, match="process-wide"):  # elsewhere there is no such SDK
            pickle.dumps(private)
    else:
        (host.folder / "pickled").write_bytes(pickle.dumps(every))
        program = """
        import pickle, metrics_sdk as metrics
        plain, bound, explicit, gauge, up_down = pickle.load(open("pickled", "rb"))
        assert plain is metrics.counter("c", unit="{thing}") and plain.description == "Things."
        assert bound is plain.bind({"k": "v"}) and explicit is metrics.histogram("h", boundaries=[1, 2])
        bound.add(3)
        explicit.record(1.5)
        assert metrics.query("c", {"k": "v"}).sum == 3 and metrics.query("h").count == 1
        """
        host.python(program)


# ---- SIGTERM ----------------------------------------------------------------------------------------------------

TERMINATED = """
import os, signal, sys, threading, time
import metrics_sdk as metrics
from metrics_sdk.exporters import JsonLinesExporter
kind = sys.argv[1]
metrics.configure(metrics.Config(exporters=[metrics.Export(JsonLinesExporter("out"), interval_seconds=60)]))
if kind == "handler before":
    def before(number, frame):
        counter.add(1000)
        open("called", "w").close()
        sys.exit(7)
    signal.signal(signal.SIGTERM, before)
if kind == "twice":
    def before(number, frame):  # it takes its time, and whoever ends it is impatient
        if not os.path.exists("called"):
            open("called", "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
            sys.exit(9)
    signal.signal(signal.SIGTERM, before)
if kind == "ignored":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
metrics.deliver_on_sigterm()
metrics.deliver_on_sigterm(timeout=3.0)
if kind == "handler after":
    ours = signal.getsignal(signal.SIGTERM)
    def after(number, frame):
        open("called", "w").close()
        ours(number, frame)
    signal.signal(signal.SIGTERM, after)
    metrics.deliver_on_sigterm()  # asked for again, with a handler around it that calls the first
counter = metrics.counter("c")
if kind == "in a child":
    pid = os.fork()
    if pid:
        os.set_inheritable(1, False)
        print(pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == -15, status
        os._exit(0)
for _ in range(100): counter.add(1)
if kind != "in a child": print(os.getpid(), flush=True)
else: open("ready", "w").close()
if kind == "busy":
    while True: counter.add(1)
if kind == "ignored":
    while not os.path.exists("out"): time.sleep(0.01)
    sys.exit(0)
while True: time.sleep(0.05)  # a signal that comes just before a long call is heard after it, in every Python program
"""

ENDED = {
    "asleep": -15,
    "busy": -15,
    "handler before": 7,
    "handler after": -15,
    "twice": 9,
    "ignored": 0,
    "in a child": 0,
}


@case("SIGTERM, asked to deliver", variants=tuple(ENDED), needs=("fork",))
def sigterm(host: Host) -> None:
    """By request everything is delivered, another handler is still called, and the process ends as it would have."""
    source = PREAMBLE.format(deadline=30, tests=str(TESTS)) + dedent(TERMINATED)
    child = subprocess.Popen(
        [sys.executable, *IGNORED, "-c", source, host.variant], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    while host.variant == "in a child" and not os.path.exists("ready"):
        time.sleep(0.005)
    started = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (ENDED[host.variant], ""), (child.returncode, errors)
    assert time.monotonic() - started < 5
    assert os.path.exists("called") is (host.variant.startswith("handler") or host.variant == "twice")
    import json

    found = [json.loads(line) for line in open("out")]
    values = [one["value"] for one in found if one["name"] == "c"]
    if host.variant == "busy":
        assert values[-1] > 100
    else:
        assert values[-1] == (1100 if host.variant == "handler before" else 100), values


@case("SIGTERM, asked to deliver")
def sigterm_hanging(host: Host) -> None:
    """The process ends by the signal once the time is up, whatever the exporter does."""
    program = """
    import os, signal, threading, time
    import metrics_sdk as metrics
    class Hanging:
        def export(self, snapshot, timeout): threading.Event().wait()
        def shutdown(self): pass
    metrics.configure(metrics.Config(exporters=[Hanging()]))
    metrics.deliver_on_sigterm(timeout=0.5)
    metrics.counter("c").add(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    """
    started = time.monotonic()
    host.python(program, status=-15)
    assert time.monotonic() - started < 5
    sdk = host.sdk()
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            sdk.deliver_on_sigterm()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(failures[0]), failures
    check_accounts(sdk.health())
