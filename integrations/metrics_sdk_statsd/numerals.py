"""Numbers as text that every receiver reads the same way.

No exponents: the reference server reads the rate `1e-05` as 1, and receivers with parsers of their own know digits and a point.
"""

from __future__ import annotations

import math
from decimal import Decimal


class Unfit(ValueError):  # noqa: N818 - it is no fault of the program
    """Something that has no text in the protocol; says why."""


def number(value: float) -> str:
    """Return `value` in digits, exactly: what reads it as a double gets the same one. Raises Unfit for what is not finite."""
    try:
        double = float(value)
    except (OverflowError, TypeError, ValueError):
        raise Unfit("not a number that fits in 64 bits of floating point") from None
    if isinstance(value, (str, bytes)):
        raise Unfit("a text, not a number")
    if not math.isfinite(double):
        raise Unfit("not a finite number")
    if type(value) is int:
        return str(value)
    if double.is_integer() and abs(double) < 1e16:
        return str(int(double))  # neither `.0` nor `-0`, which would be a change by nothing to a gauge of plain StatsD
    text = repr(double)
    return format(Decimal(text), "f") if "e" in text else text


def rate(weight: int) -> str:
    """Return the sample rate of a line that stands for `weight` values, which has to be one that `writable` returns."""
    return number(1.0 / weight)


def writable(weight: int) -> int:
    """Return the largest number up to `weight` (at least 1) that a sample rate can say.

    Receivers take 1 / rate for the count; some add it up as it is, Datadog's agent cuts it to a whole number. About one number
    in eight, 49 is the first, is not the reciprocal of any double, so that it would come out as less or more than it is.
    """
    while 1.0 / (1.0 / weight) != weight:
        weight -= 1
    return weight
