"""Exemplars: single values that are kept beside the aggregate, with the trace that they came from.

OpenTelemetry's metrics SDK specification, "Exemplar": a filter decides which values are offered, a reservoir for each series
which of those are kept. While the filter is off no cell is one of these, and nothing is paid.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsFloat, final

from metrics_sdk.core.aggregates import INT64_MAX, INT64_MIN
from metrics_sdk.core.attributes import Pairs, raised_by_signal_handler
from metrics_sdk.core.cells import Cell
from metrics_sdk.core.numbers import to_float

if TYPE_CHECKING:
    from metrics_sdk.core.stream import Stream


class Exemplar(NamedTuple):
    """A value, when it was recorded (Unix seconds), the attributes that its series does not have, and the span it came from.

    `trace_id` and `span_id` are 0 where there was no span.
    """

    value: float
    time: float
    attributes: Pairs
    trace_id: int
    span_id: int


@final
class Sampler:
    """Decides which values are offered, and knows the span that they come from.

    `always`: every value; else those recorded in a span that is sampled ("trace_based"). `context()` returns the current
    context, which is falsy where there cannot be a span; `span(context)` returns trace id, span id and whether it is sampled.
    """

    def __init__(
        self,
        always: bool,
        context: Callable[[], object],
        span: Callable[[object], tuple[int, int, bool]],
        now: Callable[[], float],
    ) -> None:
        self.always: Final = always
        self.context: Final = context
        self.span: Final = span
        self.now: Final = now

    def sample(self, value: SupportsFloat, least: float, dropped: Pairs, given: object) -> Exemplar | None:
        """Return the exemplar for `value`, recorded in the context `given` or in the current one; None if there is none."""
        try:
            context = self.context() if given is None else given
            trace_id, span_id, sampled = self.span(context)
            if not sampled and not self.always:
                return None
            number: Any = value if type(value) is int and INT64_MIN <= value <= INT64_MAX else to_float(value)
            if number is None or number - number != 0.0 or number < least:
                return None
            return Exemplar(number, self.now(), dropped, trace_id, span_id)
        except Exception as error:  # what a foreign context or clock raises costs the exemplar alone
            if raised_by_signal_handler(error):
                raise
            return None


@final
class Reservoir:
    """The exemplars of one series: one for each bucket of an explicit histogram, the latest; else `size`, each as likely.

    With each collection a new sample begins: what is kept stays until another one takes its place.
    """

    def __init__(self, size: int, boundaries: tuple[float, ...] | None) -> None:
        self.boundaries: Final = boundaries
        self.slots: Final[list[Exemplar | None]] = [None] * (size if boundaries is None else len(boundaries) + 1)
        self.seen = 0
        self.used = False

    def offer(self, exemplar: Exemplar) -> None:
        """Keep it, or not. Each store is one; two threads at once cost an exemplar, not more."""
        self.used = True
        boundaries = self.boundaries
        if boundaries is not None:
            self.slots[bisect_left(boundaries, exemplar.value)] = exemplar
            return
        # Vitter's algorithm R.
        seen = self.seen
        self.seen = seen + 1
        slot = seen
        if seen >= len(self.slots):
            import random  # 5 ms, and not before there are exemplars

            slot = int(random.random() * (seen + 1))
        if slot < len(self.slots):
            self.slots[slot] = exemplar

    def kept(self) -> tuple[Exemplar, ...]:
        """Return those that are kept."""
        return tuple([one for one in self.slots if one is not None]) if self.used else ()

    def begin(self) -> None:
        """Begin a new sample."""
        self.seen = 0

    def clear(self) -> None:
        """Forget all."""
        self.seen = 0
        for slot in range(len(self.slots)):
            self.slots[slot] = None


@final
class ExemplarCell(Cell):
    """Offers values to the series' reservoir before they are recorded. `dropped`: the attributes that its series lacks."""

    def __init__(self, inner: Cell, sampler: Sampler, reservoir: Reservoir, dropped: Pairs) -> None:
        super().__init__(inner.series)
        self.inner: Final = inner
        self.sampler: Final = sampler
        self.reservoir: Final = reservoir
        self.dropped: Final = dropped

    def parts(self) -> list[Cell]:
        """Return the cells that hold values."""
        return self.inner.parts()

    def targets(self) -> list[Cell]:
        """Return the cell that it stands before."""
        return [self.inner]

    def record(self, value: SupportsFloat) -> None:
        """Record `value`, as an exemplar too if the filter has it."""
        sampler = self.sampler
        try:
            if sampler.always or sampler.context():
                self._offer(value, None)
        except Exception as error:  # of a foreign runtime context
            if raised_by_signal_handler(error):
                raise
        self.inner.record(value)

    def record_in(self, context: object, value: SupportsFloat) -> None:
        """The same, in a context that is given."""
        self._offer(value, context)
        self.inner.record(value)

    def _offer(self, value: SupportsFloat, context: object) -> None:
        exemplar = self.sampler.sample(value, self.inner.least(), self.dropped, context)
        if exemplar is not None:
            self.reservoir.offer(exemplar)

    def least(self) -> float:
        """Return the smallest value that is accepted."""
        return self.inner.least()

    def drop(self, reason: int) -> None:
        """Count one value as dropped."""
        self.inner.drop(reason)


def reservoir_for(stream: Stream) -> Reservoir:
    """Return the reservoir that the specification gives to an aggregation."""
    if stream.aggregation == "explicit":
        return Reservoir(0, stream.boundaries)
    return Reservoir(min(20, stream.max_buckets) if stream.aggregation == "exponential" else 1, None)
