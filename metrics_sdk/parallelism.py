"""concurrency(): does a section that several threads or tasks enter really run in parallel, or do they wait for each other?

Entering and leaving append an event to a list, one C call each; what they amount to is worked out at each flush, and recorded
by ordinary instruments, so that it can be queried for any interval and exported.
"""

from __future__ import annotations

import functools
import threading
import time
import types
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from metrics_sdk.clock import perf_counter
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.instruments import Counter, Gauge, Histogram
from metrics_sdk.errors import DeclarationError
from metrics_sdk.interval import Seconds
from metrics_sdk.query import Aggregate

P = ParamSpec("P")
R = TypeVar("R")

FOLD_AT = 4096  # events after which whoever enters or leaves works them out
SATURATED = 0.8  # processors' worth of work above which the processor time says what is achieved

_cpu = time.thread_time


class Parallelism(NamedTuple):
    """What a section achieved in an interval.

    `entered`: how often it was run through. `in_flight`: how many are in it now; `in_flight_max`: at most at a time.
    `busy_seconds`: time with at least one in it. `wall_seconds`, `cpu_seconds`: of all that went through, added up.

    `offered`: how many were in it on average while there were any. `effective`: how many of them made progress. Where they
    kept processors busy, that is processor time by busy time. Where they mostly waited, it is what the section would have
    taken one after the other, each as long as the fastest that ever was, by busy time: by Little's law, those in flight
    without queueing. It is too low where sections differ much in size. None without data.
    """

    entered: int
    in_flight: int
    in_flight_max: int
    wall_seconds: float
    cpu_seconds: float
    busy_seconds: float
    offered: float | None
    effective: float | None


class Home(Protocol):
    """What is needed of the SDK."""

    def counter(self, name: str, *, unit: str = "", description: str = "") -> Counter:
        """Declare a counter."""

    def gauge(self, name: str, *, unit: str = "", description: str = "") -> Gauge:
        """Declare a gauge."""

    def histogram(self, name: str, *, unit: str = "", description: str = "") -> Histogram:
        """Declare a histogram."""

    def query(self, name: str, *, last: Seconds | None = None) -> Aggregate:
        """Answer a query."""


class Concurrency:
    """A section of code: `with` around it, or a decorator of functions and coroutine functions. Any number may share it.

    Its instruments are `<name>.duration`, `<name>.cpu_time`, `<name>.busy_time`, `<name>.in_flight_time` (in flight, added up
    over time) and `<name>.in_flight`. Around an `await`, `with` counts the processor time of other tasks as well; the decorator
    does not.
    """

    def __init__(self, find_home: Callable[[], Home], name: str) -> None:
        """`find_home`: returns the SDK that the instruments record into now."""
        self.name = name
        self._home = find_home
        home = find_home()
        self._duration = home.histogram(f"{name}.duration", unit="s", description="Time in the section.")
        self._cpu_time = home.counter(f"{name}.cpu_time", unit="s", description="Processor time in the section.")
        self._busy_time = home.counter(f"{name}.busy_time", unit="s", description="Time with somebody in the section.")
        self._in_flight_time = home.counter(f"{name}.in_flight_time", unit="s", description="In flight, added up over time.")
        self._in_flight = home.gauge(f"{name}.in_flight", unit="{section}", description="How many are in the section.")
        self._entered: ContextVar[tuple[tuple[float, float, object], ...]] = ContextVar(f"{name}.entered", default=())
        self.reset()

    def reset(self) -> None:
        """Begin anew: at the start, and in a forked child, where nobody is in the section but perhaps the one who forked."""
        self._folding: Any = threading.RLock()
        self._events: list[tuple[float, int]] = []  # when, and how many more are in flight from then on
        # How many are in flight, since when that is worked out, and the last event that this includes: changed in one store,
        # so that an exception in the middle has no event worked out twice.
        self._state: tuple[int, float, object] = (0, perf_counter(), None)
        self._life = object()  # by which those who entered before a fork are known

    # ---- entering and leaving -----------------------------------------------------------------------------------

    def __enter__(self) -> Concurrency:
        started = self._enter()
        self._entered.set((*self._entered.get(), (started, _cpu(), self._life)))
        return self

    def __exit__(self, *exc: object) -> None:
        entered = self._entered.get()
        if entered:
            self._entered.set(entered[:-1])
            started, cpu, life = entered[-1]
            self._leave(started, _cpu() - cpu, life)
        else:  # entered in another context: how long ago is not known
            self._events.append((perf_counter(), -1))

    def _enter(self) -> float:
        started = perf_counter()
        self._events.append((started, 1))
        return started

    def _leave(self, started: float, cpu: float, life: object) -> None:
        ended = perf_counter()
        if life is self._life:
            self._events.append((ended, -1))
        self._duration.record_seconds(ended - started)
        self._cpu_time.add(max(0.0, cpu))
        if len(self._events) >= FOLD_AT:
            exclusively(self._folding, self._fold)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function` as such a section. It stays what it is: a plain function, a coroutine function."""
        import inspect  # 7 ms, and not before something is decorated

        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DeclarationError(f"concurrency() is for functions and coroutine functions, not {function!r}")
        if inspect.iscoroutinefunction(function):
            return self._around_coroutine(function)

        @functools.wraps(function)
        def section(*args: P.args, **kwargs: P.kwargs) -> R:
            life, started, cpu = self._life, self._enter(), _cpu()
            try:
                return function(*args, **kwargs)
            finally:
                self._leave(started, _cpu() - cpu, life)

        return section

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def section(*args: Any, **kwargs: Any) -> Any:
            used = [0.0]
            life, started = self._life, self._enter()
            try:
                return await _stepped(function(*args, **kwargs), used)
            finally:
                self._leave(started, used[0], life)

        return section

    # ---- what it amounts to -------------------------------------------------------------------------------------

    def fold(self) -> int:
        """Work out what has happened since the last time, and record it; return how many are in the section."""
        exclusively(self._folding, self._fold, 1.0)
        return max(0, self._state[0])

    def _fold(self) -> None:
        inside, at, last = self._state
        events = self._events
        done = next((number for number, event in enumerate(events) if event is last), -1)
        del events[: done + 1]
        taken = events[:]
        busy = weighted = 0.0
        most = inside
        for when, change in [*sorted(taken), (perf_counter(), 0)]:
            passed = max(0.0, when - at)
            busy += passed if inside > 0 else 0.0
            weighted += passed * max(0, inside)
            inside += change
            most = max(most, inside)
            at = max(at, when)
        if self._events is not events:
            return  # forked in the meantime
        self._state = (inside, at, taken[-1] if taken else None)
        del events[: len(taken)]
        self._busy_time.add(busy)
        self._in_flight_time.add(weighted)
        if most > max(0, inside):
            self._in_flight.set(most)
        self._in_flight.set(max(0, inside))

    def report(self, *, last: Seconds | None = None) -> Parallelism:
        """Return what the section achieved, of all time or in the last seconds."""
        inside = self.fold()
        home, name = self._home(), self.name
        duration = home.query(f"{name}.duration", last=last)
        cpu = home.query(f"{name}.cpu_time", last=last).sum
        busy = home.query(f"{name}.busy_time", last=last).sum
        weighted = home.query(f"{name}.in_flight_time", last=last).sum
        fastest = home.query(f"{name}.duration").min
        return Parallelism(
            entered=duration.count,
            in_flight=max(0, inside),
            in_flight_max=int(home.query(f"{name}.in_flight", last=last).max or 0),
            wall_seconds=duration.sum,
            cpu_seconds=cpu,
            busy_seconds=busy,
            offered=weighted / busy if busy else None,
            effective=_effective(duration.count, fastest, cpu, busy, weighted),
        )


def _effective(entered: int, fastest: float | None, cpu: float, busy: float, weighted: float) -> float | None:
    if not busy or fastest is None:
        return None
    achieved = cpu / busy if cpu / busy >= SATURATED else max(cpu, entered * fastest) / busy
    return min(achieved, weighted / busy)


@types.coroutine
def _stepped(coroutine: Any, used: list[float]) -> Generator[Any, Any, Any]:
    """Await `coroutine`, and add up in `used` the processor time of its own steps."""
    step: Callable[[], Any] = functools.partial(coroutine.send, None)
    while True:
        started = _cpu()
        try:
            yielded = step()
        except StopIteration as done:
            return done.value
        finally:
            used[0] += _cpu() - started
        try:
            sent = yield yielded
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step = functools.partial(coroutine.throw, error)
        else:
            step = functools.partial(coroutine.send, sent)
