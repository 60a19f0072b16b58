"""The interval that a query asks for."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

_LONGEST = 1e12  # seconds: more than a double tells the parts of

Seconds = float | timedelta
Time = float | datetime


def interval(now: float, last: Seconds | None, since: Time | None, until: Time | None) -> tuple[float, float] | None:
    """Return the Unix seconds from when to when, infinities for open ends; None where nothing was said: of all time.

    Raises ValueError for what is no interval.
    """
    if last is not None:
        if since is not None or until is not None:
            raise ValueError("either last, or since and until, not both")
        seconds = last.total_seconds() if isinstance(last, timedelta) else last
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


def _time(name: str, time: Time) -> float:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError(f"{name} must be Unix seconds or a datetime with a time zone, not {time!r}: it has no time zone")
        return time.timestamp()
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) <= _LONGEST:
        raise ValueError(f"{name} must be Unix seconds or a datetime with a time zone, not {time!r}")
    return float(time)
