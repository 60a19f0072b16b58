"""Accounting and self-metrics: what the SDK says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metrics_sdk.core.account import Account
from metrics_sdk.core.reasons import REASONS, REDECLARED
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
    `acknowledged` and `unacknowledged` are numbers of recorded values: together they are all that is merged.
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
    export_seconds: float
    last_error: str


class InstrumentHealth(NamedTuple):
    """The accounting of one instrument: `received == merged + sum(dropped.values()) + pending` when nothing is under way."""

    received: int
    merged: int
    dropped: Mapping[str, int]
    pending: int
    series: int


class Health(NamedTuple):
    """The accounting of an SDK, and how its parts are doing.

    `received == merged + sum(dropped.values()) + pending` whenever nothing is under way. `contended`: records that found their
    cell being taken and were appended instead. `faults`: failures by kind, of exporters, callbacks and our own loops.
    `flusher_cpu_seconds`: processor time that the background thread has used.
    """

    compiled: bool
    received: int
    merged: int
    dropped: Mapping[str, int]
    pending: int
    contended: int
    instruments: Mapping[str, InstrumentHealth]
    series: int
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


def instrument_health(
    table: Table, points: dict[Series, int], refused: Table | None = None, retired: bool = False
) -> tuple[InstrumentHealth, int]:
    """Return the accounting of an instrument, or of one that was given up, and the number of its contended records.

    `refused`: where its values go while it is turned off.
    """
    series = list(table.series.values())
    if refused is not None:
        series += list(refused.series.values())
    found = account(series, points)
    merged, dropped = int(found.merged), found.dropped
    if retired:
        dropped[REDECLARED] += merged
        merged = 0
    named = {reason: count for reason, count in zip(REASONS, dropped, strict=True) if count}
    made = InstrumentHealth(
        received=int(found.received), merged=merged, dropped=named, pending=int(found.pending), series=len(table.listed())
    )
    return made, int(found.contended)


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
        ("export.queued", "gauge", "{snapshot}", "Snapshots waiting.", "exporter", {n: e.queued for n, e in exporters.items()}),
    ]
    made = []
    for name, kind, unit, description, key, values in rows:
        points = [Point(((key, label),) if key else (), value, start_time, time) for label, value in values.items()]
        if points:
            made.append(Metric(PREFIX + name, kind, unit, description, None, tuple(points)))
    return made
