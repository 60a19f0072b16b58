"""A clock whose wall time jumps."""

from __future__ import annotations

import time
from random import Random

DAY = 86_400.0


class JumpingClock:
    """The machine's clocks, with a wall clock that somebody sets. Where it is set to is always near one of a few times.

    Nobody would keep a clock going back and forth for half an hour; what is bounded by age has to be bounded all the same.
    """

    PLACES = (0.0, -DAY, -1.5, 1.5, 3600.0, 3650 * DAY)

    def __init__(self) -> None:
        self.offset = 0.0
        self.jumps = 0

    def time(self) -> float:
        """Return Unix seconds, as somebody has set them."""
        return time.time() + self.offset

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def jump(self, source: Random) -> None:
        """Set the wall clock; every other time back to where it belongs."""
        self.offset = 0.0 if self.offset else source.choice(self.PLACES[1:])
        self.jumps += 1
