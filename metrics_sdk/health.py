"""Accounting and self-metrics: what the SDK says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metrics_sdk.core.account import Account
from metrics_sdk.core.attributes import OVERFLOW
from metrics_sdk.core.reasons import AFTER_SHUTDOWN, DISABLED, REASONS, REDECLARED
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Metric, Point

PREFIX = "metrics_sdk."
_COUNTED_TOGETHER = 32  # series counted in one compiled call: 5 µs


class ExporterHealth(NamedTuple):
    """How one exporter is doing.

    `state`: "idle", "exporting", "hanging" (overran its timeout and has not returned), "backing_off", "open" (several failures
    in a row: the circuit is open, it is tried at growing intervals), "stopped".
    `acknowledged` and `unacknowledged` are numbers of recorded values: together they are all that is merged. Of those that are
    acknowledged some may have been refused.
    `refused`: points (series, those of the SDK itself included) that were not accepted, since the other side refused them, or
    they cannot be encoded, each time that it happened. Totals are told again with the next snapshot; deltas are lost.
    `superseded`: snapshots let go unexported, since a newer one had come.
    """

    name: str
    state: str
    exports: int
    failures: int
    superseded: int
    queued: int
    acknowledged: int
    unacknowledged: int
    refused: int
    export_seconds: float
    last_error: str


class InstrumentHealth(NamedTuple):
    """The accounting of one instrument: `received == merged + sum(dropped.values()) + pending` when nothing is under way.

    An instrument that feeds several streams of one name counts each value once for each of them. `overflow`: values merged in
    the overflow series, for want of room for a series of their own; `overflow_key`: the attribute with the most values, "" if
    none are.
    """

    received: int
    merged: int
    dropped: Mapping[str, int]
    pending: int
    series: int
    overflow: int
    overflow_key: str


class Health(NamedTuple):
    """The accounting of an SDK, and how its parts are doing.

    `received == merged + sum(dropped.values()) + pending` whenever nothing is under way. `contended`: records that found their
    cell being taken and were appended instead. `cut`: attribute sets of which something had to be left out, as a text was too
    long or there were too many, each time that they were looked at: not at every recording. `faults`: failures by kind, of
    exporters, callbacks and our own loops. `expired`: series that were forgotten, see `Config(series_ttl_seconds=)`.
    `flusher_cpu_seconds`: processor time that the background thread has used.
    """

    compiled: bool
    received: int
    merged: int
    dropped: Mapping[str, int]
    pending: int
    contended: int
    cut: int
    instruments: Mapping[str, InstrumentHealth]
    series: int
    expired: int
    flushes: int
    flush_seconds: float
    flusher_cpu_seconds: float
    flusher_running: bool
    shut_down: bool
    faults: Mapping[str, int]
    exporters: Mapping[str, ExporterHealth]


def account(series: Iterable[Series], points: dict[Series, int] | None = None) -> Account:
    """Return what became of the values of these series; `points` wait for them with a time of their own."""
    made = Account(points)
    waiting = list(series)
    for at in in_slices(range(0, len(waiting), _COUNTED_TOGETHER), looking_every=1):
        made.add(waiting[at : at + _COUNTED_TOGETHER])
    return made


class Accounts:
    """The accounting of all streams: of each name, and of everything together."""

    def __init__(
        self, tables: Iterable[tuple[Table, Table | None, bool]], points: dict[Series, int], explain: bool = True
    ) -> None:
        """`tables`: see `Streams.accounted`. `points`: how many values with a time of their own wait for each series.

        `explain`: look for the attribute that has too many values, which takes a look at all series.
        """
        self.instruments: dict[str, InstrumentHealth] = {}
        self.total = InstrumentHealth(0, 0, {}, 0, 0, 0, "")
        self.contended = 0
        for table, refused, retired in tables:
            series = table.known() + ([] if refused is None else list(refused.series.values()))
            found = account(series, points)
            merged, dropped = int(found.merged), found.dropped
            if retired:
                dropped[REDECLARED] += merged
                merged = 0
            one = InstrumentHealth(
                received=int(found.received),
                merged=merged,
                dropped={reason: count for reason, count in zip(REASONS, dropped, strict=True) if count},
                pending=int(found.pending),
                series=0 if retired else len(table.listed()),
                overflow=overflow_of(table),
                overflow_key=exploded(table) if explain else "",
            )
            self.total = _together(self.total, one)
            self.contended += int(found.contended)
            if not retired:
                before = self.instruments.get(table.name)
                self.instruments[table.name] = one if before is None else _together(before, one)


def _together(a: InstrumentHealth, b: InstrumentHealth) -> InstrumentHealth:
    return InstrumentHealth(
        received=a.received + b.received,
        merged=a.merged + b.merged,
        dropped={reason: a.dropped.get(reason, 0) + b.dropped.get(reason, 0) for reason in {**a.dropped, **b.dropped}},
        pending=a.pending + b.pending,
        series=a.series + b.series,
        overflow=a.overflow + b.overflow,
        overflow_key=a.overflow_key or b.overflow_key,
    )


def overflow_of(table: Table) -> int:
    """Return how many values are merged in the overflow series."""
    series = table.overflow()
    return 0 if series is None else int(series.current().merged)


def exploded(table: Table) -> str:
    """Return the key of the attribute with the most values, where there is an overflow series; else ""."""
    if table.overflow() is None:
        return ""
    values: dict[str, set[object]] = {}
    for series in in_slices(list(table.series.values())):
        for key, value in series.attributes if series.attributes is not OVERFLOW else ():
            values.setdefault(key, set()).add(value)
    return max(values, key=lambda key: len(values[key]), default="")


def told_overflow(table: Table) -> str:
    """Return what to log of a stream that has too many series."""
    return (
        f"{table.name!r} has as many series as may be, at most {table.stream.limit}: further attribute sets share one, with "
        f"otel.metric.overflow=true; the attribute with the most values is {exploded(table)!r}"
    )


def drops_of(series: Series) -> list[str]:
    """Return the reasons for which values of a series were dropped, but for those that somebody has asked for."""
    asked_for = (REASONS[DISABLED], REASONS[AFTER_SHUTDOWN])
    return [reason for reason, count in zip(REASONS, series.current().drops) if count and reason not in asked_for]


def as_metrics(health: Health, start_time: float, time: float) -> list[Metric]:
    """Return the self-metrics as ordinary metrics, for what is exported."""
    dropped = {reason: health.dropped.get(reason, 0) for reason in REASONS}
    exporters = health.exporters
    rows: list[tuple[str, str, str, str, str, Mapping[str, float]]] = [
        ("received", "counter", "{value}", "Values handed in.", "", {"": health.received}),
        ("merged", "counter", "{value}", "Values in the totals.", "", {"": health.merged}),
        ("dropped", "counter", "{value}", "Values dropped, by reason.", "reason", dropped),
        ("pending", "gauge", "{value}", "Values not merged yet.", "", {"": health.pending}),
        ("contended", "counter", "{value}", "Values that found their cell taken.", "", {"": health.contended}),
        ("cut", "counter", "{set}", "Attribute sets that were cut to the limits.", "", {"": health.cut}),
        ("series", "gauge", "{series}", "Series with data.", "", {"": health.series}),
        ("flushes", "counter", "{flush}", "Passes of the flusher.", "", {"": health.flushes}),
        ("flush.duration", "counter", "s", "Time spent flushing.", "", {"": health.flush_seconds}),
        ("flusher.cpu", "counter", "s", "Processor time of the flusher.", "", {"": health.flusher_cpu_seconds}),
        ("faults", "counter", "{fault}", "Failures, by kind.", "kind", health.faults),
        ("exports", "counter", "{export}", "Exports.", "exporter", {n: e.exports for n, e in exporters.items()}),
        (
            "export.failures",
            "counter",
            "{export}",
            "Failed exports.",
            "exporter",
            {n: e.failures for n, e in exporters.items()},
        ),
        (
            "export.duration",
            "counter",
            "s",
            "Time in exports.",
            "exporter",
            {n: e.export_seconds for n, e in exporters.items()},
        ),
        (
            "export.refused",
            "counter",
            "{point}",
            "Points refused for good.",
            "exporter",
            {n: e.refused for n, e in exporters.items()},
        ),
        ("export.queued", "gauge", "{snapshot}", "Snapshots waiting.", "exporter", {n: e.queued for n, e in exporters.items()}),
    ]
    made = []
    for name, kind, unit, description, key, values in rows:
        points = [Point(((key, label),) if key else (), value, start_time, time) for label, value in values.items()]
        if points:
            made.append(Metric(PREFIX + name, kind, unit, description, None, tuple(points)))
    return made
