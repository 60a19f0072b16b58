"""The same sequences given to our provider and to opentelemetry-sdk's: what readers get is the same, but for the deviations."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections import Counter as Multiset
from typing import Any

import pytest
from deviations import DEVIATIONS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export, view
from opentelemetry.sdk.resources import Resource

KINDS = {
    "counter": sdk.Counter,
    "up_down_counter": sdk.UpDownCounter,
    "gauge": sdk._Gauge,
    "histogram": sdk.Histogram,
    "observable_counter": sdk.ObservableCounter,
    "observable_up_down_counter": sdk.ObservableUpDownCounter,
    "observable_gauge": sdk.ObservableGauge,
}
FLOAT_MAX = sys.float_info.max
VERBS = {"counter": "add", "up_down_counter": "add", "gauge": "set", "histogram": "record"}

values = st.one_of(
    st.integers(-20, 1000),
    st.integers(-(2**62), 2**62),
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 0.0, 5, 5.0, 10000, 1e-300, 5e-324]),
)
attribute = st.one_of(
    st.sampled_from(["GET", "POST", ""]),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.lists(st.sampled_from(["a", "b"]), max_size=2),
    st.tuples(st.integers(0, 2)),
)
attributes = st.one_of(  # most often the same ones, so that more happens to one series
    st.sampled_from([None, {}, {"method": "GET"}, {"method": "GET", "route": "/"}]),
    st.dictionaries(st.sampled_from(["method", "route", "code"]), attribute, max_size=3),
)


@st.composite
def aggregations(draw: Any) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(["default", "sum", "last", "explicit", "advised", "exponential", "drop"]))
    if kind == "explicit":
        return kind, tuple(sorted(draw(st.sets(st.sampled_from([-5.0, 0.0, 1.0, 5.0, 10.0, 100.0]))))), draw(st.booleans())
    if kind == "exponential":
        return kind, draw(st.sampled_from([2, 4, 20, 160]))
    return (kind,)


def aggregation(described: tuple[Any, ...]) -> Any:
    kind, *rest = described
    if kind == "explicit":
        return view.ExplicitBucketHistogramAggregation(boundaries=rest[0], record_min_max=rest[1])
    if kind == "exponential":
        return view.ExponentialBucketHistogramAggregation(max_size=rest[0])
    return {
        "default": view.DefaultAggregation,
        "sum": view.SumAggregation,
        "last": view.LastValueAggregation,
        "advised": view.ExplicitBucketHistogramAggregation,
        "drop": view.DropAggregation,
    }[kind]()


views = st.fixed_dictionaries(
    {
        "instrument_name": st.sampled_from(["a", "b", "*", "A?", "nobody"]),
        "instrument_type": st.one_of(st.none(), st.sampled_from(sorted(KINDS))),
        "instrument_unit": st.sampled_from([None, "s", "*"]),
        "meter_name": st.sampled_from([None, "lib", "other"]),
        "description": st.sampled_from([None, "by a view"]),
        "attribute_keys": st.one_of(st.none(), st.sets(st.sampled_from(["method", "route"]))),
        "aggregation": st.one_of(st.none(), aggregations()),
        "name": st.sampled_from([None, None, "renamed"]),
    }
)
readers = st.tuples(
    st.dictionaries(st.sampled_from(sorted(KINDS)), st.sampled_from(["DELTA", "CUMULATIVE"])),
    st.dictionaries(st.sampled_from(sorted(KINDS)), aggregations(), max_size=2),
)
instruments = st.tuples(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(["a", "b", "ab"]),
    st.sampled_from(["lib", "other"]),
    st.sampled_from(["", "s"]),
    st.sampled_from(["", "what it is"]),
    st.one_of(st.none(), st.just((1.0, 10.0))),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 2), values, attributes),
        st.tuples(st.just("record"), st.integers(0, 2), values, attributes),
        st.tuples(st.just("observe"), st.integers(0, 2), st.lists(st.tuples(values, attributes), max_size=3), st.none()),
        st.tuples(
            st.just("observe"), st.integers(0, 2), st.lists(st.tuples(st.integers(0, 9), attributes), max_size=2), st.none()
        ),
        st.tuples(st.just("collect"), st.integers(0, 1), st.none(), st.none()),
        st.tuples(st.just("collect"), st.integers(0, 1), st.none(), st.none()),
        st.tuples(st.just("create"), instruments, st.none(), st.none()),
    ),
    min_size=5,
    max_size=40,
)


class Side:
    """One of the two providers, with its readers and instruments."""

    def __init__(self, make: Any, views: list[dict[str, Any]], readers: list[Any], instruments: list[Any]) -> None:
        self.observations: dict[Any, list[Any]] = {}
        self.callbacks: dict[Any, Any] = {}  # one for each identity: of several, theirs keeps one (DEVIATIONS)
        self.identities: list[Any] = []
        self.readers = [
            export.InMemoryMetricReader(
                {KINDS[kind]: export.AggregationTemporality[name] for kind, name in temporality.items()},
                {
                    KINDS[kind]: aggregation(described)
                    for kind, described in wished.items()
                    if kind in VERBS or described[0] not in ("explicit", "advised", "exponential")  # DEVIATIONS
                },
            )
            for temporality, wished in readers
        ]
        given = [
            view.View(
                **{
                    **one,
                    "instrument_type": one["instrument_type"] and KINDS[one["instrument_type"]],
                    "aggregation": one["aggregation"] and aggregation(one["aggregation"]),
                }
            )
            for one in views
        ]
        self.provider = make(self.readers, resource=Resource({"service.name": "x"}), views=given, shutdown_on_exit=False)
        self.instruments: list[Any] = []
        self.kinds: list[str] = []
        for one in instruments:
            self.create(one)

    def create(self, described: tuple[Any, ...]) -> None:
        kind, name, meter, unit, text, advised = described
        identity = described[:5]
        more: dict[str, Any] = {}
        if kind == "histogram":
            more["explicit_bucket_boundaries_advisory"] = advised
        if kind.startswith("observable"):
            callback = self.callbacks.setdefault(identity, lambda options: self.observations.get(identity, []))
            more["callbacks"] = [callback]
        create = getattr(self.provider.get_meter(meter, "1.0"), f"create_{kind}")
        self.instruments.append(create(name, unit=unit, description=text, **more))
        self.kinds.append(kind)
        self.identities.append(identity)

    def do(self, what: str, which: Any, value: Any, given: Any) -> list[Any] | None:
        if what == "create":
            self.create(which)
        elif what == "collect":
            return normalised(self.readers[which].get_metrics_data(), self.kinds_by_name())
        elif which < len(self.instruments):
            kind = self.kinds[which]
            if what == "record" and kind in VERBS:
                getattr(self.instruments[which], VERBS[kind])(value, given)
            elif what == "observe" and kind not in VERBS:
                if kind == "observable_counter":  # DEVIATIONS: a negative total is dropped
                    value = [(abs(number), of) for number, of in value]
                self.observations[self.identities[which]] = [Observation(number, of) for number, of in value]
        return None

    def kinds_by_name(self) -> set[str]:
        return {one.name.lower() for one, kind in zip(self.instruments, self.kinds, strict=True) if kind == "histogram"}


def normalised(data: Any, histograms: set[str]) -> list[Any]:
    """Return what a reader got, without times, in an order of its own."""
    if data is None:
        return []
    (resource,) = data.resource_metrics
    assert dict(resource.resource.attributes) == {"service.name": "x"}
    found = []
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            kind = type(metric.data).__name__
            temporality = getattr(metric.data, "aggregation_temporality", None)
            only_grows = kind == "Sum" and metric.data.is_monotonic
            points = sorted([point(one, kind, only_grows) for one in metric.data.data_points], key=repr)
            told = (scope.scope.name, scope.scope.version, metric.name.lower(), metric.unit, metric.description)
            found.append((*told, kind, temporality and temporality.name, points))
    return sorted(found, key=repr)


def point(one: Any, kind: str, only_grows: bool) -> Any:
    given = tuple(sorted([(key, tagged(value)) for key, value in dict(one.attributes or {}).items()]))
    assert one.exemplars == []
    if kind in ("Sum", "Gauge"):
        return given, Number(one.value) if one.value >= 0 or not only_grows else Anew()
    extremes = tuple([None if x is None or math.isinf(x) else Number(x) for x in (one.min, one.max)])
    if kind == "Histogram":
        return given, one.count, Number(one.sum), extremes, tuple(one.bucket_counts), tuple(one.explicit_bounds)
    sides = tuple(
        [
            tuple([(side.offset + i, count) for i, count in enumerate(side.bucket_counts) if count])
            for side in (one.positive, one.negative)
        ]
    )
    return given, one.count, Number(one.sum), extremes, one.zero_count, Buckets(one.scale, sides)


def tagged(value: Any) -> Any:
    return (type(value).__name__, value) if not isinstance(value, (list, tuple)) else tuple([tagged(one) for one in value])


class Number:
    """A number that equals another where they differ by what adding up in another order makes."""

    def __init__(self, value: float) -> None:
        self.value = max(-FLOAT_MAX, min(FLOAT_MAX, value))  # DEVIATIONS: there a sum may become infinite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and (
            self.value == other.value or math.isclose(self.value, other.value, rel_tol=1e-9, abs_tol=1e-6)
        )

    def __repr__(self) -> str:
        return f"{float(self.value):.4e}"


class Anew(Number):
    """DEVIATIONS: a negative delta of theirs, of a total that fell; ours is what there is since."""

    def __init__(self) -> None:
        super().__init__(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and not isinstance(other, Anew) and other.value >= 0


class Buckets:
    """Exponential buckets; compared bucket by bucket at the lower of two scales."""

    def __init__(self, scale: int, sides: Any) -> None:
        self.scale = scale
        self.sides = sides

    def at(self, scale: int) -> Any:
        made = []
        for side in self.sides:
            counts: Multiset[int] = Multiset()
            for index, count in side:
                counts[index >> (self.scale - scale)] += count
            made.append(sorted(counts.items()))
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Buckets):
            return False
        scale = min(self.scale, other.scale)
        return self.at(scale) == other.at(scale)

    def __repr__(self) -> str:
        return "buckets"  # not what points are ordered by


def forget_doubles(theirs: Side) -> None:
    """DEVIATIONS[“one stream”]: of the views that make the same stream of an instrument, leave opentelemetry-sdk one."""
    for storage in theirs.provider._measurement_consumer._reader_storages.values():
        for instrument in theirs.instruments:
            matches = storage._get_or_init_view_instrument_match(instrument)
            made: dict[object, Any] = {}
            for match in matches:
                made.setdefault(made_by(match), match)
            matches[:] = made.values()


def made_by(match: Any) -> tuple[Any, ...]:
    """Return what a view makes of an instrument for a reader: equal for two of them means that one says it all."""
    made = match._aggregation
    keys = match._view._attribute_keys
    return (
        match._name,
        match._description,
        None if keys is None else frozenset(keys),
        type(made),
        *[getattr(made, name, None) for name in ("_boundaries", "_record_min_max", "_max_size")],
    )


EXAMPLES = int(os.environ.get("METRICS_SDK_EXAMPLES", "300"))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize="CI" in os.environ)
@given(
    st.lists(views, max_size=3),
    st.tuples(readers, readers),
    st.lists(instruments, min_size=1, max_size=3),
    operations,
)
def test_two_readers_get_the_same_from_both_providers(
    views: list[Any], readers: Any, instruments: list[Any], operations: list[Any]
) -> None:
    for one in views:
        if "*" in one["instrument_name"] or "?" in one["instrument_name"]:
            one["name"] = None  # neither accepts a name for several instruments
    logging.disable(logging.CRITICAL)
    try:
        ours = Side(MeterProvider, views, list(readers), instruments)
        theirs = Side(sdk.MeterProvider, views, list(readers), instruments)
        try:
            last = [("collect", which, None, None) for which in (0, 1, 0, 1)]
            for operation in [*operations, *last]:
                found = ours.do(*operation)
                forget_doubles(theirs)
                try:
                    expected = theirs.do(*operation)
                except Exception as error:
                    if str(error) != "Incorrect merge scale":  # DEVIATIONS: zeros, then another value
                        raise
                    return
                if expected is not None:
                    assert found == expected
        finally:
            ours.provider.shutdown()
            theirs.provider.shutdown()
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda one: one.what)
def test_each_deviation_cites_the_specification(deviation: Any) -> None:
    assert deviation.clause.startswith(("Metrics ", "Common ", "Data model")), deviation
