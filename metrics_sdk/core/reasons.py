"""Why a value was dropped: the fixed list that every drop is counted under."""

from __future__ import annotations

from typing import Final

INVALID_VALUE: Final = 0
NON_FINITE: Final = 1
NEGATIVE: Final = 2
AFTER_SHUTDOWN: Final = 3
BUFFER_FULL: Final = 4
INVALID_NAME: Final = 5
INSTRUMENT_LIMIT: Final = 6
REDECLARED: Final = 7
LATE: Final = 8
INVALID_TIMESTAMP: Final = 9
DISABLED: Final = 10
OBSERVABLE: Final = 11

#: The name of each reason, at the position of its constant.
#:
#: invalid_value: not a number, or one too large for a double; non_finite: NaN or an infinity; negative: a negative amount
#: for a monotonic counter; after_shutdown: recorded after `shutdown()`; buffer_full: a take was suspended for so long that
#: its cell reached its cap (interpreted core only), or the buffer for values with a timestamp was full;
#: invalid_name: `record()` was given a name that no instrument can have;
#: instrument_limit: `record()` was given a new name with `max_instruments` reached; redeclared: recorded under a
#: provisional histogram that was later declared as something else; late: its timestamp was older than
#: `allowed_lateness_seconds`; invalid_timestamp: not a time, or one further ahead than a minute; disabled: recorded while
#: the configuration had the instrument turned off; observable: `record()` was given the name of an observable instrument, whose
#: values come from its callback alone.
REASONS: Final = (
    "invalid_value",
    "non_finite",
    "negative",
    "after_shutdown",
    "buffer_full",
    "invalid_name",
    "instrument_limit",
    "redeclared",
    "late",
    "invalid_timestamp",
    "disabled",
    "observable",
)
