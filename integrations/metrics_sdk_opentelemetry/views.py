"""opentelemetry-sdk's views and aggregations, as ours. Read by their names: opentelemetry-sdk is not imported."""

from __future__ import annotations

from typing import Any

from metrics_sdk.errors import ConfigurationError
from metrics_sdk.temporality import Temporality
from metrics_sdk.view import Aggregation, View

DEFAULT_LIMIT = 2000  # "Cardinality limits" of the metrics SDK specification, and that of our Config

#: opentelemetry-sdk's classes of instruments, which readers state their wishes for.
KINDS = {
    "_Counter": "counter",
    "_UpDownCounter": "up_down_counter",
    "_Histogram": "histogram",
    "_Gauge": "gauge",
    "_ObservableCounter": "observable_counter",
    "_ObservableUpDownCounter": "observable_up_down_counter",
    "_ObservableGauge": "observable_gauge",
}


def kind_of(instrument_class: type) -> str:
    """Return the name of the kind that a class of instruments, the API's or opentelemetry-sdk's, stands for."""
    name = "_" + instrument_class.__name__.lstrip("_")
    if name not in KINDS:
        raise ConfigurationError(f"{instrument_class!r} is no class of instruments")
    return KINDS[name]


def view_of(given: Any) -> View:
    """Return a view of opentelemetry-sdk, or of ours, as one of ours."""
    if isinstance(given, View):
        return given
    try:
        kinds = None if given._instrument_type is None else kind_of(given._instrument_type)
        return View(
            given._instrument_name,
            instrument_kind=kinds,
            instrument_unit=given._instrument_unit,
            meter_name=given._meter_name,
            meter_version=given._meter_version,
            meter_schema_url=given._meter_schema_url,
            name=given._name,
            description=given._description,
            attribute_keys=given._attribute_keys,
            aggregation=aggregation_of(given._aggregation),
            cardinality_limit=getattr(given, "_aggregation_cardinality_limit", None),
        )
    except AttributeError as error:
        raise ConfigurationError(f"{given!r} is no View, neither opentelemetry-sdk's nor ours: {error}") from error


def aggregation_of(given: Any) -> Aggregation | None:
    """Return an aggregation of opentelemetry-sdk, or of ours, as one of ours; None for the default of the instrument."""
    if given is None or isinstance(given, Aggregation):
        return given
    name = type(given).__name__
    if name == "DefaultAggregation":
        return None
    if name == "SumAggregation":
        return Aggregation("sum")
    if name == "LastValueAggregation":
        return Aggregation("last_value")
    if name == "DropAggregation":
        return Aggregation("drop")
    if name == "ExplicitBucketHistogramAggregation":
        return Aggregation("explicit", boundaries=given._boundaries, extremes=given._record_min_max)
    if name == "ExponentialBucketHistogramAggregation":
        return Aggregation("exponential", max_buckets=given._max_size)
    raise ConfigurationError(f"{given!r} is no aggregation that is known")


class Wishes:
    """What an opentelemetry-sdk reader prefers: temporality, aggregation and limit, by the kind of instrument."""

    def __init__(self, reader: Any) -> None:
        self.temporality: dict[str, Temporality] = {
            kind_of(one): "delta" if value.name == "DELTA" else "cumulative"
            for one, value in reader._instrument_class_temporality.items()
        }
        self._aggregations = {
            kind_of(one): aggregation_of(value) for one, value in reader._instrument_class_aggregation.items()
        }
        limits = getattr(reader, "_instrument_class_cardinality_limit", None) or {}
        # The specification's default is what readers say that were told nothing: it is no wish.
        self._limits = {
            kind_of(one): value for one, value in limits.items() if isinstance(value, int) and value != DEFAULT_LIMIT
        }

    @property
    def are_default(self) -> bool:
        """Whether it asks for nothing but a temporality."""
        return not any(self._aggregations.values()) and not self._limits

    def aggregation(self, kind: str) -> Aggregation | None:
        """Return the aggregation for instruments of a kind, None for the default."""
        return self._aggregations.get(kind)

    def cardinality_limit(self, kind: str) -> int | None:
        """Return the limit of attribute sets for instruments of a kind, None for the default."""
        return self._limits.get(kind)
