"""Prints a line per series: for development."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TextIO

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot


class ConsoleExporter:
    """Prints to `stream`, standard output by default; self-metrics only if asked for.

    What is no total, and what is a meter's, has that behind it: `calls{} 1 (delta, meter 'lib' '1.0')`.
    """

    def __init__(self, stream: TextIO | None = None, *, self_metrics: bool = False) -> None:
        self._stream = stream
        self._self_metrics = self_metrics

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Print the snapshot in one write."""
        stream = self._stream if self._stream is not None else sys.stdout
        text = "".join([line + "\n" for line in self._lines(snapshot)])
        encoding = getattr(stream, "encoding", None)
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text)
        stream.flush()

    def shutdown(self) -> None:
        """Nothing is held open."""

    def _lines(self, snapshot: Snapshot) -> Iterator[str]:
        for metric in snapshot.metrics:
            if metric.name.startswith("metrics_sdk.") and not self._self_metrics:
                continue
            about = _about(metric)
            unit = f" {_plain(metric.unit)}" if metric.unit else ""
            for point in metric.points:
                attributes = ",".join([f"{_plain(key)}={value!r}" for key, value in point.attributes])
                yield f"{_plain(metric.name)}{{{attributes}}} {_shown(point)}{unit}{about}"


def _plain(text: str) -> str:
    """Return a text that begins no line of its own, and tells a terminal nothing."""
    return text if text.isprintable() else repr(text)[1:-1]


def _about(metric: Metric) -> str:
    made = ["delta"] if metric.temporality == "delta" and not metric.kind.endswith("gauge") else []
    if metric.meter is not None:
        made.append(" ".join(["meter", *[repr(one) for one in metric.meter[:2] if one]]))
    return f" ({', '.join(made)})" if made else ""


def _shown(point: Point) -> str:
    value = point.value
    if not isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
        return f"{value:g}"
    if not value.count:
        return "count=0"
    extremes = [f"{name}={one:.6g}" for name, one in (("min", value.min), ("max", value.max)) if one is not None]
    return " ".join([f"count={value.count} mean={value.sum / value.count:.6g}", *extremes])
