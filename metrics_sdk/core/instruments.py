"""Instruments: what applications record with.

The way of a value, top to bottom: verb → (no attributes: the instrument's own cell | attributes: a walk to the cell) →
`Cell.record`. The walk goes by the attribute keys that the instrument was called with before, in the order of that call: a
step for each, chosen by the value before: by identity, or by a hash that Python has cached. Nothing is built or sorted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, Protocol, SupportsFloat, TypeVar, final

from metrics_sdk.clock import perf_counter
from metrics_sdk.core.attributes import OVERFLOW, Pairs, identity, normalise, raised_by_signal_handler
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.table import Table

if COMPILED:
    from mypy_extensions import i64

P = ParamSpec("P")
R = TypeVar("R")

#: What an attribute's value may be. Anything else is recorded as its `str()`.
AttributeValue = Any
Attributes = Mapping[str, AttributeValue]

MAX_SHAPES: Final = 16
WAYS_PER_SERIES: Final = 16

_now: Final = time.perf_counter if COMPILED else perf_counter


class Stopwatch(Protocol):
    """Measures what it decorates, or the block of its `with`."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """End, and record."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function`, measured."""


_name_of: Final[Any] = type.__dict__["__name__"].__get__  # a class of classes may have another idea of its name


@final
class Step:
    """A step of a walk: the key expected here, and by its values the next step or, at the last key, the cell.

    One object, so that no value can walk the keys of one shape through the cells of another. The first value is kept apart:
    many steps have only that one, and need no dict.
    """

    def __init__(self, key: str, keys_left: int, value: object, found: Any) -> None:
        self.key: Final = key
        self.keys_left: Final[i64] = keys_left
        self.value: Final = value
        self.found: Final = found
        self.others: dict[object, Any] | None = None  # an entry lost to a race is learnt again

    def learn(self, values: list[object], keys: tuple[str, ...], cell: Cell) -> None:
        """Remember that `values` of `keys` lead to `cell`. This must be the first step."""
        step = self
        for at, value in enumerate(values):
            found = step.found
            if value is not step.value:
                if step.others is None:
                    step.others = {}
                known = value == step.value  # it equals the first one, and is another object
                found = step.others.setdefault(value, found if known else steps(values, keys, at + 1, cell))
            if at + 1 < len(values):
                step = found


def steps(values: list[object], keys: tuple[str, ...], at: int, cell: Cell) -> Any:
    """Return the way from the key at position `at` to `cell`."""
    made: Any = cell
    for i in range(len(keys) - 1, at - 1, -1):
        made = Step(keys[i], len(keys) - 1 - i, values[i], made)
    return made


def walk(step: Step, attributes: dict[Any, Any]) -> Cell | None:
    """Return the cell of `attributes`; None if they are new, or their keys other ones or in another order."""
    if len(attributes) != step.keys_left + 1:
        return None
    try:
        for key, value in attributes.items():
            if key is not step.key and (type(key) is not str or key != step.key):
                return None
            found = step.found
            if value is not step.value:
                kind = type(value)
                others = step.others
                if others is None or (kind is not str and kind is not int):
                    return None
                found = others.get(value)
            if found is None:
                return None
            if step.keys_left == 0:
                cell: Cell = found
                return cell
            step = found
    except RuntimeError as error:  # another thread changes the dict just now
        if raised_by_signal_handler(error):
            raise
    return None


@final
class Route:
    """Where an instrument's values go: one object, so that redirecting an instrument is a single store."""

    def __init__(self, table: Table, base: Pairs) -> None:
        self.table: Final = table
        self.others: Final = table.others  # as they were: when there are others, there has to be another route
        self.base: Final = base
        self.bare: Final[Cell] = table.cell_for(base)
        self.ways = 0  # learnt; where attributes are left out there is no end of them
        self.shapes: Final[dict[tuple[str, ...], Step]] = {}  # the first step by the keys, ordered as they were given
        self.shape: Step | None = None  # that of the last call

    def learn(self, attributes: dict[Any, Any], pairs: Pairs, cell: Cell) -> None:
        """Remember the way to the cell of `attributes`, whose normal form is `pairs`, where walking there is right."""
        given = dict(pairs)
        names: list[str] = []
        values: list[object] = []
        for key, value in attributes.copy().items():  # one C call: another thread may be changing it
            if type(key) is not str or (type(value) is not str and type(value) is not int) or given.get(key) is not value:
                return
            names.append(key)
            values.append(value)
        keys = tuple(names)
        if not keys or len(keys) != len(given) or self.ways >= WAYS_PER_SERIES * self.table.stream.limit:
            return
        self.ways += 1
        shape = self.shapes.get(keys)
        if shape is None:
            if len(self.shapes) >= MAX_SHAPES:
                return
            shape = self.shapes.setdefault(keys, steps(values, keys, 0, cell))
        shape.learn(values, keys, cell)
        self.shape = shape


class Instrument:
    """What the kinds of instrument have in common. Made by an SDK's `counter()`, `histogram()` and so on."""

    def __init__(self, table: Table, base: Pairs, bound: dict[object, Instrument]) -> None:
        """`base`: what it is bound to; `bound`: all that are bound to something, shared by the instrument and these."""
        self.route = Route(table, base)
        self.bound: Final = bound

    @property
    def name(self) -> str:
        """The name it was declared with."""
        return self.route.table.description.name

    @property
    def unit(self) -> str:
        """The unit, "" if it has none."""
        return self.route.table.description.unit

    @property
    def description(self) -> str:
        """What it measures, for people."""
        return self.route.table.description.description

    @property
    def kind(self) -> Kind:
        """The kind, as data."""
        return self.route.table.description.kind

    def __copy__(self) -> Instrument:
        """Return this very instrument: a copy that records elsewhere is nobody's wish."""
        return self

    def __deepcopy__(self, known: dict[int, Any]) -> Instrument:
        """Return this very instrument."""
        return self

    def __repr__(self) -> str:
        base = dict(self.route.base)
        return f"<{self.kind} {self.name!r}{' ' + repr(base) if base else ''}>"

    def put(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Record with the kind's verb."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)

    def put_at(self, timestamp: object, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Record a value that belongs to `timestamp`: Unix seconds, or a datetime with a time zone.

        It goes into the window of that time, or is counted as dropped: `late`, `invalid_timestamp`, or `buffer_full`.
        """
        route = self.route
        cell = route.bare if attributes is None else self.find(attributes)
        if route.table.stands_for is not None:  # turned off
            cell.record(value)
        else:
            for one in cell.targets():
                one.series.scope.put_point(one, value, timestamp)

    def find(self, attributes: object) -> Cell:
        """Return the cell for `attributes`. Never raises, unless a signal handler does."""
        shape = self.route.shape
        if shape is not None and type(attributes) is dict:
            cell = walk(shape, attributes)
            if cell is not None:
                return cell
        return self._find_slowly(attributes)

    def _find_slowly(self, attributes: object) -> Cell:
        # slow path: another shape than last time, first sight of these attributes, or values that are not str or int
        route = self.route
        if type(attributes) is dict:
            if not attributes:
                return route.bare
            try:
                shape = route.shapes.get(tuple(attributes))
            except Exception as error:  # a foreign key's __hash__ or __eq__
                if raised_by_signal_handler(error):
                    raise
            else:
                if shape is not None:
                    route.shape = shape
                    cell = walk(shape, attributes)
                    if cell is not None:
                        return cell
        pairs = normalise(attributes, self.route.table.scope.cuts)
        base = route.base
        full = tuple(sorted({**dict(base), **dict(pairs)}.items())) if base else pairs
        cell = route.table.cell_for(full)
        if type(attributes) is dict and not any([one.series.attributes is OVERFLOW for one in cell.targets()]):
            route.learn(attributes, pairs, cell)
        return cell

    def bind(self, attributes: Attributes) -> Any:
        """Return the same instrument with `attributes` given for good: recording then looks nothing up.

        Binding the same attributes again returns the same object. It survives `configure()` and fork.
        """
        base = self.route.base
        table = self.route.table
        pairs = table.scope.permitted(normalise(attributes, table.scope.cuts))
        full = tuple(sorted({**dict(base), **dict(pairs)}.items())) if base else pairs
        if full and table.cell_for(full).series.attributes is OVERFLOW:
            full = OVERFLOW  # past the limit all share one, as their values share a series
        key = identity(full)  # of values that are equal and not the same, each has its own
        found = self.bound.get(key)
        if found is None:
            made = type(self)(table, full, self.bound)
            if len(self.bound) >= WAYS_PER_SERIES * table.stream.limit:
                return made  # where a view leaves attributes out there is no end of them: these do not survive `configure()`
            found = self.bound.setdefault(key, made)
        if found.route.table is not self.route.table:  # redirected in the meantime, without this one
            found.route = Route(self.route.table, full)
        return found

    def redirect(self, table: Table) -> None:
        """Record into `table` from now on, and so do the instruments bound to this one."""
        for one in self.held():
            one.route = Route(table, one.route.base)

    def held(self) -> list[Instrument]:
        """Return this instrument and those that are bound to it."""
        return [self, *list(self.bound.values())]


@final
class Counter(Instrument):
    """Counts what only goes up."""

    def add(self, amount: SupportsFloat = 1, attributes: Attributes | None = None, context: object = None) -> None:
        """Add `amount`, which must not be negative. Never raises, never waits; what is not accepted is counted as dropped."""
        cell = self.route.bare if attributes is None else self.find(attributes)
        if context is None:
            cell.record(amount)
        else:
            cell.record_in(context, amount)


@final
class UpDownCounter(Instrument):
    """Adds up what goes up and down by amounts."""

    def add(self, amount: SupportsFloat, attributes: Attributes | None = None, context: object = None) -> None:
        """Add `amount`, of either sign. Never raises, never waits; what is not accepted is counted as dropped."""
        cell = self.route.bare if attributes is None else self.find(attributes)
        if context is None:
            cell.record(amount)
        else:
            cell.record_in(context, amount)


@final
class Gauge(Instrument):
    """Holds the value that was set last."""

    def set(self, amount: SupportsFloat, attributes: Attributes | None = None, context: object = None) -> None:
        """Set the value. Never raises, never waits; what is not accepted is counted as dropped."""
        cell = self.route.bare if attributes is None else self.find(attributes)
        if context is None:
            cell.record(amount)
        else:
            cell.record_in(context, amount)


@final
class Histogram(Instrument):
    """Keeps the distribution of the values recorded."""

    def record(self, amount: SupportsFloat, attributes: Attributes | None = None, context: object = None) -> None:
        """Record `amount`. Never raises, never waits; what is not accepted is counted as dropped."""
        cell = self.route.bare if attributes is None else self.find(attributes)
        if context is None:
            cell.record(amount)
        else:
            cell.record_in(context, amount)

    def record_seconds(self, seconds: float, attributes: Attributes | None = None) -> None:
        """Record a duration, converted to the unit if that is one of time."""
        route = self.route
        elapsed = seconds * route.table.description.per_second
        (route.bare if attributes is None else self.find(attributes)).record(elapsed)

    def record_failure(self, seconds: float, error: type[BaseException]) -> None:
        """Record the duration of what raised `error`, with the attribute `error.type`."""
        self.record_seconds(seconds, {"error.type": _name_of(error)})

    def measure(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return `function(*args, **kwargs)`, and record how long that took."""
        started = _now()
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            self.record_failure(_now() - started, type(error))
            raise
        self.record_seconds(_now() - started)
        return result

    def time(self, attributes: Attributes | None = None) -> Stopwatch:
        """Return what measures durations into this histogram: a decorator and a context manager, see `timed`."""
        made: Stopwatch = self.route.table.scope.timer(self, attributes)
        return made


@final
class Refusal(Instrument):
    """Stands in for an instrument that cannot be: counts every value as dropped for one reason."""

    def __init__(self, table: Table, reason: int) -> None:
        super().__init__(table, (), {})
        self.reason: Final = reason

    def put(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Count the value as dropped."""
        self.route.bare.drop(self.reason)

    def put_at(self, timestamp: object, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Count the value as dropped."""
        self.route.bare.drop(self.reason)


@final
class Directory:
    """The instruments of an SDK by name, and `record`, which finds them."""

    def __init__(self, provisional: Callable[[object], Instrument]) -> None:
        self.instruments: Final[dict[str, Instrument]] = {}
        self.provisional: Final = provisional

    def record(self, name: Any, value: SupportsFloat, attributes: Attributes | None = None, timestamp: object = None) -> None:
        """Record `value` under `name`: with the instrument of that name, else a provisional histogram made now.

        Never raises and never waits; what is not accepted is counted as dropped. With a `timestamp` as for `put_at`, it may
        wait, if `Config(point_overflow="block")` says so.
        """
        instrument = self.instruments.get(name) if type(name) is str else None
        if instrument is None:
            instrument = self.provisional(name)  # slow path: first use of this name
        if timestamp is not None:
            instrument.put_at(timestamp, value, attributes)
            return
        instrument.put(value, attributes)
