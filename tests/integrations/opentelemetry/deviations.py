"""Where readers get something else from us than from opentelemetry-sdk 1.45, and the clause that is on our side."""

from __future__ import annotations

from typing import NamedTuple


class Deviation(NamedTuple):
    """What differs, and the clause of OpenTelemetry's specification."""

    what: str
    clause: str


DEVIATIONS = (
    Deviation(
        "names keep their first-seen casing",
        "Metrics SDK, Duplicate instrument registration: the first-seen casing of the name is returned",
    ),
    Deviation(
        "an identical observable keeps the callbacks of both registrations",
        "Metrics API, Asynchronous instrument creation: callbacks registered are all evaluated",
    ),
    Deviation(
        "a reader that prefers histograms of observables gets the default aggregation, there it gets nothing",
        "Metrics SDK, View: an aggregation that would produce semantic errors is not applied",
    ),
    Deviation(
        "a negative total of an observable counter is dropped",
        "Data model, Sums: a monotonic sum's value never is below that at its start",
    ),
    Deviation(
        "a delta of an observable counter whose total fell is that total, there it is negative",
        "Data model, Sums: a monotonic delta is never negative; Resets and gaps",
    ),
    Deviation(
        "zeros never touch the scale of an exponential histogram, there a collection after them may raise",
        "Data model, Exponential histogram: zero count and scale",
    ),
    Deviation(
        "a sum stays at the largest double, there it becomes infinite",
        "Metrics SDK, Numerical limits handling: non-normal values do not cause errors, and never reach a sum",
    ),
    Deviation(
        "one stream for two views that say the same",
        "Metrics SDK, Duplicate instrument registration: data of identical instruments is aggregated together",
    ),
    Deviation(
        "a cumulative point keeps its exemplars while nothing new comes, there they are gone with the first collection",
        "Metrics SDK, ExemplarReservoir: exemplars abide by the temporality of the point that they are reported with",
    ),
    Deviation(
        "zeros can be exemplars of an exponential histogram, there they never are",
        "Metrics SDK, ExemplarFilter, TraceBased: measurements in the context of a sampled span are eligible",
    ),
    Deviation(
        'sums, extremes and boundaries of histograms are floats (Prometheus: le="1.0"), there integers stay integers',
        "Data model, Histogram, as in metrics.proto: sum, min, max and explicit_bounds are doubles",
    ),
)
