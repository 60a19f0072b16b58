"""The dialects, one row each, and what may stand in their texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from metrics_sdk.errors import ConfigurationError

#: So many characters of a value, or of a whole tag, are sent: Datadog's limit.
MAX_TEXT_LENGTH = 200

#: And of a key, so that there is always room for a value.
MAX_KEY_LENGTH = 100


class Dialect(NamedTuple):
    """How a dialect differs from the others.

    `not_in_names`, `not_in_keys`, `not_in_values`: what becomes `_`. `not_in_front`: what no name begins with, it is dropped.
    `max_name_length`: characters of prefix and name. `refused_names`, `refused_keys`: what receivers take for something else.
    `has_tags`: whether attributes are tags; otherwise they are in the name. `timer`: the type of a histogram's lines, of which
    there are at most `max_samples` for each series. `weighs`: whether the server takes a line's rate into account for
    percentiles. `in_milliseconds`: whether times are converted. `signs_are_changes`: whether a gauge with a sign is relative;
    then a timer can't have one either.
    """

    name: str
    not_in_names: re.Pattern[str]
    not_in_front: re.Pattern[str]
    not_in_keys: re.Pattern[str]
    not_in_values: re.Pattern[str]
    max_name_length: int
    refused_names: frozenset[str]
    refused_keys: frozenset[str]
    has_tags: bool
    timer: str
    max_samples: int
    weighs: bool
    in_milliseconds: bool
    signs_are_changes: bool


# What every object has in JavaScript: the reference server keeps its metrics in objects, and a timer of this name ends it.
_OF_EVERY_OBJECT = frozenset(
    (
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"),
        *("__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    )
)

# Datadog's agent takes these tags for itself: `host` would move the series to another host (`extractTagsMetadata`).
_OF_THE_AGENT = frozenset(("host", "jmx_check_name", "dd.internal.entity_id", "dd.internal.card", "dd.internal.jmx_check_name"))

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        row.name: row
        for row in (
            Dialect(
                name="statsd",
                not_in_names=re.compile(r"[^a-zA-Z0-9_.\-]"),  # `;` and `=` are tags to Graphite, `/` becomes `-`
                not_in_front=re.compile(r"\.+"),
                not_in_keys=re.compile(r"[^a-zA-Z0-9_\-]"),
                not_in_values=re.compile(r"[^a-zA-Z0-9_\-]"),
                max_name_length=255,  # Graphite keeps each part of a name as the name of a file
                refused_names=_OF_EVERY_OBJECT,
                refused_keys=frozenset(),
                has_tags=False,
                timer="ms",
                max_samples=256,  # by the reference server's lights: its percentiles are by line, and some 40 bytes each
                weighs=False,
                in_milliseconds=True,
                signs_are_changes=True,
            ),
            Dialect(
                name="dogstatsd",
                not_in_names=re.compile(r"[^a-zA-Z0-9_.]"),  # Datadog, "What is a custom metric?", "Naming custom metrics"
                not_in_front=re.compile(r"[^a-zA-Z]+"),  # besides, `_e{` is an event and `_sc` a check
                not_in_keys=re.compile(r"[^\w\-./]"),  # Datadog, "Getting Started with Tags", "Define tags"
                not_in_values=re.compile(r"[^\w\-./:]"),
                max_name_length=200,
                refused_names=frozenset(),
                refused_keys=_OF_THE_AGENT,
                has_tags=True,
                timer="d",
                max_samples=128,  # of some 200 bytes each
                weighs=True,
                in_milliseconds=False,
                signs_are_changes=False,
            ),
        )
    }
)

#: What of the resource becomes which tag; those of one's own may be given instead. `service`, `env` and `version` are
#: Datadog's unified service tags. Not `host`: the agent adds its own, and this one would overrule it.
RESOURCE_TAGS: Mapping[str, str] = MappingProxyType(
    {
        "service.name": "service",
        "deployment.environment": "env",  # as it was called before
        "deployment.environment.name": "env",
        "service.version": "version",
        "service.instance.id": "instance",
        "host.name": "host.name",
        "process.pid": "process.pid",
        "telemetry.sdk.name": "telemetry.sdk.name",
        "telemetry.sdk.version": "telemetry.sdk.version",
    }
)

# What a value is multiplied with and divided by, to be milliseconds, by the unit it is in: UCUM's codes.
MILLISECONDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "ns": (1, 1_000_000),
        "us": (1, 1000),
        "µs": (1, 1000),
        "ms": (1, 1),
        "s": (1000, 1),
        "min": (60_000, 1),
        "h": (3_600_000, 1),
        "d": (86_400_000, 1),
    }
)


def dialect_named(name: object) -> Dialect:
    """Return the dialect; raises ConfigurationError for one that is none."""
    found = DIALECTS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigurationError(f"dialect must be one of {', '.join([repr(one) for one in DIALECTS])}, not {name!r}")
    return found
