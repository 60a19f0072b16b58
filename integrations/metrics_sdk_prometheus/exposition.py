"""The walk over a snapshot that every format shares: families, their series, and the labels of each.

A format says how labels are written, and makes its text or bytes of the batches it is given. What Prometheus cannot have is
sorted out here: names that contradict each other, series that look alike, counters below zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import error
from typing import Any, Generic, TypeAlias, TypeVar

from metrics_sdk.snapshot import Meter, Metric, Point, Snapshot

from .families import RESOURCE, Families, Layout
from .labels import AnyLabels, Scope
from .labels import scope_of as made_scope
from .lookalikes import merged, unlike

logger = logging.getLogger("metrics_sdk_prometheus")

#: Series between two looks at the clock: about 5 µs of counters, 200 µs of the widest exponential histograms.
BATCH = 8

_LOOKED_UP = 32  # series whose labels are looked up between two pauses: 4 µs if they are remembered, 160 µs if none is
_MAX_COMPLAINTS = 1000

#: What a value that cannot be told raises.
ODD = (TypeError, ValueError, ArithmeticError, error)

L = TypeVar("L", bound=AnyLabels)


#: Some series of the family that a layout is, each with its labels, and whether the family begins. The batches of a family come
#: one after another; the first of them has no series. Any other without series is a pause, for whoever looks at the clock.
#: It is a plain tuple: making a named one takes as long as rendering a counter.
Batch: TypeAlias = tuple[Layout, Sequence[Point], Sequence[L], bool]


class Exposition(Generic[L]):
    """Walks snapshots, and remembers what does not change between two of them: names, and the labels of each series.

    Any number of threads may walk at a time; no lock is held.
    """

    def __init__(
        self,
        make: Callable[[Sequence[tuple[str, Any]], Scope | None], L],
        cached_series: int = 20_000,
        cached_size: int = 1000,
    ) -> None:
        """`make`: writes the labels of an attribute set of a meter, None for the SDK's own.

        At most `cached_series` series are remembered, and none whose labels are longer than `cached_size`.
        """
        self._make = make
        self._cached_series = cached_series
        self._cached_size = cached_size
        # By identity: `1`, `1.0` and `True` are equal keys with different labels, and hashing a tuple of tuples takes longer.
        # The value keeps the key alive, so that no other object can have its id.
        self._labels: dict[int, L] = {}
        self._missed = False  # there was no room for a series
        # Series of two meters may have the very same attributes, `()` above all: here the labels of the meter are in the key.
        self._scoped: dict[tuple[int, str], L] = {}
        self._scopes: dict[int, tuple[Meter, Scope]] = {}  # by identity, as above
        self._layouts: dict[tuple[str, str, str, str], Layout] = {}
        self._complaints: set[str] = set()

    @property
    def remembered(self) -> int:
        """The number of series whose labels are remembered."""
        return len(self._labels) + len(self._scoped)

    def walk(self, snapshot: Snapshot) -> Walk[L]:
        """Return a walk over `snapshot`, to be gone once."""
        return Walk(self, snapshot)

    def resource(self, resource: Mapping[str, Any]) -> L:
        """Return what is said of the process, as labels.

        They are not remembered: it is one series, and whatever the mapping holds may change without a sign.
        """
        return self._make([(str(key), value) for key, value in dict(resource).items()], None)

    def forget(self, metrics: int, series: int) -> None:
        """Forget what is gone, or was made for one snapshot alone, if it is far more than there is, or takes its room."""
        if self.remembered > 2 * series + 1024 or (self._missed and self.remembered >= self._cached_series >= series):
            self._labels, self._scoped = {}, {}
        self._missed = False
        if len(self._layouts) > 2 * metrics + 1024:
            self._layouts = {}
        if len(self._scopes) > 2 * metrics + 1024:
            self._scopes = {}

    def labels_of(self, points: Sequence[Point], scope: Scope | None) -> list[L]:
        """Return the labels of series of one meter."""
        if scope is not None:
            scoped, inner = self._scoped, scope.inner
            return [scoped.get((id(point.attributes), inner)) or self._new_labels(point.attributes, scope) for point in points]
        known = self._labels
        return [known.get(id(point.attributes)) or self._new_labels(point.attributes, None) for point in points]

    def _new_labels(self, attributes: tuple[tuple[str, object], ...], scope: Scope | None) -> L:
        made = self._make(attributes, scope)
        if self.remembered >= self._cached_series:
            self._missed = True
        elif len(made.whole) <= self._cached_size:
            if scope is not None:
                self._scoped[id(attributes), scope.inner] = made
            else:
                self._labels[id(attributes)] = made
        return made

    def scope_of(self, meter: Meter) -> Scope:
        """Return what tells of `meter` in labels."""
        known = self._scopes.get(id(meter))
        if known is None:
            known = (meter, made_scope(meter))
            if len(self._scopes) < self._cached_series:
                self._scopes[id(meter)] = known
        return known[1]

    def layout_of(self, metric: Metric) -> Layout:
        """Return how an instrument looks."""
        key = metric[:4]
        known = self._layouts.get(key)
        if known is None:
            known = Layout(*key)
            if len(self._layouts) < self._cached_series:
                self._layouts[key] = known
        return known

    def complain(self, about: str, text: str) -> None:
        """Log `text`, once for all that there is to say `about` it."""
        if about not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(about)
            logger.warning("%s", text)


class Walk(Generic[L]):
    """One walk over a snapshot: iterating it gives batches.

    `left_out`: how many points came into none of them, or could not be told; `why`: the last reason.
    """

    def __init__(self, exposition: Exposition[L], snapshot: Snapshot) -> None:
        self.left_out = 0
        self.why = ""
        self._exposition = exposition
        self._snapshot = snapshot

    def leave_out(self, points: int, about: str, why: str) -> None:
        """Take note that so many points are not told, and log it, if it is the first thing `about` that."""
        self.left_out += points
        self.why = why
        self._exposition.complain(about, why)

    def leave_out_odd(self, layout: Layout, problem: BaseException) -> None:
        """Take note that a point has a value that cannot be told."""
        self.leave_out(1, layout.family, f"a series of {layout.family!r} is not shown: {problem!r}")

    def __iter__(self) -> Iterator[Batch[L]]:
        snapshot, exposition = self._snapshot, self._exposition
        families = Families()
        series = 0
        for metric in snapshot.metrics:
            layout = exposition.layout_of(metric)
            taken = families.add(metric, layout)
            if taken:
                self.leave_out(len(metric.points), metric.name, f"{metric.kind} {metric.name!r} is not shown: {taken}")
            series += len(metric.points)
            yield (layout, (), (), False)
        resource = exposition.resource(snapshot.resource)
        if resource.whole and families.is_free(*RESOURCE.names):
            yield (RESOURCE, (), (), True)
            yield (RESOURCE, (Point((), 1, 0.0, 0.0),), (resource,), False)
        elif resource.whole:
            self.leave_out(0, "target_info", "the resource is not shown: an instrument is called target or target_info")
        for layout, metrics in families.by_name.values():
            metrics = [metric for metric in metrics if metric.points]
            if metrics:
                yield from self._family(layout, metrics)
        exposition.forget(len(snapshot.metrics), series)

    def _family(self, layout: Layout, metrics: list[Metric]) -> Iterator[Batch[L]]:
        shown: set[object] = set()
        exposition = self._exposition
        yield (layout, (), (), True)
        pause: Batch[L] = (layout, (), (), False)
        for metric in metrics:
            points: Sequence[Point] = metric.points if layout.type != "counter" else self._not_negative(metric)
            scope = None if metric.meter is None else exposition.scope_of(metric.meter)
            labels: list[L] = []
            unique: set[object] = set()
            for start in range(0, len(points), _LOOKED_UP):
                batch = exposition.labels_of(points[start : start + _LOOKED_UP], scope)
                labels += batch
                unique.update([label.whole for label in batch])
                if start:
                    yield pause
            if len(unique) < len(points):
                points, labels = merged(points, labels, metric.kind)
            if shown and not shown.isdisjoint(unique):
                before = len(points)
                points, labels = unlike(points, labels, shown)
                why = f"series of {metric.name!r} are not shown: {layout.family!r} has others like them"
                self.leave_out(before - len(points), metric.name, why)
            for start in range(0, len(points), BATCH):
                yield (layout, points[start : start + BATCH], labels[start : start + BATCH], False)
            shown |= unique

    def _not_negative(self, metric: Metric) -> Sequence[Point]:
        # OpenMetrics allows a counter neither negative values nor NaN; a reader that met one would refuse the whole scrape.
        try:
            points = [point for point in metric.points if point.value >= 0]  # type: ignore[operator]
        except TypeError:  # what is no number
            points = [point for point in metric.points if isinstance(point.value, (int, float)) and point.value >= 0]
        lost = len(metric.points) - len(points)
        if lost:
            self.leave_out(
                lost, metric.name, f"series of the counter {metric.name!r} are not shown: their values are below zero"
            )
        return points
