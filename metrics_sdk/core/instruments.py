"""Instruments: what applications record with.

The way of a value, top to bottom: verb → (no attributes: the instrument's own cell | attributes: a walk to the cell) →
`Cell.record`. The walk goes by the attribute keys that the instrument was called with before: a step per key through
nested dicts, by values whose hashes Python has cached, so nothing is built, sorted or allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, Protocol, SupportsFloat, TypeVar, final

from metrics_sdk.core.attributes import OVERFLOW, Pairs, normalise, raised_by_signal_handler
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.table import Table

P = ParamSpec("P")
R = TypeVar("R")

#: What an attribute's value may be. Anything else is recorded as its `str()`.
AttributeValue = Any
Attributes = Mapping[str, AttributeValue]

MAX_SHAPES: Final = 16


class Stopwatch(Protocol):
    """Measures what it decorates, or the block of its `with`."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """End, and record."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function`, measured."""


@final
class Shape:
    """A set of attribute keys seen before, and the cells by the values of these keys. Keys and root are one object: kept in
    two places, a value could walk the keys of one shape through the cells of another.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys: Final = keys
        self.root: Final[dict[object, Any]] = {}


@final
class Route:
    """Where an instrument's values go: one object, so that redirecting an instrument is a single store."""

    def __init__(self, table: Table, base: Pairs) -> None:
        self.table: Final = table
        self.base: Final = base
        self.bare: Final[Cell] = table.cell(table.find(base))
        self.shapes: Final[dict[tuple[str, ...], Shape]] = {}
        self.shape: Shape | None = None


class Instrument:
    """What the kinds of instrument have in common. Made by an SDK's `counter()`, `histogram()` and so on."""

    def __init__(self, table: Table, base: Pairs) -> None:
        self.route = Route(table, base)
        self.bound: Final[dict[Pairs, Instrument]] = {}

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

    def __repr__(self) -> str:
        base = dict(self.route.base)
        return f"<{self.kind} {self.name!r}{' ' + repr(base) if base else ''}>"

    def put(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Record with the kind's verb."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)

    def find(self, attributes: object) -> Cell:
        """Return the cell for `attributes`. Never raises, unless a signal handler does."""
        route = self.route
        shape = route.shape
        try:
            if shape is not None and type(attributes) is dict and len(attributes) == len(shape.keys):
                node = shape.root
                for key in shape.keys:
                    value = attributes.get(key)
                    if type(value) is not str and type(value) is not int:
                        break
                    found = node.get(value)
                    if found is None:
                        break
                    if isinstance(found, Cell):
                        return found
                    node = found
        except Exception as error:  # a foreign key's __eq__ or __hash__
            if raised_by_signal_handler(error):
                raise
        return self._find_slowly(route, attributes)

    def _find_slowly(self, route: Route, attributes: object) -> Cell:
        # slow path: first sight of these attributes, or another shape than last time, or values that are not str or int
        pairs = normalise(attributes)
        keys: tuple[str, ...] = tuple([key for key, _value in pairs])
        learnable = type(attributes) is dict and len(attributes) == len(keys) and len(keys) > 0
        if learnable:
            given: dict[object, object] = attributes  # type: ignore[assignment]
            for key, value in pairs:
                if (type(value) is not str and type(value) is not int) or given.get(key) is not value:
                    learnable = False
                    break
        if learnable:
            shape = route.shapes.get(keys)
            if shape is not None:
                route.shape = shape
                cell = _walk(shape, pairs)
                if cell is not None:
                    return cell
        base = route.base
        full = tuple(sorted({**dict(base), **dict(pairs)}.items())) if base else pairs
        series = route.table.find(full)
        cell = route.bare if full == base else route.table.cell(series)
        if learnable and series.attributes is not OVERFLOW:
            shape = route.shapes.get(keys)
            if shape is None and len(route.shapes) < MAX_SHAPES:
                shape = route.shapes.setdefault(keys, Shape(keys))
            if shape is not None:
                node = shape.root
                for _key, value in pairs[:-1]:
                    node = node.setdefault(value, {})
                cell = node.setdefault(pairs[-1][1], cell)
                route.shape = shape
        return cell

    def bind(self, attributes: Attributes) -> Any:
        """Return the same instrument with `attributes` given for good: recording then looks nothing up.

        Binding the same attributes again returns the same object. It survives `configure()` and fork.
        """
        base = self.route.base
        pairs = normalise(attributes)
        full = tuple(sorted({**dict(base), **dict(pairs)}.items())) if base else pairs
        table = self.route.table
        if full and table.find(full).attributes is OVERFLOW:
            full = OVERFLOW  # past the limit all share one, as their values share a series
        found = self.bound.get(full)
        if found is None:
            found = self.bound.setdefault(full, type(self)(table, full))
        if found.route.table is not self.route.table:  # redirected in the meantime, without this one
            found.redirect(self.route.table)
        return found

    def redirect(self, table: Table) -> None:
        """Record into `table` from now on, and so do the instruments bound to this one."""
        self.route = Route(table, self.route.base)
        for bound in list(self.bound.values()):
            bound.redirect(table)


def _walk(shape: Shape, pairs: Pairs) -> Cell | None:
    node = shape.root
    for _key, value in pairs:
        found = node.get(value)
        if found is None:
            return None
        if isinstance(found, Cell):
            return found
        node = found
    return None


@final
class Counter(Instrument):
    """Counts what only goes up."""

    def add(self, value: SupportsFloat = 1, attributes: Attributes | None = None) -> None:
        """Add `value`, which must not be negative. Never raises, never waits; what is not accepted is counted as dropped."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)


@final
class UpDownCounter(Instrument):
    """Adds up what goes up and down by amounts."""

    def add(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Add `value`, of either sign. Never raises, never waits; what is not accepted is counted as dropped."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)


@final
class Gauge(Instrument):
    """Holds the value that was set last."""

    def set(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Set the value. Never raises, never waits; what is not accepted is counted as dropped."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)


@final
class Histogram(Instrument):
    """Keeps the distribution of the values recorded."""

    def record(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Record `value`. Never raises, never waits; what is not accepted is counted as dropped."""
        (self.route.bare if attributes is None else self.find(attributes)).record(value)

    def time(self, attributes: Attributes | None = None) -> Stopwatch:
        """Return what measures durations into this histogram: a decorator and a context manager, see `timed`."""
        made: Stopwatch = self.route.table.scope.timer(self, attributes)
        return made


@final
class Refusal(Instrument):
    """Stands in for an instrument that cannot be: counts every value as dropped for one reason."""

    def __init__(self, table: Table, reason: int) -> None:
        super().__init__(table, ())
        self.reason: Final = reason

    def put(self, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Count the value as dropped."""
        self.route.bare.drop(self.reason)


@final
class Directory:
    """The instruments of an SDK by name, and `record`, which finds them."""

    def __init__(self, provisional: Callable[[object], Instrument]) -> None:
        self.instruments: Final[dict[str, Instrument]] = {}
        self.provisional: Final = provisional

    def record(self, name: Any, value: SupportsFloat, attributes: Attributes | None = None) -> None:
        """Record `value` under `name`: with the instrument of that name, else a provisional histogram made now.

        Never raises and never waits; what is not accepted is counted as dropped.
        """
        instrument = self.instruments.get(name) if type(name) is str else None
        if instrument is None:
            instrument = self.provisional(name)  # slow path: first use of this name
        instrument.put(value, attributes)
