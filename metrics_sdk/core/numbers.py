"""Which values can be recorded, and what double they stand for."""

from __future__ import annotations

import sys
from typing import Final

# By module and class. None can exist where its module was never imported, so none is imported here.
_OTHERS: Final = (("decimal", ("Decimal",)), ("fractions", ("Fraction",)), ("numpy", ("number", "bool_")))


def to_float(value: object) -> float | None:
    """Return `value` as a double, None for what is not a number or too large.

    Numbers are int, float, bool, Decimal, Fraction and NumPy's scalars. A closed list, on purpose: `float()` of any
    other class would run foreign code.
    """
    try:
        if isinstance(value, (int, float)) or _is_other(value):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return None


def _is_other(value: object) -> bool:
    for module_name, classes in _OTHERS:
        module = sys.modules.get(module_name)
        if module is not None:
            for name in classes:
                number = getattr(module, name, None)
                # NumPy's scalars are subclasses of these; of the others a subclass could have methods of its own.
                if number is not None and (isinstance(value, number) if module_name == "numpy" else type(value) is number):
                    return True
    return False
