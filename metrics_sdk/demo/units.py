"""Numbers as people read them: 1.23 ms, 34.1 KiB, 56 %."""

from __future__ import annotations

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_TIMES = ((" ns", 1e-9), (" µs", 1e-6), (" ms", 1e-3), (" s", 1.0))
_SIZES = ((" B", 1.0), (" KiB", 2.0**10), (" MiB", 2.0**20), (" GiB", 2.0**30), (" TiB", 2.0**40))
_COUNTS = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))

#: Whole numbers up to here are written out.
_WRITTEN_OUT = 99_999


def human(value: float | None, unit: str = "") -> str:
    """Return `value`, which is in `unit`, with three significant digits and a unit of fitting size; "" for None.

    Units are UCUM's: times, "By" for bytes, "1" for a share (shown in percent), "{something}" for a count of things.
    """
    if value is None:
        return ""
    if value < 0:
        return "-" + human(-value, unit)
    if unit in _SECONDS:
        return _scaled(value * _SECONDS[unit], _TIMES) if value else "0 s"
    if unit == "By":
        return _scaled(value, _SIZES)
    if unit in ("1", "%"):
        return _digits(value * 100 if unit == "1" else value) + " %"
    suffix = "" if not unit or unit.startswith("{") else " " + unit
    if value == int(value) and value <= _WRITTEN_OUT:
        return f"{int(value):,}{suffix}"
    return _scaled(value, _COUNTS) + suffix


def human_rate(value: float | None, unit: str = "") -> str:
    """Return `value` as so much per second."""
    return "" if value is None else human(value, unit) + "/s"


def _scaled(value: float, scale: tuple[tuple[str, float], ...]) -> str:
    # 999.5 would be shown as 1000: from there on the next unit is shorter.
    name, size = next((step for step in scale if value / step[1] < 999.5), scale[-1])
    return _digits(value / size) + name


def _digits(value: float) -> str:
    if value == int(value) or value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.2g}"
