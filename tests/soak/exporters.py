"""Exporters that work, raise, dawdle and hang by turns, each with a ledger of what it took in."""

from __future__ import annotations

import threading
from random import Random
from typing import Any

from tally import NOTHING, Amount, Key

from metrics_sdk.errors import ExportError
from metrics_sdk.snapshot import Point, Snapshot

MODES = ("works", "works", "raises", "exits", "slow", "hangs", "hangs_and_fails", "in_part", "busy")
RAISED = (ValueError, OSError, KeyError, ArithmeticError)
ENDING = (SystemExit, KeyboardInterrupt, GeneratorExit)  # what must not end the worker's thread, nor the process


class Flipping:
    """An exporter in some mode, see `MODES`. What it has raised for, it has not taken in: it must be told again."""

    def __init__(self, name: str, temporality: Any, seed: int) -> None:
        self.name = name
        self.temporality = temporality
        self.mode = "works"
        self.flips = 0
        self.source = Random(seed)
        self.begin()

    def begin(self) -> None:
        """Take in nothing yet: at the start, and in a forked child, where another thread may have been in here."""
        self.totals: dict[Key, Amount] = {}  # of what is told as totals: the last that was told
        self.added: dict[Key, Amount] = {}  # of what is told as deltas: all of them together
        self.last: dict[Key, float] = {}
        self.broken: list[str] = []  # what can never be, found while exporting
        self.released = threading.Event()  # it is not to hang any more

    def heal(self) -> None:
        """Work from now on, and let go of what hangs."""
        self.mode = "works"
        self.released.set()

    def flip(self) -> None:
        """Change to some mode."""
        self.released.clear()
        self.mode = self.source.choice(MODES)
        self.flips += 1

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Do as the mode has it."""
        mode, source = self.mode, self.source
        if mode == "raises":
            raise source.choice(RAISED)("the other side is down")
        if mode == "exits":
            raise source.choice(ENDING)
        if mode == "busy":
            raise ExportError("busy", retry_after_seconds=source.uniform(0.001, 0.2))
        if mode == "slow":
            self.released.wait(source.uniform(0.0, 0.3))
        elif mode.startswith("hangs"):
            self.released.wait(source.uniform(0.5, 3.0))
            if mode == "hangs_and_fails":
                raise TimeoutError("it never answered")
        if mode == "in_part":
            points = sum([len(metric.points) for metric in snapshot.metrics])
            taken = source.randrange(points + 1)
            self._take(snapshot, taken)
            raise ExportError("it has taken some", settled=taken)
        self._take(snapshot)

    def _take(self, snapshot: Snapshot, limit: int = 1 << 60) -> None:
        for metric in snapshot.metrics:
            for point in metric.points:
                if limit <= 0:
                    return
                limit -= 1
                if not metric.name.startswith("metrics_sdk."):  # its own, which are for people
                    self._book((metric.name, point.attributes), metric.kind, metric.temporality, point)

    def _book(self, key: Key, kind: str, temporality: str, point: Point) -> None:
        amount = amount_of(point)
        if kind == "gauge":
            self.last[key] = amount.sum
        elif temporality == "delta":
            before = self.added.get(key, NOTHING)
            self.added[key] = Amount(before.count + amount.count, before.sum + amount.sum)
        else:
            before = self.totals.get(key, NOTHING)
            if amount.count < before.count or (kind == "counter" and amount.sum < before.sum):
                self.broken.append(f"{self.name} was told {amount} of {key} after {before}")
            self.totals[key] = amount

    def shutdown(self) -> None:
        """Nothing is held."""

    def told(self) -> dict[Key, Amount]:
        """Return what all that it took in amounts to."""
        assert not set(self.totals) & set(self.added), "a series was told as totals and as deltas"
        return {**self.totals, **self.added}


def amount_of(point: Point) -> Amount:
    """Return the count of a histogram, 0 of other kinds, and the sum or value."""
    value: Any = point.value
    if isinstance(value, (int, float)):
        return Amount(0, value)
    counted = sum(value.bucket_counts) if hasattr(value, "bucket_counts") else counts_of(value)
    assert counted == value.count, f"buckets hold {counted} values, the histogram {value.count}"
    return Amount(value.count, value.sum)


def counts_of(value: Any) -> int:
    """Return how many values exponential buckets hold."""
    return int(value.zero_count + sum([count for _, count in (*value.positive, *value.negative)]))
