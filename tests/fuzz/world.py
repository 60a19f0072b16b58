"""An SDK that hostile instruments record hostile values into, and what it holds at the end."""

from __future__ import annotations

import logging
import warnings
from typing import Any, NamedTuple

from source import UNITS, Source

from metrics_sdk import Aggregation, Config, ConfigurationError, DeclarationError, Export, MetricsSDK, Snapshot, View
from metrics_sdk.clock import ManualClock
from metrics_sdk.errors import TooManyInstruments
from metrics_sdk.exporters import MemoryExporter

logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())

#: What a host hears of a declaration that cannot be; recording raises nothing.
REFUSED = (DeclarationError, TooManyInstruments)


class World(NamedTuple):
    """`totals` and `deltas`: what exporters were told."""

    sdk: MetricsSDK
    totals: Snapshot
    deltas: Snapshot


def made_of(source: Source) -> World:
    """Return what comes of declarations and recordings that `source` chooses. Raises whatever a host would have seen."""
    totals, deltas = MemoryExporter(), MemoryExporter()
    sdk = MetricsSDK(
        Config(
            background=False,
            clock=ManualClock(1.7e9),
            resource=source.mapping(),
            exporters=[Export(totals, name="totals"), Export(deltas, name="deltas", temporality="delta")],
            views=_views(source),
            exemplar_filter=source.one_of(("always_off", "always_on")),
            max_series_per_instrument=source.one_of((2000, 3)),
            max_instruments=source.one_of((1000, 4)),
        )
    )
    kept: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whatever is warned of reaches the host
        for _ in range(40):
            if not source.left:
                break
            _step(source, sdk, kept)
        sdk.config.clock.advance(5.0)  # type: ignore[attr-defined]
        sdk.flush()
    return World(sdk, totals.snapshots[-1], deltas.snapshots[-1])


def _views(source: Source) -> list[View]:
    if source.below(8):
        return []
    try:
        return [View("a*", aggregation=Aggregation(source.one_of(("explicit", "exponential", "sum", "last_value"))))]
    except ConfigurationError:
        return []


def _step(source: Source, sdk: MetricsSDK, kept: list[Any]) -> None:
    how = source.below(12)
    if how < 4:
        instrument = _declared(source, sdk)
        if instrument is not None:
            kept.append(instrument)
            instrument.put(source.number(), source.attributes())
    elif how < 6 and kept:
        source.one_of(kept).put(source.number(), source.attributes())
    elif how == 6 and kept:
        source.one_of(kept).bind(source.attributes()).put(source.number())
    elif how == 7 and kept:
        timestamp = source.one_of((1.7e9, 1.7e9 - 30, 0, -1, 1e308, float("nan"), None, "now", 10**400))
        source.one_of(kept).put_at(timestamp, source.number(), source.attributes())
    elif how == 8:
        try:
            with sdk.timed(source.name(), source.attributes()):
                raise type(source.text().replace("\0", ""), (Exception,), {}) if source.below(2) else ValueError
        except REFUSED:
            pass
        except Exception as error:  # what the block raised, and nothing else
            if type(error).__module__ not in ("world", "builtins") or isinstance(error, RuntimeError):
                raise
    elif how == 9:
        observations = [(source.number(), source.attributes()) for _ in range(source.below(4))]
        declare = source.one_of((sdk.observable_counter, sdk.observable_up_down_counter, sdk.observable_gauge))
        try:
            declare(source.name(), lambda: list(observations), unit=source.one_of(UNITS), description=source.text())
        except REFUSED:
            pass
    else:
        sdk.registry.directory.record(source.name(), source.number(), source.attributes())


def _declared(source: Source, sdk: MetricsSDK) -> Any:
    kind = source.below(5)
    name, unit, description = source.name(), source.one_of(UNITS), source.text()
    try:
        if kind == 4:
            boundaries = [source.number() for _ in range(source.below(4))]
            return sdk.histogram(name, unit=unit, description=description, boundaries=boundaries)
        return (sdk.counter, sdk.up_down_counter, sdk.gauge, sdk.histogram)[kind](name, unit=unit, description=description)
    except REFUSED:
        return None
