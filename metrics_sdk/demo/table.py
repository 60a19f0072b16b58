"""The aggregates as a table: a line per series, as wide as there is room."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import metrics_sdk as metrics
from metrics_sdk.demo.units import human, human_rate

COLUMNS = ("metric", "attributes", "value", "count", "rate", "mean", "min", "max", "p50", "p99")
#: The columns that go first where there is no room for all.
SPARED = ("min", "mean", "max", "p50", "value", "rate", "p99")
LEFT_ALIGNED = ("metric", "attributes")
#: As narrow as the attributes get before columns are spared, and as narrow as texts get at all.
LEAST_ATTRIBUTES = 20
LEAST_TEXT = 8

GAP = "  "

_HEADINGS = {column: column for column in COLUMNS}

#: A line before it is laid out: text by column, and as "brief" the attributes without their keys.
Row = Mapping[str, str]
#: What `query_all()` answers.
Aggregates = Mapping[str, Mapping[tuple[tuple[str, Any], ...], metrics.Aggregate]]


def rows(aggregates: Aggregates, hidden: Collection[str] = ()) -> list[Row]:
    """Return a row per series; attributes called one of `hidden` are left out."""
    return [
        row(name, tuple(pair for pair in attributes if pair[0] not in hidden), aggregate)
        for name, series in aggregates.items()
        for attributes, aggregate in series.items()
    ]


def row(name: str, attributes: Sequence[tuple[str, Any]], aggregate: metrics.Aggregate) -> Row:
    """Return the row of one series.

    `value` is a counter's total or what a gauge was set to last, `count` how often something was recorded; `rate` is a
    counter's growth per second, for other kinds the number of recordings per second.
    """
    adds_up = aggregate.kind.endswith("counter")
    unit = aggregate.unit
    return {
        "metric": name,
        "attributes": " ".join([f"{_printable(key)}={_printable(value)}" for key, value in attributes]),
        "brief": " ".join([_printable(value) for _key, value in attributes]),
        "value": human(aggregate.sum if adds_up else aggregate.last, unit),
        "count": human(aggregate.count),
        "rate": human_rate(aggregate.rate, unit if adds_up else ""),
        # The mean of amounts added tells little, and that of what a callback's total grew by nothing.
        "mean": human(None if adds_up else aggregate.mean, unit),
        "min": human(aggregate.min, unit),
        "max": human(aggregate.max, unit),
        "p50": human(aggregate.percentile(50), unit),
        "p99": human(aggregate.percentile(99), unit),
    }


def render(rows: Sequence[Row], width: int | None = None, height: int | None = None, repeat: bool = True) -> list[str]:
    """Return the lines of a table of `rows`, the headings first.

    `width`: the most characters of a line, None for as many as it takes; where there is less room, attributes lose their
    keys, columns are spared and texts shortened. `height`: the most lines; the last one then says how many series it did not
    show. `repeat`: give the metric's name on each of its lines, not on the first alone.
    """
    more = 0
    if height is not None and len(rows) + 1 > height:
        shown = max(0, height - 2)
        more, rows = len(rows) - shown, rows[:shown]
    widths = _widths(rows)
    if width is not None and _total(widths) > width:
        rows = [{**row, "attributes": row["brief"]} for row in rows]
        widths = _fitted(_widths(rows), width)
    lines = [_line(_HEADINGS, widths)]
    before = ""
    for row in rows:
        lines.append(_line(row if repeat or row["metric"] != before else {**row, "metric": ""}, widths))
        before = row["metric"]
    if more:
        lines.append(f"… {more} more series")
    return lines if width is None else [_shortened(line, width) for line in lines]


def _widths(rows: Sequence[Row]) -> dict[str, int]:
    return {column: max([len(row[column]) for row in (_HEADINGS, *rows)]) for column in COLUMNS}


def _fitted(widths: dict[str, int], width: int) -> dict[str, int]:
    """Return the columns that `width` has room for, and their widths."""
    chosen = dict(widths)
    for spared in SPARED:
        least = {**chosen, "attributes": min(chosen["attributes"], LEAST_ATTRIBUTES)}
        if _total(least) <= width:
            break
        del chosen[spared]
    for column, least_width in (("attributes", LEAST_ATTRIBUTES), ("metric", LEAST_TEXT), ("attributes", LEAST_TEXT)):
        excess = max(0, _total(chosen) - width)
        chosen[column] = max(min(chosen[column], least_width), chosen[column] - excess)
    return chosen


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _line(row: Row, widths: Mapping[str, int]) -> str:
    cells = [
        _shortened(row[column], width).ljust(width) if column in LEFT_ALIGNED else row[column].rjust(width)
        for column, width in widths.items()
    ]
    return GAP.join(cells).rstrip()


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _printable(value: object) -> str:
    """Return `value` as text that cannot steer a terminal."""
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]
