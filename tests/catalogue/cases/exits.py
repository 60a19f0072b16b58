"""Ends: however a process or an SDK ends, what was recorded is delivered or counted, nothing hangs, and nothing is said on stderr."""

from __future__ import annotations

import json
import logging
import mmap
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from catalogue.case import case
from catalogue.host import TESTS, Host, check_accounts

from metrics_sdk import Export, MetricsSDK, Snapshot, UnknownInstrument
from metrics_sdk.errors import StoreError
from metrics_sdk.snapshot import Metric
from metrics_sdk.sqlite import SQLiteStore

# ---- the end of a program -----------------------------------------------------------------------------------------

#: Registered before anything of ours, so it runs after everything of ours: what became of each value, and what was imported.
LAST = """
import atexit, sys
loaded = []
def last():
    health = metrics.health()
    assert health.received == health.merged + sum(health.dropped.values()) + health.pending, health
    print("delivered", health.exporters["Printing"].acknowledged, "of", health.received, dict(health.dropped))
    new = set(sys.modules) - set(loaded) - set(sys.builtin_module_names)  # weakref's own handler imports gc
    print("imported", sorted(new))
atexit.register(last)

import metrics_sdk as metrics
class Printing:
    def export(self, snapshot, timeout):
        pass
    def shutdown(self): pass
metrics.configure(metrics.Config(exporters=[Printing()]))
counter = metrics.counter("c")
"""

RECORD = """
def record():
    for number in range(5):
        counter.add(1, {"k": number})
        metrics.record("by.name", number)

def look():  # the last to be registered is the first to run, when the interpreter has told of an exception and all that
    atexit.register(lambda: loaded.extend(sys.modules))
"""

#: How it ends, with which status, and how many values are delivered, and are too late.
ENDS = {
    "end of the script": ("record(); look()", 0, 10, 0),
    "sys.exit": ("record(); look(); sys.exit(3)", 3, 10, 0),
    "exception": ("record(); look(); 1 / 0", 1, 10, 0),
    "exit of a thread": (
        "import threading; one = threading.Thread(target=lambda: (record(), sys.exit(5))); one.start(); one.join(); look()",
        0,
        10,
        0,
    ),
    "handler that runs before ours": ("record(); atexit.register(record); look()", 0, 20, 0),
    "handler that was there before": ("atexit.register(record); record(); look()", 0, 20, 0),
    "first use in a handler": ("atexit.register(record); look()", 0, 10, 0),
}


@case("exit", variants=tuple(ENDS))
def of_a_program(host: Host) -> None:
    """However a program ends, the values are delivered or counted, and the last flush imports nothing."""
    how, status, delivered, late = ENDS[host.variant]
    program = LAST + RECORD + how
    told = host.python(program, status=status, stderr=None if host.variant == "exception" else "")
    dropped = {"after_shutdown": late} if late else {}
    assert told == f"delivered {delivered} of {delivered + late} {dropped}\nimported []\n", told


@case("exit")
def with_the_exception_alone_on_stderr(host: Host) -> None:
    """The traceback of an uncaught exception is all that a program which ends by it says."""
    program = LAST + RECORD + "record()\n1 / 0\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    lines = done.stderr.splitlines()
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", "ZeroDivisionError: division by zero"), done.stderr
    assert all([line.startswith("  ") for line in lines[1:-1]]), done.stderr


@case("exit")
def with_the_import_in_a_handler(host: Host) -> None:
    """The package is imported and used for the first time while the interpreter ends: nothing is raised or said, flush() works."""
    program = """
    import atexit
    def late():
        import metrics_sdk as metrics
        from metrics_sdk.exporters import ConsoleExporter
        metrics.configure(metrics.Config(exporters=[ConsoleExporter()]))
        metrics.counter("c").add(5)
        print(metrics.flush(2))
    atexit.register(late)
    """
    assert host.python(program) == "c{} 5\nTrue\n"


@case("non-daemon thread outlives main")
def that_a_thread_outlives(host: Host) -> None:
    """A thread records for half a second after the main thread has ended: everything is delivered."""
    program = """
    import metrics_sdk as metrics, threading, time
    class Printing:
        def export(self, snapshot, timeout):
            print("delivered", *[point.value for metric in snapshot.metrics if metric.name == "c" for point in metric.points])
        def shutdown(self): pass
    metrics.configure(metrics.Config(exporters=[Printing()]))
    counter = metrics.counter("c")
    main = threading.main_thread()
    def outlive():
        main.join()
        recorded = 1
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            counter.add(1)
            recorded += 1
        print("recorded", recorded)
    counter.add(1)
    threading.Thread(target=outlive).start()
    """
    told = host.python(program).split()
    assert told[:1] + told[2:3] == ["recorded", "delivered"], told
    assert told[1] == told[3], told


@case("daemon threads record through finalisation", deadline=600)
def with_daemon_threads_that_record(host: Host) -> None:
    """Four daemon threads record in every way while the interpreter ends under them: status 0, nothing on stderr, below 2 s."""
    program = """
    import metrics_sdk as metrics, threading, time
    from metrics_sdk.exporters import JsonLinesExporter
    metrics.configure(metrics.Config(exporters=[metrics.Export(JsonLinesExporter("metrics.jsonl"), interval_seconds=0.01)],
                                     flush_interval_seconds=0.01))
    counter, histogram = metrics.counter("c"), metrics.histogram("h")
    started = threading.Barrier(5)
    def forever():
        started.wait()
        number = 0
        while True:
            number += 1
            counter.add(1, {"k": "v"}); histogram.record(0.5); metrics.record("r", 1)
            counter.add(1, {"k": number % 100}); metrics.record("n%d" % (number % 50), 1)
            if not number % 100: metrics.query("c"); metrics.flush(0.1)
    for _ in range(4): threading.Thread(target=forever, daemon=True).start()
    started.wait()
    print(time.monotonic())
    """
    for _ in range(host.size(5, 200)):
        ended = float(host.python(program, deadline=10))
        assert time.monotonic() - ended < 2, time.monotonic() - ended


# ---- what hangs ---------------------------------------------------------------------------------------------------


class Hanging:
    """Hangs in every method until it is let go."""

    def __init__(self) -> None:
        self.leave = threading.Event()

    def hang(self, *given: object) -> Any:
        self.leave.wait(60)
        return []

    export = produce = shutdown = hang


@case("hanging exporter at shutdown(timeout=2)", variants=("exporter", "several", "everything"))
def while_it_hangs(host: Host) -> None:
    """An exporter hangs, or two, or whatever can: shutdown() is back within half a second more than it was given."""
    logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())
    timeout = host.size(5, 20) / 10
    hanging = [Hanging() for _ in range(1 if host.variant == "exporter" else 3)]
    given: dict[str, Any] = {}
    if host.variant == "everything":
        given["producers"] = [hanging[0]]
    exports = [Export(one, interval_seconds=0.05, name=f"hanging{number}") for number, one in enumerate(hanging)]
    sdk = host.sdk(exporters=exports, flush_interval_seconds=0.05, resolutions=[(0.1, 1)], **given)
    if host.variant == "everything":
        sdk.subscribe(hanging[0].hang)
        sdk.observable_gauge("g", hanging[0].hang)
    for _ in range(7):
        sdk.counter("c").add(1)
    started = time.monotonic()
    told = sdk.shutdown(timeout)
    took = time.monotonic() - started
    health = sdk.health()
    for one in hanging:
        one.leave.set()
    assert not told
    assert took < timeout + 0.5, took
    for number in range(len(hanging)):
        exporter = health.exporters[f"hanging{number}"]
        assert (exporter.acknowledged, exporter.unacknowledged) == (0, 7), exporter
    assert health.exporters["ledger"].acknowledged == 7, "the others are done with"
    assert host.ledger(sdk).total("c") == 7


@case("hanging exporter at shutdown(timeout=2)", variants=("export", "shutdown", "producer"))
def of_a_program_while_it_hangs(host: Host) -> None:
    """The same where it is the interpreter that ends, also for an exporter that hangs in its own shutdown."""
    timeout = host.size(5, 20) / 10
    program = """
    import threading, time, sys, atexit, logging
    logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())
    def last():
        one = metrics.health().exporters["Hanging"]
        print(time.monotonic() - began, one.acknowledged, one.unacknowledged)
    atexit.register(last)  # before the package is imported, so it runs after the SDK has ended
    import metrics_sdk as metrics
    class Hanging:
        def hang(self, what):
            if what == sys.argv[1]: threading.Event().wait()
            return []
        def export(self, snapshot, timeout): self.hang("export")
        def produce(self): return self.hang("producer")
        def shutdown(self): self.hang("shutdown")
    hanging = Hanging()
    metrics.configure(metrics.Config(exporters=[hanging], producers=[hanging], shutdown_timeout_seconds=float(sys.argv[2])))
    metrics.counter("c").add(1)
    began = time.monotonic()
    """
    began = time.monotonic()
    took, *counted = host.python(program, host.variant, str(timeout), deadline=20).split()
    assert float(took) < timeout + 0.5, took
    assert time.monotonic() - began < timeout + 5
    assert counted == (["0", "1"] if host.variant == "export" else ["1", "0"]), counted


# ---- killed -------------------------------------------------------------------------------------------------------

INTERVAL = 0.25
STAMP = struct.Struct("d")

#: Records one value after the other, each after it has written down when, where the parent can read it whatever happens.
KILLED = """
import mmap, struct, sys, time
from metrics_sdk import Config, Export, MetricsSDK
from metrics_sdk.exporters import JsonLinesExporter
from metrics_sdk.sqlite import SQLiteStore
what, path, interval = sys.argv[1], sys.argv[2], float(sys.argv[3])
exporter = JsonLinesExporter(path) if what == "json lines" else SQLiteStore(path, timeout_seconds=30)
sdk = MetricsSDK(Config(exporters=[Export(exporter, interval_seconds=interval)], resolutions=[(interval, 60)],
                        flush_interval_seconds=interval / 5))
with open("stamps", "r+b") as file:
    stamps = mmap.mmap(file.fileno(), 0)
counter, others = sdk.counter("c"), sdk.histogram("h")
for number in range(300):
    others.record(number, {"padding": "x" * 200, "number": number})
print("ready", flush=True)
for at in range(0, len(stamps), 8):
    stamps[at : at + 8] = struct.pack("d", time.time())
    counter.add(1)
    time.sleep(0.0005)
"""


def run_and_kill(host: Host, path: Path, after: float) -> tuple[list[float], float]:
    """Let a process record and kill it; return when each value was recorded, and when it was killed."""
    stamps = host.folder / "stamps"
    stamps.write_bytes(bytes(8 * 100_000))
    program = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n{KILLED}"
    command = [sys.executable, "-c", program, host.variant, str(path), str(INTERVAL)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=host.folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)  # the moment is what is random
        process.send_signal(signal.SIGKILL)
        killed = time.time()
    with open(stamps, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as written:
        return [at for (at,) in STAMP.iter_unpack(written[:]) if at], killed


@case("SIGKILL at random, file and database exporters", variants=("json lines", "sqlite"), deadline=900)
def killed(host: Host) -> None:
    """Processes that write into one file, one after the other, are killed: it is readable, loss is one interval, nothing doubled."""
    source = random.Random(5)
    path = host.folder / "file"
    seen: dict[str, float] = {}
    lost: list[float] = []
    for _ in range(host.size(5, 200)):
        recorded, at = run_and_kill(host, path, source.uniform(0, 2 * INTERVAL))
        found = values_in(path) if host.variant == "json lines" else stored_in(path)
        assert {key: found.get(key) for key in seen} == seen, "what earlier processes have written stays as it is"
        new = {key: value for key, value in found.items() if key not in seen}
        assert len(new) <= 1, new
        delivered = int(sum(new.values()))
        assert delivered <= len(recorded), f"{delivered} delivered of {len(recorded)}"
        # What was recorded first of all that is lost; a moment before the kill may be the moment after.
        lost.append(at - recorded[delivered] if delivered < len(recorded) else 0.0)
        seen = found
    # The export itself takes its time, and on a busy machine so does getting a turn.
    assert median(lost) < INTERVAL + 0.15, lost
    assert max(lost) < INTERVAL + 1, lost
    assert seen


def values_in(path: Path) -> dict[str, float]:
    """Return the last total of "c" that each process has written; every line is one, but for the last one of a killed process."""
    found: dict[str, float] = {}
    unreadable: dict[int, str] = {}
    lines = path.read_text().split("\n") if path.exists() else [""]
    for number, line in enumerate(lines[:-1]):
        try:
            one = json.loads(line)
        except ValueError:
            unreadable[number] = line
            continue
        if one["name"] == "c":
            found[one["resource"]["service.instance.id"]] = one["value"]
    assert not unreadable, f"{len(unreadable)} lines cannot be read: {next(iter(unreadable.values()))[-300:]}"
    return found


def stored_in(path: Path) -> dict[str, float]:
    """Return the sum of "c" by process; the file is intact, and so says the store itself."""
    if not path.exists():
        return {}
    try:
        total = SQLiteStore(path).query("c")
    except (UnknownInstrument, StoreError):  # killed before the first window
        return {}
    with closing(sqlite3.connect(path)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        rows = connection.execute(
            "SELECT sources.name, windows.start FROM windows JOIN sources ON sources.id = windows.source "
            "JOIN series ON series.id = windows.series JOIN instruments ON instruments.id = series.instrument "
            "WHERE instruments.name = 'c'"
        ).fetchall()
    assert total.count == total.sum
    windows: dict[str, list[float]] = defaultdict(list)
    for name, start in rows:
        windows[name].append(start)
    store = SQLiteStore(path)
    return {
        name: sum([store.query("c", since=start, until=start + INTERVAL / 2).sum for start in starts])
        for name, starts in windows.items()
    }


@case("SIGKILL at random, file and database exporters")
def torn(host: Host) -> None:
    """A process is killed in the middle of a write: what the next one writes into that file is readable, every line of it."""
    path = host.folder / "file"
    program = """
    import sys, metrics_sdk as metrics
    from metrics_sdk.exporters import JsonLinesExporter
    metrics.configure(metrics.Config(exporters=[JsonLinesExporter("file")]))
    metrics.counter(sys.argv[1]).add(5)
    """
    host.python(program, "first")
    text = path.read_text()
    path.write_text(text[: len(text) - 40])
    host.python(program, "second")
    readable = []
    for line in path.read_text().splitlines():
        try:
            readable.append(json.loads(line)["name"])
        except ValueError:
            continue
    assert readable.count("first") == readable.count("second") == 1, readable
    assert readable[readable.index("second") :].count("metrics_sdk.received") == 1


# ---- shutdown from anywhere ---------------------------------------------------------------------------------------


@case("`shutdown()` twice, from 8 threads, from the flusher, from an exporter", variants=("twice", "threads"))
def again(host: Host) -> None:
    """It is shut down twice, or by eight threads at once: one last export, all are told the same; what comes later is counted."""
    sdk = host.sdk(flush_interval_seconds=60)
    counter = sdk.counter("c")
    counter.add(2)
    answers: list[bool] = []

    def shut_down() -> None:
        answers.append(sdk.shutdown(5))

    if host.variant == "twice":
        shut_down()
        shut_down()
    else:
        threads = [threading.Thread(target=shut_down) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(answers) == {True}, answers
    is_over(host, sdk)


def is_over(host: Host, sdk: MetricsSDK) -> None:
    """Values that come after the end are counted, all of them, and told to nobody."""
    before = sdk.health()
    exports = host.ledger(sdk).exports
    sdk.counter("c").add(1)
    sdk.counter("c").add(1, {"k": "new"})
    sdk.histogram("late").record(1)
    sdk.record("later", 1)
    with sdk.timed("timed"):
        sdk.gauge("latest").set(1)
    health = sdk.health()
    assert sdk.flush(1) in (True, False)
    assert sdk.shutdown(1) in (True, False)
    check_accounts(health)
    assert health.received - before.received == 6, health
    assert sum(health.dropped.values()) - sum(before.dropped.values()) == 6, health
    assert health.merged == before.merged
    assert host.ledger(sdk).exports == exports, "nothing is exported after the end"
    assert host.ledger(sdk).total("c") == 2


@case(
    "`shutdown()` twice, from 8 threads, from the flusher, from an exporter",
    variants=("flusher", "callback", "exporter", "subscriber", "producer"),
)
def from_within(host: Host) -> None:
    """Something that the SDK calls shuts it down: it returns, the work is done, and others who shut down later return too.

    On the flusher's own thread nothing foreign is called but what handles its log records.
    """
    shut_down = threading.Event()

    class Ending(logging.Handler):
        took = 0.0

        def end(self, *given: object) -> float:
            if sdk.health().received:
                started = time.monotonic()
                sdk.flush(5)
                sdk.shutdown(5)  # also from the last export, which is part of it
                self.took = max(self.took, time.monotonic() - started)
                shut_down.set()
            return 1.0

        emit = end  # type: ignore[assignment]

        def export(self, snapshot: Snapshot, timeout: float) -> None:
            self.end()

        def produce(self) -> list[Metric]:
            self.end()
            return []

        def shutdown(self) -> None:
            pass

    ending = Ending()
    given: dict[str, Any] = {
        "exporter": {"exporters": [Export(ending, interval_seconds=0.05)]},
        "producer": {"producers": [ending]},
        "flusher": {"health_report_interval_seconds": 0.05},
    }
    sdk = host.sdk(flush_interval_seconds=0.05, resolutions=[(0.1, 10)], **given.get(host.variant, {}))
    if host.variant == "subscriber":
        sdk.subscribe(ending.end)
    elif host.variant == "callback":
        sdk.observable_gauge("g", ending.end)
    elif host.variant == "flusher":
        logging.getLogger("metrics_sdk").setLevel(logging.INFO)
        logging.getLogger("metrics_sdk").addHandler(ending)
    sdk.counter("c").add(2)
    assert shut_down.wait(10), sdk.health()
    logging.getLogger("metrics_sdk").removeHandler(ending)
    assert ending.took < 3, ending.took
    sdk.shutdown(5)  # what it returns is what the first call has returned, and that could not wait for itself
    assert host.ledger(sdk).wait_for("c", 2, 5), host.ledger(sdk).last
    assert sdk.health().shut_down
    no_thread_is_left(sdk)
    is_over(host, sdk)


def no_thread_is_left(sdk: MetricsSDK) -> None:
    """Wait until the flusher has ended, so that all that it does is done."""
    deadline = time.monotonic() + 5
    while sdk.health().flusher_running or any([one.state != "stopped" for one in sdk.health().exporters.values()]):
        assert time.monotonic() < deadline, sdk.health()
        time.sleep(0.002)  # there is no way to wait for it


# ---- a handler that ends ------------------------------------------------------------------------------------------


@case(
    "handler calls `flush()` or `shutdown()`",
    variants=tuple(
        [f"{does} in {during}" for does in ("flush", "shutdown") for during in ("record", "flush", "query", "shutdown")]
    ),
    deadline=300,
)
def by_a_handler(host: Host) -> None:
    """A handler flushes or shuts down at random moments of its own thread's work: it is back soon, and nothing is lost."""
    does, _, during = host.variant.partition(" in ")
    source = random.Random(7)
    took: list[float] = []
    for _ in range(host.size(25, 500)):
        sdk = host.sdk(flush_interval_seconds=0.02)
        counter = sdk.counter("c")
        took.clear()

        def handler(*_: object, sdk: MetricsSDK = sdk) -> None:
            started = time.monotonic()
            getattr(sdk, does)(5)
            took.append(time.monotonic() - started)

        signal.signal(signal.SIGALRM, handler)
        counter.add(1)
        recorded = 1
        signal.setitimer(signal.ITIMER_REAL, source.uniform(0.0001, 0.004))
        while not took:
            counter.add(1, {"k": recorded % 5})
            recorded += 1
            if during == "query":
                sdk.query("c")
            elif during != "record":
                getattr(sdk, during)(5)
        assert took[0] < 1, took
        sdk.shutdown(5)
        health = sdk.health()
        check_accounts(health)
        assert (health.received, health.pending) == (recorded, 0), (recorded, health)
        assert host.ledger(sdk).wait_for("c", health.merged, 5), (host.ledger(sdk).last, health)
        assert set(health.dropped) <= ({"after_shutdown"} if "shutdown" in host.variant else set()), health
