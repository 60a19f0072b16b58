"""What a query answers: an aggregate over an interval, or several by the values of attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from metrics_sdk.core import aggregates as core
from metrics_sdk.core.exemplars import Exemplar
from metrics_sdk.core.explicit import ExplicitHistogram
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.gathering import Gathering
from metrics_sdk.core.packing import pack
from metrics_sdk.errors import UnknownInstrument
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets

#: (start, end) of a window → the aggregates in it, packed or not.
Parts = Mapping[tuple[float, float], list[Any]]

_GATHERED_TOGETHER = 256  # aggregates merged in one compiled call: up to half a millisecond


class Aggregate:
    """The answer to a query: the merged values of one or more series between `start` and `end` (Unix seconds).

    What an instrument of its kind does not know is None: a counter has no `min`, `max` or `last`, only gauges have a `last`,
    and an aggregate without values has a `count` of 0 and nothing else. For a gauge, `count`, `sum`, `min`, `max` and `mean`
    are of the values that were set.
    """

    __slots__ = ("_core", "_empty", "_offset", "_parts", "end", "exemplars", "kind", "name", "start", "unit")

    name: str
    kind: str
    unit: str
    start: float
    end: float
    exemplars: tuple[Exemplar, ...]
    """Single values of the interval, with the trace they came from, as `Config(exemplar_filter=)` has it."""
    _core: core.Aggregate
    _empty: core.Aggregate
    _offset: float  # what an observed total was when it was first seen: in the sum, but not in the rate
    _parts: Parts | None  # None: of all time, by no windows

    def __init__(
        self,
        named: tuple[str, str, str],
        empty: core.Aggregate,
        merged: core.Aggregate,
        start: float,
        end: float,
        offset: float = 0,
        parts: Parts | None = None,
        exemplars: tuple[Exemplar, ...] = (),
    ) -> None:
        """`named`: name, kind and unit. `merged`: everything; `parts`: the same by windows; `empty`: one of the kind."""
        name, kind, unit = named
        for slot, value in zip(
            self.__slots__, (merged, empty, offset, parts, max(start, end), exemplars, kind, name, start, unit), strict=True
        ):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Aggregate cannot be changed: {name}")

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self._core.count)

    @property
    def sum(self) -> float:
        """Their sum; an int where every value was one (counters) and 64 bits hold it. 0 without values."""
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
        return self._core.value() if isinstance(self._core, core.LastValue) and self.count else None

    @property
    def seconds(self) -> float:
        """The length of the interval that the answer covers."""
        return self.end - self.start

    @property
    def rate(self) -> float | None:
        """Per second, over the interval covered: a counter's sum, another kind's count."""
        return self._amount() / self.seconds if self.seconds else None

    @property
    def value(self) -> float | None:
        """What one would call the value: a counter's sum, a gauge's last; None for a histogram."""
        return self.sum if isinstance(self._core, core.Sum) else self.last

    def percentile(self, q: float) -> float | None:
        """Return the value that `q` percent (0-100) of the values do not exceed; None without values or for other kinds.

        The rank is that of the inverted cumulative distribution. Exponential buckets bound the relative error (with the default
        of 320 buckets 1.1 % while the values span three decades, 2.2 % up to six); explicit boundaries interpolate within a
        bucket.
        """
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 <= q <= 100:
            raise ValueError(f"a percentile is a number between 0 and 100, not {q!r}")
        return self._core.percentile(float(q))

    @property
    def interpolated(self) -> bool:
        """Whether percentiles are interpolated between explicit boundaries: the error has no bound but these."""
        return isinstance(self._core, ExplicitHistogram)

    def percentiles(self, qs: Iterable[float]) -> dict[float, float | None]:
        """Return the percentiles by `q`."""
        return {q: self.percentile(q) for q in qs}

    def histogram(self) -> ExplicitBuckets | ExponentialBuckets | None:
        """Return the buckets; None for an instrument that is no histogram."""
        return buckets_of(self._core)

    def to_bytes(self) -> bytes:
        """Return what was merged, in the form that `SQLiteStore` keeps: a byte or two for each bucket in use."""
        return pack(self._core)

    def series(self) -> tuple[Aggregate, ...]:
        """Return the windows of the answer as a time line: an aggregate for each that has data, in order.

        A window without data is not there; the one that the process began in, and the open one, are shorter than the
        others. Raises ValueError for an answer of all time, which has no windows.
        """
        if self._parts is None:
            raise ValueError("an answer of all time has no windows: ask with last=, since= or until=")
        named = (self.name, self.kind, self.unit)
        made = []
        for (start, end), parts in sorted(self._parts.items()):
            covered = max(start, self.start), min(end, self.end)
            made.append(Aggregate(named, self._empty, gathered(self._empty, parts), *covered, 0, {(start, end): parts}))
        return tuple(made)

    def ewma(self, minutes: float) -> float | None:
        """Return the rate per second as an exponentially weighted moving average over 1, 5, 15 or any number of `minutes`.

        What was `minutes` ago counts 1/e of what is now, as in the load average of Unix; it is taken from the windows of the
        answer, so ask for at least twice as long. None for an answer that covers no time. Raises ValueError for one of all
        time.
        """
        if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not 0 < minutes < math.inf:
            raise ValueError(f"an average is over a positive number of minutes, not {minutes!r}")
        if not self.seconds:
            return None

        def weight(start: float, end: float) -> float:  # of a time at a constant rate: the integral of the decaying weight
            return math.exp((end - self.end) / (60 * minutes)) - math.exp((start - self.end) / (60 * minutes))

        rates = [(one.rate or 0.0) * weight(one.start, one.end) for one in self.series()]
        return math.fsum(rates) / weight(self.start, self.end)

    def _amount(self) -> float:
        return _sum(self._core) if isinstance(self._core, core.Sum) else self.count

    def __repr__(self) -> str:
        known = {"count": self.count, "sum": self.sum, "min": self.min, "max": self.max, "last": self.last}
        shown = ", ".join([f"{key}={value:.6g}" for key, value in known.items() if value is not None])
        return f"<Aggregate {self.name!r} {shown}>"


class Grouped(Mapping[Any, Aggregate]):
    """Answers by the values of attributes: of one attribute by its value, of several by the tuple of their values.

    The value is None for series that do not have the attribute.
    """

    def __init__(self, groups: Mapping[Any, Aggregate]) -> None:
        self._groups: dict[Any, Aggregate] = dict(groups)

    def __getitem__(self, key: Any) -> Aggregate:
        return self._groups[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"Grouped({self._groups!r})"

    def top(self, n: int, by: str | Callable[[Aggregate], float | None] = "count") -> list[tuple[Any, Aggregate]]:
        """Return the `n` groups that are largest, and their aggregates.

        `by`: "count", "sum", "rate", "min", "max", "mean", "last", a percentile such as "p99", or a function of the aggregate.
        Groups without that value come last.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"top() takes how many groups to return, not {n!r}")
        size = by if callable(by) else _size(by)

        def key(item: tuple[Any, Aggregate]) -> float:
            found = size(item[1])
            return -math.inf if found is None else found

        return sorted(self._groups.items(), key=key, reverse=True)[:n]


_SIZES = ("count", "sum", "rate", "min", "max", "mean", "last")


def _size(by: str) -> Callable[[Aggregate], float | None]:
    if by in _SIZES:
        return lambda aggregate: getattr(aggregate, by)
    try:
        q = float(by[1:]) if by.startswith("p") else math.nan
    except (ValueError, AttributeError):
        q = math.nan
    if not 0 <= q <= 100:
        raise ValueError(
            f"groups are ranked by one of {', '.join(_SIZES)}, a percentile such as 'p99', or a function, not {by!r}"
        )
    return lambda aggregate: aggregate.percentile(q)


def gathered(empty: core.Aggregate, parts: Iterable[Any]) -> core.Aggregate:
    """Return the sum of aggregates, packed or not, of the kind that `empty` is of."""
    gathering = Gathering(empty)
    waiting = list(parts)
    for at in in_slices(range(0, len(waiting), _GATHERED_TOGETHER), looking_every=1):
        gathering.add(waiting[at : at + _GATHERED_TOGETHER])
    return gathering.result()


def _sum(merged: core.Aggregate) -> float:
    if isinstance(merged, core.Sum):
        total: float = merged.total()
        return total
    assert isinstance(merged, (core.LastValue, ExplicitHistogram, ExponentialHistogram))
    return merged.sum


def _extreme(merged: core.Aggregate, which: str) -> float | None:
    return None if isinstance(merged, core.Sum) or not merged.count else getattr(merged, which)


def buckets_of(merged: core.Aggregate, extremes: bool = True) -> ExplicitBuckets | ExponentialBuckets | None:
    """Return the buckets of a histogram, frozen, with min and max if `extremes`; None for another aggregate."""
    if not isinstance(merged, (ExplicitHistogram, ExponentialHistogram)):
        return None
    count, total = int(merged.count), merged.sum
    low, high = (merged.min, merged.max) if extremes and count else (None, None)
    if isinstance(merged, ExplicitHistogram):
        return ExplicitBuckets(count, total, low, high, merged.boundaries, merged.bucket_counts())
    positive, negative = tuple(merged.positive.items()), tuple(merged.negative.items())
    return ExponentialBuckets(count, total, low, high, merged.scale(), int(merged.zeros), positive, negative)


def value_of(merged: core.Aggregate, extremes: bool = True) -> float | ExplicitBuckets | ExponentialBuckets:
    """Return what a snapshot's point shows of an aggregate, of histograms min and max if `extremes`."""
    if isinstance(merged, core.Sum):
        total: float = merged.total()
        return total
    buckets = buckets_of(merged, extremes)
    if buckets is None:
        assert isinstance(merged, core.LastValue)
        value: float = merged.value()
        return value
    return buckets


def unknown(name: object, known: Iterable[str]) -> UnknownInstrument:
    """Return the error for a name that is not known, with the names that come close."""
    import difflib  # 1 ms, and not before something is wrong

    close = [repr(match) for match in difflib.get_close_matches(str(name), list(known), n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "nothing was declared or recorded under it"
    return UnknownInstrument(f"no instrument is called {name!r}: {hint}")
