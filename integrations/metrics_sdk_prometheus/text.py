"""A snapshot as text: Prometheus 0.0.4 or OpenMetrics 1.0."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point, Snapshot

from .buckets import at_boundaries, at_powers_of_two, may_hold_negatives
from .exemplars import with_exemplars
from .families import Families, Layout
from .formats import TEXT, Format
from .labels import Labels, labels_of, scope_labels
from .lookalikes import merged, unlike
from .numerals import number

logger = logging.getLogger("metrics_sdk_prometheus")

#: How long rendering runs before it lets other threads run. Without, they would wait for the switch interval, 5 ms.
SLICE_SECONDS = 0.0005

_BATCH = 8  # series between two looks at the clock: about 5 µs of counters, 200 µs of the widest exponential histograms
_MAX_COMPLAINTS = 1000


class Renderer:
    """Renders snapshots, and remembers what does not change between two of them: names, and the labels of each series.

    Any number of threads may render at a time; no lock is held. Keep one renderer per SDK.
    """

    def __init__(self, *, cached_series: int = 20_000, cached_characters: int = 1000) -> None:
        """Remember at most `cached_series` series, and none with more than `cached_characters` characters of labels.

        A series takes about 400 bytes; one that is not remembered takes about 5 µs more to render.
        """
        self._cached_series = cached_series
        self._cached_characters = cached_characters
        # By identity: `1`, `1.0` and `True` are equal keys with different labels, and hashing a tuple of tuples takes longer.
        # The value keeps the key alive, so that no other object can have its id.
        self._labels: dict[int, Labels] = {}
        # Series of two meters may have the very same attributes, `()` above all: here the labels of the meter are in the key.
        self._scoped: dict[tuple[int, str], Labels] = {}
        self._scopes: dict[int, tuple[Meter, str]] = {}  # by identity, as above
        self._layouts: dict[tuple[str, str, str, str], Layout] = {}
        self._complaints: set[str] = set()

    @property
    def remembered(self) -> int:
        """The number of series whose labels are remembered."""
        return len(self._labels) + len(self._scoped)

    def render(self, snapshot: Snapshot, format: Format = TEXT) -> bytes:
        """Return `snapshot` in `format`, UTF-8 encoded."""
        return b"".join(self.slices(snapshot, format))

    def slices(self, snapshot: Snapshot, format: Format = TEXT) -> Iterator[bytes]:
        """Yield the text piece by piece; between two pieces other threads get their turn."""
        parts: list[str] = []
        end = time.perf_counter() + SLICE_SECONDS
        for text in self._texts(snapshot, format):
            parts.append(text)
            if time.perf_counter() >= end:
                yield "".join(parts).encode()
                parts.clear()
                time.sleep(0)
                end = time.perf_counter() + SLICE_SECONDS
        parts.append(format.end)
        yield "".join(parts).encode()

    def _texts(self, snapshot: Snapshot, format: Format) -> Iterator[str]:
        families = Families(self._complain)
        series = 0
        for metric in snapshot.metrics:
            families.add(metric, self._layout(metric))
            series += len(metric.points)
            yield ""
        yield self._resource(snapshot, format, families)
        for layout, metrics in families.by_name.values():
            metrics = [metric for metric in metrics if metric.points]
            if metrics:
                yield layout.header(format)
                yield from self._family(layout, metrics, format)
        # What is gone, or was made for one snapshot alone, has to be forgotten some time; who stays is remembered again.
        if self.remembered > 2 * series + 1024:
            self._labels, self._scoped = {}, {}
        if len(self._layouts) > 2 * len(snapshot.metrics) + 1024:
            self._layouts = {}
        if len(self._scopes) > 2 * len(snapshot.metrics) + 1024:
            self._scopes = {}

    def _resource(self, snapshot: Snapshot, format: Format, families: Families) -> str:
        # Not remembered: it is one line, and whatever the mapping holds may change without a sign.
        braces = labels_of([(str(key), value) for key, value in dict(snapshot.resource).items()]).braces
        if not braces:
            return ""
        if not families.is_free("target", "target_info"):
            self._complain("target_info", "the resource is not shown: an instrument is called target or target_info")
            return ""
        about = f"# HELP {format.resource_family} Target metadata.\n# TYPE {format.resource_family} {format.resource_type}\n"
        return about + f"target_info{braces} 1\n".replace("%%", "%")

    def _family(self, layout: Layout, metrics: list[Metric], format: Format) -> Iterator[str]:
        shown: set[str] = set()
        for metric in metrics:
            points = list(metric.points) if layout.type != "counter" else self._not_negative(metric)
            scope = None if metric.meter is None else self._scope(metric.meter)
            labels: list[Labels] = []
            unique: set[str] = set()
            for start in range(0, len(points), _BATCH):
                batch = self._labels_of(points[start : start + _BATCH], scope)
                labels += batch
                unique.update([label.braces for label in batch])
                if start:
                    yield ""
            if len(unique) < len(points):
                points, labels = merged(points, labels, metric.kind)
            if shown and not shown.isdisjoint(unique):
                points, labels = unlike(points, labels, shown)
                self._complain(metric.name, f"series of {metric.name!r} are not shown: {layout.family!r} has others like them")
            for start in range(0, len(points), _BATCH):
                yield self._lines(layout, format, points[start : start + _BATCH], labels[start : start + _BATCH])
            shown |= unique

    def _lines(self, layout: Layout, format: Format, points: list[Point], labels: list[Labels]) -> str:
        if layout.type == "histogram":
            lines = [self._histogram(layout, format, *pair) for pair in zip(points, labels)]
        else:
            pieces = layout.template(format, None).samples
            if len(pieces) > 2:
                lines = [label.braces.join(pieces) % (number(p.value), p.start_time) for p, label in zip(points, labels)]  # type: ignore[arg-type]
            else:
                lines = [label.braces.join(pieces) % number(p.value) for p, label in zip(points, labels)]  # type: ignore[arg-type]
        if format.shows_exemplars and layout.type != "gauge":
            for at, point in enumerate(points):
                if point.exemplars and lines[at]:  # slow path: few series have any
                    lines[at] = with_exemplars(lines[at], point.exemplars, layout.bounds(point.value))
        return "".join(lines)

    def _histogram(self, layout: Layout, format: Format, point: Point, labels: Labels) -> str:
        value = point.value
        numbers: list[object]
        if isinstance(value, ExplicitBuckets):
            template = layout.template(format, value.boundaries)
            numbers = [*at_boundaries(value)]
        elif isinstance(value, ExponentialBuckets):
            template = layout.template(format, None)
            numbers = [*at_powers_of_two(value, layout.exponents)]
        else:
            return ""
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
        return (labels.inner.join(template.buckets) + labels.braces.join(samples)) % tuple(numbers)

    def _not_negative(self, metric: Metric) -> list[Point]:
        # OpenMetrics allows a counter neither negative values nor NaN; a reader that met one would refuse the whole scrape.
        points = [point for point in metric.points if point.value >= 0]  # type: ignore[operator]
        if len(points) < len(metric.points):
            self._complain(metric.name, f"series of the counter {metric.name!r} are not shown: their values are below zero")
        return points

    def _labels_of(self, points: list[Point], scope: str | None) -> list[Labels]:
        if scope is not None:
            scoped = self._scoped
            return [scoped.get((id(point.attributes), scope)) or self._new_labels(point.attributes, scope) for point in points]
        known = self._labels
        return [known.get(id(point.attributes)) or self._new_labels(point.attributes, None) for point in points]

    def _new_labels(self, attributes: tuple[tuple[str, object], ...], scope: str | None) -> Labels:
        made = labels_of(attributes, scope)
        if self.remembered < self._cached_series and len(made.inner) <= self._cached_characters:
            if scope is not None:
                self._scoped[id(attributes), scope] = made
            else:
                self._labels[id(attributes)] = made
        return made

    def _scope(self, meter: Meter) -> str:
        known = self._scopes.get(id(meter))
        if known is None:
            known = (meter, scope_labels(meter))
            if len(self._scopes) < self._cached_series:
                self._scopes[id(meter)] = known
        return known[1]

    def _layout(self, metric: Metric) -> Layout:
        key = metric[:4]
        known = self._layouts.get(key)
        if known is None:
            known = Layout(*key)
            if len(self._layouts) < self._cached_series:
                self._layouts[key] = known
        return known

    def _complain(self, about: str, text: str) -> None:
        if about not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(about)
            logger.warning("%s", text)


def render(snapshot: Snapshot, format: Format = TEXT) -> bytes:
    """Return `snapshot` in `format`, UTF-8 encoded. Whoever renders again and again keeps a `Renderer`, which is faster."""
    return Renderer().render(snapshot, format)
