"""What an instrument, or a stream, may be called, and how anything becomes text."""

from __future__ import annotations

import re

from metrics_sdk.core.attributes import text

RESERVED = "metrics_sdk."
MAX_NAME_LENGTH = 255

_SYNTAX = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}\Z")


def has_syntax(name: object) -> bool:
    """Tell whether it is a name by OpenTelemetry's metrics API specification, "Instrument name syntax"."""
    return isinstance(name, str) and _SYNTAX.match(name) is not None


def is_name(name: object) -> bool:
    """Tell whether it is one that is not reserved for the SDK's own metrics."""
    return isinstance(name, str) and has_syntax(name) and not name.lower().startswith(RESERVED)


def as_text(value: object, limit: int) -> str:
    """Return `value` as text of at most `limit` characters that can be encoded; "" for None. Never raises."""
    return "" if value is None else text(value, limit)
