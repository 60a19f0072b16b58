"""One series in the aggregate map: what its cells have delivered so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from mypy_extensions import mypyc_attr

from metrics_sdk.core.aggregates import Aggregate, LastValue, Sum
from metrics_sdk.core.attributes import Pairs
from metrics_sdk.core.build import COMPILED
from metrics_sdk.core.exemplars import ExemplarCell
from metrics_sdk.core.reasons import REASONS
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.vectors import zeros

if COMPILED:
    from mypy_extensions import i64

if TYPE_CHECKING:
    from librt.vecs import vec

    from metrics_sdk.core.cells import Cell
    from metrics_sdk.core.exemplars import Reservoir
    from metrics_sdk.core.table import Table


@final
class MergedPoints:
    """How many values with a time of their own a state includes, and the last batch of them from each shard. Never changed."""

    def __init__(self, count: i64, batches: tuple[Any, ...]) -> None:
        self.count: Final = count
        self.batches: Final = batches


@final
@mypyc_attr(acyclic=True)
class Rest:
    """What few series have of a state; see the properties of State."""

    def __init__(self, before: Rest | None) -> None:
        self.stored: tuple[Any, ...] = ()
        self.points: MergedPoints | None = None
        self.taps: tuple[Any, ...] | None = None
        self.handed: tuple[Any, ...] = ()
        self.inherited: i64 = 0
        if before is not None:
            self.stored = before.stored
            self.points = before.points
            self.taps = before.taps
            self.handed = before.handed
            self.inherited = before.inherited


@final
@mypyc_attr(acyclic=True)
class State:
    """What a series amounts to. Interpreted, a state never changes once a series shows it: a new one takes its place.

    `created` is the time since when it counts. `open` is the aggregate of the window that began at `window`; `total` is
    everything before it. `batches` names the last batch merged from each cell (interpreted core only, see
    `append.AppendCell`).
    """

    def __init__(self, generation: i64, total: Aggregate, created: float) -> None:
        self.generation: i64 = generation
        self.created = created
        self.window = 0.0
        self.open: Aggregate | None = None
        self.total = total
        self.drops: vec[i64] = zeros(0)
        self.batches: tuple[Any, ...] = ()
        self.rest: Rest | None = None

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
        made.rest = self.rest
        return made

    def own_rest(self) -> Rest:
        """Return the rest for changing it: a copy, for another state may have the same one."""
        made = Rest(self.rest)
        self.rest = made
        return made

    @property
    def stored(self) -> tuple[Any, ...]:
        """The aggregates that the map may have stored of the open window (interpreted core only)."""
        return () if self.rest is None else self.rest.stored

    @property
    def points(self) -> MergedPoints | None:
        """What it includes of values with a time of their own, see `metrics_sdk.points`."""
        return None if self.rest is None else self.rest.points

    @property
    def taps(self) -> tuple[Any, ...] | None:
        """What has come since each of the readers that want that has cut the series last; one that is missing is everything."""
        return None if self.rest is None else self.rest.taps

    @property
    def handed(self) -> tuple[Any, ...]:
        """The taps that were cut and are on their way to a reader, by slot."""
        return () if self.rest is None else self.rest.handed

    @property
    def inherited(self) -> i64:
        """How many values the cells of series that have expired had taken in."""
        return 0 if self.rest is None else self.rest.inherited

    def tap(self, given: Aggregate) -> None:
        """Merge what has come into every tap. Compiled core only, or into a state that nobody has seen yet."""
        taps = self.taps
        if taps is not None:
            if not COMPILED:
                taps = tuple([tap.copy() for tap in taps])
                self.own_rest().taps = taps
            for tap in taps:
                tap.merge(given)

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
        self.table: Table | None = None  # which has let it expire, and takes it back with the next value
        self.state = State(scope.generation, empty.fresh(), scope.now())

    @property
    def reservoir(self) -> Reservoir | None:
        """Its exemplars, None where there are none to be."""
        cell = self.cell
        return cell.reservoir if isinstance(cell, ExemplarCell) else None

    @property
    def has_exemplars(self) -> bool:
        """Whether there ever were any."""
        cell = self.cell
        return isinstance(cell, ExemplarCell) and cell.reservoir.used

    def offset(self) -> Any:
        """Return what an observed total was when it was first seen, else 0."""
        observed = self.scope.observed.get(self) if self.scope.observed else None
        return 0 if observed is None else observed.first

    def observed_total(self) -> Any:
        """Return an observed total as the callback told it last."""
        observed = self.scope.observed.get(self)
        if observed is not None:
            return observed.total
        total = self.total()
        assert isinstance(total, Sum)
        return total.total()

    def current(self) -> State:
        """Return the state, an empty one if it is a forked parent's."""
        state = self.state
        if state.generation != self.scope.generation:
            state = State(self.scope.generation, self.empty.fresh(), self.scope.began)
        return state

    def adopt(self) -> State:
        """Return the state for changing it in place, a new one after a fork. Compiled core only."""
        state = self.state
        if state.generation != self.scope.generation:
            state = State(self.scope.generation, self.empty.fresh(), self.scope.began)
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
        if state.rest is not None:
            state.tap(given)

    def drop(self, reason: i64) -> None:
        """Count a dropped value. Compiled core only."""
        self.adopt().drop(reason, 1)
        self.scope.refused[self] = None
        if self.table is not None:
            self.table.restore(self)

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
            if made.taps is not None:
                given = self.empty.fresh()
                given.fold(values)
                if isinstance(given, LastValue):
                    given.order = scope.takes
                made.tap(given)
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
            scope.refused[self] = None
        if COMPILED and made.taps is not None:
            made.own_rest().taps = tuple([tap.copy() for tap in made.taps])
        made.tap(closed)
        made.tap(opened)
        before = old.points
        batches = [] if before is None else list(before.batches)
        batches += [None] * (shard + 1 - len(batches))
        batches[shard] = batch
        merged_before: i64 = 0 if before is None else before.count
        made.own_rest().points = MergedPoints(merged_before + closed.count + opened.count, tuple(batches))
        self.state = made
        if self.table is not None:
            self.table.restore(self)

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
            if made.stored:
                made.own_rest().stored = ()
            self.state = made

    def note_stored(self, opened: Aggregate) -> None:
        """Take note that the map is about to store the open window. Call it with the lock held."""
        # Compiled, the open aggregate stays the same object until it is moved, and storing it again changes nothing.
        if not COMPILED:
            made = self.state.successor()
            made.own_rest().stored = (*made.stored, opened)
            self.state = made

    def cut(self, slot: int, into: dict[Any, Any]) -> None:
        """Move what has come since the last cut of `slot` to the end of the list that `into` has of this series.

        Call it with the lock held. There are three steps: the state shows the tap as handed over, the list gets it, the state
        forgets it. Each may be repeated: whoever finds one handed over finishes the job.
        """
        for _ in (1, 2):  # finish an interrupted cut, then make one of our own
            handed = [one for one in self.current().handed if one[0] == slot]
            resumed = bool(handed)
            if not handed:
                part = self._tap_of(slot)
                if part.count == 0:
                    return
                handed = [(slot, part)]
                taps = self.state.taps
                assert taps is not None
                # All that allocates comes before the state is copied: a finaliser may record, and drop.
                taps = (*taps[:slot], self.empty.fresh(), *taps[slot + 1 :])
                others = (*self.state.handed, *handed)
                made = self.state.successor()
                rest = made.own_rest()
                rest.taps = taps
                rest.handed = others
                self.state = made
            parts = into.setdefault(self, [])
            if not any([part is handed[0][1] for part in parts]):
                parts.append(handed[0][1])
            others = tuple([one for one in self.state.handed if one[0] != slot])
            made = self.state.successor()
            made.own_rest().handed = others
            self.state = made
            if not resumed:
                return

    def _tap_of(self, slot: int) -> Aggregate:
        """Return the tap of a slot, made if it is not there: then everything is new to this reader."""
        state = self.current()
        taps = () if state.taps is None else state.taps
        if slot >= len(taps):
            missing = [self.empty.fresh() for _ in range(slot + 1 - len(taps))]
            taps = (*taps, *missing)
            made = self.current().successor()  # after all that allocates: what is absorbed from here on is in no tap
            for tap in missing:
                tap.merge(made.total)
                if made.open is not None:
                    tap.merge(made.open)
            made.own_rest().taps = taps
            self.state = made
        found: Aggregate = taps[slot]
        return found

    def is_idle(self, slots: list[int]) -> bool:
        """Tell whether everything it was given is in the total, and was cut by the readers that have these slots."""
        state = self.current()
        if state.open is not None or state.handed:
            return False
        for cell in self.cell.parts():
            if cell.pending_count() or cell.excess() or cell in self.scope.dirty:
                return False
        taps = () if state.taps is None else state.taps
        return not any([slot >= len(taps) or taps[slot].count for slot in slots])

    def inherit(self, gone: Series, since: float) -> bool:
        """Take over what an idle series amounts to, and leave it empty since `since`; call it with its lock held.

        False: it is in use again, or the process has forked, and nothing has changed. Else two stores make the change, and no
        call is between them: nothing can interrupt it there.
        """
        theirs = gone.current()
        mine = self.current()
        left = State(self.scope.generation, self.empty.fresh(), since)
        points: i64 = 0 if mine.points is None else mine.points.count
        if theirs.points is not None:
            points += theirs.points.count
            left.own_rest().points = MergedPoints(0, theirs.points.batches)
        merged = MergedPoints(points, ())
        cells = gone.cell.parts()
        # Whoever records from here on is noticed by `table`; compiled, nothing below gives anybody else a turn.
        if gone.table is None or theirs.generation != mine.generation:  # used just now, or forked
            return False
        made = mine.successor()
        made.total = mine.total.copy()
        made.total.merge(theirs.total)
        for reason in range(len(theirs.drops)):
            if theirs.drops[reason]:
                made.drop(reason, theirs.drops[reason])
        rest = made.own_rest()
        rest.points = merged
        self.state = made
        gone.state = left
        for cell in cells:
            rest.inherited += cell.settle()
        if gone.reservoir is not None:
            gone.reservoir.clear()
        self.scope.observed.pop(gone, None)
        return True

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
