"""Numbers as text."""

from __future__ import annotations

import math

# Beyond it readers fail with "value out of range", and one number would cost the whole scrape.
_LARGEST = 1 << 1023


def number(value: float) -> str:
    """Return the text of a sample's value: what reads back as the very same number; infinities and NaN as Go writes them."""
    kind = type(value)
    if kind is float:
        text = repr(value)
        # The last character is a digit except in "inf" and "nan".
        return text if text[-1] <= "9" else _special(value)
    if kind is int and -_LARGEST < value < _LARGEST:
        return repr(value)
    return _special(value)


def _special(value: float) -> str:
    try:
        value = float(value)
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def bound(value: float) -> str:
    """Return the text of a bucket's upper bound: "0.5", "1.0", "1e+06".

    OpenMetrics 1.0 ("Canonical Numbers") wants one form for one number, Go's: an exponent from a million on.
    Both formats get it, so that a series is the same whichever format it was scraped in.
    """
    text = repr(float(value))
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text)
    dot = digits.find(".")
    if dot > 6:
        mantissa = f"{digits[0]}.{digits[1:dot]}{digits[dot + 1 :]}".rstrip("0").rstrip(".")
        return f"{sign}{mantissa}e+{dot - 1:02d}"
    return text


def as_double(value: float) -> float:
    """Return the double that is nearest to `value`, an infinity if none is near; every NaN as the same one.

    For one of all NaN means something to Prometheus: that the series has ended.
    """
    try:
        made = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return math.nan if made != made else made
