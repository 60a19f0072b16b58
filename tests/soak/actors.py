"""Threads of the soak: who records, who lives for a moment only, who reads, who changes and breaks things."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from random import Random
from typing import Any

from clocks import JumpingClock
from exporters import Flipping
from gate import Gate
from tally import Journal, Key, Tally
from workload import Workload

from metrics_sdk import ConfigurationError, Export, MetricsSDK

RESOLUTIONS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.5, 5), (5, 20)),
    ((0.25, 2.5), (5, 20)),
    ((1, 10),),
    (),
)


class Actors:
    """The threads, by name; what one of them raises ends the soak, with its traceback."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.failures: list[str] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, live: Callable[[], None], gated: bool) -> None:
        """Start a thread. One that is `gated` records, and passes the gate again and again."""

        def run() -> None:
            try:
                live()
            except BaseException:
                self.failures.append(f"{name}: {traceback.format_exc()}")
            finally:
                if gated:
                    self.gate.leave()

        if gated:
            self.gate.enter()
        thread = threading.Thread(target=run, name=name, daemon=True)  # a failure elsewhere must end the process
        self._threads.append(thread)
        thread.start()

    def join(self, seconds: float) -> None:
        """Wait until all have ended."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        assert not alive, f"still alive: {alive}"


class Garbage:
    """Records when it is finalised; some of it is in cycles, so that a collection does it, in whichever thread."""

    def __init__(self, finaliser: Finaliser, cyclic: bool) -> None:
        self._finaliser = finaliser
        self._me = self if cyclic else None

    def __del__(self) -> None:
        self._finaliser.record("del")


class Finaliser:
    """Records in finalisers, weak references' callbacks and collections, while the gate is open and in this process alone."""

    def __init__(self, workload: Workload, gate: Gate, journal: Journal) -> None:
        self._workload = workload
        self._gate = gate
        self._journal = journal
        self._pid = os.getpid()

    def record(self, how: str) -> None:
        """Record, and count it."""
        if os.getpid() != self._pid:
            return
        self._journal.begun.append(None)
        key: Key | None = None
        try:
            if not self._gate.closed:
                key = self._workload.finalise(how)
        finally:
            self._journal.ended.append(key)

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """Be a callback of the garbage collector's."""
        self.record("gc")

    def litter(self, source: Random) -> None:
        """Make garbage."""
        one = Garbage(self, source.random() < 0.5)
        weakref.finalize(one, self.record, "weakref").atexit = False


def recorder(workload: Workload, tally: Tally, gate: Gate, finaliser: Finaliser, slot: int, seed: int) -> Callable[[], None]:
    """Return the life of a thread that records as fast as it can."""

    def live() -> None:
        source = Random(seed)
        while gate.passes():
            for _ in range(4):
                workload.batch(tally, source, slot)
            finaliser.litter(source)

    return live


def spawner(workload: Workload, tally: Tally, gate: Gate, slot: int, seed: int, lives: list[int]) -> Callable[[], None]:
    """Return the life of a thread that starts one after another: each records a little and dies. `lives`: their number."""

    def live() -> None:
        source = Random(seed)
        while gate.passes():
            one = Tally()
            size = source.randrange(1, 40)
            thread = threading.Thread(target=workload.batch, args=(one, source, slot, size), name="short")
            thread.start()
            thread.join()
            tally.include(one)
            lives[0] += 1
            time.sleep(0.002)  # so that the others get on

    return live


def reader(
    sdk: MetricsSDK, workload: Workload, tally: Tally, gate: Gate, slot: int, seed: int, begun: Callable[[], int]
) -> Callable[[], None]:
    """Return the life of a thread that reads in every way, and knows what cannot be."""

    def live() -> None:
        source = Random(seed)
        merged, mine, hits = 0, 0, 0.0
        while gate.passes():
            choice = source.randrange(7)
            if choice == 0:
                sdk.snapshot()
            elif choice == 1:
                sdk.query_all()
            elif choice == 2:
                found = sdk.query("c.hits").sum
                assert found >= hits, f"c.hits had {hits}, and has {found}"
                hits = found
            elif choice == 3:
                in_windows(sdk, source)
            elif choice == 4:
                health = sdk.health()
                limit = begun()  # later: so nothing that is merged is missing here
                assert merged <= health.merged <= limit, f"{merged} merged, then {health.merged}, of at most {limit}"
                merged = health.merged
            elif choice == 5:
                sdk.flush(source.uniform(0.0, 0.2))
            else:
                tally.begun += 1
                workload.own.add(1, {"slot": slot})
                mine += 1
                tally.add(("r.own", (("slot", slot),)), 1, 1)
                own = sdk.query("r.own", {"slot": slot}).sum
                assert own == mine, f"what was recorded before a query is in it: {mine}, not {own}"
            time.sleep(0.005)

    return live


def in_windows(sdk: MetricsSDK, source: Random) -> None:
    """Ask for the last seconds, where there are windows; the clock jumps, so what is in them is not known."""
    try:
        by_route = sdk.query_by("h.latency", "route", last=source.choice([1, 5, 20]))
        counted = sum([one.count for one in by_route.values()])
        assert counted <= sdk.query("h.latency").count, "more in windows than in all"
        for one in by_route.values():
            assert sum([window.count for window in one.series()]) == one.count, "windows of one answer do not add up to it"
    except ValueError as error:
        if not ("windows are turned off" in str(error) or "only totals" in str(error)):
            raise


def changer(sdk: MetricsSDK, gate: Gate, exporters: list[Flipping], seed: int, changes: list[int]) -> Callable[[], None]:
    """Return the life of a thread that changes the configuration. `changes`: how many, and how many were refused."""

    def live() -> None:
        source = Random(seed)
        while gate.passes():
            change: dict[str, Any] = source.choice(
                [
                    {"flush_interval_seconds": source.uniform(0.01, 0.3)},
                    {"resolutions": source.choice(RESOLUTIONS)},
                    {"disabled": source.choice([[], ["t.*"]])},
                    {"without_windows": source.choice([[], ["h.*"], ["*"]])},
                    {"exporters": exports(exporters, source)},
                ]
            )
            try:
                sdk.reconfigure(**change)
                changes[0] += 1
            except ConfigurationError as error:
                if "a drain has been under way" not in str(error):
                    raise
                changes[1] += 1
            time.sleep(source.uniform(0.01, 0.2))

    return live


def exports(exporters: list[Flipping], source: Random) -> list[Export]:
    """Return the exporters with intervals and timeouts; names and temporalities are always the same."""
    return [
        Export(
            one,
            interval_seconds=source.uniform(0.05, 0.5),
            timeout_seconds=source.uniform(0.5, 2.0),
            temporality=one.temporality,
            name=one.name,
        )
        for one in exporters
    ]


def breaker(gate: Gate, exporters: list[Flipping], clock: JumpingClock, seed: int) -> Callable[[], None]:
    """Return the life of a thread that lets exporters fail and the clock jump."""

    def live() -> None:
        source = Random(seed)
        while gate.passes():
            source.choice(exporters).flip()
            if source.random() < 0.1:
                clock.jump(source)
            time.sleep(source.uniform(0.01, 0.15))

    return live


def collect_all(journal: Journal, seconds: float = 30.0) -> None:
    """Wait until no finaliser is in the middle of a record; call it with the gate closed."""
    gc.collect()
    deadline = time.monotonic() + seconds
    while not journal.is_quiet():
        assert time.monotonic() < deadline, "a finaliser does not end"
        time.sleep(0.001)
