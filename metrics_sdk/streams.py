"""The tables of an SDK: of each instrument, those of its streams, and who reads which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from metrics_sdk.clock import Clock
from metrics_sdk.config import Config
from metrics_sdk.core.aggregation import new_aggregate
from metrics_sdk.core.instruments import Instrument
from metrics_sdk.core.reasons import DISABLED
from metrics_sdk.core.scope import Scope
from metrics_sdk.core.series import Series
from metrics_sdk.core.stream import Stream
from metrics_sdk.core.table import Description, Table
from metrics_sdk.faults import Faults
from metrics_sdk.store import AggregateMap
from metrics_sdk.view import Wishes, streams_of

_DROPPED = "drop"  # the aggregation of a table that nobody reads, since views drop what is recorded


class Streams:
    """Makes tables as views and readers have it. The first table of an instrument leads to those of its other streams.

    Readers are told apart by what they wish; None is the reader without wishes: an exporter of snapshots, a scrape.
    Queries are answered from the streams of the first reader.
    """

    def __init__(
        self,
        scope: Scope,
        store: AggregateMap,
        clock: Clock,
        faults: Faults,
        config: Callable[[], Config],
    ) -> None:
        self._scope = scope
        self._store = store
        self._clock = clock
        self._faults = faults
        self._config = config
        self.readers: list[Wishes | None] = [None]
        self._first: dict[object, Table] = {}  # the first table of each instrument, by the description's key
        self._instruments: dict[Instrument, None] = {}
        self._refused: dict[Table, Table] = {}  # where values go while their instrument is turned off
        self._retired: list[Table] = []
        # What was looked up, with the number of changes until then: what is looked up while something changes is not kept.
        self._changes = 0
        self._chosen: dict[tuple[Table, Wishes | None], tuple[int, list[Table]]] = {}
        self._names: tuple[int, dict[str, list[Table]]] = (-1, {})
        self._changing: Any = threading.RLock()  # against another change of the readers

    def forked(self) -> None:
        """Begin anew in a forked child, where the lock may be held by a thread that is no more."""
        self._changing._at_fork_reinit()

    # ---- making -------------------------------------------------------------------------------------------------

    def new_table(self, description: Description) -> Table:
        """Return the first table of an instrument, with the series that there are of it already."""
        known = self._first.get(description.key)
        if known is not None and known.description.kind is description.kind:
            if known.description.boundaries == description.boundaries:
                known.describe(description)
                return known
        for view in self._config().views:
            if not view.suits(description.kind) and view.matches(description):
                self._faults.report("view", f"{view} is not applied to {description.name!r}: no histogram of observed totals")
        made = self._completed(description, None)
        names = [table.name.lower() for table in made.all()]
        if len(self.readers) == 1 and len(set(names)) < len(names):
            self._faults.tell(f"views:{description.name}", f"views give several streams of {description.name!r} the same name")
        return made

    def _completed(self, description: Description, first: Table | None) -> Table:
        """Return the first table of an instrument, `first` if that will do, with a table for each stream that anybody reads."""
        made = [] if first is None or first.stream.aggregation == _DROPPED else first.all()
        for reader in list(self.readers):
            for stream in streams_of(description, self._config(), reader):
                if stream.likeness() not in [table.stream.likeness() for table in made]:
                    made.append(self._table(description, stream))
        if not made:  # what is recorded is counted, see `arrange`
            return self._table(description, Stream("", "", _DROPPED, limit=1)) if first is None else first
        others = tuple(made[1:])
        if others != made[0].others:
            made[0].others = others
        return made[0]

    def _table(self, description: Description, stream: Stream) -> Table:
        empty = new_aggregate(stream.aggregation, stream.boundaries, stream.max_buckets)
        return Table(self._scope, description, stream, empty, self._store.locks)

    def add_reader(self, reader: Wishes | None, first: bool = False) -> None:
        """Give another reader the streams that it wishes, of the instruments that there are as well.

        `first`: from now on queries are answered from these.
        """
        with self._changing:
            self.readers.insert(0 if first else len(self.readers), reader)
            self._arrange_all()

    def remove_reader(self, reader: Wishes | None) -> None:
        """Forget what a reader wishes, and the streams that nobody else reads. The last reader is not forgotten."""
        with self._changing:
            left = [one for one in self.readers if one is not reader]
            self.readers = left or self.readers
            self._changed()
            for table in self.first_tables():
                read = [one for other in self.readers for one in self.of(table, other)]
                table.others = tuple([one for one in table.others if one in read])
            self._arrange_all()

    def _arrange_all(self) -> None:
        self._changed()
        for table in self.first_tables():
            self._complete(table)
        for instrument in self.instruments():
            self.arrange(instrument)

    def _complete(self, table: Table) -> None:
        whole = self._completed(table.description, table)
        if whole is not table:
            self._first[table.description.key] = whole
        self._changed()

    def slot_for(self, table: Table, reader: object) -> int:
        """Return the slot of a reader's taps in a table: a new one, or one that another reader has given up."""
        with self._changing:
            cutters = table.cutters
            slot = cutters.index(None) if None in cutters else len(cutters)
            cutters[slot : slot + 1] = [reader]
        return slot

    def _changed(self) -> None:
        self._changes += 1
        self._chosen.clear()

    def instruments(self) -> list[Instrument]:
        """Return the instruments that record into these tables."""
        return [one for one in list(self._instruments) if one.route.table.scope is self._scope]

    def publish(self, table: Table, replace: bool = False) -> None:
        """Show the tables to readers; in the place of those that are shown already only if told to replace them."""
        key = table.description.key
        if replace:
            self._first[key] = table
        else:
            self._first.setdefault(key, table)
        self._complete(self._first[key])  # a reader may have been added since the table was made

    def arrange(self, instrument: Instrument) -> None:
        """Let an instrument record as the configuration has it: not at all, or without windows."""
        config = self._config()
        table = instrument.route.table
        published = self._first.get(table.description.key)
        if published is None:
            return
        self._instruments[instrument] = None
        name = instrument.name.lower()
        windowed = bool(config.resolutions) and not matches(config.without_windows, name)
        for one in published.all():
            if windowed and not one.windowed:
                one.windowed_since = self._clock.time()
            one.windowed = windowed
            for series in list(one.series.values()):
                series.windowed = windowed
        dropped = not any([self.of(published, reader) for reader in self.readers])
        disabled = dropped or matches(config.disabled, name)
        route = instrument.route
        if disabled and table.stands_for is not published:
            instrument.redirect(self.refusing(published, DISABLED))
        elif not disabled and (table is not published or route.others is not published.others):
            instrument.redirect(published)
        if disabled:
            for one in published.all():
                one.observed = frozenset() if one.description.kind.observable else None

    def renew(self, instrument: Instrument) -> None:
        """Let an instrument find its series anew, since there are other ones than before."""
        instrument.redirect(instrument.route.table)

    def renew_all(self, first: Table) -> None:
        """The same for the instruments that record into a table."""
        for instrument in list(self._instruments):
            if instrument.route.table is first:
                self.renew(instrument)

    def pinned(self, first: Table) -> set[Series]:
        """Return the series that bound instruments hold, and those without attributes: they do not expire."""
        held = [one for instrument in list(self._instruments) if instrument.route.table is first for one in instrument.held()]
        return {target.series for instrument in held for target in instrument.route.bare.targets()}

    def refusing(self, published: Table, reason: int) -> Table:
        """Return the table in whose place values are counted as dropped for `reason`."""
        known = self._refused.get(published)
        if known is None:
            stream = Stream("", "", published.stream.aggregation, limit=1)
            made = Table(self._scope, published.description, stream, published.empty, self._store.locks, published, reason)
            known = self._refused.setdefault(published, made)
        return known

    def recount(self) -> None:
        """Count the series of all streams again: what comes and goes at once, or is interrupted, is counted roughly."""
        self._scope.series = sum([len(table.series) for table in self.all_tables()])

    def retire(self, table: Table) -> None:
        """Give up an instrument's tables for others; their values become drops."""
        everything = [series for one in table.all() for series in list(one.series.values())]
        self._store.drain(everything)
        self._retired += table.all()
        self._changed()
        for instrument in list(self._instruments):
            if instrument.route.table.own() is table:
                self._instruments.pop(instrument, None)
        if any([series.current().merged for series in everything]):
            name = table.description.name
            self._faults.report(
                "redeclared", f"what was recorded under {name!r} before its declaration is dropped: it does not fit"
            )

    # ---- reading ------------------------------------------------------------------------------------------------

    def first_tables(self) -> list[Table]:
        """Return the first table of each instrument."""
        return list(self._first.values())

    def all_tables(self) -> list[Table]:
        """Return the tables of all streams."""
        return [table for first in self.first_tables() for table in first.all()]

    def tables(self, reader: Wishes | None) -> list[Table]:
        """Return the tables that a reader reads; for one that is not known, those that queries are answered from."""
        return [table for first in self.first_tables() for table in self.of(first, reader)]

    def of(self, first: Table, reader: Wishes | None) -> list[Table]:
        """Return those of one instrument that a reader reads."""
        if reader not in self.readers:
            reader = self.readers[0]
        key = (first, reader)
        changes, chosen = self._chosen.get(key, (-1, []))
        if changes != self._changes:
            changes = self._changes
            wished = [stream.likeness() for stream in streams_of(first.description, self._config(), reader)]
            chosen = [table for table in first.all() if table.stream.likeness() in wished]
            self._chosen[key] = (changes, chosen)
        return chosen

    def queried(self) -> list[Table]:
        """Return the tables that queries are answered from."""
        return self.tables(self.readers[0])

    def named(self, name: str) -> list[Table]:
        """Return the tables of that name that queries are answered from: one, or one of each meter that has it.

        Where these are of different sorts, those that are like the one made last that has values.
        """
        changes, names = self._names
        if changes != self._changes:
            changes, names = self._changes, {}
            for first in self.first_tables():
                alike: dict[str, Table] = {}
                for table in self.of(first, self.readers[0]):
                    alike.setdefault(table.name.lower(), table)
                for key, table in alike.items():
                    names.setdefault(key, []).append(table)
            self._names = (changes, names)
        found = names.get(name.lower(), [])
        if len(found) < 2:
            return found
        used = [one for one in found if one.is_used()] or found
        return [one for one in found if _sort(one) == _sort(used[-1])]

    def names(self) -> Iterable[str]:
        """Return the names that can be asked for."""
        return {table.name.lower(): None for table in self.queried()}

    def accounted(self) -> Iterable[tuple[Table, Table | None, bool]]:
        """Yield each table, where its values go while it is turned off, and whether it was retired."""
        for first in self.first_tables():
            for table in first.all():
                yield table, self._refused.get(table), False
        for table in self._retired:
            yield table, self._refused.get(table), True


def _sort(table: Table) -> tuple[object, ...]:
    stream = table.stream
    return table.kind.name, table.description.unit, stream.aggregation, stream.boundaries


def matches(patterns: Sequence[str], name: str) -> bool:
    """Tell whether a name matches one of the patterns, whatever their case."""
    if not patterns:
        return False
    from fnmatch import fnmatchcase  # 3 ms, and not before there are patterns

    return any([fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns])
