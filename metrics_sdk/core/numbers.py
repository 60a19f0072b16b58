"""Which values can be recorded, and what double they stand for."""

from __future__ import annotations

import sys
from typing import Any, Final

from metrics_sdk.core.attributes import raised_by_signal_handler

# By module and class. None can exist where its module was never imported, so none is imported here.
_OTHERS: Final = (("decimal", "Decimal"), ("fractions", "Fraction"))
_NUMPYS: Final = ("integer", "floating", "bool_")
_NO_NUMBER: Final = "timedelta64"  # a subclass of NumPy's integers all the same


def to_float(value: object) -> float | None:
    """Return `value` as a double, None for what is not a number or too large.

    Numbers are int, float, bool, Decimal, Fraction and NumPy's real scalars. A closed list, on purpose: `float()` of any
    other class would run foreign code, and so would asking an object for its class. Of a subclass of int or float it is the
    number inside that counts, whatever its methods say.
    """
    kind = type(value)
    number: Any = value
    try:
        if issubclass(kind, float):
            return float.__float__(number)
        if issubclass(kind, int):
            return int.__float__(number)
        if _is_other(kind):
            return float(number)
    except (TypeError, ValueError, ArithmeticError) as error:
        if raised_by_signal_handler(error):
            raise
        return None
    return None


def _is_other(kind: Any) -> bool:
    for module_name, name in _OTHERS:  # a subclass could have methods of its own
        module = sys.modules.get(module_name)
        if module is not None and kind is getattr(module, name, None):
            return True
    numpy = sys.modules.get("numpy")
    if numpy is None or type(kind) is not type or kind.__module__ != "numpy":
        return False
    bases = kind.__mro__  # of a class that is not made by a class of somebody's
    found = [getattr(numpy, name, None) for name in _NUMPYS]
    return any([one in bases for one in found]) and getattr(numpy, _NO_NUMBER, None) is not kind
