"""Soak: recording from everywhere while everything around it fails, with accounts that must be exact all the time.

`python tests/soak/soak.py --seconds 60 --seed 1 [--values 10000000] [--threads 16]` runs until both are reached, with the core
that it finds, and ends with status 0 and one line of figures, or 1 and what was wrong. Where nothing moves any more, it
ends with the stacks of all threads. The seed decides what each thread does, not how they interleave.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
import traceback
from random import Random
from types import FrameType

from actors import Actors, Finaliser, breaker, changer, collect_all, exports, reader, recorder, spawner
from checks import check_accounts, check_all
from children import Children, forked_without_collecting
from clocks import JumpingClock
from exporters import Flipping
from gate import Gate
from tally import Journal, Tally, together
from workload import Workload

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.temporality import Preference

STALL_SECONDS = 120.0  # without a check passed, after which the stacks are dumped
ROUND_SECONDS = 1.0  # between two checks
SPAWNERS = 4
READERS = 2
FORKS = 50
SHORT_LIVES = 2000
GROWTH_BYTES = 24 << 20  # what the process may grow by after the warm-up
#: Where there is no GIL, each dict has a lock, and a child waits for ever for one that another thread held at the fork (seen with
#: 3.13.5, threads and a dict alone): no library can help that, so there the process forks while the world stands still.
HAS_GIL = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
TEMPORALITIES: tuple[Preference, ...] = ("cumulative", "delta", "lowmemory", {"counter": "delta", "gauge": "delta"})


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Soak:
    """One run."""

    def __init__(self, seed: int, threads: int) -> None:
        self.source = Random(seed)
        self.clock = JumpingClock()
        self.exporters = [Flipping(f"e{number}", one, seed + number) for number, one in enumerate(TEMPORALITIES)]
        self.sdk = MetricsSDK(
            Config(
                exporters=exports(self.exporters, self.source),
                flush_interval_seconds=0.1,
                resolutions=[(0.5, 5), (5, 20)],
                max_series_per_instrument=200,
                clock=self.clock,
            )
        )
        self.workload = Workload(self.sdk, self.clock)
        self.gate = Gate()
        self.journal = Journal()
        self.interrupted = Journal()
        self.main = Tally()  # what the main thread records, and all handlers and finalisers
        self.tallies = [self.main]
        self.lives = [[0] for _ in range(SPAWNERS)]
        self.changes = [0, 0]
        self.checks = 0
        self.actors = Actors(self.gate)
        self.finaliser = Finaliser(self.workload, self.gate, self.journal)
        self.children = Children(self.sdk, self.workload, self.exporters)
        self._start(threads)

    def _start(self, threads: int) -> None:
        seeds = iter([self.source.randrange(1 << 30) for _ in range(threads + SPAWNERS + READERS + 2)])
        for slot in range(1, threads + 1):
            life = recorder(self.workload, self._tally(), self.gate, self.finaliser, slot, next(seeds))
            self.actors.start(f"recorder {slot}", life, gated=True)
        for number in range(SPAWNERS):
            life = spawner(self.workload, self._tally(), self.gate, 100 + number, next(seeds), self.lives[number])
            self.actors.start(f"spawner {number}", life, gated=True)
        for number in range(READERS):
            life = reader(self.sdk, self.workload, self._tally(), self.gate, number, next(seeds), self.begun)
            self.actors.start(f"reader {number}", life, gated=True)
        life = changer(self.sdk, self.gate, self.exporters, next(seeds), self.changes)
        self.actors.start("changer", life, gated=True)
        self.actors.start("breaker", breaker(self.gate, self.exporters, self.clock, next(seeds)), gated=True)

    def _tally(self) -> Tally:
        self.tallies.append(Tally())
        return self.tallies[-1]

    def begun(self) -> int:
        """Return no less than what can have been received."""
        journals = len(self.journal.begun) + len(self.interrupted.begun)
        return journals + sum([tally.begun for tally in self.tallies])

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Record in a signal handler, which may interrupt itself."""
        self.interrupted.begun.append(None)
        self.interrupted.ended.append(None if self.gate.closed else self.workload.interrupt())

    def run(self, seconds: float, values: int) -> None:
        """Record and check in rounds until there is enough of everything."""
        signal.signal(signal.SIGALRM, self.handle)
        gc.callbacks.append(self.finaliser.collected)
        started = self.warmed_up = time.monotonic()
        warm_up = min(120.0, seconds / 3)
        self.resident_then, self.resident = 0, resident()
        while True:
            passed = time.monotonic() - started
            if passed >= seconds and self.main.begun and self.recorded() >= values:
                if self.children.forks >= FORKS and self.short() >= SHORT_LIVES:
                    break
            faulthandler.dump_traceback_later(STALL_SECONDS, exit=True)
            self.round(forks=min(5, FORKS * passed / max(1, seconds) + 1 - self.children.forks))
            self.resident = resident()
            if not self.resident_then and passed >= warm_up:
                self.resident_then = self.resident
        self.rate = self.recorded() / (time.monotonic() - started)
        self.seconds = time.monotonic() - started
        faulthandler.dump_traceback_later(STALL_SECONDS, exit=True)
        self.end()
        grown = self.resident - (self.resident_then or self.resident)
        assert grown <= GROWTH_BYTES, f"grown by {grown >> 20} MB since the warm-up"

    def round(self, forks: float) -> None:
        """Let everybody record for a while, be interrupted meanwhile, fork so often, and check."""
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        until = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < until:
            self.workload.batch(self.main, self.source, 0)
            assert not self.actors.failures, self.actors.failures[0]
            if HAS_GIL and forks > 0 and self.source.random() < 0.1:
                forks -= 1
                self.fork()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.children.reap()
        self.stand_still()
        try:
            expected = self.expected()
            if self.checks % 2:
                for exporter in self.exporters:
                    exporter.heal()
                assert self.sdk.flush(60), f"not delivered: {self.sdk.health()}"
                check_all(self.sdk, expected, self.exporters)
            else:  # as it is: nothing is repaired, and nothing need have been delivered
                check_accounts(self.sdk, expected)
            self.checks += 1
            while not HAS_GIL and forks > 0:
                forks -= 1
                self.fork()
        finally:
            self.gate.open()

    def fork(self) -> None:
        """Fork a child, which checks itself."""
        forked_without_collecting(self.children.fork, self.source.randrange(1 << 30))

    def stand_still(self) -> None:
        """Bring everybody who records to rest."""
        self.gate.close(60)
        assert not self.actors.failures, self.actors.failures[0]
        collect_all(self.journal)
        self.journal.settle(self.main)
        self.interrupted.settle(self.main)

    def expected(self) -> Tally:
        """Return what was recorded; call it while the world stands still."""
        return together(self.tallies)

    def recorded(self) -> int:
        """Return about how many values were."""
        return sum([tally.begun for tally in self.tallies])

    def short(self) -> int:
        """Return how many short threads there were."""
        return sum([one[0] for one in self.lives])

    def end(self) -> None:
        """Stop everybody, and compare a last time, after the shutdown."""
        self.stand_still()
        gc.callbacks.clear()
        self.gate.ending = True
        self.gate.open()
        self.actors.join(60)
        self.children.wait()
        self.gate.closed = True  # finalisers are not to record any more
        for exporter in self.exporters:
            exporter.heal()
        self.journal.settle(self.main)
        assert not self.actors.failures, self.actors.failures[0]
        assert self.sdk.shutdown(60), f"not delivered: {self.sdk.health()}"
        expected = self.expected()
        check_all(self.sdk, expected, self.exporters)
        self.workload.amounts.add(1)
        expected.drop("after_shutdown", 1)
        check_all(self.sdk, expected, self.exporters)
        self.values = expected.received()

    def figures(self) -> str:
        """Return the figures of the run."""
        health = self.sdk.health()
        return (
            f"{self.values} values ({self.rate:,.0f}/s) in {self.seconds:.0f} s, {'compiled' if health.compiled else 'interpreted'}, "
            f"{len(self.tallies) - 1 - SPAWNERS - READERS} threads and {self.short()} short ones, "
            f"{self.interrupted.total} signals, {self.journal.total} finalisers, {self.children.forks} forks, "
            f"{sum([one.flips for one in self.exporters])} exporter flips, "
            f"{sum([one.failures for one in health.exporters.values()])} failed of "
            f"{sum([one.exports + one.failures for one in health.exporters.values()])} exports, {self.clock.jumps} clock jumps, "
            f"{self.changes[0]} changes, {self.checks + 2} checks, {health.contended} contended, dropped {dict(health.dropped)}, "
            f"RSS {self.resident_then >> 20} MB after the warm-up, {self.resident >> 20} MB at the end"
        )


def resident() -> int:
    """Return how many bytes of memory the process has."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except FileNotFoundError:  # no Linux: nothing is said of memory
        return 0


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--values", type=int, default=0, help="until at least so many were recorded")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    given = parser.parse_args()
    say(f"seed {given.seed}")
    logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())  # that exporters fail is what they are here for
    faulthandler.enable()
    sys.setswitchinterval(0.0002)  # so that the main thread's turn comes often, and with it the signals
    soak = Soak(given.seed, given.threads)
    try:
        soak.run(given.seconds, given.values)
    except BaseException:
        signal.setitimer(signal.ITIMER_REAL, 0)
        traceback.print_exc()
        soak.children.end()
        say(f"failed, seed {given.seed}")
        sys.stdout.flush()
        os._exit(1)  # the others are still at it
    say(f"passed: {soak.figures()}")
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
