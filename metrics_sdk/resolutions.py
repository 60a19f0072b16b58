"""The widths of time windows: finer ones for what is new, coarser ones for what is older."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from metrics_sdk.errors import ConfigurationError


class Resolution(NamedTuple):
    """Windows of `width` seconds, kept for `span` seconds."""

    width: float
    span: float


class Ages:
    """Which resolution the time at some age has, when the open window begins at `now`: the same rule for all who ask."""

    def __init__(self, resolutions: Sequence[Resolution]) -> None:
        self.resolutions = resolutions

    def since(self, level: int, now: float) -> float:
        """Return the time from which on windows of this level are kept: they give way a whole coarser window at a time."""
        width = self.resolutions[min(level + 1, len(self.resolutions) - 1)].width
        return floor(now - self.resolutions[level].span, width)

    def width(self, time: float, now: float) -> float:
        """Return the width of the windows that there are at `time`, or would be if it were not too old."""
        for level, resolution in enumerate(self.resolutions):
            if time >= self.since(level, now):
                return resolution.width
        return self.resolutions[-1].width

    def aligned(self, time: float, now: float) -> float:
        """Return the start of the window that `time` lies in."""
        return floor(time, self.width(time, now))

    def end(self, time: float, now: float) -> float:
        """Return the end of the window that `time` lies in, `time` itself where one begins there."""
        start = self.aligned(time, now)
        return time if start == time else start + self.width(time, now)


def floor(time: float, width: float) -> float:
    """Return the last multiple of `width` that is not after `time`, always as the same number."""
    times = time / width
    return math.floor(times + 4 * math.ulp(times)) * width  # a multiple of a fraction such as 0.1 may be a little too low


def checked(name: str, given: object) -> tuple[Resolution, ...]:
    """Return `given` as resolutions. Raises ConfigurationError unless spans ascend, and each width divides what follows."""
    wrong = f"{name} must be a list of (width, span) in seconds, such as [(10, 600), (60, 7200)], not {given!r}"
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise ConfigurationError(wrong)
    made: list[Resolution] = []
    for one in given:
        if not isinstance(one, Sequence) or len(one) != 2:
            raise ConfigurationError(wrong)
        if any([isinstance(seconds, bool) or not isinstance(seconds, (int, float)) for seconds in one]):
            raise ConfigurationError(wrong)
        if not all([0 < seconds < math.inf for seconds in one]):
            raise ConfigurationError(f"{name} must have widths and spans that are positive numbers of seconds, not {one!r}")
        made.append(Resolution(*one))
    for number, (width, span) in enumerate(made):
        if not divides(width, span):
            raise ConfigurationError(f"{name}: a span must be a multiple of its width, not {span!r} of {width!r}")
        if number and (not divides(made[number - 1].width, width) or width == made[number - 1].width):
            raise ConfigurationError(
                f"{name}: a width must be a multiple of the one before, not {width!r} of {made[number - 1].width!r}"
            )
        if number and span <= made[number - 1].span:
            raise ConfigurationError(f"{name}: spans must ascend, not {made[number - 1].span!r}, {span!r}")
    return tuple(made)


def divides(part: float, whole: float) -> bool:
    """Tell whether `whole` is a multiple of `part`."""
    times = whole / part
    return times >= 1 and abs(times - round(times)) < 1e-9 * times
