"""Names of metric families, with units as words.

The rules are those of OpenTelemetry's "Prometheus and OpenMetrics Compatibility": what Prometheus's legacy character set does
not know becomes `_`, runs of `_` collapse, the unit follows as a word and then, for counters, `_total`; each only if it is not
there already. Units `1` and `{…}` add nothing.
"""

from __future__ import annotations

import re

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9:]+")  # `_` too, so that its runs collapse
_NOT_IN_UNITS = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"\{[^}]*\}?")

# UCUM's case-sensitive codes. Decimal and binary multiples keep their own words: a rename would change the meaning.
_WORDS = {
    "": "",
    "1": "",
    "%": "percent",
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "µs": "microseconds",
    "ns": "nanoseconds",
    "bit": "bits",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "g": "grams",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "Cel": "celsius",
    "Hz": "hertz",
}

# What follows "per": singular, and `m` is read as a minute there, as OpenTelemetry's translator does.
_PER = {
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "wk": "week",
    "mo": "month",
    "y": "year",
    "a": "year",
}

# The way back: of several codes the first, of several divisors the last, which are UCUM's own.
_CODES = {words: code for code, words in reversed(_WORDS.items()) if words}
_DIVISORS = {word: code for code, word in _PER.items()}


def unit_words(unit: str) -> str:
    """Return a UCUM unit as words: "s" is "seconds", "By/s" is "bytes_per_second", "1" and "{request}" are "".

    What is not in the table is kept as far as the character set allows.
    """
    many, slash, one = _ANNOTATION.sub("", unit).partition("/")
    many = many.strip()
    one = one.strip()
    words = _WORDS[many] if many in _WORDS else _clean(many)
    divisor = _PER[one] if one in _PER else _clean(one)
    if slash and divisor:
        per = f"per_{divisor}"
        words = f"{words}_{per}" if words else per
    return words


def unit_of(words: str) -> str:
    """Return the UCUM unit whose words these are, "By/s" for "bytes_per_second". Words that are of no unit stay as they are."""
    many, per, one = words.partition("per_")
    many = many.rstrip("_")
    code = _CODES.get(many, many)
    if per:
        code = f"{code}/{_DIVISORS.get(one, one)}"
    return code if unit_words(code) == words else words


def family_name(name: str, words: str, is_counter: bool) -> str:
    """Return the name of the family that the instrument `name`, with its unit in `words`, belongs to.

    It is OpenMetrics' name of the family: a counter's samples have `_total` after it. Always valid, never empty.
    """
    made = _sanitised(name)
    if is_counter:
        made = _without_total(made)
    if words and made != words and not made.endswith(f"_{words}"):
        made = f"{made.rstrip('_')}_{words}"
        if is_counter:  # the unit itself may be called "total"
            made = _without_total(made)
    return made


def _sanitised(name: str) -> str:
    made = _NOT_IN_NAMES.sub("_", name)
    if made[:1].isdigit():
        made = f"_{made}"
    return made if made.strip("_") else "unnamed"


def _without_total(name: str) -> str:
    while name.endswith("_total"):
        name = name.removesuffix("_total").rstrip("_")
    return name or "unnamed"


def _clean(text: str) -> str:
    return _NOT_IN_UNITS.sub("_", text).strip("_")
