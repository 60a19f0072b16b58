"""One series in the aggregate map: what its cells have delivered so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import Aggregate, LastValue
from metrics_sdk.core.attributes import Pairs
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.reasons import REASONS
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.vectors import zeros

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from librt.vecs import vec

    from metrics_sdk.core.cells import Cell


@final
class MergedPoints:
    """How many values with a time of their own a state includes, and the last batch of them from each shard. Never changed."""

    def __init__(self, count: i64, batches: tuple[Any, ...]) -> None:
        self.count: Final = count
        self.batches: Final = batches


@final
@mypyc_attr(acyclic=True)
class State:
    """What a series amounts to. Interpreted, a state never changes once a series shows it: a new one takes its place.

    `created` is the time since when it counts. `open` is the aggregate of the window that began at `window`; `total` is
    everything before it. `batches` names the last batch merged from each cell (interpreted core only, see
    `append.AppendCell`), `stored` the aggregates that the map may have stored of the open window (interpreted
    core only), `points` tells the same of values with a time of their own (see `metrics_sdk.points`).
    """

    def __init__(self, generation: i64, total: Aggregate, created: float) -> None:
        self.generation: i64 = generation
        self.created = created
        self.window = 0.0
        self.open: Aggregate | None = None
        self.total = total
        self.drops: vec[i64] = zeros(0)
        self.batches: tuple[Any, ...] = ()
        self.stored: tuple[Any, ...] = ()
        self.points: MergedPoints | None = None

    @property
    def merged(self) -> i64:
        """How many values it includes."""
        opened = self.open
        return self.total.count if opened is None else self.total.count + opened.count

    def successor(self) -> State:
        """Return a state that starts out the same, to be changed and then shown instead."""
        made = State(self.generation, self.total, self.created)
        made.window = self.window
        made.open = self.open
        made.drops = self.drops
        made.batches = self.batches
        made.stored = self.stored
        made.points = self.points
        return made

    def drop(self, reason: i64, times: i64) -> None:
        """Count dropped values."""
        made = zeros(len(REASONS))
        drops = self.drops
        i: i64 = 0
        while i < len(drops):
            made[i] = drops[i]
            i += 1
        made[reason] += times
        self.drops = made


@final
class Observed:
    """An observed total: the generation that saw it, and what it was then and at first. Never changed.

    What had come together before the first look is part of the sum, but of no window and no rate.
    """

    def __init__(self, generation: int, total: Any, first: Any) -> None:
        self.generation: Final = generation
        self.total: Final = total
        self.first: Final = first


@final
class Series:
    """The aggregate of one attribute set of one instrument, and the cell that feeds it.

    `lock` is one of the aggregate map's: it excludes takes from each other where the core is interpreted, and guards the
    closed windows on every build. It is held around one helper call at a time, and recording only ever tries it.
    """

    cell: Cell
    """What values are recorded into; `Table.find` sets it before anybody sees the series."""

    def __init__(self, scope: Scope, attributes: Pairs, empty: Aggregate, lock: Any, windowed: bool) -> None:
        self.scope: Final = scope
        self.attributes: Final = attributes
        self.empty: Final = empty
        self.lock: Final = lock
        self.windowed = windowed
        self.state = State(scope.generation, empty.fresh(), scope.now())

    def offset(self) -> Any:
        """Return what an observed total was when it was first seen, else 0."""
        observed = self.scope.observed.get(self) if self.scope.observed else None
        return 0 if observed is None else observed.first

    def current(self) -> State:
        """Return the state, an empty one if it is a forked parent's."""
        state = self.state
        if state.generation != self.scope.generation:
            state = State(self.scope.generation, self.empty.fresh(), self.scope.now())
        return state

    def adopt(self) -> State:
        """Return the state for changing it in place, a new one after a fork. Compiled core only."""
        state = self.state
        if state.generation != self.scope.generation:
            state = State(self.scope.generation, self.empty.fresh(), self.scope.now())
            self.state = state
        return state

    def absorb(self, given: Aggregate) -> None:
        """Merge what a cell held. Compiled core only: nothing in here can be interrupted."""
        if given.count == 0:
            return
        state = self.adopt()
        scope = self.scope
        if isinstance(given, LastValue):
            scope.takes += 1
            given.order = scope.takes
        if self.windowed:
            opened = state.open
            if opened is None:
                state.open = given.copy()
                state.window = scope.window
                scope.opened[self] = None
            else:
                opened.merge(given)
        else:
            state.total.merge(given)

    def fold(self, values: list[Any], shard: int, batch: object) -> State:
        """Return the state that follows once `values`, which came as `batch` from the cell of `shard`, are merged."""
        old = self.current()
        made = old.successor()
        scope = self.scope
        windowed = self.windowed  # read once: the configuration may change it meanwhile
        target: Aggregate | None = old.open if windowed else old.total
        if values:
            if target is None:
                made.window = scope.window
                scope.opened[self] = None  # before the state is shown: an entry too many does no harm
            merged = self.empty.fresh() if target is None else target.copy()
            merged.fold(values)
            if isinstance(merged, LastValue):
                scope.takes += 1
                merged.order = scope.takes
            if windowed:
                made.open = merged
            else:
                made.total = merged
        batches = list(made.batches) + [None] * (shard + 1 - len(made.batches))
        batches[shard] = batch
        made.batches = tuple(batches)
        return made

    def merge_points(self, batch: object, shard: int, closed: Aggregate, opened: Aggregate, drops: dict[int, int]) -> None:
        """Merge what a batch of points gives to this series, once; call it with the lock held.

        `closed` is for windows that have ended, `opened` for the open one; `drops` by reason.
        """
        old = self.current()
        if self.has_merged(batch, shard):
            return
        made = old.successor()
        scope = self.scope
        if isinstance(opened, LastValue):
            scope.takes += 1
            opened.order = scope.takes  # what came late is never the last value
        windowed = self.windowed
        target: Aggregate | None = old.open if windowed else old.total
        if opened.count and target is None:
            made.window = scope.window
            scope.opened[self] = None  # before the state is shown: an entry too many does no harm
            made.open = opened.copy()
        elif opened.count and target is not None:
            merged = target if COMPILED else target.copy()
            merged.merge(opened)
            if windowed:
                made.open = merged
            else:
                made.total = merged
        if closed.count:
            total = made.total if COMPILED else made.total.copy()
            total.merge(closed)
            made.total = total
        for reason, times in drops.items():
            made.drop(reason, times)
        before = old.points
        batches = [] if before is None else list(before.batches)
        batches += [None] * (shard + 1 - len(batches))
        batches[shard] = batch
        merged_before: i64 = 0 if before is None else before.count
        made.points = MergedPoints(merged_before + closed.count + opened.count, tuple(batches))
        self.state = made

    def has_merged(self, batch: object, shard: int) -> bool:
        """Tell whether a batch of points from `shard` is part of the state."""
        points = self.current().points
        return points is not None and len(points.batches) > shard and points.batches[shard] is batch

    def close_window(self, closed: Aggregate) -> None:
        """Move the open window, which the map has stored as `closed`, into the total. Call it with the lock held."""
        state = self.state
        if state.open is not closed:
            return
        if COMPILED:
            state.total.merge(closed)
            state.open = None
        else:
            made = state.successor()
            made.total = state.total.copy()
            made.total.merge(closed)
            made.open = None
            made.stored = ()
            self.state = made

    def note_stored(self, opened: Aggregate) -> None:
        """Take note that the map is about to store the open window. Call it with the lock held."""
        # Compiled, the open aggregate stays the same object until it is moved, and storing it again changes nothing.
        if not COMPILED:
            made = self.state.successor()
            made.stored = (*made.stored, opened)
            self.state = made

    def total(self) -> Aggregate:
        """Return a copy of everything merged so far."""
        state = self.current()
        made = state.total.copy()
        opened = state.open
        if opened is not None:
            made.merge(opened)
        return made

    def window(self) -> tuple[float, Aggregate] | None:
        """Return the open window, its start and a copy of its aggregate; None if nothing came in it."""
        state = self.current()
        opened = state.open
        return None if opened is None else (state.window, opened.copy())
