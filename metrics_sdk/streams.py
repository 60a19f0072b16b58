"""The tables of an SDK: of each instrument, those of its streams, and who reads which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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
        self._chosen: dict[tuple[Table, Wishes | None], list[Table]] = {}
        self._names: dict[str, list[Table]] | None = None

    # ---- making -------------------------------------------------------------------------------------------------

    def new_table(self, description: Description) -> Table:
        """Return the first table of an instrument, with the series that there are of it already."""
        known = self._first.get(description.key)
        if known is not None and known.description.kind is description.kind:
            if known.description.boundaries == description.boundaries:
                known.describe(description)
                return known
        made: list[Table] = []
        for reader in self.readers:
            for stream in self._streams(description, reader):
                if stream.likeness() not in [table.stream.likeness() for table in made]:
                    made.append(self._table(description, stream))
        names = [table.name.lower() for table in made]
        if len(self.readers) == 1 and len(set(names)) < len(names):
            self._faults.tell(f"views:{description.name}", f"views give several streams of {description.name!r} the same name")
        if not made:  # dropped: values are counted, see `arrange`
            made.append(self._table(description, Stream("", "", "sum", limit=1)))
        made[0].others = tuple(made[1:])
        return made[0]

    def _streams(self, description: Description, reader: Wishes | None) -> list[Stream]:
        config = self._config()
        for view in config.views:
            if not view.suits(description.kind) and view.matches(description):
                self._faults.report("view", f"{view} is not applied to {description.name!r}: no histogram of observed totals")
        return streams_of(description, config, reader)

    def _table(self, description: Description, stream: Stream) -> Table:
        empty = new_aggregate(stream.aggregation, stream.boundaries, stream.max_buckets)
        return Table(self._scope, description, stream, empty, self._store.locks)

    def add_reader(self, reader: Wishes | None, first: bool = False) -> None:
        """Give another reader the streams that it wishes, of the instruments that there are as well.

        `first`: from now on queries are answered from these.
        """
        self.readers.insert(0 if first else len(self.readers), reader)
        for table in self.first_tables():
            known = [one.stream.likeness() for one in table.all()]
            for stream in self._streams(table.description, reader):
                if stream.likeness() not in known:
                    table.others = (*table.others, self._table(table.description, stream))
                    known.append(stream.likeness())
            for instrument in list(self._instruments):
                if instrument.route.table.own() is table:
                    self.arrange(instrument)
                    self.renew(instrument)
        self._chosen.clear()
        self._names = None

    def remove_reader(self, reader: Wishes | None) -> None:
        """Forget what a reader wishes; the streams that there are stay. The last one is not forgotten."""
        left = [one for one in self.readers if one is not reader]
        self.readers = left or self.readers
        self._chosen.clear()
        self._names = None

    def publish(self, table: Table, replace: bool = False) -> None:
        """Show the tables to readers; in the place of those that are shown already only if told to replace them."""
        key = table.description.key
        if replace:
            self._first[key] = table
        else:
            self._first.setdefault(key, table)
        self._names = None

    def arrange(self, instrument: Instrument) -> None:
        """Let an instrument record as the configuration has it: not at all, or without windows."""
        config = self._config()
        table = instrument.route.table
        published = self._first.get(table.description.key)
        if published is None:
            return
        self._instruments[instrument] = None
        name = instrument.name.lower()
        windowed = bool(config.resolutions) and not _matches(config.without_windows, name)
        for one in published.all():
            if windowed and not one.windowed:
                one.windowed_since = self._clock.time()
            one.windowed = windowed
            for series in list(one.series.values()):
                series.windowed = windowed
        dropped = not any([self.of(published, reader) for reader in self.readers])
        disabled = dropped or _matches(config.disabled, name)
        if disabled and table.stands_for is None:
            instrument.redirect(self.refusing(published, DISABLED))
        elif not disabled and table.stands_for is not None:
            instrument.redirect(published)

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
        self._chosen.clear()
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
        chosen = self._chosen.get(key)
        if chosen is None:
            wished = [stream.likeness() for stream in streams_of(first.description, self._config(), reader)]
            chosen = self._chosen[key] = [table for table in first.all() if table.stream.likeness() in wished]
        return chosen

    def queried(self) -> list[Table]:
        """Return the tables that queries are answered from."""
        return self.tables(self.readers[0])

    def named(self, name: str) -> list[Table]:
        """Return the tables of that name that queries are answered from: one, or one of each meter that has it.

        Where these are of different sorts, those that are like the one made last.
        """
        names = self._names
        if names is None:
            names = {}
            for first in self.first_tables():
                alike: dict[str, Table] = {}
                for table in self.of(first, self.readers[0]):
                    alike.setdefault(table.name.lower(), table)
                for key, table in alike.items():
                    names.setdefault(key, []).append(table)
            self._names = names
        found = names.get(name.lower(), [])
        return [one for one in found if _sort(one) == _sort(found[-1])]

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


def _matches(patterns: Sequence[str], name: str) -> bool:
    if not patterns:
        return False
    from fnmatch import fnmatchcase  # 3 ms, and not before there are patterns

    return any([fnmatchcase(name, pattern.lower()) for pattern in patterns])
