"""What became of the values that were handed in."""

from __future__ import annotations

from typing import final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.reasons import BUFFER_FULL, REASONS
from metrics_sdk.core.series import Series

if COMPILED:
    from mypy_extensions import i64


@final
@mypyc_attr(acyclic=True)
class Account:
    """Sums over series. When nothing is under way, `received == merged + sum(dropped) + pending`.

    `dropped` is by position in `REASONS`. `contended`: records that found their cell taken and were appended.
    """

    def __init__(self, points: dict[Series, int] | None = None) -> None:
        """`points`: how many points wait for each series."""
        self.points = {} if points is None else points
        self.received: i64 = 0
        self.merged: i64 = 0
        self.pending: i64 = 0
        self.contended: i64 = 0
        self.dropped: list[int] = [0] * len(REASONS)

    def add(self, many: list[Series]) -> None:
        """Add what became of the values of `many` series.

        Compiled cells count what they take in on their own, so that comparing this with what was merged proves something.
        Interpreted ones have no such counter: there it is the sum of what became of the values, and the tests keep the count.
        """
        for series in many:
            state = series.current()
            pending: i64 = self.points.get(series, 0)
            accepted: i64 = pending + state.inherited
            if state.points is not None:
                accepted += state.points.count
            dropped: i64 = 0
            excess: i64 = 0
            for cell in series.cell.parts():
                accepted += cell.accepted()
                pending += cell.pending_count()
                excess += cell.excess()
                self.contended += cell.contended_count()
            for reason, count in enumerate(state.drops):
                self.dropped[reason] += int(count)
                dropped += count
            self.dropped[BUFFER_FULL] += int(excess)
            dropped += excess
            self.merged += state.merged
            self.pending += pending
            self.received += dropped + (accepted if COMPILED else state.merged + pending)
