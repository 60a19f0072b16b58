"""What a query answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metrics_sdk.core import aggregates as core
from metrics_sdk.core.attributes import identity, normalise
from metrics_sdk.core.explicit import ExplicitHistogram
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.series import Series
from metrics_sdk.core.table import Table
from metrics_sdk.errors import UnknownInstrument
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets
from metrics_sdk.store import AggregateMap


class Aggregate:
    """The answer to a query: the merged values of one or more series between `start` and `end` (Unix seconds).

    What an instrument of its kind does not know is None: a counter has no `min`, `max` or `last`, only gauges have a `last`,
    and an aggregate without values has a `count` of 0 and nothing else. For a gauge, `count`, `sum`, `min`, `max` and `mean`
    are of the values that were set.
    """

    __slots__ = ("_core", "_offset", "end", "kind", "name", "start", "unit")

    name: str
    kind: str
    unit: str
    start: float
    end: float
    _core: core.Aggregate
    _offset: float  # what an observed total was when it was first seen: in the sum, but not in the rate

    def __init__(self, table: Table, merged: core.Aggregate, start: float, end: float, offset: float = 0) -> None:
        described = table.description
        values = (merged, offset, end, described.kind.name, described.name, start, described.unit)
        for slot, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Aggregate cannot be changed: {name}")

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self._core.count)

    @property
    def sum(self) -> float:
        """Their sum; an int where every value was one (counters) and 64 bits hold it."""
        return _sum(self._core) + self._offset

    @property
    def min(self) -> float | None:
        """The smallest value."""
        return _extreme(self._core, "min")

    @property
    def max(self) -> float | None:
        """The largest value."""
        return _extreme(self._core, "max")

    @property
    def mean(self) -> float | None:
        """Sum by count."""
        return self.sum / self.count if self.count else None

    @property
    def last(self) -> float | None:
        """The value that a gauge was set to last; of several series, the one that was set last."""
        return self._core.last if isinstance(self._core, core.LastValue) and self.count else None

    @property
    def seconds(self) -> float:
        """The length of the interval that the answer covers."""
        return max(0.0, self.end - self.start)

    @property
    def rate(self) -> float | None:
        """Per second, over the interval covered: a counter's sum, another kind's count."""
        if not self.seconds:
            return None
        return (_sum(self._core) if isinstance(self._core, core.Sum) else self.count) / self.seconds

    @property
    def value(self) -> float | None:
        """What one would call the value: a counter's sum, a gauge's last; None for a histogram."""
        return self.sum if isinstance(self._core, core.Sum) else self.last

    def percentile(self, q: float) -> float | None:
        """Return the value that `q` percent (0-100) of the values do not exceed; None without values or for other kinds.

        The rank is that of the inverted cumulative distribution. Exponential buckets bound the relative error (1.1 % while the
        values span three decades, with the default of 320 buckets); explicit boundaries interpolate within a bucket.
        """
        if not 0 <= q <= 100:
            raise ValueError(f"a percentile is between 0 and 100, not {q!r}")
        return self._core.percentile(float(q))

    def percentiles(self, qs: Iterable[float]) -> dict[float, float | None]:
        """Return the percentiles by `q`."""
        return {q: self.percentile(q) for q in qs}

    def __repr__(self) -> str:
        known = {"count": self.count, "sum": self.sum, "min": self.min, "max": self.max, "last": self.last}
        shown = ", ".join([f"{key}={value:.6g}" for key, value in known.items() if value is not None])
        return f"<Aggregate {self.name!r} {shown}>"


def _sum(merged: core.Aggregate) -> float:
    if isinstance(merged, core.Sum):
        total: float = merged.total()
        return total
    assert isinstance(merged, (core.LastValue, ExplicitHistogram, ExponentialHistogram))
    return merged.sum


def _extreme(merged: core.Aggregate, which: str) -> float | None:
    return None if isinstance(merged, core.Sum) or not merged.count else getattr(merged, which)


def value_of(merged: core.Aggregate, offset: float) -> float | ExplicitBuckets | ExponentialBuckets:
    """Return what a snapshot's point shows of an aggregate, and of an observed total that was `offset` at first."""
    if isinstance(merged, core.Sum):
        return _sum(merged) + offset
    if isinstance(merged, core.LastValue):
        return merged.last
    count, total, low, high = int(merged.count), _sum(merged), _extreme(merged, "min"), _extreme(merged, "max")
    if isinstance(merged, ExplicitHistogram):
        return ExplicitBuckets(count, total, low, high, merged.boundaries, merged.bucket_counts())
    assert isinstance(merged, ExponentialHistogram)
    positive, negative = tuple(merged.positive.items()), tuple(merged.negative.items())
    return ExponentialBuckets(count, total, low, high, merged.scale(), int(merged.zeros), positive, negative)


def matching(table: Table, attributes: object) -> Sequence[Series]:
    """Return the series whose attributes include those given; all for None, only the one without any for {}."""
    listed = table.listed()
    if attributes is None:
        return listed
    wanted = normalise(attributes)
    if not wanted:
        return [series for series in listed if not series.attributes]
    # By identity: 1, 1.0 and True are equal for Python, and different values for us.
    tags = {identity((pair,)) for pair in wanted}
    return [series for series in listed if tags <= {identity((pair,)) for pair in series.attributes}]


def merged_total(table: Table, chosen: Iterable[Series]) -> core.Aggregate:
    """Return everything that the chosen series have merged."""
    made = table.empty.fresh()
    for series in in_slices(chosen):
        made.merge(series.total())
    return made


def merged_recent(table: Table, chosen: Iterable[Series], store: AggregateMap, since: float) -> tuple[core.Aggregate, float]:
    """Return what came in the windows that end after `since`, and the start of the earliest that could be meant."""
    made = table.empty.fresh()
    for series in in_slices(chosen):
        for _start, aggregate in store.recent(series, since):
            made.merge(aggregate)
    return made, max(since - since % store.window_seconds, store.oldest())


def unknown(name: object, known: Mapping[str, object]) -> UnknownInstrument:
    """Return the error for a name that is not known, with the names that come close."""
    import difflib  # 1 ms, and not before something is wrong

    close = [repr(match) for match in difflib.get_close_matches(str(name), list(known), n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "nothing was declared or recorded under it"
    return UnknownInstrument(f"no instrument is called {name!r}: {hint}")
