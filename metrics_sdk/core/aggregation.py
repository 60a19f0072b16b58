"""Which aggregate an instrument's values go into."""

from __future__ import annotations

from metrics_sdk.core.aggregates import Aggregate, LastValue, Sum
from metrics_sdk.core.explicit import ExplicitHistogram
from metrics_sdk.core.exponential import ExponentialHistogram
from metrics_sdk.core.exponential_recorder import ExponentialRecorder
from metrics_sdk.core.vectors import floats


def new_aggregate(aggregation: str, boundaries: tuple[float, ...] | None, max_buckets: int) -> Aggregate:
    """Return an empty aggregate: `aggregation` is "sum", "last_value" or "histogram" (explicit if boundaries are given)."""
    if aggregation == "sum":
        return Sum()
    if aggregation == "last_value":
        return LastValue()
    if boundaries is not None:
        return ExplicitHistogram(boundaries, floats(boundaries))
    return ExponentialHistogram(max_buckets)


def new_recorder(empty: Aggregate) -> Aggregate:
    """Return what a cell records into before it is merged into aggregates of the kind of `empty`."""
    return ExponentialRecorder(empty.max_buckets) if isinstance(empty, ExponentialHistogram) else empty.fresh()
