"""Life cycle: import, first use, flush, fork, shutdown, exit."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from metrics_sdk import Config, Export, MetricsSDK
from metrics_sdk.core.build import COMPILED
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.snapshot import Metric, Point


def test_importing_and_declaring_starts_no_thread_and_opens_nothing(run_python: Callable[..., str]) -> None:
    program = """
    import os, sys, threading
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    environment = dict(os.environ)
    os.environ = None
    import metrics_sdk as metrics
    metrics.counter("c"); metrics.histogram("h", unit="s")
    @metrics.timed("t")
    def f(): pass
    os.environ = environment
    assert threading.active_count() == 1
    loaded = {"wrapt", "opentelemetry", "asyncio", "http"} & set(sys.modules)
    assert not loaded, loaded
    print(len(set(os.listdir("/proc/self/fd")) - before) if before else 0)
    """
    assert "0\n" == run_python(program)


def test_shutdown_delivers_everything_and_counts_what_comes_later() -> None:
    memory = MemoryExporter()
    sdk = MetricsSDK(Config(exporters=[memory]))
    counter, histogram = sdk.counter("c"), sdk.histogram("h")
    counter.add(1, {"k": "v"})
    histogram.record(2)
    assert sdk.shutdown()
    counter.add(1)
    counter.add(1, {"k": "v"})
    counter.add(1, {"k": "new"})
    histogram.record("no")  # type: ignore[arg-type]
    sdk.record("never.seen", 1)
    health = sdk.health()
    assert (7, 2, 0) == (health.received, health.merged, health.pending)
    assert 5 == sum(health.dropped.values())
    assert health.dropped["after_shutdown"] >= 4
    assert 2 == health.exporters["MemoryExporter"].acknowledged
    assert memory.is_shut_down
    metric = memory.metric("c")
    assert metric is not None
    assert [1] == [point.value for point in metric.points]
    assert 1 == sdk.query("c").sum


def test_without_a_background_nothing_runs_until_flush_exports_inline() -> None:
    memory = MemoryExporter()
    sdk = MetricsSDK(Config(background=False, exporters=[memory]))
    threads = threading.active_count()
    sdk.counter("c").add(1)
    assert (threads, 0) == (threading.active_count(), len(memory.snapshots))
    assert sdk.flush()
    assert (threads, 1) == (threading.active_count(), len(memory.snapshots))
    assert sdk.shutdown()
    assert memory.is_shut_down


def test_a_snapshot_shows_every_kind_with_resource_and_the_sdk_itself() -> None:
    sdk = MetricsSDK(Config(background=False, resource={"service.name": "shop"}))
    sdk.counter("c", unit="By", description="d").add(1, {"k": "v"})
    sdk.gauge("g").set(2.5)
    sdk.histogram("h", boundaries=[1, 2]).record(1.5)
    sdk.histogram("e").record(1.5)
    snapshot = sdk.snapshot()
    found = {metric.name: metric for metric in snapshot.metrics}
    assert ("counter", "By", "d", 1, (("k", "v"),)) == (
        found["c"].kind, found["c"].unit, found["c"].description, found["c"].points[0].value, found["c"].points[0].attributes,
    )  # fmt: skip
    explicit: Any = found["h"].points[0].value
    exponential: Any = found["e"].points[0].value
    assert ((0, 1, 0), (1.0, 2.0), 1.5, 1.5) == (explicit.bucket_counts, explicit.boundaries, explicit.min, explicit.sum)
    assert (1, 1) == (exponential.count, exponential.positive[0][1])
    assert "shop" == snapshot.resource["service.name"]
    assert 4 == found["metrics_sdk.received"].points[0].value


def test_configure_moves_every_instrument_and_delivers_what_was_recorded_before(run_python: Callable[..., str]) -> None:
    program = """
    import metrics_sdk as metrics
    from metrics_sdk.exporters import MemoryExporter
    first, second = MemoryExporter(), MemoryExporter()
    counter = metrics.counter("c")
    bound = counter.bind({"k": "v"})
    @metrics.timed("t", {"job": "x"})
    def job(): pass
    metrics.configure(metrics.Config(exporters=[first]))
    counter.add(1); bound.add(2); bound.add(3, {"more": 1}); job(); metrics.record("r", 5); metrics.record("c", 10)
    metrics.configure(metrics.Config(exporters=[second], shards=4))
    assert first.metric("c").points and first.is_shut_down
    assert sum(point.value for point in first.metric("c").points) == 16
    counter.add(100); bound.add(200); bound.add(300, {"more": 1}); job(); metrics.record("r", 5); metrics.record("c", 1000)
    assert metrics.query("c").sum == 1600 and metrics.query("c", {"k": "v"}).sum == 500
    assert (metrics.query("t").count, metrics.query("r").count) == (1, 1)
    assert metrics.health().received == metrics.health().merged == 6
    metrics.shutdown()
    assert sum(point.value for point in second.metric("c").points) == 1600
    print("moved")
    """
    assert "moved\n" == run_python(program)


FORK = """
import os, sys, threading, time
import metrics_sdk as metrics
from metrics_sdk import MetricsSDK, Config

class Collected:
    def __init__(self): self.last = None
    def export(self, snapshot, timeout): self.last = snapshot
    def shutdown(self): pass

def total(exporter, name):
    return sum(p.value for m in exporter.last.metrics if m.name == name for p in m.points)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback; traceback.print_exc()
        finally:
            os._exit(status)
    return pid

def ended_well(pid):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(pid, 9)
    return False
"""


@pytest.mark.parametrize("shards", [1, 4])
def test_a_forked_child_delivers_its_own_values_and_none_of_the_parents(run_python: Callable[..., str], shards: int) -> None:
    program = (
        FORK
        + f"""
exporter = Collected()
sdk = MetricsSDK(Config(exporters=[exporter], shards={shards}))
counter, gauge = sdk.counter("c"), sdk.gauge("g")
bound, latency = counter.bind({{"k": "v"}}), sdk.histogram("h")
for _ in range(50): counter.add(1); bound.add(1)
sdk.flush()
for _ in range(50): counter.add(1); bound.add(1); gauge.set(5); latency.record(0.5)

def child():
    assert sdk.query("c").sum == 0, sdk.query("c")
    assert sdk.query("h").count == 0 and sdk.health().received == 0, sdk.health()
    counter.add(3); bound.add(4); counter.add(5, {{"new": 1}}); latency.record(2)
    assert sdk.flush(5), sdk.health()
    assert total(exporter, "c") == 12, exporter.last
    h = sdk.health()
    assert (h.received, h.merged, h.pending, h.dropped) == (4, 4, 0, {{}}), h
    assert sdk.query("h").max == 2 and sdk.query("g").last is None
    assert h.exporters["Collected"].acknowledged == 4
    def grandchild():
        assert sdk.query("c").sum == 0
        counter.add(7)
        assert sdk.flush(5) and total(exporter, "c") == 7
    assert ended_well(in_child(grandchild))
    assert sdk.shutdown(5)

assert ended_well(in_child(child))
assert sdk.flush(5) and total(exporter, "c") == 200, exporter.last
assert sdk.health().received == sdk.health().merged == 300, sdk.health()
assert sdk.shutdown(5)
print("right")
"""
    )
    assert "right\n" == run_python(program, stderr=None)


def test_health_tells_which_core_runs() -> None:
    assert COMPILED is MetricsSDK(Config(background=False)).health().compiled
    assert COMPILED is (not __import__("metrics_sdk.core.cells", fromlist=["x"]).__file__.endswith(".py"))


def test_a_callback_that_takes_its_time_holds_up_no_deadline_and_no_other_reader() -> None:
    gate = threading.Event()
    sdk = MetricsSDK(Config(flush_interval_seconds=0.01))
    sdk.observable_gauge("slow", lambda: float(gate.wait(20)))
    sdk.counter("c").add(1)
    started = time.monotonic()
    assert not sdk.flush(0.2)
    assert 1 == sdk.query("c").sum
    assert not sdk.shutdown(0.3)
    assert time.monotonic() - started < 2
    assert sdk.health().faults["callbacks"] >= 1
    gate.set()


def test_a_handler_that_shuts_down_while_its_own_thread_does_returns_at_once(run_python: Callable[..., str]) -> None:
    program = """
    import signal, time
    from metrics_sdk import Config, MetricsSDK
    class Interrupting:
        def export(self, snapshot, timeout): pass
        def shutdown(self): signal.raise_signal(signal.SIGALRM)
    answers = []
    def handler(*_):
        started = time.monotonic()
        answers.append((sdk.shutdown(5), time.monotonic() - started < 1))
    signal.signal(signal.SIGALRM, handler)
    sdk = MetricsSDK(Config(background=False, exporters=[Interrupting()]))
    sdk.counter("c").add(1)
    assert sdk.shutdown(5)
    print(answers, sdk.health().shut_down)
    """
    assert "[(False, True)] True\n" == run_python(program, deadline=20)


def test_an_interrupted_shutdown_leaves_nobody_waiting(run_python: Callable[..., str]) -> None:
    program = """
    import time
    from metrics_sdk import Config, MetricsSDK
    class Interrupted(BaseException): pass
    def callback(): raise Interrupted
    sdk = MetricsSDK(Config(background=False))
    sdk.counter("c").add(1)
    sdk.observable_gauge("g", callback)
    try: sdk.shutdown(5)
    except Interrupted: print("interrupted")
    started = time.monotonic()
    sdk.shutdown(5)
    print(time.monotonic() - started < 1)
    """
    assert "interrupted\nTrue\n" == run_python(program, deadline=20)


def test_threads_that_record_first_at_the_same_time_start_one_flusher() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            sdk = MetricsSDK(Config())
            counters = [sdk.counter(f"c{i}") for i in range(8)]
            start = threading.Barrier(8)
            threads = [threading.Thread(target=lambda c: (start.wait(), c.add(1)), args=(c,)) for c in counters]  # type: ignore[func-returns-value]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert 8 == sum(sdk.query(f"c{i}").sum for i in range(8))
            running = [
                ident
                for ident, frame in sys._current_frames().items()
                if any(f.f_code.co_name == "_run" and f.f_locals.get("self") is sdk._flusher for f in _stack(frame))
            ]
            assert len(running) <= 1
            assert sdk.shutdown()
    finally:
        sys.setswitchinterval(before)


def _stack(frame: Any) -> Any:
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_an_exporter_cannot_change_what_the_next_one_gets() -> None:
    class Greedy(MemoryExporter):
        def export(self, snapshot: Any, timeout: float) -> None:
            snapshot.resource.pop("service.name")

    memory = MemoryExporter()
    sdk = MetricsSDK(Config(background=False, exporters=[Greedy(), memory], resource={"service.name": "shop"}))
    sdk.counter("c").add(1)
    assert not sdk.flush()
    assert "shop" == memory.snapshots[0].resource["service.name"]


def test_a_redeclaration_leaves_no_negative_number_of_unacknowledged_values() -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[MemoryExporter()]))
    sdk.record("x", 1)
    sdk.record("x", 1)
    sdk.counter("x").add(1)
    sdk.flush()
    state = sdk.health().exporters["MemoryExporter"]
    assert (1, 0) == (state.acknowledged, state.unacknowledged)


def test_a_child_that_is_forked_while_another_thread_configures_can_configure(run_python: Callable[..., str]) -> None:
    program = (
        FORK
        + """
entered, leave = threading.Event(), threading.Event()
class Slow:
    def __init__(self): self.clock = None
    def time(self):
        entered.set(); leave.wait(20); return time.time()
    def monotonic(self): return time.monotonic()
metrics.counter("c").add(1)
thread = threading.Thread(target=lambda: metrics.configure(Config(clock=Slow())))
thread.start()
assert entered.wait(10)
def child():
    metrics.configure(Config())
    metrics.counter("c").add(2)
    assert metrics.query("c").sum == 2
pid = in_child(child)
good = ended_well(pid)
leave.set()
thread.join()
print(good)
"""
    )
    assert "True\n" == run_python(program, stderr=None, deadline=40)


class Producing:
    """Has one metric to tell, once it is let."""

    def __init__(self, go: threading.Event) -> None:
        self.go = go

    def produce(self) -> list[Any]:
        self.go.wait(30)
        return [Metric("foreign", "gauge", "", "", None, (Point((), 1.0, 0.0, 1.0),))]


def test_a_producer_that_hangs_stops_neither_flushes_nor_queries_nor_the_shutdown() -> None:
    go = threading.Event()
    exporter = MemoryExporter()
    sdk = MetricsSDK(
        Config(producers=[Producing(go)], exporters=[Export(exporter, interval_seconds=0.01)], flush_interval_seconds=0.01)
    )
    counter = sdk.counter("c")
    counter.add(1)
    assert sdk.flush(0.05) is False
    assert sdk.query("c").sum == 1
    assert sdk.shutdown(0.1) is False
    go.set()


def test_what_a_producer_tells_leaves_with_the_snapshot() -> None:
    go = threading.Event()
    go.set()
    with MetricsSDK(Config(producers=[Producing(go)], background=False)) as sdk:
        assert "foreign" in [metric.name for metric in sdk.snapshot().metrics]
