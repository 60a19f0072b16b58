"""Protocol Buffers' wire format, written by hand: what exporters need of it, in a fraction of the time that objects take.

Names, numbers and types of the fields are the business of who uses it. The source is "Encoding" in Protocol Buffers' own
documentation: a message is its fields one after another, each a tag and a value; the order of fields does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct, pack

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types

_DOUBLE = Struct("<d").pack
_SHORT = [bytes([number]) for number in range(128)]


def varint(number: int) -> bytes:
    """Return a whole number of 0 or more, or a negative one of 64 bits in two's complement."""
    if 0 <= number < 128:
        return _SHORT[number]
    if 0 <= number < 16384:
        return bytes((number & 127 | 128, number >> 7))
    number &= 0xFFFF_FFFF_FFFF_FFFF
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def zigzag(number: int) -> int:
    """Return a signed number as `sint32` and `sint64` have it: small ones stay small, whatever their sign."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def tag(number: int, wire_type: int) -> bytes:
    """Return what stands before a field's value."""
    return varint(number << 3 | wire_type)


def message(number: int, content: bytes) -> bytes:
    """Return a field that is a message, or bytes."""
    return tag(number, LENGTH) + varint(len(content)) + content


def text(number: int, value: str) -> bytes:
    """Return a field that is a text, nothing for an empty one. What cannot be encoded (lone surrogates) becomes "?"."""
    return message(number, value.encode("utf-8", "replace")) if value else b""


def whole(number: int, value: int) -> bytes:
    """Return a field that is a varint: int32, int64, uint32, uint64, bool, an enumeration; for sint, give it the zigzag."""
    return tag(number, VARINT) + varint(value)


def double(number: int, value: float) -> bytes:
    """Return a field that is a double."""
    return tag(number, FIXED64) + _DOUBLE(value)


def packed_varints(number: int, values: Iterable[int]) -> bytes:
    """Return a repeated field of varints."""
    return message(number, b"".join([_SHORT[value] if 0 <= value < 128 else varint(value) for value in values]))


def packed_doubles(number: int, values: Sequence[float]) -> bytes:
    """Return a repeated field of doubles."""
    return message(number, pack(f"<{len(values)}d", *values))


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message, by number, the values of fixed size as they are. Raises ValueError for what is none."""
    at = 0
    while at < len(content):
        key, at = _varint_at(content, at)
        value: int | bytes
        wire_type = key & 7
        if wire_type == VARINT:
            value, at = _varint_at(content, at)
        elif wire_type in (FIXED64, FIXED32, LENGTH):
            length = 8 if wire_type == FIXED64 else 4
            if wire_type == LENGTH:
                length, at = _varint_at(content, at)
            value = content[at : at + length]
            if len(value) < length:
                raise ValueError("a field that is longer than its message")
            at += length
        else:
            raise ValueError(f"a field of the unknown wire type {wire_type}")
        yield key >> 3, value


def _varint_at(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(content) and shift < 70:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise ValueError("a number that does not end")
