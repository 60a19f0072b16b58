"""What is recorded: every kind of instrument, with and without attributes, good values and bad ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from clocks import JumpingClock
from tally import Key, Tally

from metrics_sdk import MetricsSDK

ROUTES = [f"/{number}" for number in range(5)]
BATCH = 256

#: Instruments of which only what is recorded in all is known: values with a time may be late, since the clock jumps, and what
#: is turned off now and then is counted as disabled. The reasons that values of each may be dropped for.
UNCERTAIN = {
    "p.points": {"late", "invalid_timestamp", "buffer_full"},
    "t.toggled": {"disabled"},
}

#: Has more series than may be: known by its sum alone.
FLOODED = "o.flooded"

BAD: tuple[tuple[Any, str], ...] = (
    (math.nan, "non_finite"),
    (math.inf, "non_finite"),
    (-math.inf, "non_finite"),
    (-1, "negative"),
    (-0.5, "negative"),
    (None, "invalid_value"),
    ("abc", "invalid_value"),
    (1j, "invalid_value"),
    (10**400, "invalid_value"),
)


class Workload:
    """The instruments of one SDK, and what threads do with them."""

    def __init__(self, sdk: MetricsSDK, clock: JumpingClock) -> None:
        self.sdk = sdk
        self.clock = clock
        self.hits = sdk.counter("c.hits")
        self.bound = [self.hits.bind({"bound": number}) for number in range(3)]
        self.amounts = sdk.counter("c.amounts", unit="By")
        self.depth = sdk.up_down_counter("u.depth")
        self.latency = sdk.histogram("h.latency", unit="s")
        self.size = sdk.histogram("h.size", boundaries=[1, 10, 100])
        self.level = sdk.gauge("g.level")
        self.bad = sdk.counter("b.bad")
        self.points = sdk.histogram("p.points")
        self.toggled = sdk.counter("t.toggled")
        self.flooded = sdk.counter(FLOODED)
        self.signals = sdk.counter("s.signals")
        self.finalised = sdk.counter("s.finalised")
        self.own = sdk.counter("r.own")
        self._batches: list[Callable[[Tally, Random, int, int], None]] = [
            *[self._hit, self._bind, self._amount, self._up_and_down, self._measure, self._measure, self._weigh, self._set],
            *[self._toggle, self._provide, self._at, self._wrongly, self._flood],
        ]

    def batch(self, tally: Tally, source: Random, slot: int, size: int = BATCH) -> None:
        """Record `size` values, and count them."""
        tally.begun += size
        source.choice(self._batches)(tally, source, slot, size)

    def _hit(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        route, code = source.choice(ROUTES), source.randrange(3)
        add = self.hits.add
        for _ in range(size):
            add(1, {"route": route, "code": code})
        tally.add(("c.hits", (("code", code), ("route", route))), size, size)

    def _bind(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        number = source.randrange(3)
        add = self.bound[number].add
        for _ in range(size):
            add()
        tally.add(("c.hits", (("bound", number),)), size, size)

    def _amount(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        total = 0
        add = self.amounts.add
        for n in range(size):
            add(n)
            total += n
        tally.add(("c.amounts", ()), size, total)

    def _up_and_down(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        total, step = 0, source.randrange(1, 9)
        for n in range(size):
            amount = n % step - 3
            self.depth.add(amount, {"slot": slot % 16})
            total += amount
        tally.add(("u.depth", (("slot", slot % 16),)), size, total)

    def _measure(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        route = source.choice(ROUTES)
        total = 0.0
        record = self.latency.record
        for n in range(size):
            x = (n * n + 1) / 64
            record(x, {"route": route})
            total += x
        tally.add(("h.latency", (("route", route),)), size, total)

    def _weigh(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        total = 0
        for n in range(size):
            self.size.record(n)
            total += n
        tally.add(("h.size", ()), size, total)

    def _set(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        # One thread for each series: so it is known which value is the last.
        first = source.randrange(1000)
        key: Key = ("g.level", (("slot", slot),))
        for n in range(size):
            self.level.set(first + n, {"slot": slot})
        tally.last[key] = first + size - 1
        tally.add(key, size, 0)

    def _toggle(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        for n in range(size):
            self.toggled.add(1, {"n": n & 3})
        tally.add(("t.toggled", ()), size, size)

    def _provide(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        name = f"x.by_name_{source.randrange(20)}"
        for _ in range(size):
            self.sdk.record(name, 0.5)
        tally.add((name, ()), size, size / 2)

    def _at(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        # There is a bounded buffer for these: mostly few at a time.
        for n in range(size):
            x = source.randrange(64) / 64
            when: Any = self.clock.time() - 5 * x
            if n % 64 == 0:
                when = source.choice([when - 1e6, when + 1e6, "abc", math.nan, True])
            self.points.put_at(when, x, {"k": n & 1})
        tally.add(("p.points", ()), size, 0)

    def _wrongly(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        for n in range(size):
            value, reason = BAD[n % len(BAD)]
            self.bad.add(value, {"k": n & 1})
            tally.drop(reason, 1)

    def _flood(self, tally: Tally, source: Random, slot: int, size: int) -> None:
        for n in range(size):
            self.flooded.add(1, {"id": source.randrange(5000), "n": n & 1})
        tally.add((FLOODED, ()), size, size)

    # ---- where it is not to be expected -------------------------------------------------------------------------

    def interrupt(self) -> Key:
        """Record as a signal handler does; return what is to be counted."""
        self.signals.add(1, {"by": "signal"})
        return ("s.signals", (("by", "signal"),))

    def finalise(self, how: str) -> Key:
        """Record as a finaliser does."""
        self.finalised.add(1, {"by": how})
        return ("s.finalised", (("by", how),))
