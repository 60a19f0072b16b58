"""What producers tell, made fit to leave: exporters need not think of what a metric might be instead of a metric."""

from __future__ import annotations

from metrics_sdk.core import kinds
from metrics_sdk.core.attributes import MAX_VALUE_LENGTH, normalise
from metrics_sdk.names import MAX_NAME_LENGTH, as_text
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point


def fit(metric: object) -> tuple[Metric, int]:
    """Return a metric, and how many of its points had to be left out. Raises ValueError for what is no metric at all.

    What is right already stays the very same object, since renderers remember series by identity.
    """
    if not isinstance(metric, Metric) or metric.kind not in kinds.BY_NAME or metric.temporality not in ("cumulative", "delta"):
        raise ValueError("it is no metric of a kind and temporality that there is")
    given = list(metric.points)
    points = [made for made in [_fit_point(point) for point in given] if made is not None]
    name, unit = as_text(metric.name, MAX_NAME_LENGTH), as_text(metric.unit, MAX_NAME_LENGTH)
    description = as_text(metric.description, MAX_VALUE_LENGTH)
    meter = metric.meter
    if meter is not None and not _is_fit_meter(meter):
        meter = Meter.of(*[getattr(meter, field, None) for field in Meter._fields])
    same = len(points) == len(given) and all([made is point for made, point in zip(points, given)])
    if not same or (name, unit, description, meter) != (metric.name, metric.unit, metric.description, metric.meter):
        metric = metric._replace(name=name, unit=unit, description=description, points=tuple(points), meter=meter)
    return metric, len(given) - len(points)


def _fit_point(point: object) -> Point | None:
    """Return a point that is one, None for what cannot be made one."""
    if not isinstance(point, Point) or not isinstance(point.value, (int, float, ExplicitBuckets, ExponentialBuckets)):
        return None
    if not all([isinstance(time, (int, float)) for time in (point.start_time, point.time)]):
        return None
    try:
        if not _are_pairs(point.attributes):
            point = point._replace(attributes=normalise(dict(point.attributes)))
        if point.exemplars and not all([isinstance(one, Exemplar) and _are_pairs(one.attributes) for one in point.exemplars]):
            point = point._replace(exemplars=())
    except (TypeError, ValueError):
        return None
    return point


def _is_fit_meter(meter: object) -> bool:
    if not isinstance(meter, Meter) or not isinstance(meter.name, str) or not _are_pairs(meter.attributes):
        return False
    return all([one is None or isinstance(one, str) for one in (meter.version, meter.schema_url)])


def _are_pairs(attributes: object) -> bool:
    """Tell whether they are in normal form, as far as keys go; any value has a text."""
    if type(attributes) is not tuple:
        return False
    return all([type(one) is tuple and len(one) == 2 and type(one[0]) is str for one in attributes])
