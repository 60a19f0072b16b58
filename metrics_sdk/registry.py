"""Instruments by name: declared, provisional, observable."""

from __future__ import annotations

import inspect
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from metrics_sdk.core import kinds
from metrics_sdk.core.instruments import (
    Attributes,
    Counter,
    Directory,
    Gauge,
    Histogram,
    Instrument,
    Refusal,
    UpDownCounter,
)
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.reasons import INSTRUMENT_LIMIT, INVALID_NAME
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Description, Table
from metrics_sdk.errors import DeclarationError, TooManyInstruments
from metrics_sdk.faults import Faults

MAX_NAME_LENGTH = 255
MAX_UNIT_LENGTH = 63
MAX_DESCRIPTION_LENGTH = 1024

# The syntax of OpenTelemetry's metrics API, "Instrument name syntax".
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}\Z")

#: What an observable's callback returns: one number, or numbers with attributes.
Observations = float | Iterable[tuple[float, Attributes]]

_CLASSES: dict[str, type[Instrument]] = {
    "counter": Counter,
    "up_down_counter": UpDownCounter,
    "gauge": Gauge,
    "histogram": Histogram,
    "observable_counter": Counter,
    "observable_up_down_counter": UpDownCounter,
    "observable_gauge": Gauge,
}


class Home(Protocol):
    """What a registry needs of the SDK that its instruments record into."""

    max_instruments: int
    faults: Faults

    def new_table(self, description: Description) -> Table:
        """Return the table of an instrument, with the series that the SDK has of it already."""

    def retire(self, name: str) -> None:
        """Give up an instrument's table for one of another kind; its values become drops."""


class Observable:
    """A callback that is asked for an instrument's values at every flush."""

    def __init__(self, registry: Registry, instrument: Instrument, callback: Callable[[], Observations]) -> None:
        self.instrument = instrument
        self.callback = callback
        self._registry = registry
        self._running = False
        self._seen: set[Series] = set()
        self._totals: dict[Series, tuple[int, float]] = {}

    def close(self) -> None:
        """Call back no more. What only this callback reported is then no longer exported, nor found by queries."""
        self._registry.observables.pop(self, None)
        self._seen = set()
        self._show()

    def observe(self) -> None:
        """Call back, and record what comes. Raises what the callback raises, after recording what came before it."""
        if self._running:
            return  # called back from within, or from another thread's flush: one at a time
        self._running = True
        seen: set[Series] = set()
        try:
            answer = self.callback()
            if isinstance(answer, Iterable) and not isinstance(answer, (str, bytes)):
                for value, attributes in answer:
                    self._put(value, attributes, seen)
            else:
                self._put(answer, None, seen)
        finally:
            self._running = False
            self._seen = seen
            self._show()

    def _show(self) -> None:
        """Show the series that the callbacks of this instrument saw last; the others are not exported."""
        siblings = [one for one in self._registry.observables if one.instrument is self.instrument]
        self.instrument.route.table.observed = frozenset(series for one in siblings for series in one._seen)

    def _put(self, value: Any, attributes: Attributes | None, seen: set[Series]) -> None:
        route = self.instrument.route
        cell = route.bare if attributes is None else self.instrument.find(attributes)
        series = cell.series
        seen.add(series)
        if self.instrument.kind.aggregation == "sum" and isinstance(value, (int, float)) and math.isfinite(value):
            # What is observed is the total: record how far it has moved. What had come together before the first look, here or
            # in a forked parent, belongs to no window; and a total that fell has begun anew.
            generation, before = self._totals.get(series, (0, 0))
            if generation != series.scope.generation:
                series.offset = before = value
            elif self.instrument.kind.monotonic and value < before:
                before = 0
            self._totals[series] = (int(series.scope.generation), value)
            value = value - before
        cell.record(value)


class Registry:
    """Declares instruments, hands out the one that is there already, and can move them all to another SDK."""

    def __init__(self, home: Home, directory: Directory | None = None) -> None:
        self.home = home
        self.directory = Directory(self.provisional) if directory is None else directory
        self.declared: dict[str, Instrument] = {}  # by name in lower case: names are not case-sensitive
        self.observables: dict[Observable, None] = {}
        self._descriptions: dict[str, Description] = {}
        self._refusals: dict[int, Refusal] = {}

    def declare(
        self,
        kind: Kind,
        name: str,
        unit: str = "",
        description: str = "",
        boundaries: Sequence[float] | None = None,
        provisional: str = "",
    ) -> Any:
        """Return the instrument of that name and kind, declared now or before.

        Raises DeclarationError for a name, unit, description or boundaries that cannot be, and for a contradiction to an
        earlier declaration; TooManyInstruments if the name is a new one too many.
        """
        _check_text(name, unit, description)
        wanted = Description(name, kind, unit, description, _checked(boundaries, name), provisional, _caller())
        key = name.lower()
        known = self._descriptions.get(key)
        if known is None:
            if len(self.declared) >= self.home.max_instruments:
                raise TooManyInstruments(
                    f"cannot declare {name!r}: max_instruments={self.home.max_instruments} names are declared already"
                )
            return self._add(key, wanted)
        if known.provisional == "record" or (known.provisional == "timed" and kind is kinds.HISTOGRAM):
            return self._settle(key, known, wanted)
        for what in ("kind", "unit", "boundaries"):
            before, now = getattr(known, what), getattr(wanted, what)
            if before != now:
                raise DeclarationError(
                    f"{name!r} was declared as a {_told(known)} at {known.where}, and now as a {_told(wanted)}: {what} differs"
                )
        self.directory.instruments.setdefault(name, self.declared[key])
        return self.declared[key]

    def _add(self, key: str, description: Description) -> Instrument:
        made = _CLASSES[description.kind.name](self.home.new_table(description), ())
        self._descriptions.setdefault(key, description)
        made = self.declared.setdefault(key, made)
        self.directory.instruments[description.name] = made
        self.directory.instruments.setdefault(key, made)
        return made

    def _settle(self, key: str, known: Description, wanted: Description) -> Instrument:
        """Give a provisional histogram the declaration that came after its first use."""
        instrument = self.declared[key]
        self._descriptions[key] = wanted
        if wanted.kind is kinds.HISTOGRAM:
            if wanted.boundaries is None:
                instrument.route.table.description = wanted
            else:
                self.home.retire(known.name)
                instrument.redirect(self.home.new_table(wanted))
            self.directory.instruments[wanted.name] = instrument
            return instrument
        self.home.retire(known.name)
        del self.declared[key]
        for name in {known.name, wanted.name, key}:
            self.directory.instruments.pop(name, None)
        return self._add(key, wanted)

    def provisional(self, name: object) -> Instrument:
        """Return what `record()` puts a value into under a name that was not declared. Never raises."""
        if not isinstance(name, str) or not _NAME.match(name):
            return self._refusal(INVALID_NAME)
        key = name.lower()
        instrument = self.declared.get(key)
        if instrument is None:
            if len(self.declared) >= self.home.max_instruments:
                return self._refusal(INSTRUMENT_LIMIT)
            return self._add(
                key, Description(name, kinds.HISTOGRAM, "", "Recorded without a declaration.", None, "record", "record()")
            )
        self.directory.instruments.setdefault(name, instrument)
        return instrument

    def _refusal(self, reason: int) -> Refusal:
        found = self._refusals.get(reason)
        if found is None:
            refused = Description(f"metrics_sdk.refused/{reason}", kinds.COUNTER, "", "", None, "record", "record()")
            found = self._refusals.setdefault(reason, Refusal(self.home.new_table(refused), reason))
        return found

    def observe(self, kind: Kind, name: str, callback: Callable[[], Observations], unit: str, description: str) -> Observable:
        """Declare an observable instrument, or add a callback to one."""
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise DeclarationError(f"the callback of {name!r} must be a plain function without parameters, not {callback!r}")
        made = Observable(self, self.declare(kind, name, unit, description), callback)
        self.observables[made] = None
        return made

    def run_callbacks(self) -> None:
        """Ask every observable's callback; a failing one costs its own observations alone."""
        for observable in list(self.observables):
            try:
                observable.observe()
            except Exception as error:
                name = observable.instrument.name
                self.home.faults.report(f"callback:{name}", f"the callback of {name} failed", error)

    def redirect(self, home: Home) -> None:
        """Move all instruments to another SDK: they record there from now on, bound ones too."""
        self.home = home
        for key, instrument in list(self.declared.items()):
            instrument.redirect(home.new_table(self._descriptions[key]))
        for refusal in list(self._refusals.values()):
            refusal.redirect(home.new_table(refusal.route.table.description))

    def forget_all_but(self, keys: set[str]) -> None:
        """Undo the declarations of all names but `keys` (lower case), as after a test."""
        for key in [key for key in self.declared if key not in keys]:
            instrument = self.declared.pop(key)
            del self._descriptions[key]
            for name in [name for name, found in self.directory.instruments.items() if found is instrument]:
                del self.directory.instruments[name]
            for observable in [one for one in self.observables if one.instrument is instrument]:
                del self.observables[observable]


def _check_text(name: object, unit: object, description: object) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        raise DeclarationError(
            f"an instrument's name is a letter and then up to {MAX_NAME_LENGTH - 1} letters, digits, '_', '.', '-' or '/', "
            f"not {_shortened(name)}"
        )
    if not isinstance(unit, str) or len(unit) > MAX_UNIT_LENGTH or not unit.isascii():
        raise DeclarationError(
            f"the unit of {name!r} must be at most {MAX_UNIT_LENGTH} ASCII characters, such as 's', 'By' or '{{request}}', "
            f"not {_shortened(unit)}"
        )
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_LENGTH:
        raise DeclarationError(
            f"the description of {name!r} must be a string of at most {MAX_DESCRIPTION_LENGTH} characters, "
            f"not {_shortened(description)}"
        )


def _checked(boundaries: Sequence[float] | None, name: str) -> tuple[float, ...] | None:
    if boundaries is None:
        return None
    try:
        made = tuple([float(bound) for bound in boundaries])
    except (TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(f"the boundaries of {name!r} must be numbers, not {_shortened(boundaries)}") from error
    if not all(map(math.isfinite, made)) or any(a >= b for a, b in itertools.pairwise(made)):
        raise DeclarationError(
            f"the boundaries of {name!r} must be finite and strictly ascending, not {_shortened(boundaries)}"
        )
    return made


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _told(description: Description) -> str:
    parts = [description.kind.name, f"unit {description.unit!r}"]
    if description.boundaries is not None:
        parts.append(f"boundaries {list(description.boundaries)}")
    return " with ".join([parts[0], ", ".join(parts[1:])])


def _caller() -> str:
    """Return file and line of the code outside this package that is declaring."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "metrics_sdk":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
