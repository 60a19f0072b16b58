"""What nothing in Python can be cheaper than: the figures that ours are multiples of."""

from __future__ import annotations

from harness import Case


def _empty() -> None:
    pass


def floors() -> list[Case]:
    """Return the floors: the price of the loop, of a C call, of a Python call, of keeping a value."""
    kept: list[float] = []
    return [
        Case("empty loop", "pass", {}),
        Case("abs(.3)", "abs(.3)", {}),
        Case("empty function", "empty()", {"empty": _empty}),
        Case("list.append", "kept.append(.3)", {"kept": kept}, before="kept.clear()"),
    ]
