"""Names, keys and values made safe: nothing in them can end a field, a line, or begin another one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from .dialects import MAX_KEY_LENGTH, MAX_TEXT_LENGTH, Dialect

_DOTS = re.compile(r"\.{2,}")
_UNPRINTABLE = "unprintable"

SCOPE_TAG = "otel_scope_name"


def safe_name(dialect: Dialect, name: str) -> str:
    """Return the name of a metric; never empty. Dots in a row are one, since no part of a name is empty."""
    made = _DOTS.sub(".", dialect.not_in_names.sub("_", name))
    front = dialect.not_in_front.match(made)
    made = made[front.end() :] if front else made
    return made[: dialect.max_name_length].rstrip(".") or "unnamed"


@lru_cache(maxsize=8192)  # the same few texts, over and over
def _safe(pattern: re.Pattern[str], text: str, limit: int = MAX_TEXT_LENGTH) -> str:
    return pattern.sub("_", text[:limit]) or "_"


def text_of(value: object) -> str:
    """Return the text of an attribute's value: booleans in lower case, what is in a sequence with `_` in between."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "_".join([text_of(one) for one in value])
    try:
        return str(value)
    except Exception:  # resource values may be any object, and it may do anything when asked for its text
        return _UNPRINTABLE


def name_with(dialect: Dialect, name: str, attributes: Iterable[tuple[str, Any]]) -> str:
    """Return the name of a series where there are no tags: `name.key.value`, in the order of the keys."""
    parts = [name]
    for key, value in attributes:
        parts.append(_safe(dialect.not_in_keys, key, MAX_KEY_LENGTH))
        parts.append(_safe(dialect.not_in_values, text_of(value)))
    made = ".".join(parts)
    return f"{made}_" if made in dialect.refused_names else made


def tags_of(dialect: Dialect, attributes: Iterable[tuple[str, Any]], taken: Collection[str] = ()) -> list[str]:
    """Return `key:value` of each, at most `MAX_TEXT_LENGTH` characters long.

    A key that is `taken`, or the receiver's own, gets `exported_` before it: no attribute passes for a word on the process.
    """
    made = []
    for key, value in attributes:
        safe_key = _safe(dialect.not_in_keys, key, MAX_KEY_LENGTH)
        if safe_key in dialect.refused_keys or safe_key in taken:
            safe_key = f"exported_{safe_key}"
        made.append(f"{safe_key}:{_safe(dialect.not_in_values, text_of(value))}"[:MAX_TEXT_LENGTH])
    return made


def constant_tags(
    dialect: Dialect, resource: Mapping[str, Any], resource_tags: Mapping[str, str], tags: Mapping[str, Any]
) -> dict[str, str]:
    """Return the tags of every line, by their keys: those given over those of the resource."""
    chosen: dict[str, Any] = {tag: resource[key] for key, tag in resource_tags.items() if key in resource}
    chosen.update(tags)
    made = {}
    for key, value in chosen.items():
        safe_key = _safe(dialect.not_in_keys, key, MAX_KEY_LENGTH)
        made[safe_key] = f"{safe_key}:{_safe(dialect.not_in_values, text_of(value))}"[:MAX_TEXT_LENGTH]
    return made
