"""A small SDK without threads around the copied core, and its own account of what was recorded."""

from __future__ import annotations

from collections import Counter
from threading import get_ident
from typing import Any

from schedules_explorer import Broken, Interrupt

Pairs = tuple[tuple[str, Any], ...]

WINDOW_SECONDS = 10.0


def ledger(core: Any) -> Any:
    """Return an aggregate that keeps every value in the order of merging, so that one lost or doubled has a name."""

    class Ledger(core.aggregates.Aggregate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.values: list[Any] = []

        def fold(self, values: list[Any]) -> None:
            sum(values)  # raises for what cannot be added, as the real ones do
            self.values = self.values + values
            self.count += len(values)

        def merge(self, other: Any) -> None:
            self.values = self.values + other.values
            self.count += other.count

        def fresh(self) -> Any:
            return Ledger()

    return Ledger()


class World:
    """A table with its instrument, a map that drains it, and what was given to them.

    The values are serial numbers: 1, 2, 3, …, so that their order tells when they were recorded.
    """

    def __init__(self, core: Any, empty: Any = None, kind: str = "COUNTER", shards: int = 1, windows: bool = False) -> None:
        self.core = core
        self.clock = core.clock.ManualClock(1000.0)
        self.scope = core.scope.Scope(shards, windows, self._start, self.clock.time, None)
        kept = [core.store.Resolution(WINDOW_SECONDS, 100 * WINDOW_SECONDS)] if windows else []
        self.map = core.store.AggregateMap(self.scope, self.clock, 1, kept, 0.0)
        described = core.table.Description("x", getattr(core.kinds, kind), "", "", None, "", "")
        self.table = core.table.Table(
            self.scope, described, core.stream.Stream("", "", "sum", limit=100), empty or ledger(core), self.map.locks
        )
        verb = {"COUNTER": "Counter", "GAUGE": "Gauge", "HISTOGRAM": "Histogram"}[kind]
        self.instrument = getattr(core.instruments, verb)(self.table, (), {})
        self.series = self.table.find(())
        self.given: dict[Pairs, list[int]] = {}
        self.drops = 0  # what was given and cannot be counted
        self.serial = 0
        self.operating: tuple[Pairs, int] | None = None  # the value that the operation records
        self.operation_ended = 0  # the serial number then
        self.uncertain = 0  # values that may be missing: the operation's own, if an exception or a fork came in
        self.refuses = False  # whether values may be dropped: at the cap, or after shutdown
        self.number: Any = int  # the type of the values
        self.forked = False
        self.gone = False  # whether there is nothing to check any more
        self.threads: dict[int, set[int]] = {}  # the values that each thread recorded, where several run at a time

    def _start(self) -> None:
        self.scope.running = True

    @property
    def cell(self) -> Any:
        """The only cell of the series without attributes."""
        return self.series.cell

    def account(self, *series: Any) -> Any:
        """What the core says became of the values."""
        made = self.core.account.Account()
        made.add(list(series))
        return made

    # ---- what happens -------------------------------------------------------------------------------------------

    def add(self, attributes: dict[str, Any] | None = None) -> None:
        """Record the next value."""
        self.serial += 1
        self.given.setdefault(_pairs(attributes), []).append(self.serial)
        self.instrument.put(self.number(self.serial), attributes)

    def add_on_thread(self, attributes: dict[str, Any] | None = None) -> None:
        """Record the next value, as one of several threads that run at a time."""
        self.threads.setdefault(get_ident(), set()).add(self.serial + 1)
        self.add(attributes)

    def drop(self) -> None:
        """Record what cannot be counted."""
        self.drops += 1
        self.instrument.put(None)

    def operate(self, attributes: dict[str, Any] | None = None) -> None:
        """Record the next value, in an operation that is going to be interrupted."""
        self.operating = (_pairs(attributes), self.serial + 1)
        self.add(attributes)

    def put(self, count: int) -> None:
        """Have `count` more values pending, however many that makes: as if takes had been held up."""
        for _ in range(count):
            self.serial += 1
            self.given.setdefault((), []).append(self.serial)
            self.cell.pending.append(self.serial)
        self.scope.dirty[self.cell] = None

    def drain(self) -> None:
        """Take everything; what is being taken already is left."""
        self.map.drain(timeout=-1.0)

    def fork(self, goes_on: bool) -> None:
        """Become the child: what was recorded until now is the parent's. If the operation `goes_on` (it was the thread that
        forked which it belongs to), its own value may count in the child as well.
        """
        self.scope.forked()
        self.map.forked()
        self.forked = True
        self.given.clear()
        self.drops = int(goes_on and self.drops > 0 and self.operating is None)
        if not goes_on:
            self.operating = None
        elif self.operating is not None:
            pairs, value = self.operating
            self.given[pairs] = [value]
        self.uncertain = int(goes_on)

    def revive(self) -> None:
        """In a child: record a value into every series, which brings out what the parent left in its cell."""
        if self.forked:
            for series in self._all():
                self.add(dict(series.attributes))

    def ended(self, error: BaseException | None) -> None:
        """The operation is over."""
        self.operation_ended = self.serial
        if isinstance(error, Interrupt):
            self.uncertain = 1
        elif error is not None:
            raise error if isinstance(error, Broken) else Broken(f"raised {error!r}")

    # ---- what must hold -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Broken unless all is accounted for now, and merged after two drains more."""
        self._check_locks()
        self._check_account(self._pending())
        self.drain()
        self.drain()
        self._check_locks()
        pending = self._pending()
        if any(pending.values()) or self.account(*self._all()).pending:
            raise Broken(f"left pending: {pending}")
        if self.scope.dirty:
            raise Broken("left on the dirty list")
        self._check_account(pending)
        if not self.scope.is_closed():
            self._check_next()

    def _check_next(self) -> None:
        """What is recorded next is merged by the next drain."""
        before = self.account(*self._all()).merged
        for series in self._all():
            self.add(dict(series.attributes))
        self.drain()
        if self.account(*self._all()).merged != before + len(self._all()):
            raise Broken("what is recorded next is not merged by the next drain")

    def _all(self) -> list[Any]:
        return list(self.table.series.values())

    def _check_locks(self) -> None:
        for lock in (*self.map.locks, self.map.drain_lock):
            if lock._is_owned() or not lock.acquire(False):
                raise Broken("lock orphaned")
            lock.release()

    def _pending(self) -> dict[Pairs, list[Any]]:
        """What the cells hold, and the state does not include."""
        found: dict[Pairs, list[Any]] = {}
        for series in self._all():
            values = found.setdefault(series.attributes, [])
            for cell in series.cell.parts():
                merged = series.current().batches[cell.shard : cell.shard + 1]
                for item in cell.pending:
                    if type(item) is not self.core.append.Batch:
                        values.append(item)
                    elif not merged or merged[0] is not item:
                        values.extend(item)
        return found

    def _check_account(self, pending: dict[Pairs, list[Any]]) -> None:
        missing = 0
        dropped = 0
        for series in self._all():
            pairs = series.attributes
            values = [value for value in pending[pairs] if type(value) is not self.core.append.Drop]
            dropped += sum(self.account(series).dropped) + len(pending[pairs]) - len(values)
            if self.account(series).pending != len(pending[pairs]):
                raise Broken(f"pending is said to be {self.account(series).pending}, but is {pending[pairs]}")
            missing += self._compare(series, values)
        for pairs in self.given.keys() - {series.attributes for series in self._all()}:
            missing += len(self.given[pairs])
        refused = dropped - self.drops
        if not self.refuses and not -self.uncertain <= refused <= 0:
            raise Broken(f"{refused} more dropped than there was reason to")
        if not 0 <= missing - refused <= self.uncertain:
            raise Broken(f"lost {missing - refused} values of {self.given}, {refused} were refused")

    def _compare(self, series: Any, pending: list[int]) -> int:
        """Return how many of the values given to a series are missing in it."""
        given = self.given.get(series.attributes, [])
        merged = getattr(series.total(), "values", None)
        if merged is None:
            return self._compare_sum(series, given, pending)
        held = merged + pending
        alien = Counter(held) - Counter(given)
        if alien:
            known = {value for values in self.given.values() for value in values}
            word = "doubled" if set(alien) <= set(given) else "in the wrong series" if set(alien) <= known else "the parent's"
            raise Broken(f"{word}: {sorted(alien)} in {series.attributes}, which was given {given}")
        if series.current().merged != len(merged):
            raise Broken(f"merged is said to be {series.current().merged}, but is {len(merged)}")
        if self.scope.shards == 1:
            self._check_order(held)
        if self.scope.windowed:
            self.check_windows(series)
        return len(given) - len(held)

    def _compare_sum(self, series: Any, given: list[int], pending: list[int]) -> int:
        """The same for a real aggregate, which tells count and sum."""
        total = series.total()
        missing = len(given) - len(pending) - total.count
        if missing < 0:
            raise Broken(f"doubled: {-missing} values")
        found = total.total() if hasattr(total, "total") else total.sum
        absent = sum(given) - sum(pending) - found
        allowed = {0} if not missing else {self.operating[1] if self.operating else 0}
        if absent not in allowed:
            raise Broken(f"the sum is wrong by {absent}")
        if hasattr(total, "last") and not pending:
            own = self.operating[1] if self.operating else 0
            if total.last not in {own, max(set(given) - {own})}:
                raise Broken(f"out of order: the last of {given} is said to be {total.last}")
        buckets = total.bucket_counts() if hasattr(total, "bucket_counts") else None
        if buckets is not None and sum(buckets) != total.count:
            raise Broken(f"the buckets hold {sum(buckets)} of {total.count} values")
        return missing

    def _check_order(self, held: list[int]) -> None:
        """In the order of recording, on each thread; what came while the operation ran may be before or after its value."""
        if self.threads:
            for mine in self.threads.values():
                of_thread = [value for value in held if value in mine]
                if of_thread != sorted(of_thread):
                    raise Broken(f"out of order: {of_thread}")
            return
        own = self.operating[1] if self.operating else 0
        others = [value for value in held if value != own]
        if others != sorted(others):
            raise Broken(f"out of order: {held}")
        if own in held:
            before, after = held[: held.index(own)], held[held.index(own) + 1 :]
            if any(value > self.operation_ended > 0 for value in before) or any(value < own for value in after):
                raise Broken(f"out of order: {own} in {held}")

    def check_windows(self, series: Any) -> None:
        """Raise Broken unless a reader finds each merged value in exactly one window."""
        _start, _end, found = self.map.read([series], -1e9, float("inf"))
        read = [value for parts in found.values() for aggregate in parts for value in aggregate.values]
        if sorted(read) != sorted(series.total().values):
            raise Broken(f"the windows hold {sorted(read)}, merged are {sorted(series.total().values)}")


def _pairs(attributes: dict[str, Any] | None) -> Pairs:
    return tuple(sorted((attributes or {}).items()))


class ExpiringWorld(World):
    """A series that may expire beside the one without attributes, and a reader of deltas, which holds what it has cut."""

    PAIRS: Pairs = (("k", 1),)

    def __init__(self, core: Any, **given: Any) -> None:
        super().__init__(core, **given)
        self.held: dict[Any, list[Any]] = {}
        self.table.cutters.append("a reader")
        for _ in range(3):
            self.add({"k": 1})
        self.drain()
        self.leaving = self.table.find(self.PAIRS)

    def cut(self, series: Any = None) -> None:
        """Let the reader cut a series, as it does when it collects."""
        one = self.leaving if series is None else series
        self.core.exclusion.exclusively(one.lock, lambda: one.cut(0, self.held), 1.0)

    def expire(self) -> None:
        """Let the series expire if it is idle, as the flusher does."""
        held = self.held  # a fork in the middle begins another one

        def work() -> None:
            self.leaving.cut(0, held)
            self.table.expire(self.leaving)

        self.core.exclusion.exclusively(self.leaving.lock, work, 1.0)

    def add_anew(self) -> None:
        """Record the next value after looking its series up anew."""
        self.instrument.redirect(self.table)
        self.add({"k": 1})

    def fork(self, goes_on: bool) -> None:
        """Become the child, where the reader begins anew."""
        super().fork(goes_on)
        self.held = {}

    def ended(self, error: BaseException | None) -> None:
        """The operation is over. It was no record, so nothing may be missing."""
        super().ended(error)
        self.uncertain = 0

    def check(self) -> None:
        """Raise Broken unless every value is there once, for queries and for the reader: now, and when all is done again."""
        self._check_locks()
        self._check_values()
        self.expire()
        self._check_values()
        self.drain()
        self._check_values()
        for series in self._all():
            self.cut(series)
        told = [value for parts in self.held.values() for part in parts for value in part.values]
        self._compare_all("told", told)
        self.add({"k": 1})
        self.drain()
        self._check_values()

    def _check_values(self) -> None:
        known = self.table.known()
        if len(known) != len(set(map(id, known))):
            raise Broken("a series is there and has expired")
        merged = [value for series in known for value in series.total().values]
        pending = [value for values in self._pending().values() for value in values]
        self._compare_all("there", merged + pending)
        account = self.account(*known)
        if (account.merged, account.pending) != (len(merged), len(pending)):
            raise Broken(
                f"{account.merged} and {account.pending} are said to be merged and pending, {merged} and {pending} are"
            )

    def _compare_all(self, what: str, found: list[Any]) -> None:
        given = [value for values in self.given.values() for value in values]
        lost, alien = Counter(given) - Counter(found), Counter(found) - Counter(given)
        if lost:
            raise Broken(f"lost: {sorted(lost)} of {given} are not {what}")
        if alien:
            raise Broken(f"doubled: {sorted(alien)} are {what} too often, given was {given}")
