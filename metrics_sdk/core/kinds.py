"""The kinds of instrument, as data: a new kind is a row here and a class with its verb in `instruments`."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr


@final
@mypyc_attr(acyclic=True)
class Kind:
    """What sets one kind of instrument apart.

    `aggregation`, what it has by default, is "sum", "last_value" or "histogram"; a `monotonic` one takes no negative amounts;
    an `observable` instrument is read by calling back instead of being recorded into.
    """

    def __init__(self, name: str, aggregation: str, monotonic: bool, observable: bool) -> None:
        self.name: Final = name
        self.aggregation: Final = aggregation
        self.monotonic: Final = monotonic
        self.observable: Final = observable

    def __repr__(self) -> str:
        return self.name


COUNTER: Final = Kind("counter", "sum", True, False)
UP_DOWN_COUNTER: Final = Kind("up_down_counter", "sum", False, False)
GAUGE: Final = Kind("gauge", "last_value", False, False)
HISTOGRAM: Final = Kind("histogram", "histogram", False, False)
POSITIVE_HISTOGRAM: Final = Kind("histogram", "histogram", True, False)  # OpenTelemetry's takes no negative amounts
OBSERVABLE_COUNTER: Final = Kind("observable_counter", "sum", True, True)
OBSERVABLE_UP_DOWN_COUNTER: Final = Kind("observable_up_down_counter", "sum", False, True)
OBSERVABLE_GAUGE: Final = Kind("observable_gauge", "last_value", False, True)

#: All of them.
BY_NAME: Final = {
    kind.name: kind
    for kind in (
        COUNTER,
        UP_DOWN_COUNTER,
        GAUGE,
        HISTOGRAM,
        OBSERVABLE_COUNTER,
        OBSERVABLE_UP_DOWN_COUNTER,
        OBSERVABLE_GAUGE,
    )
}
