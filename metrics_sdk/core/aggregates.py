"""What values add up to: what all aggregates have in common, and the sum and the last value.

An aggregate is mergeable: `a.merge(b)` leaves `a` as if it had been given the values of both. Counts and buckets are
exact, integer sums are exact up to 64 bits, sums of floats are rounded as any addition of doubles is.

A cell records into what `aggregation.new_recorder` makes, and what that held is merged into other aggregates. For most kinds
both are the same class.

Guarantee to the cells: `add` either stores a value completely or returns False having stored nothing; it never raises
and allocates nothing. `make_room` is called after a False and may allocate; then `add` succeeds.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.build import COMPILED

if COMPILED:
    from mypy_extensions import i64
else:
    i64 = int

INT64_MAX: Final = 9223372036854775807
INT64_MIN: Final = -INT64_MAX - 1
SMALL: Final = 1 << 60  # two of these cannot overflow, and mypyc compares with it in one instruction
FLOAT_MAX: Final = 1.7976931348623157e308


def saturated(x: float) -> float:
    """Return `x`, or the largest double of its sign where it is infinite: a sum stays finite for good."""
    return x if x - x == 0.0 else math.copysign(FLOAT_MAX, x)


@mypyc_attr(acyclic=True)
class Aggregate:
    """What all kinds have in common. Subclasses are chosen by `aggregation.new_aggregate`."""

    def __init__(self) -> None:
        self.count: i64 = 0

    def add(self, x: float) -> bool:
        """Store the finite value `x`; False: nothing was stored, `make_room(x)` first."""
        raise NotImplementedError("this aggregate is not one to record into")

    def add_int(self, n: i64) -> bool:
        """Store the integer `n`, as `add` does."""
        return self.add(float(n))

    def make_room(self, x: float) -> None:
        """Prepare for `add(x)` to succeed."""

    def fold(self, values: list[Any]) -> None:
        """Store a non-empty list of finite values at the price of a few C calls."""
        for value in values:
            x = float(value)
            if not self.add(x):
                self.make_room(x)
                self.add(x)

    def merge(self, other: Aggregate) -> None:
        """Add what `other`, an aggregate of the same kind, holds."""
        raise NotImplementedError("this aggregate is one to record into alone")

    def clear(self) -> None:
        """Forget everything; memory may be kept for the next values."""

    def fresh(self) -> Aggregate:
        """Return an empty aggregate of the same kind."""
        return Aggregate()

    def kept(self) -> Aggregate:
        """Return what it holds, in the form that totals and windows have: for most kinds this one itself."""
        return self

    def copy(self) -> Aggregate:
        """Return an independent aggregate with the same content."""
        made = self.fresh()
        made.merge(self)
        return made

    def percentile(self, q: float) -> float | None:
        """Return the value below which `q` percent of the values lie (0-100), None where it is unknown."""
        return None


@final
@mypyc_attr(acyclic=True)
class Sum(Aggregate):
    """Count and sum. Integers are added exactly and apart from the floats, beyond 64 bits they become doubles."""

    def __init__(self) -> None:
        super().__init__()
        self.ints: i64 = 0
        self.floats: float = 0.0
        self.exact: bool = True

    def add(self, x: float) -> bool:
        """Store a float."""
        self.floats = saturated(self.floats + x)
        self.exact = False
        self.count += 1
        return True

    def add_int(self, n: i64) -> bool:
        """Store an integer, exactly."""
        ints = self.ints
        if -SMALL < n < SMALL and -SMALL < ints < SMALL:
            self.ints = ints + n
            self.count += 1
            return True
        if n >= 0:
            if ints > INT64_MAX - n:
                return self._spill(n)
        elif ints < -INT64_MAX - n:
            return self._spill(n)
        self.ints = ints + n
        self.count += 1
        return True

    def _spill(self, n: i64) -> bool:
        self.floats = saturated(self.floats + float(self.ints) + float(n))
        self.ints = 0
        self.exact = False
        self.count += 1
        return True

    def fold(self, values: list[Any]) -> None:
        """Store many values: `sum` adds integers exactly."""
        total: Any = sum(values)
        count: i64 = len(values)
        if isinstance(total, int) and INT64_MIN <= total <= INT64_MAX:
            self.add_int(total)
        elif total - total == 0.0:
            self.add(float(total))
        else:
            for x in values:
                self.add(float(x))
            return
        self.count += count - 1

    def merge(self, other: Aggregate) -> None:
        """Add another sum."""
        assert isinstance(other, Sum)
        count = self.count + other.count
        self.add_int(other.ints)
        if not other.exact:
            self.add(other.floats)
        self.count = count

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.ints = 0
        self.floats = 0.0
        self.exact = True

    def fresh(self) -> Aggregate:
        """Return an empty sum."""
        return Sum()

    def total(self) -> Any:
        """Return the sum: an int where every value was one and 64 bits hold it, else a float."""
        if self.exact:
            return int(self.ints)
        return saturated(float(self.ints) + self.floats)


@final
@mypyc_attr(acyclic=True)
class LastValue(Aggregate):
    """The value set last, and count, sum, min and max of the values set.

    `last` is that value as a double, `whole` exactly where it was an int, as `exact` says. `order` tells which of two is the
    later one when series are merged: the take that it came with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: float = 0.0
        self.whole: i64 = 0
        self.exact = False
        self.sum: float = 0.0
        self.min: float = math.inf
        self.max: float = -math.inf
        self.order: i64 = 0

    def add(self, x: float) -> bool:
        """Set the value."""
        self.last = x
        self.exact = False
        self.sum = saturated(self.sum + x)
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        self.count += 1
        return True

    def add_int(self, n: i64) -> bool:
        """Set the value to an int."""
        self.add(float(n))
        self.whole = n
        self.exact = True
        return True

    def fold(self, values: list[Any]) -> None:
        """Store many values, in their order."""
        last = values[-1]
        self.last = float(last)
        self.exact = isinstance(last, int)
        if self.exact:
            self.whole = last
        self.sum = saturated(self.sum + saturated(float_sum(values)))
        self.min = min(self.min, float(min(values)))
        self.max = max(self.max, float(max(values)))
        self.count += len(values)

    def merge(self, other: Aggregate) -> None:
        """Add another; the later one's value is the last."""
        assert isinstance(other, LastValue)
        if other.count == 0:
            return
        if self.count == 0 or other.order >= self.order:
            self.last = other.last
            self.whole = other.whole
            self.exact = other.exact
            self.order = other.order
        self.sum = saturated(self.sum + other.sum)
        if other.min < self.min:
            self.min = other.min
        if other.max > self.max:
            self.max = other.max
        self.count += other.count

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.last = 0.0
        self.exact = False
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf

    def value(self) -> Any:
        """Return the value set last: an int where it was one."""
        return int(self.whole) if self.exact else self.last

    def fresh(self) -> Aggregate:
        """Return an empty one."""
        return LastValue()


def rank_of(q: float, count: int) -> int:
    """Return the rank of the `q`-th percentile of `count` values, from 1 on: that of the inverted cumulative distribution."""
    return max(1, math.ceil(q * count / 100.0 - 1e-9))  # 7 * 100 / 100.0 is not always 7


def float_sum(values: list[Any]) -> float:
    """Return the sum of values of any finite size as a double, infinite where it is too large for one."""
    try:
        return float(sum(values))
    except OverflowError:
        return math.inf
