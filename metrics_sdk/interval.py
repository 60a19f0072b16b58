"""The interval that a query asks for."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_LONGEST = 1e12  # seconds: more than a double tells the parts of

Seconds: TypeAlias = "float | timedelta"
Time: TypeAlias = "float | datetime"


def is_a(kind: str, one: object) -> bool:
    """Tell whether `one` is a `datetime.datetime` or `timedelta`, whichever `kind` names.

    Who has one has imported that module, which this package does not: in an isolated subinterpreter of CPython 3.12.1
    that may end the process.
    """
    known: Any = sys.modules.get("datetime")
    return known is not None and isinstance(one, getattr(known, kind))


def interval(now: float, last: Seconds | None, since: Time | None, until: Time | None) -> tuple[float, float] | None:
    """Return the Unix seconds from when to when, infinities for open ends; None where nothing was said: of all time.

    Raises ValueError for what is no interval.
    """
    if last is not None:
        if since is not None or until is not None:
            raise ValueError("either last, or since and until, not both")
        seconds: Any = last
        if is_a("timedelta", last):
            seconds = seconds.total_seconds()
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST:
            raise ValueError(f"last must be a positive number of seconds, or a timedelta, not {last!r}")
        return now - seconds, math.inf
    if since is None and until is None:
        return None
    start = -math.inf if since is None else _time("since", since)
    end = math.inf if until is None else _time("until", until)
    if not start < end:
        raise ValueError(f"since must be before until, not since={since!r}, until={until!r}")
    return start, end


def _time(name: str, time: Any) -> float:
    if is_a("datetime", time):
        if time.tzinfo is None:
            raise ValueError(f"{name} must be Unix seconds or a datetime with a time zone, not {time!r}: it has no time zone")
        return float(time.timestamp())
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) <= _LONGEST:
        raise ValueError(f"{name} must be Unix seconds or a datetime with a time zone, not {time!r}")
    return float(time)
