"""The way out: what the SDK has, reported by instruments of another OpenTelemetry meter provider."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry import metrics as api
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metrics_sdk.errors import ConfigurationError
from metrics_sdk.snapshot import Attributes, ExplicitBuckets, ExponentialBuckets, Metric, Snapshot
from metrics_sdk.snapshot import Meter as Scope

logger = logging.getLogger("metrics_sdk_opentelemetry")

_MAX_COMPLAINTS = 1000

_Series = list[tuple[Attributes, float]]
_Part = tuple[str, str, str, _Series]  # what follows the metric's name, kind, unit, series
_Key = tuple[Scope | None, str, str, str]  # meter, name, unit, description: two with one name are not one instrument


class OpenTelemetryExporter:
    """Reports snapshots by observable instruments of `meter_provider`, for an application that has to keep another one.

        Config(exporters=[Export(OpenTelemetryExporter(), interval_seconds=10)])

    `meter_provider`: None is the global one of the time when a metric comes first; not one whose SDK has this exporter.
    `meter_name`: whose the instruments are there; what a meter has recorded keeps that meter's name. Raises ConfigurationError
    for arguments that cannot be.

    A counter becomes an observable counter, an up-down counter an observable up-down counter, a gauge an observable gauge, when
    it is first seen with a series. Their callbacks report the totals of the last snapshot: what is read there is as old as the
    last export, up to `Export.interval_seconds`.

    The API has no observable histogram: of a histogram there are `<name>.count`, an observable counter, `<name>.sum`, and the
    gauges `<name>.min` and `<name>.max` of all time; not its buckets, and no percentiles. `<name>.sum` is a counter too, or an
    up-down counter if there were values below zero when it was first seen. Exemplars stay behind, and so do NaN and infinities.

    What cannot be reported costs itself alone and is logged once: a name that the provider refuses, deltas (it wants totals:
    leave `Export.temporality` as it is), and what has become of another kind since it was declared. Of
    two streams with one name, unit and description, only the first is reported: their sum would count twice what both have.
    """

    def __init__(self, meter_provider: MeterProvider | None = None, *, meter_name: str = "metrics_sdk") -> None:
        if meter_provider is not None and not callable(getattr(meter_provider, "get_meter", None)):
            raise ConfigurationError(
                f"meter_provider must be a MeterProvider, or None for the global one, not {meter_provider!r}"
            )
        if not isinstance(meter_name, str) or not meter_name:
            raise ConfigurationError(f"meter_name must be a name, not {meter_name!r}")
        self._provider = meter_provider
        self._scope = Scope(meter_name)
        self._declared: dict[_Key, str] = {}  # the kind, "" for what was refused; an instrument cannot be taken back
        self._complaints: set[object] = set()
        # Replaced at each export, never changed: callbacks run in other threads, and see one snapshot or the next.
        self._latest: dict[_Key, list[Observation]] = {}
        self._is_shut_down = False

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Declare what is new in `snapshot`, and have its values reported from now on. Takes no time to speak of."""
        if self._is_shut_down:
            return
        latest: dict[_Key, list[Observation]] = {}
        for metric in snapshot.metrics:
            if metric.meter is not None and metric.meter.name == self._scope.name:
                continue  # declared by an exporter like this one: to go round and round would make ever more of them
            for suffix, kind, unit, series in _parts(metric):
                key = (metric.meter, metric.name + suffix, unit, metric.description)
                if not series or not self._has_instrument(key, kind, metric):
                    continue
                if key in latest:
                    self._complain(key, "is not reported: an instrument or view before it has the very same name")
                    continue
                latest[key] = list(_observations(series))
        self._latest = latest

    def shutdown(self) -> None:
        """Report nothing any more; the instruments stay with their provider."""
        self._is_shut_down = True
        self._latest = {}

    def _has_instrument(self, key: _Key, kind: str, metric: Metric) -> bool:
        """Tell whether the values can be reported, by an instrument that is declared if there is none yet."""
        if metric.temporality == "delta" and not metric.kind.endswith("gauge"):
            return self._complain(key, "is not reported: observable instruments have totals, and these are deltas")
        known = self._declared.get(key)
        if known is None:
            known = self._declared[key] = self._declare(key, kind)
        # What only grows may be reported by what may fall as well, not the other way round.
        if known and known != kind and (known, kind) != ("up_down_counter", "counter"):
            return self._complain(key, f"is not reported: its kind is {kind} now, its instrument's is {known}")
        return bool(known)

    def _declare(self, key: _Key, kind: str) -> str:
        scope, name, unit, description = key
        scope = self._scope if scope is None else scope
        try:
            provider = self._provider if self._provider is not None else api.get_meter_provider()
            meter = provider.get_meter(scope.name, scope.version, scope.schema_url, dict(scope.attributes))
            declare: Any = getattr(meter, f"create_observable_{kind}")
            declare(name, callbacks=[self._callback(key)], unit=unit, description=description)
            return kind
        except Exception as error:
            self._complain(key, f"cannot be declared there: {error!r}")
            return ""

    def _callback(self, key: _Key) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return self._latest.get(key, ())

        return observe

    def _complain(self, key: _Key, text: str) -> bool:
        if key not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(key)
            logger.warning("metric %r %s", key[1], text)
        return False


def _parts(metric: Metric) -> Iterator[_Part]:
    """Yield what a metric is reported as."""
    numbers: _Series = []
    buckets: list[tuple[Attributes, ExplicitBuckets | ExponentialBuckets]] = []
    for point in metric.points:
        if isinstance(point.value, (ExplicitBuckets, ExponentialBuckets)):
            buckets.append((point.attributes, point.value))
        else:
            numbers.append((point.attributes, point.value))
    yield "", metric.kind.removeprefix("observable_"), metric.unit, numbers
    kind = "up_down_counter" if any([_has_negatives(value) for _, value in buckets]) else "counter"
    yield ".count", "counter", "", [(attributes, value.count) for attributes, value in buckets]
    yield ".sum", kind, metric.unit, [(attributes, value.sum) for attributes, value in buckets]
    yield ".min", "gauge", metric.unit, [(attributes, value.min) for attributes, value in buckets if value.min is not None]
    yield ".max", "gauge", metric.unit, [(attributes, value.max) for attributes, value in buckets if value.max is not None]


def _has_negatives(value: ExplicitBuckets | ExponentialBuckets) -> bool:
    return value.sum < 0 or (value.min is not None and value.min < 0)


def _observations(series: _Series) -> Iterator[Observation]:
    for attributes, value in series:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = _rounded(value)  # whoever encodes 64 bits would fail, at all metrics
        if value - value == 0.0:  # opentelemetry-sdk refuses others, and logs it at each read
            yield Observation(value, dict(attributes))


def _rounded(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
