"""Which series a query means, and how their answers are grouped: the same for the process and for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metrics_sdk.core.attributes import Pairs, identity, normalise

#: What attributes must have, each pair as what tells 1, 1.0 and True apart; None: anything; empty: no attributes at all.
Tags = frozenset[object] | None


def tags_of(attributes: object) -> Tags:
    """Return what the attributes of a query ask for. Raises ValueError for what is no mapping."""
    if attributes is None:
        return None
    if not isinstance(attributes, Mapping):
        raise ValueError(f"attributes are a mapping, such as {{'route': '/cart'}}, not {attributes!r}")
    return _tags(normalise(attributes))


def includes(pairs: Pairs, tags: Tags) -> bool:
    """Tell whether the attributes of a series are among those that are asked for."""
    if tags is None:
        return True
    return tags <= _tags(pairs) if tags else not pairs


def _tags(pairs: Pairs) -> frozenset[object]:
    return frozenset([identity((pair,)) for pair in pairs])


def checked_keys(keys: Sequence[str]) -> Sequence[str]:
    """Return the keys to group by. Raises ValueError unless there are some, and all are names."""
    if not keys or not all([isinstance(key, str) for key in keys]):
        raise ValueError(f"query_by() needs the names of the attributes to tell apart, not {keys!r}")
    return keys


def group_of(pairs: Pairs, keys: Sequence[str]) -> Any:
    """Return the group of a series: the value of one key, or the tuple of those of several; None: no such attribute."""
    values = dict(pairs)
    found = tuple([values.get(key) for key in keys])
    return found[0] if len(keys) == 1 else found
