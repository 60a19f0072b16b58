"""One JSON object a line, one line a series: for log pipelines, notebooks and `grep`."""

from __future__ import annotations

import json
import math
import os
import stat
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
        # Opened each time: the file may be rotated, and a forked child gets a descriptor of its own.
        descriptor = self._opened()
        try:
            _append(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        flags = os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        if not self.path.exists() or self.path.is_file():
            try:
                return os.open(self.path, os.O_RDWR | flags, 0o600)
            except PermissionError:
                pass  # a file that can be written and not read
        return os.open(self.path, os.O_WRONLY | flags, 0o600)

    def shutdown(self) -> None:
        """Nothing is held open."""


def _append(descriptor: int, text: bytes) -> None:
    """Write all of it or nothing, as far as nobody else writes there at the same time. Raises OSError."""
    before = os.fstat(descriptor)
    if stat.S_ISREG(before.st_mode) and before.st_size and not _ends_a_line(descriptor, before.st_size):
        text = b"\n" + text  # whoever wrote the last line was killed in the middle of it
    written = 0
    try:
        while written < len(text):
            written += os.write(descriptor, text[written:])
    except OSError:
        if stat.S_ISREG(before.st_mode) and os.fstat(descriptor).st_size == before.st_size + written:
            os.ftruncate(descriptor, before.st_size)  # all of it comes again
        raise


def _ends_a_line(descriptor: int, size: int) -> bool:
    try:
        return os.pread(descriptor, 1, size - 1) == b"\n"
    except OSError:
        return True  # it cannot be read


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
