"""Which values can be recorded, and what double they stand for."""

from __future__ import annotations

import sys
from decimal import Decimal
from fractions import Fraction


def to_float(value: object) -> float | None:
    """Return `value` as a double, None for what is not a number or too large.

    Numbers are int, float, bool, Decimal, Fraction and NumPy's scalars. A closed list, on purpose: `float()` of any
    other class would run foreign code.
    """
    try:
        if isinstance(value, (int, float)) or type(value) is Decimal or type(value) is Fraction or _is_numpy(value):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return None


def _is_numpy(value: object) -> bool:
    numpy = sys.modules.get("numpy")  # a NumPy scalar cannot exist where NumPy was never imported
    return numpy is not None and isinstance(value, (numpy.number, numpy.bool_))
