"""What exporters get: frozen values, and the protocol of an exporter. Nothing in here refers back to the SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from metrics_sdk.core.attributes import normalise as normalise
from metrics_sdk.core.exemplars import Exemplar as Exemplar  # part of what exporters get, as the rest of this module
from metrics_sdk.names import MAX_NAME_LENGTH, as_text

#: Attributes in normal form: sorted by key. Values are str, bool, int, float, or tuples of these.
Attributes = tuple[tuple[str, Any], ...]


class ExplicitBuckets(NamedTuple):
    """A histogram with given boundaries. `bucket_counts` has one entry more than `boundaries`; bucket `i` holds the values
    in `(boundaries[i - 1], boundaries[i]]`. `min` and `max` are None where `count` is 0.
    """

    count: int  # type: ignore[assignment]  # as everybody calls it; no one counts entries of this tuple
    sum: float
    min: float | None
    max: float | None
    boundaries: tuple[float, ...]
    bucket_counts: tuple[int, ...]


class ExponentialBuckets(NamedTuple):
    """A base-2 exponential histogram. `positive` and `negative` are (bucket, count) of the buckets in use, ascending; bucket
    `i` holds absolute values in `(base**i, base**(i + 1)]` with `base = 2 ** (2 ** -scale)`. `min` and `max` are None where
    `count` is 0.
    """

    count: int  # type: ignore[assignment]  # as everybody calls it; no one counts entries of this tuple
    sum: float
    min: float | None
    max: float | None
    scale: int
    zero_count: int
    positive: tuple[tuple[int, int], ...]
    negative: tuple[tuple[int, int], ...]


class Point(NamedTuple):
    """One series at one time. `value` is a number (int where every value was one) or buckets.

    `start_time` and `time` are Unix seconds; sums and buckets are of the time between these. `exemplars`: single values of it.
    """

    attributes: Attributes
    value: float | ExplicitBuckets | ExponentialBuckets
    start_time: float
    time: float
    exemplars: tuple[Exemplar, ...] = ()


class Meter(NamedTuple):
    """Whose instruments these are: what OpenTelemetry calls an instrumentation scope."""

    name: str
    version: str | None = None
    schema_url: str | None = None
    attributes: Attributes = ()

    @classmethod
    def of(cls, name: object, version: object, schema_url: object, attributes: object) -> Meter:
        """Return the meter of anything: as text that can be encoded, and attributes in normal form. Never raises."""
        made_version, made_url = [None if one is None else as_text(one, MAX_NAME_LENGTH) for one in (version, schema_url)]
        return cls(as_text(name, MAX_NAME_LENGTH), made_version, made_url, normalise(attributes))


class Metric(NamedTuple):
    """One stream of an instrument with its series.

    `kind` is "counter", "up_down_counter", "gauge", "histogram" or one of "observable_counter",
    "observable_up_down_counter", "observable_gauge". `boundaries` are those of explicit buckets, None for exponential ones.
    `temporality`: "cumulative", or "delta" for what has come since the reader was told last. `meter`: whose instrument it is,
    None for the SDK's own.
    """

    name: str
    kind: str
    unit: str
    description: str
    boundaries: tuple[float, ...] | None
    points: tuple[Point, ...]
    temporality: Literal["cumulative", "delta"] = "cumulative"
    meter: Meter | None = None


class Snapshot(NamedTuple):
    """Everything an SDK has to tell at one time (Unix seconds)."""

    resource: Mapping[str, Any]
    time: float
    metrics: tuple[Metric, ...]


class Refused(NamedTuple):
    """What of an export that succeeded did not arrive all the same, for good: so many points, and why."""

    points: int
    why: str


class Producer(Protocol):
    """Has metrics of its own to tell, which leave with the SDK's."""

    def produce(self) -> Sequence[Metric]:
        """Return the metrics as they are now. What this raises costs these metrics alone."""


@runtime_checkable
class Exporter(Protocol):
    """Carries snapshots somewhere. Both methods are called on the exporter's own worker thread, one at a time.

    An exporter belongs to one SDK: with two it would be called by two threads, and mix up what they tell.

    It may have attributes that say how it wants to be driven where `Export` does not: `interval_seconds`, `timeout_seconds`,
    `temporality`, `histogram_aggregation`; and `temporalities`, those of "cumulative" and "delta" that it can carry sums and
    histograms in: asking for another one raises ConfigurationError.
    """

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        """Deliver `snapshot` within `timeout` seconds.

        Returning means that it was accepted, but for what is returned as refused, which is counted and logged. Raising means
        that it was not, and shall be tried again; by an `ExportError` that more is known than that.
        """

    def shutdown(self) -> None:
        """Release what is held; called once, after the last export."""


class WindowExporter(Protocol):
    """Carries closed windows somewhere. Both methods are called on the exporter's own worker thread, one at a time.

    `accepts_open_windows`: whether `flush()` may hand over the window that is still open, which then comes again.
    `window_seconds`: the width that windows shall have, 0 for that of the finest.
    """

    accepts_open_windows: bool
    window_seconds: float

    def export_windows(self, windows: Sequence[Any], timeout: float) -> None:
        """Deliver the windows, see `metrics_sdk.feeds.Window`, within `timeout` seconds.

        Returning means that they were accepted, raising that none was.
        """

    def shutdown(self) -> None:
        """Release what is held; called once, after the last export."""
