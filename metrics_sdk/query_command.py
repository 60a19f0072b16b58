"""`python -m metrics_sdk query`: what a file of windows has, as a table with a small chart, or as JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from metrics_sdk.errors import StoreError, UnknownInstrument
from metrics_sdk.query import Aggregate
from metrics_sdk.sqlite import SQLiteStore

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BARS = "▁▂▃▄▅▆▇█"
_CHART_WIDTH = 40
_LATEST = 253_402_300_799.0  # the end of the year 9999


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be asked."""
    parser.add_argument("path", metavar="PATH", help="a file that SQLiteStore has written")
    parser.add_argument("name", metavar="NAME", nargs="?", help="an instrument; without it, the names are listed")
    parser.add_argument("--last", type=seconds, metavar="TIME", help="the last so many seconds, or 30m, 1h, 7d")
    parser.add_argument("--since", type=moment, metavar="WHEN", help="Unix seconds, or an ISO date and time")
    parser.add_argument("--until", type=moment, metavar="WHEN", help="likewise")
    parser.add_argument("--by", action="append", default=[], metavar="KEY", help="apart for each value; may be repeated")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="only the series with this attribute: a text, or else a number or true",
    )
    parser.add_argument(
        "--percentiles", type=_percentiles, default=[50.0, 90.0, 99.0], metavar="Q,Q", help="of histograms (default: 50,90,99)"
    )
    parser.add_argument("--top", type=_count, metavar="N", help="only the N groups with the most values")
    parser.add_argument("--json", action="store_true", help="for machines")


def run(given: argparse.Namespace, out: TextIO) -> int:
    """Answer; return the exit status."""
    if not Path(given.path).is_file():
        sys.stderr.write(f"error: there is no file {given.path!r}\n")
        return 1
    store = SQLiteStore(given.path)
    try:
        if given.name is None:
            print(json.dumps(store.names()) if given.json else "\n".join(store.names()), file=out)
            return 0
        groups = _groups(store, given)
    except (StoreError, UnknownInstrument, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        store.shutdown()
    if given.json:
        print(json.dumps([_as_json(key, found, given) for key, found in groups], ensure_ascii=True), file=out)
    else:
        _print(groups, given, out)
    return 0


def _groups(store: SQLiteStore, given: argparse.Namespace) -> list[tuple[tuple[Any, ...], Aggregate]]:
    """Return the answers by the values of the keys, those with the most values first."""
    attributes = _attributes(store, given)
    asked = {"last": given.last, "since": given.since, "until": given.until}
    if not given.by:
        return [((), store.query(given.name, attributes, **asked))]
    found = store.query_by(given.name, *given.by, attributes=attributes, **asked)
    ranked = [(key, one) for key, one in found.top(len(found)) if one.count]
    return [(key if len(given.by) > 1 else (key,), one) for key, one in ranked[: given.top]]


def _attributes(store: SQLiteStore, given: argparse.Namespace) -> dict[str, Any] | None:
    """Return what --where asks for: texts, or where there are none such what JSON makes of them."""
    if not given.where:
        return None
    wanted = dict(given.where)
    for key, text in given.where:
        if not store.query(given.name, {key: text}).count:
            try:
                wanted[key] = json.loads(text)
            except ValueError:
                pass
    return wanted


def _as_json(key: tuple[Any, ...], found: Aggregate, given: argparse.Namespace) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": found.name,
        "kind": found.kind,
        "unit": found.unit,
        "attributes": dict(zip(given.by, key, strict=True)),
        "start": found.start,
        "end": found.end,
        "count": found.count,
        "sum": found.sum,
        "min": found.min,
        "max": found.max,
        "mean": found.mean,
        "last": found.last,
        "rate": found.rate,
    }
    if found.kind == "histogram":
        shown["percentiles"] = {f"{q:g}": found.percentile(q) for q in given.percentiles}
    shown["windows"] = [{"start": one.start, "end": one.end, "count": one.count, "sum": one.sum} for one in found.series()]
    return shown


def _print(groups: Sequence[tuple[tuple[Any, ...], Aggregate]], given: argparse.Namespace, out: TextIO) -> None:
    if not groups:
        print(f"{given.name}: no data", file=out)
        return
    first = groups[0][1]
    unit = f", in {first.unit}" if first.unit else ""
    print(f"{first.name}: {first.kind}{unit}, {_when(first.start)} .. {_when(first.end)}", file=out)
    if first.kind == "histogram":
        columns = ["count", "rate/s", "mean", *[f"p{q:g}" for q in given.percentiles], "max"]
    elif first.kind.endswith("gauge"):
        columns = ["last", "min", "mean", "max"]
    else:
        columns = ["sum", "rate/s"]
    rows = [[*given.by, *columns]]
    charts = [""]
    for key, found in groups:
        values = {"count": found.count, "sum": found.sum, "rate/s": found.rate, "mean": found.mean, "last": found.last}
        values |= {"min": found.min, "max": found.max}
        values |= {f"p{q:g}": found.percentile(q) for q in given.percentiles}
        rows.append(
            [*["-" if value is None else _printable(value) for value in key], *[_number(values[name]) for name in columns]]
        )
        charts.append(_chart(found, given))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    plain = not _can_show(_BARS, out)
    for row, chart in zip(rows, charts, strict=True):
        cells = [
            cell.ljust(width) if at < len(given.by) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells) + ("" if plain or not chart else f"  {chart}"), file=out)
    if not plain:
        print(f"chart: {_charted(first, given)} over time", file=out)


def _charted(found: Aggregate, given: argparse.Namespace) -> str:
    if found.kind == "histogram":
        return f"p{max(given.percentiles):g}" if given.percentiles else "rate"
    return "mean" if found.kind.endswith("gauge") else "rate"


def _chart(found: Aggregate, given: argparse.Namespace) -> str:
    """Return a bar for each of some parts of the time, a space where there is no data."""
    what = _charted(found, given)
    width = max(found.seconds, 1e-9) / _CHART_WIDTH
    levels: list[list[float]] = [[] for _ in range(_CHART_WIDTH)]
    for window in found.series():
        value = window.percentile(float(what[1:])) if what.startswith("p") else getattr(window, what)
        if value is None:
            continue
        begin = math.floor((window.start - found.start) / width + 1e-9)
        end = math.ceil((window.end - found.start) / width - 1e-9)
        for at in range(max(0, begin), min(_CHART_WIDTH, max(end, begin + 1))):
            levels[at].append(value)
    tops = [max(values) if values else None for values in levels]
    highest = max([top for top in tops if top is not None], default=0.0)
    return "".join(
        [" " if top is None else _BARS[min(7, max(0, int(8 * top / highest)))] if highest > 0 else _BARS[0] for top in tops]
    )


def _can_show(text: str, out: TextIO) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _printable(value: object) -> str:
    """Return `value` as text that cannot do anything to a terminal."""
    return "".join([one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).astimezone().isoformat(" ", "seconds")


def seconds(text: str) -> float:
    """Return the seconds that `text` stands for: 90, 90s, 30m, 1.5h, 7d, 2w."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"must be a time such as 90, 30m, 1h or 7d, not {text!r}")
    return found


def moment(text: str) -> float:
    """Return the Unix seconds that `text` stands for; without a time zone, it is local time."""
    try:
        found = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            found = math.nan
    if not 0 <= found <= _LATEST:
        raise argparse.ArgumentTypeError(f"must be Unix seconds, or a date and time such as 2026-01-31T12:00, not {text!r}")
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, not {text!r}")
    return key, value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _percentiles(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all([0 <= q <= 100 for q in found]):
        raise argparse.ArgumentTypeError(f"must be numbers from 0 to 100, such as 50,99, not {text!r}")
    return found
