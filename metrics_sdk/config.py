"""Configuration: one frozen object, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from metrics_sdk.checks import check_choice, check_seconds, check_whole, refuse, shown
from metrics_sdk.clock import Clock, SystemClock
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.export import Export, check_width
from metrics_sdk.resolutions import Resolution, checked
from metrics_sdk.snapshot import Exporter, Producer, WindowExporter
from metrics_sdk.tracing import ExemplarFilter
from metrics_sdk.view import View

#: The fields of a Config that `MetricsSDK.reconfigure` changes.
CHANGEABLE = frozenset(
    (
        "disabled",
        "exporters",
        "flush_interval_seconds",
        "health_report_interval_seconds",
        "resolutions",
        "without_windows",
    )
)


class Config:
    """How an SDK works. Every field has a default that suits a service.

    `exporters`: where the metrics go; an `Export`, or an exporter for one with defaults.
    `resource`: what is said of this process in everything that leaves it, such as `{"service.name": "shop"}`, over what is
    known anyway: the host, the process, the SDK, and a `service.instance.id` for each process.
    `flush_interval_seconds`: time between drains; shorter means fresher numbers without a query and more work.
    `resolutions`: (width, span) of time windows in seconds, aligned to the clock's epoch: windows of the first width are
    kept for the first span, then merged into windows of the second width, and so on. Each costs about 300 bytes for a busy
    histogram, 150 for another series, and nothing for one that was idle in it. `()` turns windows off.
    `without_windows`: patterns of the names of instruments that have totals only, such as `"cache.*"`: saves their windows.
    `disabled`: patterns of the names of instruments that are turned off; what they are given is counted as `disabled`.
    `denied_attributes`: patterns of attribute keys, such as `"*password*"`, that are left out wherever a value is recorded
    with them: they are in no series, exemplar or export. The values count, together with those without such attributes.
    `producers`: who has metrics of their own to tell, that leave with the SDK's: objects with a method `produce()`.
    `views`: which streams instruments feed, see `View`.
    `histogram_aggregation`: what histograms without boundaries of their own are, "exponential" (the default) or "explicit".
    `exemplar_filter`: which values become exemplars: "always_off" (the default), "trace_based" (those in a sampled span), or
    "always_on".
    `max_series_per_instrument`: attribute sets of one stream that get a series of their own; the rest shares one
    with the attribute `otel.metric.overflow=true`. Bounds the memory.
    `max_series`: the same for all streams together.
    `series_ttl_seconds`: a series that nothing was recorded into for this long is forgotten, up to a quarter later, and makes
    room for another one; None is never. What it amounted to stays in queries of all attributes, its windows until too old.
    `max_instruments`: different names; then a declaration raises, and `record()` counts drops as `instrument_limit`.
    `max_buckets`: buckets per sign of an exponential histogram; 320 give percentiles a relative error of at most 1.1 %
    over three decades. One in use takes 12 bytes; while a series is busy, it has an array of all at 8 bytes besides.
    `point_buffer_size`: values with a timestamp of their own that wait for a drain, for each shard; about 100 bytes each. With
    "drop_oldest" there may be 8,192 more, while a drain is at it.
    `point_overflow`: what gives way when that is full: "drop_newest", "drop_oldest", or "block": then whoever records waits for
    up to `point_block_seconds`, but in no signal handler, and the value is dropped after that. Counted as `buffer_full`.
    `allowed_lateness_seconds`: values with an older timestamp are dropped, as `late`.
    `shards`: cells per series. "auto" is 1 under the GIL, where a compiled record cannot contend, and twice the cores without.
    `map_locks`: locks of the aggregate map, a power of two.
    `background`: False starts no thread ever; `flush()` and queries then do all the work in the calling thread.
    `health_report_interval_seconds`: how often the accounting is logged at level INFO; None is never.
    `shutdown_timeout_seconds`: how long the shutdown at the interpreter's exit may take.
    `clock`: where time comes from.
    """

    exporters: Sequence[Export]
    resource: Mapping[str, Any]
    flush_interval_seconds: float
    resolutions: Sequence[Resolution]
    without_windows: Sequence[str]
    disabled: Sequence[str]
    denied_attributes: Sequence[str]
    producers: Sequence[Producer]
    views: Sequence[View]
    histogram_aggregation: Literal["exponential", "explicit"] | None
    exemplar_filter: ExemplarFilter | None
    max_series_per_instrument: int
    max_series: int
    series_ttl_seconds: float | None
    max_instruments: int
    max_buckets: int
    point_buffer_size: int
    point_overflow: Literal["drop_newest", "drop_oldest", "block"]
    point_block_seconds: float
    allowed_lateness_seconds: float
    shards: int | Literal["auto"]
    map_locks: int
    background: bool
    health_report_interval_seconds: float | None
    shutdown_timeout_seconds: float
    clock: Clock

    __setattr__ = __delattr__ = refuse
    __repr__ = shown

    def __init__(
        self,
        *,
        exporters: Sequence[Export | Exporter | WindowExporter] = (),
        resource: Mapping[str, Any] | None = None,
        flush_interval_seconds: float = 1.0,
        resolutions: Sequence[tuple[float, float]] = ((10, 600), (60, 7200)),
        without_windows: Sequence[str] = (),
        disabled: Sequence[str] = (),
        denied_attributes: Sequence[str] = (),
        producers: Sequence[Producer] = (),
        views: Sequence[View] = (),
        histogram_aggregation: Literal["exponential", "explicit"] | None = None,
        exemplar_filter: ExemplarFilter | None = None,
        max_series_per_instrument: int = 2000,
        max_series: int = 200_000,
        series_ttl_seconds: float | None = None,
        max_instruments: int = 1000,
        max_buckets: int = 320,
        point_buffer_size: int = 8192,
        point_overflow: Literal["drop_newest", "drop_oldest", "block"] = "drop_newest",
        point_block_seconds: float = 1.0,
        allowed_lateness_seconds: float = 600.0,
        shards: int | Literal["auto"] = "auto",
        map_locks: int = 4,
        background: bool = True,
        health_report_interval_seconds: float | None = None,
        shutdown_timeout_seconds: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(exporters, (str, Mapping)) or not isinstance(exporters, Sequence):
            raise ConfigurationError(f"Config.exporters must be a list of exporters, not {exporters!r}")
        resource = {} if resource is None else resource
        if not isinstance(resource, Mapping) or not all([isinstance(key, str) for key in resource]):
            raise ConfigurationError(f"Config.resource must be a mapping with string keys, not {resource!r}")
        check_seconds("Config.flush_interval_seconds", flush_interval_seconds)
        resolutions = checked("Config.resolutions", resolutions)
        _check_patterns("Config.without_windows", without_windows)
        _check_patterns("Config.disabled", disabled)
        _check_patterns("Config.denied_attributes", denied_attributes)
        check_whole("Config.max_series_per_instrument", max_series_per_instrument, 1)
        check_whole("Config.max_series", max_series, 1)
        if series_ttl_seconds is not None:
            check_seconds("Config.series_ttl_seconds", series_ttl_seconds)
        if not isinstance(producers, Sequence) or not all([callable(getattr(one, "produce", None)) for one in producers]):
            raise ConfigurationError(f"Config.producers must be a list of objects with a method produce(), not {producers!r}")
        if isinstance(views, str) or not isinstance(views, Sequence) or not all([isinstance(one, View) for one in views]):
            raise ConfigurationError(f"Config.views must be a list of View objects, not {views!r}")
        check_choice("Config.histogram_aggregation", histogram_aggregation, (None, "exponential", "explicit"))
        check_choice("Config.exemplar_filter", exemplar_filter, (None, "always_on", "always_off", "trace_based"))
        check_whole("Config.max_instruments", max_instruments, 1)
        check_whole("Config.max_buckets", max_buckets, 2)
        check_whole("Config.point_buffer_size", point_buffer_size, 1)
        check_choice("Config.point_overflow", point_overflow, ("drop_newest", "drop_oldest", "block"))
        check_seconds("Config.point_block_seconds", point_block_seconds)
        check_seconds("Config.allowed_lateness_seconds", allowed_lateness_seconds)
        if shards != "auto":
            check_whole("Config.shards", shards, 1)
        check_whole("Config.map_locks", map_locks, 1)
        if map_locks & (map_locks - 1):
            raise ConfigurationError(f"Config.map_locks must be a power of two, not {map_locks}")
        if health_report_interval_seconds is not None:
            check_seconds("Config.health_report_interval_seconds", health_report_interval_seconds)
        check_seconds("Config.shutdown_timeout_seconds", shutdown_timeout_seconds)
        carriers = [one.exporter if isinstance(one, Export) else one for one in exporters]
        for one in carriers:
            check_width(one, resolutions)
            if sum([other is one for other in carriers]) > 1:
                raise ConfigurationError(f"{one!r} is there twice: one exporter serves one worker of one SDK")
        vars(self).update(
            exporters=tuple([one if isinstance(one, Export) else Export(one) for one in exporters]),
            resource=MappingProxyType(dict(resource)),
            flush_interval_seconds=flush_interval_seconds,
            resolutions=resolutions,
            without_windows=tuple(without_windows),
            disabled=tuple(disabled),
            denied_attributes=tuple(denied_attributes),
            producers=tuple(producers),
            views=tuple(views),
            histogram_aggregation=histogram_aggregation,
            exemplar_filter=exemplar_filter,
            max_series_per_instrument=max_series_per_instrument,
            max_series=max_series,
            series_ttl_seconds=series_ttl_seconds,
            max_instruments=max_instruments,
            max_buckets=max_buckets,
            point_buffer_size=point_buffer_size,
            point_overflow=point_overflow,
            point_block_seconds=point_block_seconds,
            allowed_lateness_seconds=allowed_lateness_seconds,
            shards=shards,
            map_locks=map_locks,
            background=background,
            health_report_interval_seconds=health_report_interval_seconds,
            shutdown_timeout_seconds=shutdown_timeout_seconds,
            clock=SystemClock() if clock is None else clock,
        )

    @classmethod
    def from_env(cls, **given: Any) -> Config:
        """Return a configuration with what the environment says; arguments win over it.

        Read are `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` (`key=value,key=value`). Nothing else of this package
        reads the environment.
        """
        from urllib.parse import unquote  # 4 ms, and not before it is used

        resource: dict[str, Any] = {}
        for item in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
            key, equals, value = item.partition("=")
            if equals and key.strip():
                resource[unquote(key.strip())] = unquote(value.strip())  # as the specification has it
        name = os.environ.get("OTEL_SERVICE_NAME", "")
        if name:
            resource["service.name"] = name
        given["resource"] = {**resource, **given.get("resource", {})}
        return cls(**given)


def _check_patterns(name: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all([isinstance(one, str) for one in value]):
        raise ConfigurationError(f'{name} must be a list of patterns of names, such as ["http.*"], not {value!r}')
