"""Attributes in normal form: what makes two attribute sets the same series.

Rules: order does not matter. `True`, `1`, `1.0` and `"1"` are four different values; a list and a tuple are one. Keys that are
not strings become strings. Any other value becomes its `str()`. Text that cannot be encoded as UTF-8 has the offending
characters replaced by "?", text over the limit is cut, an int beyond 64 bits becomes text. What has no
`str()` becomes "<unprintable>".
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping
from typing import Any, Final

_PACKAGE: Final = __name__.partition(".")[0] + "."

MAX_KEY_LENGTH: Final = 255
MAX_VALUE_LENGTH: Final = 4096
MAX_ATTRIBUTES: Final = 128

UNPRINTABLE: Final = "<unprintable>"

#: Attributes, normal form: sorted by key, no key twice.
Pairs = tuple[tuple[str, Any], ...]

#: What stands in for attributes that cannot be read at all.
INVALID: Final[Pairs] = (("metrics_sdk.attributes", "invalid"),)

#: What series that have expired amount to, together: for queries and the accounting alone.
EXPIRED: Final[Pairs] = (("metrics_sdk.expired", True),)

#: The series that takes what comes after the limit, as OpenTelemetry names it.
OVERFLOW: Final[Pairs] = (("otel.metric.overflow", True),)


def normalise(attributes: object) -> Pairs:
    """Return `attributes` (a mapping, or None) in normal form; `INVALID` for what is not readable. Never raises."""
    if attributes is None or (type(attributes) is dict and not attributes):
        return ()
    try:
        if type(attributes) is dict:
            given: dict[Any, Any] = attributes.copy()  # one C call: another thread may be changing it
        elif isinstance(attributes, Mapping):
            given = dict(attributes.items())
        else:
            return INVALID
        made: dict[str, Any] = {}
        for key, value in given.items():
            made[key if _is_plain(key, MAX_KEY_LENGTH) else text(key, MAX_KEY_LENGTH)] = (
                value if _is_plain(value, MAX_VALUE_LENGTH) else _value(value, 0)
            )
            if len(made) >= MAX_ATTRIBUTES:
                break
    except Exception as error:
        if raised_by_signal_handler(error):
            raise
        return INVALID
    return tuple(sorted(made.items(), key=_first))


def identity(pairs: Pairs) -> object:
    """Return the dictionary key of a normal form, which tells `1`, `1.0` and `True` apart."""
    for _key, value in pairs:
        if type(value) is not str and type(value) is not int:
            return tuple([(key, _tagged(value)) for key, value in pairs])
    return pairs


def text(value: object, limit: int) -> str:
    """Return `value` as text of at most `limit` characters that can be encoded."""
    try:
        s = str.__str__(value) if isinstance(value, str) else str(value)
        s = s if len(s) <= limit else s[:limit]
        if s.isascii():
            return s
        encodable = s.encode("utf-8", "replace").decode()
        return s if encodable == s else encodable
    except Exception as error:
        if raised_by_signal_handler(error):
            raise
        return UNPRINTABLE


def raised_by_signal_handler(error: BaseException) -> bool:
    """Tell whether `error` came out of a signal handler that happened to run: it belongs to the host."""
    trace = error.__traceback__
    if trace is None or (trace.tb_next is None and str(trace.tb_frame.f_globals.get("__name__")).startswith(_PACKAGE)):
        return False  # raised by ourselves: asking for the handlers takes 85 µs
    handlers = handler_codes()
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def handler_codes() -> set[Any]:
    """Return the code objects of all signal handlers."""
    return {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}


def _code(handler: Any) -> Any:
    while isinstance(handler, functools.partial):
        handler = handler.func
    method = handler if hasattr(handler, "__code__") else type(handler).__call__ if callable(handler) else None
    return getattr(method, "__code__", None)


def _first(item: tuple[str, Any]) -> str:
    return item[0]


def _is_plain(value: object, limit: int) -> bool:
    return type(value) is str and len(value) <= limit and value.isascii()


def _value(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is bool or (kind is float and value == value):
        return value
    if isinstance(value, int) and kind is int and -(2**63) <= value < 2**63:
        return value
    if (kind is list or kind is tuple) and depth < 4:
        items: Any = value
        return tuple([_value(item, depth + 1) for item in items[:MAX_ATTRIBUTES]])
    return text(value, MAX_VALUE_LENGTH)


def _tagged(value: object) -> object:
    if type(value) is tuple:
        return tuple([_tagged(item) for item in value])
    return (type(value), value)
