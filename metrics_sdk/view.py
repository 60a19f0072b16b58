"""Views: which streams an instrument feeds, and how they aggregate. OpenTelemetry's metrics SDK specification, "View"."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, Protocol

from metrics_sdk.core import kinds
from metrics_sdk.core.kinds import Kind
from metrics_sdk.core.stream import Stream
from metrics_sdk.core.table import Description
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.names import is_name

#: The boundaries of an explicit histogram that has no others, from the specification's "Explicit Bucket Histogram Aggregation".
DEFAULT_BOUNDARIES = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)

AggregationKind = Literal["sum", "last_value", "explicit", "exponential", "drop"]


class Aggregation:
    """How values are aggregated: "sum", "last_value", an "explicit" or "exponential" histogram, or not at all ("drop").

    `boundaries`: ascending upper bounds of an explicit histogram; None: those that the instrument advises, else the
    specification's. `max_buckets`: per sign of an exponential one. `extremes`: whether a histogram tells min and max.
    """

    def __init__(
        self,
        kind: AggregationKind,
        *,
        boundaries: Sequence[float] | None = None,
        max_buckets: int = 160,
        extremes: bool = True,
    ) -> None:
        if kind not in ("sum", "last_value", "explicit", "exponential", "drop"):
            raise ConfigurationError(
                f'an aggregation is "sum", "last_value", "explicit", "exponential" or "drop", not {kind!r}'
            )
        if boundaries is not None and kind != "explicit":
            raise ConfigurationError(f"only an explicit histogram has boundaries, a {kind} has none")
        self.kind = kind
        self.boundaries = None if boundaries is None else checked_boundaries(boundaries)
        if isinstance(max_buckets, bool) or not isinstance(max_buckets, int) or max_buckets < 2:
            raise ConfigurationError(f"Aggregation.max_buckets must be a whole number of at least 2, not {max_buckets!r}")
        self.max_buckets = max_buckets
        self.extremes = extremes

    def __repr__(self) -> str:
        return f"Aggregation({self.kind!r})"


def checked_boundaries(boundaries: Sequence[float]) -> tuple[float, ...]:
    """Return boundaries as they are used. Raises ConfigurationError unless they are finite and strictly ascending."""
    try:
        made = tuple([float(bound) for bound in boundaries])
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"boundaries must be numbers, not {repr(boundaries)[:80]}") from error
    if not all(map(math.isfinite, made)) or any(a >= b for a, b in itertools.pairwise(made)):
        raise ConfigurationError(f"boundaries must be finite and strictly ascending, not {repr(boundaries)[:80]}")
    return made


def suits(aggregation: Aggregation, kind: Kind) -> bool:
    """Tell whether an aggregation makes sense for a kind of instrument: a histogram of observed totals does not."""
    return not (kind.observable and aggregation.kind in ("explicit", "exponential"))


class View:
    """Selects instruments, and says what becomes of them. A stream for each view that matches; the default without one.

    Criteria, of which all that are given must hold: `instrument_name` (`*` and `?` stand for any text and any character, case
    does not matter), `instrument_kind` (such as "counter" or "observable_gauge"), `instrument_unit`, `meter_name`,
    `meter_version`, `meter_schema_url`.
    The stream: `name` and `description` in the place of the instrument's; `attribute_keys`, those that count, or
    `excluded_attribute_keys`, those that do not; `aggregation`; `cardinality_limit`, how many attribute sets have
    a series of their own.
    Raises ConfigurationError where it selects nothing, and where one name is given to several instruments.
    """

    def __init__(
        self,
        instrument_name: str | None = None,
        *,
        instrument_kind: str | None = None,
        instrument_unit: str | None = None,
        meter_name: str | None = None,
        meter_version: str | None = None,
        meter_schema_url: str | None = None,
        name: str | None = None,
        description: str | None = None,
        attribute_keys: Collection[str] | None = None,
        excluded_attribute_keys: Collection[str] = (),
        aggregation: Aggregation | None = None,
        cardinality_limit: int | None = None,
    ) -> None:
        criteria = (instrument_name, instrument_kind, instrument_unit, meter_name, meter_version, meter_schema_url)
        if all([one is None for one in criteria]):
            raise ConfigurationError('a View needs a criterion: View("*") selects every instrument')
        for text in (*criteria, name, description):
            if text is not None and not isinstance(text, str):
                raise ConfigurationError(f"a View selects by texts, and gives texts as name and description, not {text!r}")
        if instrument_kind is not None and instrument_kind not in kinds.BY_NAME:
            raise ConfigurationError(f"View.instrument_kind must be one of {', '.join(kinds.BY_NAME)}, not {instrument_kind!r}")
        if name is not None and not is_name(name):
            raise ConfigurationError(f"View.name must be a name as instruments have it, not {name!r}")
        if name is not None and (instrument_name is None or "*" in instrument_name or "?" in instrument_name):
            raise ConfigurationError(f"a View that names a stream ({name!r}) must select one instrument by its name")
        for what, keys in (("attribute_keys", attribute_keys), ("excluded_attribute_keys", excluded_attribute_keys)):
            listed = keys is None or (isinstance(keys, Collection) and not isinstance(keys, str))
            if not listed or not all([isinstance(key, str) for key in keys or ()]):
                raise ConfigurationError(f"View.{what} must be keys of attributes, such as {{'route'}}, not {keys!r}")
        if aggregation is not None and not isinstance(aggregation, Aggregation):
            raise ConfigurationError(
                f'View.aggregation must be an Aggregation, such as Aggregation("sum"), not {aggregation!r}'
            )
        limit: object = cardinality_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ConfigurationError(f"View.cardinality_limit must be a whole number of at least 1, not {limit!r}")
        self.instrument_name = None if instrument_name is None else instrument_name.lower()
        self.instrument_kind = instrument_kind
        self.instrument_unit = instrument_unit
        self.meter_name = meter_name
        self.meter_version = meter_version
        self.meter_schema_url = meter_schema_url
        self.name = name
        self.description = description
        self.attribute_keys = None if attribute_keys is None else frozenset(attribute_keys)
        self.excluded_attribute_keys = frozenset(excluded_attribute_keys)
        self.aggregation = aggregation
        self.cardinality_limit = cardinality_limit

    def __repr__(self) -> str:
        given = {key: value for key, value in vars(self).items() if value is not None and value != frozenset()}
        return f"View({', '.join([f'{key}={value!r}' for key, value in given.items()])})"

    def matches(self, described: Description) -> bool:
        """Tell whether it selects this instrument."""
        from fnmatch import fnmatchcase  # 3 ms, and not before there are views

        meter: Any = described.meter
        return (
            (self.instrument_name is None or fnmatchcase(described.name.lower(), _literal(self.instrument_name)))
            and self.instrument_kind in (None, described.kind.name)
            and (self.instrument_unit is None or fnmatchcase(described.unit, _literal(self.instrument_unit)))
            and self.meter_name in (None, getattr(meter, "name", None))
            and self.meter_version in (None, getattr(meter, "version", None))
            and self.meter_schema_url in (None, getattr(meter, "schema_url", None))
        )

    def suits(self, kind: Kind) -> bool:
        """Tell whether its aggregation makes sense for a kind of instrument."""
        return self.aggregation is None or suits(self.aggregation, kind)


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")  # which `fnmatch` gives a meaning, and the specification does not


_DEFAULT_VIEW = View("*")


class Wishes(Protocol):
    """What a reader prefers. A view's word counts more."""

    def aggregation(self, kind: str) -> Aggregation | None:
        """Return the aggregation for instruments of a kind, None for the default."""

    def cardinality_limit(self, kind: str) -> int | None:
        """Return the limit of attribute sets for instruments of a kind, None for the default."""


class Defaults(Protocol):
    """What applies where neither a view nor a reader says anything; a Config is this."""

    views: Sequence[View]
    histogram_aggregation: Literal["exponential", "explicit"] | None
    max_buckets: int
    max_series_per_instrument: int


def streams_of(described: Description, defaults: Defaults, wishes: Wishes | None) -> list[Stream]:
    """Return the streams that an instrument feeds, for a reader with these wishes; none if it is dropped."""
    matching = [view for view in defaults.views if view.matches(described)] if defaults.views else []
    suited = [view for view in matching if view.suits(described.kind)]
    made = [_stream(view, described, defaults, wishes) for view in suited or [_DEFAULT_VIEW]]
    return [stream for stream in made if stream is not None]


def _stream(view: View, described: Description, defaults: Defaults, wishes: Wishes | None) -> Stream | None:
    kind = described.kind
    aggregation = view.aggregation or (None if wishes is None else wishes.aggregation(kind.name))
    if aggregation is not None and not suits(aggregation, kind):
        aggregation = None  # a reader's wish; views that do not suit are not here
    if aggregation is not None and aggregation.kind == "drop":
        return None
    limit = view.cardinality_limit or (None if wishes is None else wishes.cardinality_limit(kind.name))
    chosen, boundaries, max_buckets = kind.aggregation, described.boundaries, defaults.max_buckets
    if aggregation is not None:
        chosen, max_buckets = aggregation.kind, aggregation.max_buckets
        boundaries = described.boundaries if aggregation.boundaries is None else aggregation.boundaries
    elif chosen == "histogram":
        chosen = "explicit" if boundaries is not None else defaults.histogram_aggregation or "exponential"
    if chosen != "exponential":
        max_buckets = defaults.max_buckets  # of no meaning: so that streams that are alike are seen to be
    if chosen != "explicit":
        boundaries = None
    elif boundaries is None:
        boundaries = DEFAULT_BOUNDARIES
    return Stream(
        view.name or "",
        view.description or "",
        chosen,
        boundaries,
        max_buckets,
        view.attribute_keys,
        view.excluded_attribute_keys,
        limit or defaults.max_series_per_instrument,
        aggregation is None or aggregation.extremes,
    )
