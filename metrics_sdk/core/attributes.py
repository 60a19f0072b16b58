"""Attributes in normal form: what makes two attribute sets the same series.

Rules: order does not matter. `True`, `1`, `1.0` and `"1"` are four different values; a list and a tuple are one. Keys that are
not strings become strings. Any other value becomes its `str()`. Text that cannot be encoded as UTF-8 has the offending
characters replaced by "?", text over the limit is cut, an int beyond 64 bits becomes text. A list holds 128 items, and as much
text as a value may be, with the lists in it, four deep. What has no `str()` becomes "<unprintable>", a dict or set of more
than 128 items "<too large>". Whatever is left out or cut is counted.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping
from typing import Any, Final, final

_PACKAGE: Final = __name__.partition(".")[0] + "."

MAX_KEY_LENGTH: Final = 255
MAX_VALUE_LENGTH: Final = 4096
MAX_ATTRIBUTES: Final = 128
MAX_ITEMS: Final = 128

UNPRINTABLE: Final = "<unprintable>"
TOO_LARGE: Final = "<too large>"

_OWN_MODULES: Final = frozenset(("builtins", "collections", "array"))
_CONTAINERS: Final = frozenset((dict, list, tuple, set, frozenset))

#: Attributes, normal form: sorted by key, no key twice.
Pairs = tuple[tuple[str, Any], ...]

#: What stands in for attributes that cannot be read at all.
INVALID: Final[Pairs] = (("metrics_sdk.attributes", "invalid"),)

#: What series that have expired amount to, together: for queries and the accounting alone.
EXPIRED: Final[Pairs] = (("metrics_sdk.expired", True),)

#: The series that takes what comes after the limit, as OpenTelemetry names it.
OVERFLOW: Final[Pairs] = (("otel.metric.overflow", True),)


@final
class Cuts:
    """How often attributes were more than may be kept."""

    def __init__(self) -> None:
        self.count = 0


def normalise(attributes: object, cuts: Cuts | None = None) -> Pairs:
    """Return `attributes` (a mapping, or None) in normal form; `INVALID` for what is not readable. Never raises.

    `cuts` counts those of which something had to be left out.
    """
    if attributes is None or (type(attributes) is dict and not attributes):
        return ()
    found = Cuts() if cuts is None else cuts
    try:
        if type(attributes) is dict:
            given: dict[Any, Any] = attributes.copy()  # one C call: another thread may be changing it
        elif isinstance(attributes, Mapping):
            given = dict(attributes.items())
        else:
            return INVALID
        made: dict[str, Any] = {}
        for key, value in given.items():
            if len(made) >= MAX_ATTRIBUTES:
                found.count += 1
                break
            made[key if _is_plain(key, MAX_KEY_LENGTH) else text(key, MAX_KEY_LENGTH, found)] = (
                value if _is_plain(value, MAX_VALUE_LENGTH) else _value(value, found)
            )
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


def text(value: object, limit: int, cuts: Cuts | None = None) -> str:
    """Return `value` as text of at most `limit` characters that can be encoded."""
    try:
        kind = type(value)
        given: Any = value
        if kind is bytes or kind is bytearray:
            given = given[: limit + 1]  # what is cut off need not become text
        elif _is_large(given, kind):
            given = TOO_LARGE
            if cuts is not None:
                cuts.count += 1
        s: str = str.__str__(given) if issubclass(type(given), str) else str(given)
        if len(s) > limit:
            s = s[:limit]
            if cuts is not None:
                cuts.count += 1
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


def _value(value: object, cuts: Cuts) -> Any:
    kind = type(value)
    if kind is bool or (kind is float and value == value):
        return value
    number: Any = value
    if kind is int and -(2**63) <= number < 2**63:
        return value
    if kind is list or kind is tuple:
        room = Room()
        made = _items(number, 0, room)
        if room.cut:
            cuts.count += 1
        return made
    return text(value, MAX_VALUE_LENGTH, cuts)


@final
class Room:
    """What a list may still hold, with the lists in it."""

    def __init__(self) -> None:
        self.items = MAX_ITEMS
        self.characters = MAX_VALUE_LENGTH
        self.cut = False


def _items(values: Any, depth: int, room: Room) -> Any:
    made: list[Any] = []
    for value in values[: MAX_ITEMS + 1]:
        if room.items <= 0 or room.characters <= 0:
            room.cut = True
            break
        room.items -= 1
        kind = type(value)
        if (kind is list or kind is tuple) and depth < 3:
            made.append(_items(value, depth + 1, room))
        else:
            cuts = Cuts()
            item = text(value, MAX_VALUE_LENGTH, cuts) if kind in _CONTAINERS else _value(value, cuts)
            if type(item) is str:
                if len(item) > room.characters:
                    item = item[: room.characters]
                    cuts.count += 1
                room.characters -= len(item)
            room.cut = room.cut or cuts.count > 0
            made.append(item)
    return tuple(made)


def _is_large(value: Any, kind: Any) -> bool:
    """Tell whether it has more items than may be: a container of Python's own, or a class made of one.

    By the length of what is inside, for a class may have methods of its own.
    """
    if kind in _CONTAINERS:
        return _size(value, MAX_ITEMS, set()) > MAX_ITEMS
    for own in (dict, list, tuple, set, frozenset):
        if issubclass(kind, own):
            return bool(own.__len__(value) > MAX_ITEMS)
    if issubclass(kind, bytes):
        return bool(bytes.__len__(value) > MAX_VALUE_LENGTH)
    if type(kind) is type and kind.__module__ in _OWN_MODULES and hasattr(kind, "__len__") and not issubclass(kind, str):
        return len(value) > MAX_ITEMS
    return False


def _size(value: Any, limit: int, inside: set[int]) -> int:
    """Return how many items a container has, with those in it; more than `limit` is not counted to the end.

    `inside`: what it is in; a container that is in itself is not written again.
    """
    found = len(value)
    if found > limit or id(value) in inside:
        return int(found)
    inside.add(id(value))
    for one in [*value.keys(), *value.values()] if type(value) is dict else list(value):
        kind = type(one)
        if kind in _CONTAINERS:
            found += _size(one, limit - found, inside)
        elif kind is str or kind is bytes:
            found += len(one) // 32
        if found > limit:
            break
    inside.discard(id(value))
    return int(found)


def _tagged(value: object) -> object:
    if type(value) is tuple:
        return tuple([_tagged(item) for item in value])
    return (type(value), value)
