"""Temporality: whether a reader is told totals since the start, or what has come since it was told last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from metrics_sdk.core import kinds
from metrics_sdk.errors import ConfigurationError

Temporality = Literal["cumulative", "delta"]

#: What may be asked for: a preset of OpenTelemetry's OTLP exporter specification, or a temporality by the kind of instrument.
Preference = Literal["cumulative", "delta", "lowmemory"] | Mapping[str, Temporality]

_TOTALS = ("up_down_counter", "observable_up_down_counter")  # deltas of these would have to be added up to mean anything

_PRESETS: Mapping[str, Mapping[str, Temporality]] = {
    "cumulative": {},
    "delta": {name: "delta" for name in kinds.BY_NAME if name not in _TOTALS},
    "lowmemory": {"counter": "delta", "histogram": "delta"},
}


def by_kind(preference: Preference) -> dict[str, Temporality]:
    """Return the temporality for each kind of instrument. Raises ConfigurationError for a preference that is none.

    The presets "cumulative", "delta" and "lowmemory" are those of the OTLP exporter specification; a mapping names kinds that
    shall have another than "cumulative".
    """
    chosen = _PRESETS.get(preference) if isinstance(preference, str) else preference
    if not isinstance(chosen, Mapping) or not set(chosen) <= set(kinds.BY_NAME):
        raise ConfigurationError(
            f'temporality must be "cumulative", "delta", "lowmemory" or a mapping of kinds of instrument, not {preference!r}'
        )
    if not all([one in ("cumulative", "delta") for one in chosen.values()]):
        raise ConfigurationError(f'each temporality must be "cumulative" or "delta", not {preference!r}')
    return {name: chosen.get(name, "cumulative") for name in kinds.BY_NAME}
