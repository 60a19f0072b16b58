"""One JSON object a line, one line a series: for log pipelines, notebooks and `grep`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot


class JsonLinesExporter:
    """Appends to the file `path`, made with mode 0600 if it is not there; each export is one write.

    A line has `time` and `start_time` (Unix seconds), `name`, `kind`, `unit`, `attributes`, `resource`, and either `value` or
    `count`, `sum`, `min`, `max` and the buckets: `boundaries` with `bucket_counts`, or `scale`, `zero_count`, `positive`
    and `negative` as lists of [bucket, count]. All but gauges have a `temporality`: "cumulative" for totals, "delta" for what
    came since the last export. `meter`, only where there is one, has its `name` and `version`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Append the snapshot. Raises OSError if the file cannot be written."""
        text = "".join([json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n" for line in _lines(snapshot)])
        if self._is_torn():
            text = "\n" + text
        # Opened each time: the file may be rotated, and a forked child gets a descriptor of its own.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)

    def _is_torn(self) -> bool:
        """Tell whether the last line has no end, since whoever wrote it was killed, or the disk was full."""
        try:
            with open(self.path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:
            return False  # there is none yet, it is empty, or can only be written to

    def shutdown(self) -> None:
        """Nothing is held open."""


def _plain(attributes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return attributes as JSON has them: it knows no infinities, which become text as in protobuf's JSON."""
    return {key: _number(value) for key, value in attributes}


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_number(one) for one in value]
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _lines(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    resource = _plain(snapshot.resource.items())
    for metric in snapshot.metrics:
        for point in metric.points:
            yield {
                "time": point.time,
                "start_time": point.start_time,
                "name": metric.name,
                "kind": metric.kind,
                "unit": metric.unit,
                **_about(metric),
                "attributes": _plain(point.attributes),
                "resource": resource,
                **_values(metric, point),
            }


def _about(metric: Metric) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if not metric.kind.endswith("gauge"):
        made["temporality"] = metric.temporality
    if metric.meter is not None:
        made["meter"] = {"name": metric.meter.name, "version": metric.meter.version}
    return made


def _values(metric: Metric, point: Point) -> dict[str, Any]:
    value = point.value
    if isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
        return value._asdict()
    return {"value": value}
