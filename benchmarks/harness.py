"""The protocol all programs share: warm-up, at least 5 rounds, everything that is compared interleaved within a round.

A round measures every case once, then the next round begins, in the opposite order: what the machine does meanwhile hits a
case and the peer that it is compared with alike. Cases are statements in `timeit`'s loop, so the price of the loop is in every
figure, that of the floors included.
"""

from __future__ import annotations

import argparse
import gc
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Samples = list[float]


class Settings(NamedTuple):
    """How long to measure. `seconds` is what one case takes in one round."""

    quick: bool
    json: bool
    rounds: int
    seconds: float

    def size(self, full: int, quick: int) -> int:
        """Return how many of something to use."""
        return quick if self.quick else full


def settings(about: str, arguments: Sequence[str] | None = None) -> Settings:
    """Read the command line that all programs have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: the figures are rough")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--rounds", type=int, help="repetitions, at least 5")
    given = parser.parse_args(arguments)
    rounds = max(5, given.rounds or (5 if given.quick else 11))
    return Settings(given.quick, given.json, rounds, 0.002 if given.quick else 0.02)


class Case(NamedTuple):
    """A statement to time.

    `check(calls)`: raises AssertionError if the result is not that of so many calls. `each`: calls per statement.
    `before`: what puts things back before each timing, not timed.
    """

    name: str
    statement: str
    names: Mapping[str, Any]
    check: Callable[[int], None] | None = None
    each: int = 1
    before: str = "pass"


def per_call(cases: Sequence[Case], settings: Settings) -> tuple[dict[str, Samples], dict[str, int]]:
    """Return nanoseconds per call for each case, one for every round, and the number of calls made.

    The time is the processor time of the calling thread: what other processes take of a shared machine is not in it.
    """
    timers = [timeit.Timer(case.statement, case.before, time.thread_time, dict(case.names)) for case in cases]
    numbers = [_number_for(timer, settings.seconds) for timer in timers]
    calls = [made for _number, made in numbers]
    samples: list[Samples] = [[] for _ in cases]
    order = list(range(len(cases)))
    for _ in range(settings.rounds):
        for i in order:
            number = numbers[i][0]
            samples[i].append(timers[i].timeit(number) / number / cases[i].each * 1e9)
            calls[i] += number
        order.reverse()
    named = {case.name: taken for case, taken in zip(cases, samples, strict=True)}
    return named, {case.name: made * case.each for case, made in zip(cases, calls, strict=True)}


def _number_for(timer: timeit.Timer, seconds: float) -> tuple[int, int]:
    """Warm up; return how often to run the statement to take `seconds`, and how often it was run to find out."""
    number, made = 1, 0
    while True:
        taken = timer.timeit(number)
        made += number
        if taken >= seconds / 4:
            return max(1, int(number * seconds / taken)), made
        number *= 4


class Timed(NamedTuple):
    """What one run of a job took: seconds on the clock, of the calling thread, and of the whole process."""

    wall: float
    thread: float
    process: float


def once(job: Callable[[], object]) -> Timed:
    """Run `job` once, with the garbage collector's debt of earlier work paid before."""
    gc.collect()
    wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
    job()
    return Timed(time.perf_counter() - wall, time.thread_time() - thread, time.process_time() - process)


def interleaved(jobs: Mapping[str, Callable[[], float]], rounds: int, warm_up: bool = True) -> dict[str, Samples]:
    """Call every job once a round, in alternating order; each returns its own figure."""
    samples: dict[str, Samples] = {name: [] for name in jobs}
    order = list(jobs)
    if warm_up:
        for name in order:
            jobs[name]()
    for _ in range(rounds):
        for name in order:
            samples[name].append(jobs[name]())
        order.reverse()
    return samples
