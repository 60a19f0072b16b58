"""Instruments by name: declared, provisional, observable."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from metrics_sdk.clock import monotonic
from metrics_sdk.core import kinds
from metrics_sdk.core.aggregates import INT64_MAX, INT64_MIN, Sum
from metrics_sdk.core.attributes import OVERFLOW, text
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
from metrics_sdk.core.numbers import to_float
from metrics_sdk.core.reasons import INSTRUMENT_LIMIT, INVALID_NAME, OBSERVABLE
from metrics_sdk.core.series import Observed, Series
from metrics_sdk.core.table import Description, Table
from metrics_sdk.errors import ConfigurationError, DeclarationError, TooManyInstruments
from metrics_sdk.faults import Faults
from metrics_sdk.names import MAX_NAME_LENGTH, RESERVED, has_syntax, is_name
from metrics_sdk.snapshot import Meter
from metrics_sdk.streams import Streams
from metrics_sdk.view import checked_boundaries

MAX_UNIT_LENGTH = 63
MAX_DESCRIPTION_LENGTH = 1024

#: What an observable's callback returns: one number, or numbers with attributes.
Observations = float | Iterable[tuple[float, Attributes]]


#: Of each stream of an observable, the series that are observed this time, with their totals; None for what is no total.
Seen = dict[Table, dict[Series, Any]]

CLASSES: dict[str, type[Instrument]] = {
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
    streams: Streams


class Observable:
    """A callback that is asked for an instrument's values at every flush; an `on_demand` one whenever somebody reads."""

    def __init__(
        self, registry: Registry, instrument: Instrument, callback: Callable[[], Observations], on_demand: bool = False
    ) -> None:
        self.instrument = instrument
        self.callback = callback
        self.on_demand = on_demand
        self.running = False
        self._registry = registry

    def __repr__(self) -> str:
        return f"<Observable of {self.instrument!r}>"

    def __copy__(self) -> Observable:
        """Return this very handle."""
        return self

    def __deepcopy__(self, known: dict[int, Any]) -> Observable:
        """Return this very handle."""
        return self

    def close(self) -> None:
        """Call back no more. What only this callback reported is then no longer exported, nor found by queries."""
        self._registry.observables.pop(self, None)
        if all(one.instrument is not self.instrument for one in self._registry.observables):
            for table in self.instrument.route.table.all():
                table.observed = frozenset()


class Registry:
    """Declares instruments, hands out the one that is there already, and can move them all to another SDK.

    `declared` is the one place that says which instruments there are; `directory` finds them by the spellings that were used.
    Declaring takes a lock, against other declarations. `provisional()` must not: it runs while recording.
    """

    def __init__(self, home: Home, directory: Directory | None = None) -> None:
        self.home = home
        self.directory = Directory(self.provisional) if directory is None else directory
        self.declared: dict[str, Instrument] = {}  # by name in lower case: names are not case-sensitive
        self.observables: dict[Observable, None] = {}
        self.sections: dict[str, Any] = {}  # of `concurrency()`, by name
        self._declaring: Any = threading.RLock()
        self._refusals: dict[int, Refusal] = {}

    def forked(self) -> None:
        """Begin anew in a forked child, where a lock may be held, and a callback run, by a thread that is no more."""
        self._declaring._at_fork_reinit()
        for observable in self.observables:
            observable.running = False

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
        with self._declaring:
            return self._declare(wanted)

    def _declare(self, wanted: Description) -> Instrument:
        key = wanted.name.lower()
        known = self.declared.get(key)
        if known is None:
            if len(self.declared) >= self.home.max_instruments:
                raise TooManyInstruments(
                    f"cannot declare {wanted.name!r}: max_instruments={self.home.max_instruments} names are declared already"
                )
            known = self._add(key, wanted)
        before = known.route.table.own().description
        if before is wanted:
            return known
        if before.provisional == "record" or (before.provisional == "timed" and wanted.kind is kinds.HISTOGRAM):
            return self._settle(key, known, wanted)
        for what in ("kind", "unit", "boundaries"):
            if getattr(before, what) != getattr(wanted, what):
                raise DeclarationError(
                    f"{wanted.name!r} was declared as a {_told(before)} at {before.where}, and now as a {_told(wanted)}: "
                    f"not the same {what}"
                )
        self._spell(wanted.name, known)
        return known

    def _add(self, key: str, description: Description) -> Instrument:
        """Return the instrument of that name: a new one, or another thread's that was faster."""
        home = self.home
        made = CLASSES[description.kind.name](home.streams.new_table(description), (), {})
        winner = self.declared.setdefault(key, made)
        if winner is made:
            home.streams.publish(made.route.table)
            if self.home is not home:  # moved in the meantime, without this one
                made.redirect(self.home.streams.new_table(description))
                self.home.streams.publish(made.route.table)
            self.home.streams.arrange(made)
            self._spell(key, made)
            self._spell(description.name, made)
        return winner

    def _spell(self, name: str, instrument: Instrument) -> None:
        # A few spellings of each name are remembered; any other is found the slow way.
        # Never in the place of another: a provisional instrument may have been settled in the meantime.
        if len(self.directory.instruments) < 4 * self.home.max_instruments:
            self.directory.instruments.setdefault(name, self._recorded(instrument))

    def _recorded(self, instrument: Instrument) -> Instrument:
        """Return what `record()` puts values into under the name of an instrument: those of observables come from callbacks."""
        return self.refusal(OBSERVABLE) if instrument.kind.observable else instrument

    def _settle(self, key: str, known: Instrument, wanted: Description) -> Instrument:
        """Give a provisional histogram the declaration that came after its first use."""
        before = known.route.table.own()
        if wanted.kind is before.description.kind and wanted.boundaries == before.description.boundaries:
            before.describe(wanted)
            self._spell(wanted.name, known)
            return known
        table = self.home.streams.new_table(wanted)
        made = known
        if wanted.kind is before.description.kind:
            known.redirect(table)
        else:
            made = CLASSES[wanted.kind.name](table, (), {})
            self.declared[key] = made
        self.home.streams.publish(table, replace=True)
        self.home.streams.arrange(made)
        # Of the keys alone, whose copy is one call: copying items allocates, and collecting garbage may give others a turn.
        spellings = [name for name in list(self.directory.instruments) if self.directory.instruments.get(name) is known]
        for name in {*spellings, key, wanted.name}:
            self.directory.instruments[name] = self._recorded(made)
        self.home.streams.retire(before)
        return made

    def provisional(self, name: object) -> Instrument:
        """Return what `record()` puts a value into under a name that was not declared. Never raises, takes no lock."""
        if not issubclass(type(name), str):  # asking an object for its class would run foreign code
            return self.refusal(INVALID_NAME)
        name = str.__str__(name)  # of a subclass, whose methods are not ours to call
        if not is_name(name):
            return self.refusal(INVALID_NAME)
        key = name.lower()
        instrument = self.declared.get(key)
        if instrument is None:
            if len(self.declared) >= self.home.max_instruments:
                return self.refusal(INSTRUMENT_LIMIT)
            made_up = "Recorded without a declaration."
            return self._add(key, Description(name, kinds.HISTOGRAM, "", made_up, None, "record", "record()"))
        self._spell(name, instrument)
        return self._recorded(instrument)

    def refusal(self, reason: int) -> Refusal:
        """Return what takes values that no instrument can be made for, and counts them as dropped for `reason`."""
        found = self._refusals.get(reason)
        if found is None:
            refused = Description(f"metrics_sdk.refused/{reason}", kinds.COUNTER, "", "", None, "record", "record()")
            found = self._refusals.setdefault(reason, Refusal(self.home.streams.new_table(refused), reason))
            self.home.streams.publish(found.route.table)
        return found

    def declare_for(
        self, meter: Meter, kind: str, name: str, unit: str, description: str, boundaries: tuple[float, ...] | None = None
    ) -> Any:
        """Return a new instrument of a meter, which sees to its names. Never raises: past `max_instruments` it refuses.

        A "histogram" is as OpenTelemetry has it: it takes no negative amounts.
        """
        known = kinds.POSITIVE_HISTOGRAM if kind == "histogram" else kinds.BY_NAME[kind]
        wanted = Description(name, known, unit, description, boundaries, "", "a meter", meter)
        streams = self.home.streams
        made = CLASSES[wanted.kind.name](streams.new_table(wanted), (), {})
        if len(streams.first_tables()) >= self.home.max_instruments:
            made.redirect(streams.refusing(self.refusal(INSTRUMENT_LIMIT).route.table, INSTRUMENT_LIMIT))
        else:
            streams.publish(made.route.table)
            streams.arrange(made)
        return made

    def observe(self, kind: Kind, name: str, callback: Callable[[], Observations], unit: str, description: str) -> Observable:
        """Declare an observable instrument, or add a callback to one."""
        import inspect  # 7 ms, and not before an observable is declared

        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise DeclarationError(f"the callback of {name!r} must be a plain function without parameters, not {callback!r}")
        made = Observable(self, self.declare(kind, name, unit, description), callback)
        self.observables[made] = None
        return made

    def run_callbacks(self, on_demand: bool = True) -> None:
        """Ask every observable's callbacks, or those that are not on demand; a failing one costs its own observations alone."""
        groups: dict[Instrument, list[Observable]] = {}
        for observable in list(self.observables):
            groups.setdefault(observable.instrument, []).append(observable)
        for instrument, group in groups.items():
            if any([one.running for one in group]):  # called from within, or from another thread: one at a time
                continue
            wanted = on_demand or not any([one.on_demand for one in group])
            if wanted and instrument.route.table.stands_for is None:  # else it is turned off
                self._run_group(instrument, group)

    def _run_group(self, instrument: Instrument, group: list[Observable]) -> None:
        seen: Seen = {table: {} for table in instrument.route.table.all()}
        for observable in group:
            observable.running = True
            try:
                _observe(instrument, observable.callback(), seen)
            except Exception as error:
                self.home.faults.report(f"callback:{instrument.name}", f"the callback of {instrument.name} failed", error)
            finally:
                observable.running = False
        for table, totals in seen.items():
            for series, total in totals.items():
                if total is not None:
                    _move_to(instrument, series, total)
            table.observed = frozenset([series for series in totals if table.owns(series)])
            table.observed_at = monotonic()

    def redirect(self, home: Home) -> None:
        """Move all instruments to another SDK: they record there from now on, bound ones too."""
        with self._declaring:
            self.home = home
            for instrument in [*self.declared.values(), *self._refusals.values()]:
                instrument.redirect(home.streams.new_table(instrument.route.table.own().description))
                home.streams.publish(instrument.route.table)
                home.streams.arrange(instrument)

    def loosen_all_but(self, keys: set[str]) -> None:
        """Let later declarations contradict those of all names but `keys` (lower case), as after a test."""
        for key, instrument in self.declared.items():
            table = instrument.route.table.own()
            old = table.description
            if key not in keys:
                table.describe(Description(old.name, old.kind, old.unit, old.description, old.boundaries, "record", old.where))
        for observable in [one for one in self.observables if one.instrument.name.lower() not in keys]:
            observable.close()


def _observe(instrument: Instrument, answer: Observations, seen: Seen) -> None:
    """Take in what one callback answered: totals add up in `seen`, the value of a gauge is set at once."""
    if isinstance(answer, Iterable) and not isinstance(answer, (str, bytes)):
        for value, attributes in answer:
            _take_in(instrument, value, attributes, seen)
    else:
        _take_in(instrument, answer, None, seen)


def _take_in(instrument: Instrument, value: Any, attributes: Attributes | None, seen: Seen) -> None:
    cell = instrument.route.bare if attributes is None else instrument.find(attributes)
    number: Any = value if type(value) is int and INT64_MIN <= value <= INT64_MAX else to_float(value)
    valid = number is not None and math.isfinite(number) and not (instrument.kind.monotonic and number < 0)
    for (table, totals), one in zip(seen.items(), cell.targets()):
        series = one.series
        if valid and series not in totals and len(totals) >= table.stream.limit:
            series = table.find(OVERFLOW)
            one = series.cell
        if valid and isinstance(series.empty, Sum):
            totals[series] = (totals.get(series) or 0) + number
        else:
            if valid:
                totals[series] = None
            one.record(value)


def _move_to(instrument: Instrument, series: Series, total: Any) -> None:
    """Record how far an observed total has moved.

    What had come together before the first look, here or in a forked parent, belongs to no window; a total that fell has
    begun anew.
    """
    seen = series.scope.observed.get(series)
    if seen is None or seen.generation != series.scope.generation:
        first = before = total
    else:
        first, before = seen.first, seen.total
        if instrument.kind.monotonic and total < before:
            before = 0
    series.scope.observed[series] = Observed(int(series.scope.generation), total, first)
    series.cell.targets()[0].record(total - before)  # it is no value to keep as an exemplar


def _check_text(name: object, unit: object, description: object) -> None:
    if isinstance(name, str) and name.lower().startswith(RESERVED):
        raise DeclarationError(f"names that begin with {RESERVED!r} are the SDK's own, not {_shortened(name)}")
    if not has_syntax(name):
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
    try:
        return None if boundaries is None else checked_boundaries(boundaries)
    except ConfigurationError as error:
        raise DeclarationError(f"the boundaries of {name!r} {str(error).removeprefix('boundaries ')}") from error


def _shortened(value: object) -> str:
    shown = repr(value[:80]) if isinstance(value, str) else text(value, 80)
    return shown if len(shown) < 80 else f"{shown[:77]}..."


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
