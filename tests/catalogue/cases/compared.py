"""What other libraries are put through as well: written once, run here with ours, and by `compare.py` with all of them."""

from __future__ import annotations

import functools
import gc
import math
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from catalogue.case import case
from catalogue.libraries.trial import Trial

if TYPE_CHECKING:
    from catalogue.host import Host

OURS = "metrics-sdk"


class Compared(NamedTuple):
    """A case for all libraries. `uses`: what a library is not comparable without, see `Library`."""

    row: str
    run: Callable[[Trial], None]
    uses: frozenset[str]
    processes: bool
    deadline: float


COMPARED: dict[str, Compared] = {}


def compared(
    row: str,
    *,
    uses: tuple[str, ...] = (),
    processes: bool = False,
    deadline: float = 25.0,
    needs: tuple[str, ...] = (),
    logs: bool = False,
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Make a function of a `Trial` a case of all libraries, and one of the catalogue with ours and the standard check.

    `logs`: it is one of those that ours says something of in the log, which nobody has configured.
    """

    def make(run: Callable[[Trial], None]) -> Callable[[Trial], None]:
        COMPARED[run.__name__] = Compared(row, run, frozenset(uses), processes, deadline)

        @functools.wraps(run)
        def with_ours(host: Host) -> None:
            from catalogue.libraries.ours import Ours

            trial = Trial(OURS, host.folder, processes)
            run(trial)
            trial.judge()
            if isinstance(trial.library, Ours):
                if trial.library.interval > 1:  # the check would wait for an interval
                    trial.library.sdk.shutdown(5)
                host.watch(trial.library.sdk, trial.library.ledger)  # type: ignore[arg-type]

        case(row, needs=needs, stderr=logs)(with_ours)  # type: ignore[arg-type]
        return run

    return make


# ---- forks ----------------------------------------------------------------------------------------------------------


@compared("fork under load", processes=True, needs=("fork",))
def fork_under_load(trial: Trial) -> None:
    """Three threads record over 20 names × 40 attribute sets while the process forks; each child records 5 and delivers them."""
    library = trial.start(interval=0.1)
    counters = [library.counter(f"n{number}", "k") for number in range(20)]
    stop = threading.Event()

    def load(seed: int) -> None:
        recorded = 0
        while not stop.is_set():
            counters[recorded % 20](1, {"k": str((recorded * 7 + seed) % 40)})
            recorded += 1
            if "reliable" not in trial.can and not recorded % 20:
                time.sleep(0.002)  # each value is a datagram, that our receiver must keep up with

    def child() -> None:
        for counter in counters[:5]:
            counter(1, {"k": "child"})
        library.flush()

    threads = [threading.Thread(target=load, args=(seed,), daemon=True) for seed in range(3)]
    for thread in threads:
        thread.start()
    forks = trial.size(12, 100)
    children = []
    for _ in range(forks):
        time.sleep(0.02)  # the load goes on, and is somewhere else at the next fork
        children.append(trial.fork(child))
    ill = trial.end(children, seconds=8)
    stop.set()
    for thread in threads:
        thread.join()
    if not ill:
        library.flush()
        for number in range(5):
            trial.arrives(f"n{number}", forks, {"k": "child"}, seconds=1)


@compared("fork inside an export", uses=("exporter",), needs=("fork",))
def fork_inside_an_export(trial: Trial) -> None:
    """The process forks while its exporter is at work; what the child records is delivered by the child itself."""
    library = trial.start(interval=0.2)
    record, of_child = library.counter("n"), library.counter("child")
    inside = threading.Event()
    ours = os.getpid()

    def slowly() -> None:
        if os.getpid() == ours:
            inside.set()
            time.sleep(0.5)

    trial.side.before = slowly  # type: ignore[attr-defined]
    record(1)
    assert inside.wait(2 * library.interval + 2), "nothing was exported"

    def child() -> None:
        of_child(3)
        deadline = time.monotonic() + 2 * library.interval + 2
        while trial.total("child") != 3 and time.monotonic() < deadline:
            time.sleep(0.01)

    trial.end([trial.fork(child)], seconds=2 * library.interval + 4)
    if not trial.fell:
        trial.arrives("child", 3, seconds=0.1)
    trial.side.up()


@compared("fork with pending values", processes=True, needs=("fork",))
def fork_with_pending_values(trial: Trial) -> None:
    """The parent records 100 and forks; the child records 3; both deliver: 103 in all."""
    library = trial.start(interval=60)
    record = library.counter("n")
    for _ in range(100):
        record(1)

    def child() -> None:
        library.flush()
        record(3)
        library.flush()

    trial.end([trial.fork(child)])
    library.flush()
    trial.arrives("n", 103)


@compared("cost of fork, its exporter hanging where it has one", processes=True, needs=("fork",))
def cost_of_fork(trial: Trial) -> None:
    """A fork takes no more than 5 ms longer with the library than without it."""

    def forks() -> float:
        seconds = []
        for _ in range(7):
            started = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            seconds.append(time.perf_counter() - started)
            os.waitpid(pid, 0)
            time.sleep(0.03)
        return sorted(seconds)[1]  # the machine has other work as well

    without = forks()
    release = threading.Event()
    library = trial.start(interval=0.1)
    library.counter("n")(1)
    if "exporter" in trial.can:
        hanging = threading.Event()

        def hang() -> None:
            hanging.set()
            release.wait()

        trial.side.before = hang  # type: ignore[attr-defined]
        library.counter("more")(1)
        assert hanging.wait(2 * library.interval + 2), "nothing was exported"
    added = 1000 * (forks() - without)
    if "exporter" in trial.can:
        trial.side.up()
        release.set()
    if added >= 5:
        trial.falls(f"{added:,.0f} ms")
    else:
        trial.measured.append(f"{max(0.0, added):.1f} ms")


@compared("`multiprocessing` child records 7 and returns", processes=True, deadline=40, needs=("fork",))
def multiprocessing_child(trial: Trial) -> None:
    """Processes and pools, forked and spawned: what all children recorded is delivered."""
    text = """
        import multiprocessing
        library = begin(interval=60)
        record = library.counter("n")
        def work(_=None):
            record(7)
        if __name__ == "__main__":
            record(1)
            fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
            for process in [fork.Process(target=work), spawn.Process(target=work)]:
                process.start()
                process.join()
            with fork.Pool(1) as pool:
                pool.map(work, [1])
                pool.close()
                pool.join()
            library.flush()
        """
    trial.ends_well(trial.program(text, seconds=15))
    trial.arrives("n", 22, seconds=1)


# ---- what interrupts a record ---------------------------------------------------------------------------------------


@compared("signal handler records", needs=("fork",))
def signal_handler_records(trial: Trial) -> None:
    """A timer of 1 ms interrupts the main thread, which records, with a handler that records as well, new attribute sets included."""
    library = trial.start(interval=0.2)
    record = library.counter("n", "k")
    handled, recorded, handling = 0, 0, False

    def handler(*_: Any) -> None:
        nonlocal handled, handling
        if not handling:  # one that waits for a lock is interrupted as well, without end
            handling = True
            record(1, {"k": str(handled % 5 if handled % 2 else handled)})
            handled += 1
            handling = False

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    deadline = time.monotonic() + trial.size(1, 5)
    while time.monotonic() < deadline:
        for number in range(19):
            record(1, {"k": str(number % 5)})
        record(1, {"k": f"new {recorded // 20 % 1000}"})
        recorded += 20
        if recorded % 200 == 0 and ("reliable" not in trial.can or trial.name == "sentry-sdk"):
            time.sleep(0.004)  # it sends each value: not more than it can
    signal.setitimer(signal.ITIMER_REAL, 0)
    library.flush()
    trial.arrives("n", recorded + handled)


@compared("`__del__` and weakref callbacks record, also new attribute sets")
def finalisers_record(trial: Trial) -> None:
    """Garbage is collected at every few allocations, and what is collected records; so does the main thread."""
    library = trial.start(interval=0.2)
    record = library.counter("n", "k")
    finalised = 0

    def finally_record(*_: Any) -> None:
        nonlocal finalised
        finalised += 1
        record(1, {"k": f"collected {finalised % 400}"})

    class Circle:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            finally_record()

    thresholds = gc.get_threshold()
    references = []
    for number in range(1000):
        gc.set_threshold(5 + number % 23, 2, 2)  # a different one each time: the collection is to fall anywhere
        references.append(weakref.ref(Circle(), finally_record))
        record(1, {"k": f"new {number}"})
        if number % 100 == 0 and ("reliable" not in trial.can or trial.name == "sentry-sdk"):
            time.sleep(0.01)
    gc.set_threshold(*thresholds)
    gc.collect()
    library.flush()
    trial.arrives("n", 1000 + finalised)


class InterruptedInRecordError(Exception):
    """What the handler raises."""


@compared("a handler raises inside a record", needs=("fork",))
def handler_raises(trial: Trial) -> None:
    """It reaches the host each time, no lock stays held, and no more is missing than what was interrupted."""
    library = trial.start(interval=0.2)
    record = library.counter("n", "k")
    raised, caught, recorded = 0, 0, 0

    def handler(*_: Any) -> None:
        nonlocal raised
        raised += 1
        raise InterruptedInRecordError

    signal.signal(signal.SIGALRM, handler)

    def until_raised(attributes: dict[str, str]) -> None:
        nonlocal recorded
        before = raised
        signal.setitimer(signal.ITIMER_REAL, seeded.uniform(1e-5, 3e-4))
        while raised == before:
            record(1, attributes)
            recorded += 1

    seeded = random.Random(1)
    record(1, {"k": "0"})
    for number in range(trial.size(300, 20_000)):
        try:
            until_raised({"k": str(number)})
        except InterruptedInRecordError:
            caught += 1
        if "reliable" not in trial.can:
            time.sleep(0.001)
    if caught < raised:
        trial.falls(f"swallowed {raised - caught} of {raised}")
    free = threading.Thread(target=record, args=(1, {"k": "after"}), daemon=True)
    free.start()
    free.join(3)
    if free.is_alive():
        trial.falls("a lock stays held")
        return
    library.flush()
    if trial.name == "sentry-sdk" or "reliable" not in trial.can:  # more than it can send
        return
    deadline = time.monotonic() + 2
    while not recorded + 2 <= (found := trial.total("n")) <= recorded + 2 + raised and time.monotonic() < deadline:
        time.sleep(0.01)
    if not recorded + 2 <= found <= recorded + 2 + raised:
        trial.falls(f"counts {found:,.0f} for {recorded + 2:,} to {recorded + 2 + raised:,}")


# ---- the end of the process -----------------------------------------------------------------------------------------


@compared("end of the script", uses=("delivers",))
def end_of_the_script(trial: Trial) -> None:
    """What was recorded last is delivered, and nothing is written to stderr."""
    ended = trial.program(
        """
        library = begin(interval=60)
        library.counter("n")(5)
        """
    )
    trial.ends_well(ended)
    trial.arrives("n", 5, seconds=1)


@compared("first use in an atexit handler", uses=("delivers",))
def first_use_in_an_atexit_handler(trial: Trial) -> None:
    """What is recorded there is delivered, and nothing is written to stderr."""
    ended = trial.program(
        """
        import atexit
        library = begin(interval=60)
        record = library.counter("n")
        atexit.register(record, 5)
        """
    )
    trial.ends_well(ended)
    trial.arrives("n", 5, seconds=1)


@compared("SIGTERM, default action: what is older than an interval", uses=("delivers",))
def sigterm(trial: Trial) -> None:
    """It has been delivered, and the process ends by the signal."""
    ended = trial.program(
        """
        import time
        library = begin(interval=0.2)
        record = library.counter("n")
        record(10)
        time.sleep(library.interval + 0.5)
        print("ready", flush=True)
        time.sleep(10)
        """,
        term=True,
        seconds=5,
    )
    trial.ends_well(ended, status=-signal.SIGTERM)
    trial.arrives("n", 10, seconds=0.5)


@compared("SIGTERM, with what the library offers for it or `sys.exit` in a handler", uses=("delivers",))
def sigterm_asked_for(trial: Trial) -> None:
    """Everything is delivered."""
    ended = trial.program(
        """
        import time
        library = begin(interval=60)
        library.deliver_on_sigterm()
        library.counter("n")(10)
        print("ready", flush=True)
        while True:
            time.sleep(1)
        """,
        term=True,
    )
    if ended.status not in (143, -signal.SIGTERM):
        trial.ends_well(ended, status=143)
    trial.arrives("n", 10, seconds=0.5)


# ---- exporters ------------------------------------------------------------------------------------------------------


@compared("exporter raises SystemExit once", uses=("exporter",), logs=True)
def exporter_raises_system_exit(trial: Trial) -> None:
    """It is asked again, and what is recorded from then on arrives, as does what was recorded before."""
    library = trial.start(interval=0.2)
    record = library.counter("n")
    once = threading.Event()

    def exit_once() -> None:
        if not once.is_set():
            once.set()
            raise SystemExit("an exporter that ends the process")

    trial.side.before = exit_once  # type: ignore[attr-defined]
    record(5)
    assert once.wait(2 * library.interval + 2), "nothing was exported"
    time.sleep(0.05)
    record(2)
    if trial.arrives("n", 7, seconds=4, by_itself=True):
        return
    if trial.total("n") == 0:
        trial.fell = ["never exports again"]


@compared("the other side is down for a while", uses=("delivers",), logs=True)
def down_for_a_while(trial: Trial) -> None:
    """When it is back, totals are exact."""
    library = trial.start(interval=0.2)
    record = library.counter("n")
    record(1)
    library.flush()
    trial.arrives("n", 1)
    trial.side.down()
    for _ in range(10):
        record(1)
        library.flush() if library.interval > 1 else time.sleep(0.05)
    trial.side.up()
    time.sleep(0.05)
    for _ in range(10):
        record(1)
    trial.arrives("n", 21, seconds=5, by_itself=True)


@compared("exporter hangs for ever: recording goes on, the exit ends", uses=("exporter",), deadline=40)
def exporter_hangs(trial: Trial) -> None:
    """No record takes 0.1 s or more, and the process is gone after the time it was given for its exit, here 1 s, and a little."""
    ended = trial.program(
        """
        import threading, time
        library = begin(interval=0.2, exit_seconds=1)
        from catalogue.libraries.book import Wire
        record = library.counter("n")
        hanging = threading.Event()
        def hang(*_, **__):
            hanging.set()
            while True:
                time.sleep(1)
        Wire.send = hang
        record(1)
        assert hanging.wait(2 * library.interval + 2)
        longest = 0.0
        for _ in range(20_000):
            started = time.perf_counter()
            record(1)
            longest = max(longest, time.perf_counter() - started)
        print(longest, flush=True)
        """,
        seconds=12,
    )
    longest = float(ended.stdout.split()[0]) if ended.stdout else math.inf
    if longest >= 0.1:
        trial.falls(f"a record took {longest:.1f} s")
    if ended.status is None:
        trial.falls(f"no exit within {ended.seconds:.0f} s")
    elif ended.seconds > 3:
        trial.falls(f"exit after {ended.seconds:.1f} s")
    elif ended.status != 0:
        trial.ends_well(ended)
    else:
        trial.measured.append(f"exit after {ended.seconds:.1f} s")


@contextmanager
def no_thread_can_start() -> Iterator[None]:
    """Refuse threads, as the system does where there are too many."""
    import _thread

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("can't start new thread")

    places = [(_thread, "start_new_thread"), (_thread, "start_joinable_thread")]
    places += [(threading, "_start_new_thread"), (threading, "_start_joinable_thread")]
    there = [(where, name, getattr(where, name)) for where, name in places if hasattr(where, name)]
    for where, name, _ in there:
        setattr(where, name, refuse)
    yield
    for where, name, was in there:
        setattr(where, name, was)


@compared("no thread can start", deadline=40, logs=True)
def no_thread(trial: Trial) -> None:
    """Nothing raises, and what was recorded arrives all the same: now by `flush()`, and by itself when threads can start again."""
    with no_thread_can_start():
        if not trial.attempt(trial.start):
            return
        assert trial.library is not None
        record = trial.library.counter("n")
        trial.attempt(record, 5)
        trial.attempt(trial.library.flush)
        trial.arrives("n", 5, seconds=0.5)
    for _ in range(30):  # a host goes on recording, which is what threads are asked for again
        if not trial.attempt(record, 1):
            return
        time.sleep(0.05)
    trial.arrives("n", 35, by_itself=True)


# ---- values and attributes ------------------------------------------------------------------------------------------


@compared("bad values: None, text, an object, 1j, 10**400", logs=True)
def bad_values(trial: Trial) -> None:
    """No record raises, and the good values around them arrive exactly."""
    library = trial.start(interval=0.2)
    record = library.counter("n")
    record(3)
    for value in (None, "abc", object(), 1j, 10**400):
        trial.attempt(record, value)
    record(4)
    trial.attempt(library.flush)
    trial.arrives("n", 7)


@compared("NaN and infinity", logs=True)
def not_finite(trial: Trial) -> None:
    """They do not spoil the sum."""
    library = trial.start(interval=0.2)
    record = library.counter("n")
    record(3)
    for value in (math.nan, math.inf):
        trial.attempt(record, value)
    record(4)
    library.flush()
    trial.arrives("n", 7)


class Hostile:
    """A value whose every method raises."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__

    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no equality")


def bad_attributes(trial: Trial, attributes: list[dict[Any, Any]]) -> None:
    """Record with these, and among them what is good."""
    library = trial.start(interval=0.2)
    record, good = library.counter("n", "k"), library.counter("good", "k")
    for one in attributes:
        trial.attempt(record, 1, one)
        good(1, {"k": "v"})
    trial.attempt(library.flush)
    trial.arrives("good", len(attributes))


@compared("attribute keys None, int, bytes", uses=("keys",))
def bad_keys(trial: Trial) -> None:
    """No record raises, and what has good ones arrives."""
    bad_attributes(trial, [{None: 1}, {7: 1}, {b"k": 1}, {"k": 1, 2: 3}])


@compared(
    "attribute values: an object, a dict, a list that contains itself, `__str__` and `__hash__` that raise",
    uses=("attributes",),
)
def bad_attribute_values(trial: Trial) -> None:
    """No record raises, and what has good ones arrives."""
    if trial.name == "datadog":  # tags are text that the host has made
        trial.can -= {"attributes"}
        return
    circular: list[Any] = []
    circular.append(circular)
    bad_attributes(trial, [{"k": object()}, {"k": {"a": 1}}, {"k": circular}, {"k": Hostile()}])


ODD = (
    "lone \udc80 surrogate",
    "line\nforged:1000|c",
    "carriage\r\nforged 1000",
    'quote"}\nforged_total 1000',
    "pipe|c\nforged:1000|c|#k:v",
    "comma,other:1",
    "nul\0nul",
    "separator\u2028line",
    "bidi\u202etxet",
    'backslash\\"{}',
)


@compared(
    "odd text in attribute values: lone surrogate, line breaks, the format's own signs",
    uses=("attributes",),
    needs=("opentelemetry",),
)
def odd_text(trial: Trial) -> None:
    """Everything else is still delivered, and nothing is forged."""
    library = trial.start(interval=0.2, encoded=True)
    record, good = library.counter("n", "k"), library.counter("good", "k")
    for text in ODD:
        trial.attempt(record, 1, {"k": text})
    good(4, {"k": "v"})
    trial.attempt(library.flush)
    try:
        trial.arrives("good", 4)
    except UnicodeError:
        trial.falls("no scrape any more")
        return
    forged = sorted({name for name, _, _ in trial.side.book.series()} - {"n", "good"})
    if forged:
        trial.falls(f"forged a metric: {forged[0][:20]!r}")
    if not forged and not trial.fell and trial.total("n") != len(ODD):
        trial.measured.append(f"{len(ODD) - trial.total('n'):.0f} of {len(ODD)} dropped")


@compared("line breaks and the format's own signs in names, where these are taken", needs=("opentelemetry",))
def odd_names(trial: Trial) -> None:
    """A declaration may refuse them; then nothing else is lost, and nothing is forged."""
    library = trial.start(interval=0.2, encoded=True)
    good = library.counter("good")
    names = [text for text in ODD if "surrogate" not in text]
    for name in names:
        try:
            record = library.counter(name)
        except Exception:  # that is where it may be said
            continue
        trial.attempt(record, 1)
    good(4)
    trial.attempt(library.flush)
    trial.arrives("good", 4)
    forged = sorted({name for name, _, _ in trial.side.book.series() if name.startswith(("forged", "other"))})
    if forged:
        trial.falls(f"forged a metric: {forged[0][:20]!r}")


@compared("attribute value of 10 MB", uses=("attributes",))
def huge_text(trial: Trial) -> None:
    """It is cut or dropped, and what else is recorded arrives."""
    library = trial.start(interval=0.2)
    record, good = library.counter("n", "k"), library.counter("good", "k")
    text = "x" * 10_000_000
    started = time.perf_counter()
    trial.attempt(record, 1, {"k": text})
    took = time.perf_counter() - started
    good(4, {"k": "v"})
    trial.attempt(library.flush)
    trial.arrives("good", 4)
    longest = max(
        [len(text) for name, labels, _ in trial.side.book.series() if name == "n" for text in labels.values()], default=0
    )
    if longest > 1_000_000:
        trial.falls(f"delivers {longest / 1e6:.0f} MB")
    if took > 0.1:
        trial.falls(f"record took {took:.1f} s")


@compared("flood of 100,000 attribute sets", uses=("attributes",), deadline=60, logs=True)
def flood(trial: Trial) -> None:
    """Memory grows by less than 32 MB, and nothing is missing from the total."""
    library = trial.start(interval=60)
    record = library.counter("n", "k")
    record(1, {"k": "first"})
    library.flush()
    gc.collect()
    before = resident()
    sets = 100_000
    for number in range(1, sets):
        record(1, {"k": f"user {number}"})
        if number % 500 == 0 and trial.name in ("sentry-sdk", "datadog"):
            time.sleep(0.01)  # they send each of them: not more than they can
    grown = (resident() - before) / 1e6
    (trial.measured.append if grown < 32 else trial.falls)(f"{max(0.0, grown):.0f} MB")
    library.flush()
    if trial.name != "datadog":  # that many datagrams at once may be more than our receiver keeps up with
        trial.arrives("n", sets)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    if sys.platform != "linux":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


# ---- clocks and interpreters ----------------------------------------------------------------------------------------


def jump(seconds: float) -> None:
    """Make the wall clock jump, wherever its functions have been imported to."""
    real, real_ns = time.time, time.time_ns

    def jumped() -> float:
        return real() + seconds

    def jumped_ns() -> int:
        return real_ns() + int(seconds * 1e9)

    replaced: dict[Any, Any] = {real: jumped, real_ns: jumped_ns}
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is real or value is real_ns:
                setattr(module, name, replaced[value])


@compared("the clock jumps: a day back, ten years ahead", deadline=40)
def clock_jumps(trial: Trial) -> None:
    """What is recorded then arrives within the usual time, and once."""
    library = trial.start(interval=0.2)
    record = library.counter("n")
    record(1)
    library.flush()
    trial.arrives("n", 1)
    for expected, seconds in ((2, -86_400), (3, 10 * 365 * 86_400)):
        jump(seconds)
        record(1)
        trial.arrives("n", expected, by_itself=True)


@compared("subinterpreter records, delivers and is destroyed", uses=("delivers",))
def subinterpreter(trial: Trial) -> None:
    """Nothing raises, the process goes on, and the values have arrived."""
    ended = trial.program(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import sys
        create = {"isolated": ("isolated",), "legacy": ("legacy",)} if sys.version_info >= (3, 13) else {"isolated": (), "legacy": ()}
        text = (
            f"import sys; sys.path[:] = {sys.path!r}\\n"
            "from catalogue.libraries.library import start\\n"
            f"library = start({sys.argv[1]!r}, {sys.argv[2]!r}, interval=0.2)\\n"
            "library.counter('n')(5)\\n"
            "library.flush()\\n"
        )
        raised = None
        if sys.version_info >= (3, 13):
            one = interpreters.create(sys.argv[3])
            raised = interpreters.exec(one, text)
        else:
            one = interpreters.create(isolated=sys.argv[3] == "isolated")
            try:
                interpreters.run_string(one, text)
            except Exception as error:
                raised = error
        print("raised", raised, flush=True) if raised else print("ran", flush=True)
        interpreters.destroy(one)
        print("destroyed", flush=True)
        """,
        trial.name,
        str(trial.folder),
        "legacy",
    )
    if ended.stdout.startswith("raised"):
        sys.stderr.write(ended.stdout + ended.stderr)
        trial.falls("raised inside")
    elif trial.ends_well(ended):
        trial.arrives("n", 5, seconds=1)
