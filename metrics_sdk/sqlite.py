"""Windows in an SQLite file, which outlives the process and answers the same queries.

What has closed is written in one transaction. A row is what one series of one process has in one window; writing it again
replaces it, so an export that is tried again doubles nothing. Several processes may write to one file: each has rows of its
own, and a query merges them.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from metrics_sdk.checks import check_seconds
from metrics_sdk.core.aggregates import Aggregate as CoreAggregate
from metrics_sdk.core.aggregates import LastValue
from metrics_sdk.core.aggregation import new_aggregate
from metrics_sdk.core.attributes import raised_by_signal_handler
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.core.kinds import BY_NAME
from metrics_sdk.core.packing import pack, unpack
from metrics_sdk.errors import ConfigurationError, MetricsError, StoreError
from metrics_sdk.feeds import Window
from metrics_sdk.interval import Seconds, Time, interval
from metrics_sdk.query import Aggregate, Grouped, gathered, unknown
from metrics_sdk.resolutions import checked, floor
from metrics_sdk.selection import checked_keys, group_of, includes, tags_of

T = TypeVar("T")

SCHEMA_VERSION = 2
APPLICATION_ID = 0x6D736B31  # by which a file is known to be ours

_TABLES = """
CREATE TABLE instruments (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL, boundaries TEXT NOT NULL,
  max_buckets INTEGER NOT NULL, UNIQUE (name, kind, unit, boundaries, max_buckets));
CREATE TABLE series (
  id INTEGER PRIMARY KEY, instrument INTEGER NOT NULL REFERENCES instruments, attributes TEXT NOT NULL,
  UNIQUE (instrument, attributes));
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE windows (
  series INTEGER NOT NULL, start REAL NOT NULL, width REAL NOT NULL, source INTEGER NOT NULL, revision INTEGER NOT NULL,
  data BLOB NOT NULL, PRIMARY KEY (series, start, width, source, revision)) WITHOUT ROWID;
"""

#: What turns a file of the version before into one of this version.
_MIGRATIONS: Mapping[int, str] = {
    1: "CREATE INDEX windows_by_age ON windows (width, start);",
}


class _Connection:
    """The connection of the process that opened it; a forked child leaves it alone: closing it would disturb the parent."""

    def __init__(self) -> None:
        self._of_parents: list[sqlite3.Connection] = []
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    def get(self) -> sqlite3.Connection | None:
        """Return this process's connection, None if there is none."""
        if self._connection is not None and self._pid != os.getpid():
            self._of_parents.append(self._connection)
            self._connection = None
        return self._connection

    def put(self, connection: sqlite3.Connection) -> None:
        """Keep a connection that this process has opened."""
        self._connection, self._pid = connection, os.getpid()

    def close(self) -> None:
        """Close this process's connection."""
        connection = self.get()
        self._connection = None
        if connection is not None:
            connection.close()


class SQLiteStore:
    """Keeps closed windows in the file `path`, made with mode 0600 if it is not there: an exporter, and a reader.

    `resolutions`: (width, span) in seconds: what is older than a span is merged into windows of the next width, and what is
    older than the last span is deleted. `timeout_seconds`: how long to wait for another process's transaction.
    Writing makes the file if it is not there; reading does not. Both raise StoreError where it cannot be used, and say why.
    """

    accepts_open_windows = True
    window_seconds = 0.0

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resolutions: Sequence[tuple[float, float]] = ((10, 86_400), (60, 7 * 86_400), (3600, 400 * 86_400)),
        timeout_seconds: float = 5.0,
    ) -> None:
        if not os.fspath(path):
            raise ConfigurationError("SQLiteStore needs the path of a file, not an empty one")
        self.path = Path(path)
        self.resolutions = checked("SQLiteStore.resolutions", resolutions)
        if not self.resolutions:
            raise ConfigurationError("SQLiteStore.resolutions must not be empty")
        check_seconds("SQLiteStore.timeout_seconds", timeout_seconds)
        self.timeout_seconds = timeout_seconds
        self._lock: Any = threading.RLock()
        self._connection = _Connection()
        self._opened: tuple[int, int] | None = None  # device and inode of the file
        self._pid = os.getpid()
        self._data_version = 0
        weakref.finalize(self, self._connection.close)
        self._ids: dict[object, int] = {}
        self._maintained_at = -math.inf

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    # ---- writing ------------------------------------------------------------------------------------------------

    def export_windows(self, windows: Sequence[Window], timeout: float) -> None:
        """Write the windows in one transaction. Raises StoreError if that cannot be done; then none of them is written."""
        if time.monotonic() - self._maintained_at > min(60.0, self.resolutions[0].span):
            # Before they are written: if it fails the export has failed, is counted, and is tried again without it.
            self._maintained_at = time.monotonic()
            self.maintain(min(time.time(), max([window.end for window in windows])))
        self._locked(partial(self._write, windows, timeout), make=True)

    def _write(self, windows: Sequence[Window], timeout: float, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * min(timeout, self.timeout_seconds))}")
        with _Transaction(connection):
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._data_version:  # another process has written, and may have deleted what the ids are of
                self._data_version = version
                self._ids.clear()
            try:
                for window in windows:
                    rows = self._rows(connection, window)
                    connection.executemany("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?)", rows)
            except BaseException:
                self._ids.clear()  # those that were given out in this transaction are not
                raise

    def _rows(self, connection: sqlite3.Connection, window: Window) -> Iterator[tuple[int, float, float, int, int, bytes]]:
        source = self._id(connection, "sources", (window.source,))
        for item in window.items():
            boundaries = "" if item.boundaries is None else json.dumps(item.boundaries)
            described = (item.name, item.kind, item.unit, boundaries, item.max_buckets)
            instrument = self._id(connection, "instruments", described)
            series = self._id(connection, "series", (instrument, _attributes_as_text(item.attributes)))
            yield series, window.start, window.end - window.start, source, window.revision, item.data

    def _id(self, connection: sqlite3.Connection, table: str, values: tuple[Any, ...]) -> int:
        """Return the id of the row with these values, made if need be."""
        found = self._ids.get((table, values))
        if found is None:
            columns = {
                "sources": ("name",),
                "instruments": ("name", "kind", "unit", "boundaries", "max_buckets"),
                "series": ("instrument", "attributes"),
            }[table]
            given = ", ".join("?" * len(columns))
            connection.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({given})", values)
            where = " AND ".join([f"{column} = ?" for column in columns])
            found = self._ids[table, values] = connection.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()[0]
        return found

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        exclusively(self._lock, self._connection.close, self.timeout_seconds)

    shutdown = close

    def __enter__(self) -> SQLiteStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- ageing -------------------------------------------------------------------------------------------------

    def maintain(self, now: float | None = None) -> None:
        """Merge windows that are too old for their width, delete those that are too old for any; exporting does so as well."""
        at = time.time() if now is None else now
        for number, (_width, span) in enumerate(self.resolutions[:-1]):
            wider = self.resolutions[number + 1].width
            before = floor(at - span, wider)
            while self._locked(partial(self._roll_up, wider, before), make=True):
                pass
        self._locked(partial(self._delete, at - self.resolutions[-1].span), make=True)

    def _delete(self, before: float, connection: sqlite3.Connection) -> None:
        with _Transaction(connection):
            gone = 0
            for width in _widths(connection):
                deleted = connection.execute("DELETE FROM windows WHERE width = ? AND start <= ?", (width, before - width))
                gone += deleted.rowcount
            if gone:
                self._ids.clear()
                connection.execute(
                    "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM windows WHERE windows.series = series.id)"
                )
                connection.execute("DELETE FROM sources WHERE id NOT IN (SELECT DISTINCT source FROM windows)")

    def _roll_up(self, width: float, before: float, connection: sqlite3.Connection) -> bool:
        """Merge the oldest windows narrower than `width`, in one transaction; False if none begins before `before`."""
        with _Transaction(connection):
            oldest = min([_oldest(connection, one) for one in _widths(connection) if one < width], default=before)
            if oldest >= before:
                return False
            start = floor(oldest, width)
            little = 1e-6 * width  # multiples of a fraction such as 0.3 are not exact
            chosen = (width, start - little, start + width - little)
            merged: dict[tuple[int, int], list[Any]] = {}
            rows = connection.execute(
                "SELECT series, source, data FROM windows WHERE width < ? AND start >= ? AND start < ?", chosen
            )
            for series, source, data in rows:
                merged.setdefault((series, source), []).append(data)
            connection.execute("DELETE FROM windows WHERE width < ? AND start >= ? AND start < ?", chosen)
            empties = dict(self._empties(connection, {key[0] for key in merged}))
            for (series, source), parts in merged.items():
                known = connection.execute(
                    "SELECT data FROM windows WHERE series = ? AND start = ? AND width = ? AND source = ? AND revision = 0",
                    (series, start, width, source),
                ).fetchone()
                data = pack(gathered(empties[series], [*parts, *(known or ())]))
                connection.execute(
                    "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, 0, ?)", (series, start, width, source, data)
                )
            return bool(merged)

    def _empties(self, connection: sqlite3.Connection, chosen: set[int]) -> Iterator[tuple[int, CoreAggregate]]:
        made: dict[int, CoreAggregate] = {}
        rows = connection.execute(
            "SELECT series.id, instruments.id, kind, boundaries, max_buckets FROM series JOIN instruments"
            " ON instruments.id = series.instrument"
        )
        for series, instrument, kind, boundaries, max_buckets in rows:
            if series in chosen:
                if instrument not in made:
                    made[instrument] = _empty(kind, boundaries, max_buckets)
                yield series, made[instrument]

    # ---- reading ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of the instruments that there is something of."""
        names = "SELECT DISTINCT name FROM instruments ORDER BY name"
        return self._locked(lambda connection: [row[0] for row in connection.execute(names)])

    def query(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        last: Seconds | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Aggregate:
        """Answer as `MetricsSDK.query` does, from what all processes have written; without an interval, from all there is."""
        return self._grouped(name, (), attributes, last, since, until)[()]

    def query_by(
        self,
        name: str,
        *keys: str,
        attributes: Mapping[str, Any] | None = None,
        last: Seconds | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Grouped:
        """Answer as `MetricsSDK.query_by` does."""
        return Grouped(self._grouped(name, checked_keys(keys), attributes, last, since, until))

    def _grouped(
        self,
        name: str,
        keys: Sequence[str],
        attributes: Mapping[str, Any] | None,
        last: Seconds | None,
        since: Time | None,
        until: Time | None,
    ) -> dict[Any, Aggregate]:
        now = time.time()
        asked = interval(now, last, since, until)
        start, end = asked or (-math.inf, math.inf)
        read = self._locked(partial(self._read, name, keys, attributes, start, end))
        return self._sound(partial(_answers, now, start, end, asked is None, *read))

    def _read(
        self,
        name: str,
        keys: Sequence[str],
        attributes: Mapping[str, Any] | None,
        start: float,
        end: float,
        connection: sqlite3.Connection,
    ) -> tuple[tuple[str, str, str], CoreAggregate, dict[Any, dict[tuple[float, float], list[Any]]], float]:
        """Return name, kind and unit; an empty aggregate; the windows by group; and when the first one there is begins."""
        with _Transaction(connection, "BEGIN"):  # one view of the file, whoever writes meanwhile
            named, empty, groups = _chosen(connection, name, keys, attributes)
            found = {key: _windows_of(connection, ids, start, end, empty) for key, ids in groups.items()}
            first = min([_first(connection, one) for ids in groups.values() for one in ids], default=math.inf)
        return named, empty, found, first

    # ---- the file -----------------------------------------------------------------------------------------------

    def _locked(self, work: Callable[[sqlite3.Connection], T], make: bool = False) -> T:
        """Return what `work` does with the connection; what goes wrong is told as a StoreError."""
        if self._pid != os.getpid():  # a forked child: the lock may be held by a thread that is no more
            self._lock._at_fork_reinit()
            self._pid = os.getpid()
        if self._lock._is_owned():
            raise StoreError(f"cannot use {str(self.path)!r}: this handler has interrupted its use")
        done: list[T] = []
        if not exclusively(self._lock, lambda: done.append(self._with_connection(work, make)), self.timeout_seconds):
            raise StoreError(f"cannot use {str(self.path)!r}: another thread uses it")
        return done[0]

    def _with_connection(self, work: Callable[[sqlite3.Connection], T], make: bool) -> T:
        try:
            return self._sound(lambda: work(self._connect(make)))
        except (sqlite3.Error, OSError) as error:
            if raised_by_signal_handler(error):
                raise
            if isinstance(error, sqlite3.Error):
                self._connection.close()  # the file may be another one by now
            raise StoreError(f"cannot use {str(self.path)!r}: {error}") from error

    def _sound(self, work: Callable[[], T]) -> T:
        """Return what `work` makes of what is in the file; what goes wrong where that is damaged is told as a StoreError."""
        try:
            return work()
        except MetricsError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
            if raised_by_signal_handler(error):
                raise
            raise StoreError(f"cannot use {str(self.path)!r}: what is in it is damaged: {error!r}") from error

    def _connect(self, make: bool) -> sqlite3.Connection:
        if self._connection.get() is not None and self._opened != self._identity():
            self._connection.close()  # the file was deleted, or another one put in its place
        connection = self._connection.get()
        if connection is None:
            self._ids.clear()
            if make and not self.path.exists():
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(
                uri, uri=True, timeout=self.timeout_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection, make)
            except BaseException:
                connection.close()
                raise
            self._connection.put(connection)
            self._opened = self._identity()
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


class _Transaction:
    """A transaction that is rolled back if anything is raised in it."""

    def __init__(self, connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> None:
        self._connection = connection
        connection.execute(begin)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT" if error is None else "ROLLBACK")


def _prepare(connection: sqlite3.Connection, make: bool) -> None:
    """Make the tables, or bring those of an earlier version up to date. Nothing is changed in a file that is not ours."""
    version = _version(connection)
    if version == 0 and not make:
        raise StoreError("there are no windows in the file yet")
    if version != SCHEMA_VERSION:
        connection.execute("PRAGMA journal_mode = WAL")
        with _Transaction(connection):
            version = _version(connection)  # another process may have been faster
            statements = _TABLES if version == 0 else ""
            for number in range(max(1, version), SCHEMA_VERSION):
                statements += _MIGRATIONS[number]
            for statement in statements.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("PRAGMA synchronous = NORMAL")  # with a write-ahead log nothing is torn, whenever the process is killed


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the file, 0 for an empty one. Raises StoreError for one that is not ours, or is newer."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if tables and not ours:
        raise StoreError("this is a database of something else")
    if version > SCHEMA_VERSION:
        raise StoreError(f"the file has version {version}, this is metrics-sdk for version {SCHEMA_VERSION}: update it")
    return version if ours else 0


def _chosen(
    connection: sqlite3.Connection, name: str, keys: Sequence[str], attributes: Mapping[str, Any] | None
) -> tuple[tuple[str, str, str], CoreAggregate, dict[Any, list[int]]]:
    """Return name, kind and unit, an empty aggregate, and the series that are asked for, by group; one group without keys."""
    tags = tags_of(attributes)
    rows = connection.execute(
        "SELECT name, kind, unit, boundaries, max_buckets, id FROM instruments WHERE name = ? COLLATE NOCASE ORDER BY id",
        (name if isinstance(name, str) else "",),
    ).fetchall()
    if not rows:
        raise unknown(name, [row[0] for row in connection.execute("SELECT DISTINCT name FROM instruments")])
    last = rows[-1]  # declared otherwise since: what came before is something else
    alike = [row for row in rows if row[1:4] == last[1:4]]
    groups: dict[Any, list[int]] = {} if keys else {(): []}
    for row in alike:
        for series, text in connection.execute("SELECT id, attributes FROM series WHERE instrument = ?", (row[5],)):
            pairs = _attributes_of(text)
            if includes(pairs, tags):
                groups.setdefault(group_of(pairs, keys), []).append(series)
    return (last[0], last[1], last[2]), _empty(last[1], last[3], max([row[4] for row in alike])), groups


def _windows_of(
    connection: sqlite3.Connection, ids: Iterable[int], start: float, end: float, empty: CoreAggregate
) -> dict[tuple[float, float], list[Any]]:
    found: dict[tuple[float, float], list[Any]] = {}
    longest = max(_widths(connection), default=0.0)
    for series in ids:
        rows = connection.execute(
            "SELECT start, width, revision, data FROM windows WHERE series = ? AND start > ? AND start < ?",
            (series, start - longest, end),
        )
        for began, width, revision, data in rows:
            if began + width > start:
                one: Any = data
                if isinstance(empty, LastValue):
                    one = unpack(data, empty)
                    assert isinstance(one, LastValue)
                    # Each process counts for itself: the later window has the later value, and what came late has none.
                    one.order = 2 * int(began * 1000) + (revision == 0)
                found.setdefault((began, began + width), []).append(one)
    return found


def _widths(connection: sqlite3.Connection) -> Iterator[float]:
    """Yield the widths that there are, with one look into the index for each."""
    width = connection.execute("SELECT min(width) FROM windows").fetchone()[0]
    while width is not None:
        yield width
        width = connection.execute("SELECT min(width) FROM windows WHERE width > ?", (width,)).fetchone()[0]


def _answers(
    now: float,
    start: float,
    end: float,
    all_time: bool,
    named: tuple[str, str, str],
    empty: CoreAggregate,
    found: dict[Any, Any],
    first: float,
) -> dict[Any, Aggregate]:
    """Return the answers from the windows that were found, by group."""
    # Covered is what was asked for, as far as there was anything, and whole windows where these reach further.
    edges = [edge for windows in found.values() for edge in windows]
    since_when = min([max(start, min(first, now)), *[edge[0] for edge in edges]])
    if all_time:
        now = max([edge[1] for edge in edges], default=now)  # all there is ends where it ends
    until_when = max([min(end, now), *[edge[1] for edge in edges if edge[1] <= now or end < math.inf]])
    answers = {}
    for key, windows in found.items():
        merged = gathered(empty, [part for parts in windows.values() for part in parts])
        answers[key] = Aggregate(named, empty, merged, since_when, until_when, 0, windows)
    return answers


def _oldest(connection: sqlite3.Connection, width: float) -> float:
    found: float = connection.execute("SELECT min(start) FROM windows WHERE width = ?", (width,)).fetchone()[0]
    return found


def _first(connection: sqlite3.Connection, series: int) -> float:
    found: float | None = connection.execute("SELECT min(start) FROM windows WHERE series = ?", (series,)).fetchone()[0]
    return math.inf if found is None else found


def _empty(kind: str, boundaries: str, max_buckets: int) -> CoreAggregate:
    return new_aggregate(BY_NAME[kind].aggregation, tuple(json.loads(boundaries)) if boundaries else None, max_buckets or 2)


def _attributes_as_text(pairs: Iterable[tuple[str, Any]]) -> str:
    # As JSON a float and an int stay apart (1.0 and 1), and a tuple is a list.
    return json.dumps([[key, value] for key, value in pairs], ensure_ascii=True)


def _attributes_of(text: str) -> tuple[tuple[str, Any], ...]:
    return tuple([(key, _as_tuple(value)) for key, value in json.loads(text)])


def _as_tuple(value: Any) -> Any:
    return tuple([_as_tuple(one) for one in value]) if isinstance(value, list) else value
