"""A snapshot as text: Prometheus 0.0.4 or OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Point

from .buckets import at_boundaries, at_powers_of_two, may_hold_negatives
from .exemplars import with_exemplars
from .exposition import ODD, Walk
from .families import Layout
from .formats import Format
from .labels import Labels
from .numerals import number


def texts(walk: Walk[Labels], format: Format) -> Iterator[str]:
    """Yield the series that a walk comes by, as text; "" where it pauses. A value that cannot be told is left out."""
    for layout, points, labels, begins in walk:
        if points:
            try:
                yield _lines(layout, format, points, labels)
            except ODD:
                yield _without_odd(walk, layout, format, points, labels)
        else:
            yield layout.header(format) if begins else ""
    yield format.end


def _without_odd(walk: Walk[Labels], layout: Layout, format: Format, points: Sequence[Point], labels: Sequence[Labels]) -> str:
    made = []
    for point, label in zip(points, labels):
        try:
            made.append(_lines(layout, format, (point,), (label,)))
        except ODD as problem:
            walk.leave_out_odd(layout, problem)
    return "".join(made)


def _lines(layout: Layout, format: Format, points: Sequence[Point], labels: Sequence[Labels]) -> str:
    if layout.type == "histogram":
        lines = [_histogram(layout, format, *pair) for pair in zip(points, labels)]
    else:
        pieces = layout.template(format, None).samples
        if len(pieces) > 2:
            lines = [label.whole.join(pieces) % (number(p.value), p.start_time) for p, label in zip(points, labels)]  # type: ignore[arg-type]
        else:
            lines = [label.whole.join(pieces) % number(p.value) for p, label in zip(points, labels)]  # type: ignore[arg-type]
    if format.shows_exemplars and layout.type in ("counter", "histogram"):
        for at, point in enumerate(points):
            if point.exemplars:  # slow path: few series have any
                lines[at] = with_exemplars(lines[at], point.exemplars, layout.bounds(point.value))
    return "".join(lines)


def _histogram(layout: Layout, format: Format, point: Point, labels: Labels) -> str:
    value = point.value
    numbers: list[object]
    if isinstance(value, ExplicitBuckets):
        template = layout.template(format, value.boundaries)
        numbers = [*at_boundaries(value)]
    elif isinstance(value, ExponentialBuckets):
        template = layout.template(format, None)
        numbers = [*at_powers_of_two(value, layout.exponents)]
    else:
        raise TypeError("a number where buckets should be")
    samples = template.samples
    # Written from one number, `+Inf` and `_count` agree whatever happened to the snapshot.
    count = numbers[-1]
    if may_hold_negatives(value):
        samples = template.without_sum
        if format.counts_without_sum:
            numbers.append(count)
    else:
        numbers += (number(value.sum), count)
    if format.shows_created:
        numbers.append(point.start_time)
    return (labels.inner.join(template.buckets) + labels.whole.join(samples)) % tuple(numbers)
