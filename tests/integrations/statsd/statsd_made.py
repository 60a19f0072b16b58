"""Metrics and snapshots for the tests, in few words."""

from __future__ import annotations

from typing import Any

from metrics_sdk.snapshot import Metric, Point, Snapshot


def point(value: Any, start: float = 0.0, time: float = 10.0, **attributes: Any) -> Point:
    return Point(tuple(sorted(attributes.items())), value, start, time)


def metric(name: str, kind: str, *points: Any, unit: str = "", temporality: Any = "delta", meter: Any = None) -> Metric:
    made = tuple([one if isinstance(one, Point) else point(one) for one in points])
    return Metric(name, kind, unit, "", None, made, temporality, meter)


def snapshot(*metrics: Metric, **resource: Any) -> Snapshot:
    return Snapshot({key.replace("_", "."): value for key, value in resource.items()}, 10.0, metrics)
