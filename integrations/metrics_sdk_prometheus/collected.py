"""The way in: what a registry of prometheus_client has, as metrics that leave with the SDK's."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Protocol

from metrics_sdk.errors import ConfigurationError
from metrics_sdk.snapshot import Attributes, Exemplar, ExplicitBuckets, Metric, Point

from .names import unit_of

logger = logging.getLogger("metrics_sdk_prometheus")

_MAX_COMPLAINTS = 1000
_HEXADECIMAL = frozenset("0123456789abcdef")
_time = time.time


class Registry(Protocol):
    """What a `CollectorRegistry` of prometheus_client is here."""

    def collect(self) -> Iterable[Any]:
        """Return metric families."""


class CollectorRegistryProducer:
    """Tells the metrics of a registry of prometheus_client, so that code which uses it can stay as it is.

        Config(producers=[CollectorRegistryProducer()])

    `registry`: None is `prometheus_client.REGISTRY`; raises ImportError if prometheus_client is not installed, and
    ConfigurationError for what is no registry. Names are as in the registry, for counters without `_total`; units are UCUM's.

    Counters, gauges and histograms stay what they are, with `_created` as their start time, else the time when the producer was
    made. The extremes of a histogram are not known. A summary is a histogram without boundaries, which is its sum and count;
    quantiles, which only collectors of one's own have, are the gauge `<name>_quantile`. Everything else is gauges named as its
    samples are: info (`<name>_info`), state sets, gauge histograms, and what is of no known type. `target_info` is left out:
    what is said of the process is `Config.resource`.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        if registry is None:
            import prometheus_client  # who does not bridge it does not need it

            registry = prometheus_client.REGISTRY
        if not callable(getattr(registry, "collect", None)):
            raise ConfigurationError(
                f"registry must be a CollectorRegistry, or None for prometheus_client's own, not {registry!r}"
            )
        self._registry: Registry = registry
        self._since = _time()
        # The same series has the very same attributes each time: a renderer remembers labels by identity.
        self._known: dict[Attributes, Attributes] = {}
        self._complaints: set[str] = set()

    def produce(self) -> list[Metric]:
        """Return the metrics as they are now.

        A family that cannot be told is left out, and logged once. What a collector raises is raised, since
        prometheus_client's registry ends there.
        """
        conversion = _Conversion(self._since, self._known)
        metrics: list[Metric] = []
        for family in self._registry.collect():
            try:
                metrics += conversion.metrics(family)
            except Exception as error:
                self._complain(str(getattr(family, "name", type(family).__name__)), error)
        self._known = conversion.attributes
        return metrics

    def _complain(self, name: str, error: Exception) -> None:
        if name not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints.add(name)
            logger.warning("the family %r of the registry is left out: %r", name, error)


class _Conversion:
    """Makes metrics of families. `attributes`: those of the series that there were."""

    def __init__(self, since: float, known: Mapping[Attributes, Attributes]) -> None:
        self.attributes: dict[Attributes, Attributes] = {}
        self._since = since
        self._now = _time()
        self._known = known

    def metrics(self, family: Any) -> list[Metric]:
        """Return the metrics that a family is told as. Raises whatever there is to raise if it cannot be."""
        if family.type == "counter":
            return [_metric(family, family.name, "counter", self._points(family, ("_total", "")))]
        if (family.type, family.name) == ("info", "target"):
            return []
        if family.type not in ("histogram", "summary"):
            return self._gauges(family, family.samples)
        quantiles = [sample._replace(name=f"{family.name}_quantile") for sample in family.samples if sample.name == family.name]
        buckets = self._points(family, ("_bucket", "_sum", "_count"))
        return [_metric(family, family.name, "histogram", buckets), *self._gauges(family, quantiles)]

    def _gauges(self, family: Any, samples: Iterable[Any]) -> list[Metric]:
        points: dict[str, list[Point]] = {}
        for sample in samples:
            point = Point(self._attributes(sample.labels), _number(sample.value), self._since, self._time(sample.timestamp))
            points.setdefault(sample.name, []).append(point)
        return [_metric(family, name, "gauge", found) for name, found in points.items()]

    def _points(self, family: Any, suffixes: tuple[str, ...]) -> list[Point]:
        """Return the points of the series that samples with `suffixes` after the family's name make up."""
        series: dict[Attributes, _Series] = {}
        for sample in family.samples:
            suffix = sample.name.removeprefix(family.name)
            if suffix == "" and "" not in suffixes:
                continue  # a quantile
            if suffix != "_created" and suffix not in suffixes:
                raise ValueError(f"a {family.type} with a sample {sample.name!r}")
            labels = sample.labels
            bound = math.inf
            if suffix == "_bucket":
                bound = float(labels["le"])
                labels = {key: value for key, value in labels.items() if key != "le"}
            attributes = self._attributes(labels)
            found = series.get(attributes)
            if found is None:
                found = series[attributes] = _Series(self._since, self._now)
            found.take(suffix, bound, sample, self._time(sample.timestamp))
            if sample.exemplar:
                found.exemplars.append(self._exemplar(sample.exemplar))
        return [one.point(attributes, family.type) for attributes, one in series.items() if not one.is_empty]

    def _attributes(self, labels: Mapping[str, Any]) -> Attributes:
        made = tuple(sorted([(str(key), str(value)) for key, value in labels.items()]))
        known = self._known.get(made) or self.attributes.get(made, made)
        self.attributes[known] = known
        return known

    def _exemplar(self, exemplar: Any) -> Exemplar:
        labels = dict(exemplar.labels)
        trace_id, span_id = _id(labels, "trace_id", 32), _id(labels, "span_id", 16)
        attributes = tuple(sorted([(str(key), str(value)) for key, value in labels.items()]))
        return Exemplar(_number(exemplar.value), self._time(exemplar.timestamp), attributes, trace_id, span_id)

    def _time(self, timestamp: Any) -> float:
        return self._now if timestamp is None else float(timestamp)


class _Series:
    """A counter, a histogram or a summary, from its samples. `buckets`: the count of values by the bound they are at most."""

    def __init__(self, start: float, time: float) -> None:
        self.start = start
        self.time = time
        self.total: float | None = None
        self.sum = math.nan
        self.buckets: dict[float, float] = {}
        self.exemplars: list[Exemplar] = []

    @property
    def is_empty(self) -> bool:
        """Whether it was created, and nothing else was told of it."""
        return self.total is None and not self.buckets and self.sum != self.sum

    def take(self, suffix: str, bound: float, sample: Any, time: float) -> None:
        """Take in a sample; `bound` is that of a bucket."""
        value = _number(sample.value)
        if suffix == "_created":
            self.start = float(value)
            return
        self.time = time
        if suffix == "_bucket":
            self.buckets[bound] = value
        elif suffix == "_sum":
            self.sum = value
        else:
            self.total = value

    def point(self, attributes: Attributes, type: str) -> Point:
        """Return the series as it is told."""
        value = self.total if type == "counter" else self._distribution()
        assert value is not None  # else it were empty
        return Point(attributes, value, self.start, self.time, tuple(self.exemplars))

    def _distribution(self) -> ExplicitBuckets:
        if math.inf not in self.buckets:
            if self.total is None:
                raise ValueError("no count")
            self.buckets[math.inf] = self.total
        bounds = sorted(self.buckets)
        up_to = [0, *[_whole(self.buckets[bound]) for bound in bounds]]
        counts = tuple([count - before for before, count in pairwise(up_to)])
        if min(counts) < 0:
            raise ValueError("the counts of buckets fall")
        return ExplicitBuckets(up_to[-1], self.sum, None, None, tuple(bounds[:-1]), counts)


def _metric(family: Any, name: str, kind: str, points: list[Point]) -> Metric:
    boundaries = next((point.value.boundaries for point in points if isinstance(point.value, ExplicitBuckets)), None)
    return Metric(name, kind, unit_of(family.unit), family.documentation, boundaries, tuple(points))


def _number(value: Any) -> float:
    return value if type(value) is int or type(value) is float else float(value)


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(f"{value!r} values")
    return int(value)


def _id(labels: dict[str, Any], name: str, digits: int) -> int:
    """Take an id of a trace or span out of `labels` and return it; 0 if there is none, or only something else of that name."""
    text = labels.get(name, "")
    if len(text) != digits or not _HEXADECIMAL.issuperset(text):
        return 0
    del labels[name]
    return int(text, 16)
