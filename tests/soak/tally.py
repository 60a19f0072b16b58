"""The soak's own count of what was recorded, which knows nothing of the SDK's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

#: The name of an instrument, and attributes in normal form.
Key = tuple[str, tuple[tuple[str, Any], ...]]


class Amount(NamedTuple):
    """What a series amounts to. Amounts are multiples of 1/64, so that sums are exact in any order."""

    count: int
    sum: float


NOTHING = Amount(0, 0)


class Tally:
    """What one thread has recorded; changed by that thread alone.

    `begun` runs ahead of the values: it is raised before they are recorded, so the sum over all is never less than what the SDK
    can have received.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.recorded: dict[Key, Amount] = {}
        self.dropped: dict[str, int] = {}  # by the reason that each must be counted under
        self.last: dict[Key, float] = {}  # of gauges

    def add(self, key: Key, count: int, total: float) -> None:
        """Count values that were accepted."""
        before = self.recorded.get(key, NOTHING)
        self.recorded[key] = Amount(before.count + count, before.sum + total)

    def drop(self, reason: str, count: int) -> None:
        """Count values that must have been dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def include(self, other: Tally) -> None:
        """Add what another thread has recorded, which does not go on."""
        self.begun += other.begun
        for key, amount in other.recorded.items():
            self.add(key, *amount)
        for reason, count in other.dropped.items():
            self.drop(reason, count)
        self.last.update(other.last)

    def received(self) -> int:
        """Return how many values were handed in."""
        return sum([amount.count for amount in self.recorded.values()]) + sum(self.dropped.values())


class Journal:
    """What is recorded where anything may be interrupted: in handlers and finalisers, which interrupt each other as well.

    Guarantee: each entry is counted once. Assumption: one append is one C call. `begin` comes before the look at the gate, and
    `end` after the record: while the numbers are equal and the gate is closed, nobody is in between.
    """

    def __init__(self) -> None:
        self.begun: list[None] = []
        self.ended: list[Key | None] = []
        self.total = 0  # of entries that were settled

    def is_quiet(self) -> bool:
        """Tell whether nobody is in between."""
        return len(self.begun) == len(self.ended)

    def settle(self, tally: Tally) -> None:
        """Move what there is into a tally; call it while the world stands still."""
        for key in self.ended:
            if key is not None:
                tally.begun += 1
                tally.add(key, 1, 1)
                self.total += 1
        self.begun.clear()
        self.ended.clear()


def together(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    made = Tally()
    for one in tallies:
        made.include(one)
    return made
