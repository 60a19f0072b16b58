"""Bytes as choices: whatever an engine comes up with is a sequence of hostile names, values and attributes."""

from __future__ import annotations

import decimal
import fractions
import math
from typing import Any

#: What ends fields, lines and strings in the formats that are spoken, or begins something else there.
TEXTS = (
    *("", " ", "a", "A", "b", "\\", '"', "\n", "\\n", '\\"', "\r\n", "\x00", "\x1b[2J", "\u2028\u2029\x85\x0b\x0c\x1c"),
    *("\u202eevil\u202c", "\ud800", "a\udfffb", "😀", "é", "{}=,#", "|", ":", "@", ",", ";", "%s%n%(x)s%", " # {} 1", "# EOF"),
    *(
        '"} 1\nforged{x="y"} 2\n# EOF\n',
        "\r\n# TYPE forged counter\r\nforged_total 1",
        "x:1|c\nforged:9|g",
        "|@0.001|#host:evil",
    ),
    *(
        "le",
        "quantile",
        "__name__",
        "job",
        "instance",
        "host",
        "otel_scope_name",
        "error.type",
        "service.name",
        "a.b",
        "a_b",
        "a-b",
    ),
    *(
        "_e{5,4}:title|text",
        "_sc|check|0",
        "otel.metric.overflow",
        "metrics_sdk.",
        "constructor",
        "\\" * 9 + '"',
        "1",
        "true",
        "nan",
    ),
)
UNITS = ("", "s", "ms", "1", "By", "{request}", "By/s", "total", "%", "a\nforged 1", "x|y:z", "\x00", "#", '"', "}" * 5)
NAMES = (
    "a",
    "A",
    "a.b",
    "a_b",
    "a-b",
    "a/b",
    "a_total",
    "a_count",
    "a_bucket",
    "a_created",
    "b",
    "a_seconds",
    "target",
    "target_info",
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 0.1, -0.0, 1e308, -1e308, 5e-324, 2.0**-1022, 1e16, 1e-7, 2**53, 2**63 - 1, -(2**63), 2**63, 2**64, 10**400),
    *(math.nan, math.inf, -math.inf, True, False, None, "abc", b"1", "1", 1j, object(), [], (), {}, ...),
    *(
        decimal.Decimal("1.5"),
        decimal.Decimal("sNaN"),
        decimal.Decimal("1e999"),
        fractions.Fraction(1, 3),
        fractions.Fraction(10**400),
    ),
)


class Raising:
    """Has no text, no hash and no equal."""

    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal of me")

    def __hash__(self) -> int:
        raise RuntimeError("no hash of me")

    __repr__ = __str__


class Key:
    """Has a text, and nothing else that works."""

    def __str__(self) -> str:
        return "key"

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal of me")

    def __hash__(self) -> int:
        return 1


class Source:
    """Gives one choice after another; when there are no bytes left, the first of what there is."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def take(self, most: int) -> bytes:
        """Return up to so many bytes."""
        taken = self._data[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(self.left)

    def below(self, limit: int) -> int:
        """Return a whole number from 0 to `limit - 1`."""
        return int.from_bytes(self.take(1 if limit <= 256 else 8), "little") % limit

    def one_of(self, choices: Any) -> Any:
        """Return one of them."""
        return choices[self.below(len(choices))]

    def text(self) -> str:
        """Return a text: one of the known ones, several of them, or anything."""
        how = self.below(4)
        if how < 2:
            return str(self.one_of(TEXTS))
        if how == 2:
            return "".join([self.one_of(TEXTS) for _ in range(self.below(4))])
        return self.take(self.below(24)).decode(self.one_of(("utf-8", "latin-1", "utf-16-le")), "replace")

    def name(self) -> Any:
        """Return the name of an instrument, which need not be one that can be."""
        how = self.below(8)
        if how < 4:
            return self.one_of(NAMES)
        if how == 4:
            return f"n{self.below(6)}"
        if how == 5:
            return self.one_of((None, 1, b"a", Raising(), "a" * 300))
        return f"a{self.text()}" if how == 6 else self.text()

    def number(self) -> Any:
        """Return a value to record, or what is none."""
        how = self.below(4)
        if how == 0:
            return self.one_of(NUMBERS)
        if how == 1:
            return self.below(100)
        if how == 2:
            return int.from_bytes(self.take(8), "little", signed=True)
        mantissa = int.from_bytes(self.take(4), "little", signed=True)
        return math.ldexp(float(mantissa), self.below(256) - 128)

    def value(self, depth: int = 0) -> Any:
        """Return the value of an attribute."""
        how = self.below(8)
        if how < 4:
            return self.text()
        if how == 4:
            return self.number()
        if how == 5 and depth < 3:
            made = [self.value(depth + 1) for _ in range(self.below(4))]
            return tuple(made) if self.below(2) else made
        if how == 6 and depth < 3:
            endless: list[Any] = [self.value(depth + 1)]
            endless.append(endless)
            return self.one_of((endless, {"a": endless}, Raising(), Key(), {1, 2}, bytearray(b"x")))
        return self.below(3)

    def attributes(self) -> Any:
        """Return attributes, or what is none."""
        how = self.below(16)
        if how == 0:
            return None
        if how == 1:
            return self.one_of(
                ("text", 5, [("a", 1)], object(), Raising(), {}, {Key(): 1, "a": 2}, {None: 1, 2: b"x", b"k": 3})
            )
        return {self.text(): self.value() for _ in range(self.below(5))}

    def mapping(self) -> dict[str, Any]:
        """Return a mapping with keys that are texts, as a resource is."""
        return {self.text(): self.value() for _ in range(self.below(4))}
