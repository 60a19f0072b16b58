"""Forks: a child starts clean, delivers its own values and none of its parent's, and never hangs."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from statistics import median
from types import CellType, FunctionType, MethodType
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger, check_accounts, resources

from metrics_sdk import Export, MetricsSDK, Snapshot
from metrics_sdk.snapshot import Metric
from metrics_sdk.sqlite import SQLiteStore


@case("fork under load", deadline=120, needs=("fork",))
def under_load(host: Host) -> None:
    """Three threads record over 20 names × 40 attribute sets while the process forks."""
    sdk = host.sdk(flush_interval_seconds=0.1)
    instruments = [sdk.counter(f"n{number}") for number in range(20)]
    stop = threading.Event()
    counts: list[int] = []

    def load(seed: int) -> None:
        recorded = 0
        while not stop.is_set():
            instruments[recorded % 20].add(1, {"k": (recorded * 7 + seed) % 40})
            recorded += 1
        counts.append(recorded)

    threads = [threading.Thread(target=load, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for instrument in instruments[:5]:
            instrument.add(1, {"k": "child"})
        assert sdk.flush(5), sdk.health()
        assert sdk.health().received == sdk.health().merged == 5, sdk.health()
        assert sum([host.ledger(sdk).total(f"n{number}") for number in range(20)]) == 5
        check_accounts(sdk.health())

    forks = host.size(30, 200)
    hung = [pid for pid in map(host.forked, [child] * forks) if not host.ended_well(pid)]
    stop.set()
    for thread in threads:
        thread.join()
    assert not hung, f"{len(hung)} of {forks} children hung or failed"
    assert sdk.flush(10)
    assert sdk.health().received == sdk.health().merged == sum(counts), (sdk.health(), sum(counts))


@case("fork with pending values", needs=("fork",))
def with_pending_values(host: Host) -> None:
    """The parent records 100 and forks; both flush."""
    sdk = host.sdk(flush_interval_seconds=60)
    counter = sdk.counter("c")
    for _ in range(100):
        counter.add(1)

    def child() -> None:
        sdk.flush(5)
        assert host.ledger(sdk).total("c") == 0, host.ledger(sdk).last
        counter.add(3)
        assert sdk.flush(5)
        assert host.ledger(sdk).total("c") == 3, host.ledger(sdk).last

    assert host.ended_well(host.forked(child))
    assert sdk.flush(5)
    assert host.ledger(sdk).total("c") == 100
    sdk.shutdown(5)


@case("fork inside an export", needs=("fork",))
def inside_an_export(host: Host) -> None:
    """The parent forks while its exporter is at work; the child records and waits: its own flusher delivers."""
    parent = os.getpid()
    entered, leave = threading.Event(), threading.Event()

    class Slow(Ledger):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            if os.getpid() == parent:
                entered.set()
                leave.wait(30)
            super().export(snapshot, timeout)

    slow = Slow()
    sdk = host.sdk(exporters=[Export(slow, interval_seconds=0.1)], flush_interval_seconds=0.1)
    counter = sdk.counter("c")
    counter.add(1)
    assert entered.wait(10)

    def child() -> None:
        counter.add(3)
        assert slow.wait_for("c", 3, 5), sdk.health()
        assert host.ledger(sdk).wait_for("c", 3, 5), sdk.health()
        check_accounts(sdk.health())

    good = host.ended_well(host.forked(child))
    leave.set()
    assert good
    assert slow.wait_for("c", 1, 5), sdk.health()


@case("cost of fork", deadline=120, needs=("fork",))
def cost(host: Host) -> None:
    """Two hanging exporters, a subscriber that hangs, an endpoint, 800 busy series: a fork takes what it took without them."""
    from metrics_sdk_prometheus import PrometheusEndpoint

    logged = Counted()
    logging.getLogger().addHandler(logged)
    logging.getLogger().setLevel(logging.DEBUG)
    plain: dict[tuple[int, int], float] = defaultdict(float)

    def add_plainly(name: int, key: int) -> None:
        plain[name, key] += 1

    size = host.size(15, 40)
    without = medians(timed_forks(add_plainly, logged, size))

    hanging = [Hanging(), Hanging()]
    exports = [Export(one, interval_seconds=0.05) for one in hanging]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=60, resolutions=[(0.1, 1)])
    counters = [sdk.counter(f"n{number}") for number in range(20)]
    subscriber = Hanging()
    sdk.subscribe(subscriber.hang)
    endpoint = PrometheusEndpoint(sdk, port=0).start()
    counters[0].add(1)
    assert all([one.entered.wait(10) for one in (*hanging, subscriber)])
    extra = {"parent": math.inf, "child": math.inf}
    for _ in range(8):  # somebody else's load may last for as long as one round does
        measured = timed_forks(lambda name, key: counters[name].add(1, {"k": key}), logged, size)
        assert {(1, 0)} == {(one["threads"], one["logged"]) for one in measured}, measured
        extra = {where: min(extra[where], took - without[where]) for where, took in medians(measured).items()}
        if max(extra.values()) < 0.005:
            break
    endpoint.close()
    for one in (*hanging, subscriber):
        one.leave.set()
    assert sdk.shutdown(10), sdk.health()

    assert max(extra.values()) < 0.005, f"{extra} s more than {without} s without the SDK"


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return what a fork took in the middle."""
    return {where: median([one[where] for one in measured]) for where in ("parent", "child")}


class Hanging:
    """An exporter that hangs until it is let go; `hang` does so as a subscriber."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def hang(self, window: object) -> None:
        self.entered.set()
        self.leave.wait(60)

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        self.hang(snapshot)

    def shutdown(self) -> None:
        pass


class Counted(logging.Handler):
    """Keeps which process has logged, once for each record."""

    def __init__(self) -> None:
        super().__init__()
        self.by: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.by.append(os.getpid())


def timed_forks(add: Callable[[int, int], object], logged: Counted, forks: int) -> list[dict[str, float]]:
    """Fork while three threads add; return for each fork what it took until it returned, here and in the child.

    Of a child, also how many threads it has, and how many records it has logged.
    """
    stop = threading.Event()

    def load(seed: int) -> None:
        number = seed
        while not stop.is_set():
            add(number % 20, number * 7 % 40)
            number += 1

    threads = [threading.Thread(target=load, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    measured = []
    for _ in range(forks):
        reads, writes = os.pipe()
        started = time.monotonic()
        pid = os.fork()
        took = time.monotonic() - started
        if not pid:
            found = {"child": took, "threads": resources()["threads"], "logged": logged.by.count(os.getpid())}
            os.write(writes, json.dumps(found).encode())
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as told:
            measured.append({"parent": took, **json.load(told)})
        os.waitpid(pid, 0)
    stop.set()
    for thread in threads:
        thread.join()
    return measured


@case("cost of fork", needs=("fork",))
def with_every_lock_held(host: Host) -> None:
    """Another thread holds every lock that the SDK has at the moment of the fork: the child can do everything all the same."""
    sdk = host.sdk(flush_interval_seconds=60, exporters=[SQLiteStore(host.folder / "m.db")])
    instruments(sdk)
    assert sdk.flush(10)
    instruments(sdk)
    collector = sdk.collector("delta")
    sdk.subscribe(lambda window: None).close()
    held, let_go, free = threading.Event(), threading.Event(), threading.Event()
    locks: list[Any] = []

    def hold() -> None:
        locks.extend([lock for lock in locks_of(sdk) if lock.acquire(False)])
        held.set()
        let_go.wait(30)
        for lock in locks:
            lock.release()
        free.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    assert len(locks) > 10, locks

    def child() -> None:
        instruments(sdk)
        sdk.counter("new").add(1, {"k": "new"})
        assert sdk.query("c").sum == 1
        assert sdk.collect(collector).metrics
        sdk.reconfigure(flush_interval_seconds=0.1)
        subscription = sdk.subscribe(lambda window: None)
        assert sdk.flush(5), sdk.health()
        assert host.ledger(sdk).total("c") == 1, host.ledger(sdk).last
        assert sdk.health().received == sdk.health().merged == 4, sdk.health()
        check_accounts(sdk.health())
        subscription.close()
        assert sdk.shutdown(5), sdk.health()

    pid = host.forked(child)
    let_go.set()
    assert free.wait(10)
    holder.join()
    assert host.ended_well(pid)
    sdk.release(collector)
    assert sdk.shutdown(5)


def instruments(sdk: MetricsSDK) -> None:
    """Record three values, into three kinds of cell."""
    sdk.counter("c").add(1)
    sdk.gauge("g").set(1, {"k": "v"})
    sdk.histogram("h").record(1)


LOCKS = (type(threading.Lock()), type(threading.RLock()))
CONTAINERS = (dict, list, tuple, set, frozenset, deque, partial, MethodType, CellType)


def locks_of(sdk: MetricsSDK) -> list[Any]:
    """Return every lock that an object of the SDK's refers to, or a module of the package has."""
    modules = [vars(module) for name, module in list(sys.modules.items()) if name.partition(".")[0] == "metrics_sdk"]
    found: list[Any] = [one for names in modules for one in names.values() if isinstance(one, LOCKS)]
    waiting: list[Any] = [sdk]
    seen = {id(sdk), *map(id, modules)}
    while waiting:
        for one in gc.get_referents(waiting.pop()):
            if id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, LOCKS):
                found.append(one)
            elif isinstance(one, FunctionType):
                waiting.append(one.__closure__ or ())
            elif isinstance(one, CONTAINERS) or type(one).__module__.startswith("metrics_sdk"):
                waiting.append(one)
    return found


# ---- nested forks -----------------------------------------------------------------------------------------------


def delivers(host: Host, sdk: MetricsSDK, amount: int) -> None:
    """What a child does: record one value, flush, and find that it is what there is."""
    sdk.counter("c").add(amount)
    assert sdk.flush(5), sdk.health()
    assert sdk.health().received == sdk.health().merged == 1, sdk.health()
    assert host.ledger(sdk).total("c") == amount, host.ledger(sdk).last
    check_accounts(sdk.health())


@case("nested forks", needs=("fork",))
def grandchildren(host: Host) -> None:
    """Five generations, each with a value that is not delivered yet when the next one is born."""
    sdk = host.sdk(flush_interval_seconds=60)
    counter = sdk.counter("c")

    def generation(number: int) -> None:
        counter.add(1)
        if number < 5:
            assert host.ended_well(host.forked(lambda: generation(number + 1)))
        assert sdk.flush(5), sdk.health()
        assert host.ledger(sdk).total("c") == sdk.health().merged == 1, sdk.health()
        check_accounts(sdk.health())
        assert sdk.shutdown(5)

    generation(1)


@case("nested forks", needs=("fork",))
def from_threads(host: Host) -> None:
    """Four threads fork at once, each several times; all record meanwhile."""
    sdk = host.sdk(flush_interval_seconds=0.1)
    counter = sdk.counter("c")
    good: list[bool] = []

    def fork_and_record() -> None:
        for _ in range(5):
            pid = host.forked(lambda: delivers(host, sdk, 7))
            counter.add(1)
            good.append(host.ended_well(pid))

    threads = [threading.Thread(target=fork_and_record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [True] * 20 == good
    assert sdk.flush(10)
    assert host.ledger(sdk).total("c") == sdk.health().received == 20


@case("nested forks", variants=("exporter", "subscriber", "callback", "producer"), needs=("fork",))
def from_within(host: Host) -> None:
    """An exporter, a subscriber, an observable callback and a producer fork: the child is a copy of one of our own threads."""
    logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())  # where others take long to fork, a callback does
    parent = os.getpid()
    children: list[int] = []
    came = threading.Event()

    class Forking:
        def fork(self, window: object = None) -> float:
            if os.getpid() == parent and not children:
                children.append(host.forked(lambda: delivers_among_others(host, sdk)))
                came.set()
            return 1.0

        def export(self, snapshot: Snapshot, timeout: float) -> None:
            self.fork()

        def produce(self) -> list[Metric]:
            self.fork()
            return []

        def shutdown(self) -> None:
            pass

    forking = Forking()
    given: dict[str, Any] = {
        "exporter": {"exporters": [Export(forking, interval_seconds=0.1)]},
        "producer": {"producers": [forking]},
    }
    sdk = host.sdk(flush_interval_seconds=0.1, resolutions=[(0.2, 10)], **given.get(host.variant, {}))
    if host.variant == "subscriber":
        sdk.subscribe(forking.fork)
    elif host.variant == "callback":
        sdk.observable_gauge("g", forking.fork)
    sdk.counter("c").add(1)
    assert came.wait(10), sdk.health()
    assert host.ended_well(children[0])
    assert sdk.flush(5), sdk.health()
    assert host.ledger(sdk).total("c") == 1


def delivers_among_others(host: Host, sdk: MetricsSDK) -> None:
    """As `delivers`, where a callback's values are among what is received."""
    sdk.counter("c").add(5)
    assert sdk.flush(5), sdk.health()
    assert host.ledger(sdk).total("c") == 5, host.ledger(sdk).last
    check_accounts(sdk.health())


@case("nested forks", needs=("fork",))
def inside_flush(host: Host) -> None:
    """An exporter that is called by flush() in the host's own thread forks; parent and child both return from flush()."""
    parent = os.getpid()
    children: list[int] = []

    class Forking(Ledger):
        def export(self, snapshot: Snapshot, timeout: float) -> None:
            super().export(snapshot, timeout)
            if os.getpid() == parent and not children:
                children.append(os.fork())

    sdk = host.sdk(background=False, exporters=[Forking()])
    counter = sdk.counter("c")
    for _ in range(100):
        counter.add(1)
    told = sdk.flush(5)
    if os.getpid() != parent:
        children.clear()
        os._exit(in_child(lambda: (check_accounts(sdk.health()), delivers(host, sdk, 3))))
    assert told
    assert host.ended_well(children[0])
    assert host.ledger(sdk).total("c") == 100


def in_child(work: Callable[[], object]) -> int:
    """Return the status of a child that has done its work."""
    try:
        work()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@case("nested forks", needs=("fork",))
def from_a_handler(host: Host) -> None:
    """A signal handler forks at random moments while its own thread records and flushes."""
    sdk = host.sdk(flush_interval_seconds=0.05)
    counter = sdk.counter("c")
    forks = host.size(20, 200)
    source = random.Random(11)
    children: list[int] = []
    good: list[bool] = []

    def handler(*_: object) -> None:
        children.append(host.forked(lambda: delivers(host, sdk, 3)))

    signal.signal(signal.SIGALRM, handler)
    recorded = 0
    while len(good) < forks:
        signal.setitimer(signal.ITIMER_REAL, source.uniform(0.0002, 0.003))
        while not children:
            counter.add(1, {"k": recorded % 5})
            recorded += 1
            if not recorded % 50:
                sdk.flush(5)
        good.append(host.ended_well(children.pop()))
    assert [True] * forks == good
    assert sdk.flush(10)
    assert host.ledger(sdk).total("c") == sdk.health().received == recorded


@case("nested forks", deadline=180, needs=("fork",))
def in_a_loop(host: Host) -> None:
    """500 forks one after the other; the parent records a value for each."""
    sdk = host.sdk(flush_interval_seconds=0.1)
    counter = sdk.counter("c")
    forks = host.size(50, 500)
    for _ in range(forks):
        counter.add(1)
        assert host.ended_well(host.forked(lambda: delivers(host, sdk, 2)))
    assert sdk.flush(10)
    assert host.ledger(sdk).total("c") == sdk.health().received == forks


@case("nested forks", variants=("detected", "given"), needs=("fork",))
def identity(host: Host) -> None:
    """Each process has an instance id of its own, in everything that leaves it."""
    resource = {"service.instance.id": "mine"} if host.variant == "given" else {}
    sdk = host.sdk(flush_interval_seconds=60, resource=resource)

    def tell(children: int) -> None:
        sdk.counter("c").add(1)
        assert sdk.flush(5)
        last = host.ledger(sdk).last
        assert last is not None
        assert last.resource["process.pid"] == os.getpid()
        with open(host.folder / "ids", "a") as file:
            file.write(f"{last.resource['service.instance.id']}\n")
        for _ in range(children):
            assert host.ended_well(host.forked(lambda: tell(children - 1)))

    tell(3)
    assert sdk.shutdown(5)
    ids = (host.folder / "ids").read_text().split()
    assert len(set(ids)) == len(ids) == 1 + 3 + 3 * 2 + 6, ids
    assert host.variant == "detected" or (ids[0] == "mine" and all([one.startswith("mine-") for one in ids[1:]])), ids
