"""Long work in slices that give the host its turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import sleep
from typing import TypeVar

from metrics_sdk.clock import perf_counter

T = TypeVar("T")

# Neither compiled nor interpreted code gives up the GIL before the switch interval (5 ms): so work is done in slices of
# half a millisecond, each followed by an offer of the GIL.
SLICE_SECONDS = 0.00045


def in_slices(items: Iterable[T], looking_every: int = 16) -> Iterator[T]:
    """Yield the items; the work that is done with them is interrupted by an offer of the GIL every half millisecond.

    `looking_every`: so many items take a few microseconds; then the clock is looked at.
    """
    end = perf_counter() + SLICE_SECONDS
    for number, item in enumerate(items):
        yield item
        if not number % looking_every and perf_counter() > end:
            sleep(0)
            end = perf_counter() + SLICE_SECONDS
