"""The meter provider: OpenTelemetry's API on our engine, a drop-in for opentelemetry-sdk's."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.util.types import Attributes

from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.names import MAX_NAME_LENGTH, as_text
from metrics_sdk.snapshot import Meter as Scope
from metrics_sdk.view import Aggregation

from .call import Call
from .meter import Meter
from .resource import SDKResource, attributes_of
from .views import view_of

if TYPE_CHECKING:
    from .readers import ReaderAdapter

logger = logging.getLogger("metrics_sdk_opentelemetry")

_FILTERS = {
    "AlwaysOnExemplarFilter": "always_on",
    "AlwaysOffExemplarFilter": "always_off",
    "TraceBasedExemplarFilter": "trace_based",
}


class MeterProvider(metrics.MeterProvider):
    """Gives out meters whose instruments record with `sdk`, a `MetricsSDK` of its own: query and health are there too.

    The parameters are those of opentelemetry-sdk's. `metric_readers`: its readers, unmodified, which need opentelemetry-sdk;
    or none, where `config` has exporters of ours. `resource`: opentelemetry-sdk's, or a mapping; None is what the environment
    says. `exemplar_filter`: "trace_based", "always_on", "always_off" or opentelemetry-sdk's object for one of these; None is
    `OTEL_METRICS_EXEMPLAR_FILTER`, else "trace_based". `views`: opentelemetry-sdk's, or ours. `shutdown_on_exit`: whether
    `shutdown()` is called at the interpreter's exit.
    `config`: how our SDK works; what is given besides has the last word. `exponential_for_queries`: keep exponential
    histograms for queries where readers want explicit ones, so that percentiles have a bound on their error; it costs a second
    record for each value.
    Raises ConfigurationError for what cannot be. `OTEL_SDK_DISABLED=true` makes it give out meters that do nothing.
    """

    def __init__(
        self,
        metric_readers: Sequence[Any] = (),
        resource: Any = None,
        exemplar_filter: Any = None,
        shutdown_on_exit: bool = True,
        views: Sequence[Any] = (),
        *,
        config: Config | None = None,
        exponential_for_queries: bool = False,
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise ConfigurationError(f"config must be a metrics_sdk.Config, not {config!r}")
        readers = _readers(metric_readers)
        attributes = attributes_of(resource)
        given = {} if config is None else vars(config)
        if config is not None:
            attributes = {**config.resource, **attributes} if resource is not None else {**attributes, **config.resource}
        chosen: dict[str, Any] = {
            **given,
            "histogram_aggregation": given.get("histogram_aggregation") or "explicit",
            "resource": attributes,
            "views": (*given.get("views", ()), *[view_of(view) for view in views]),
            "exemplar_filter": _filter(exemplar_filter or given.get("exemplar_filter")),
        }
        self._disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        self.sdk = MetricsSDK(Config(**chosen), at_exit=self._at_exit)
        self._resource = SDKResource(resource, attributes)
        self._shutdown_on_exit = shutdown_on_exit
        self._lock: Any = threading.RLock()
        self._meters: dict[Scope, Meter] = {}
        self._readers: list[ReaderAdapter] = []
        self._shut_down = False
        for reader in readers:
            self._adopt(reader)
        streams = self.sdk.streams
        if exponential_for_queries:
            streams.add_reader(_ForQueries(), first=True)
        if len(streams.readers) > 1 and not self.sdk.config.exporters and not any([one.is_default for one in self._readers]):
            streams.remove_reader(None)
        if shutdown_on_exit:
            atexit.register(self._at_exit)
        _living.add(self)

    # ---- meters -------------------------------------------------------------------------------------------------

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Attributes = None
    ) -> metrics.Meter:
        """Return the meter of this scope, the same one for the same parameters. A name that is none is logged, and works."""
        if self._disabled:
            return metrics.NoOpMeter(as_text(name, MAX_NAME_LENGTH), version, schema_url)
        if self._shut_down:
            logger.warning("this meter provider is shut down: the meter %s does nothing", as_text(name, MAX_NAME_LENGTH))
            return metrics.NoOpMeter(as_text(name, MAX_NAME_LENGTH), version, schema_url)
        if not isinstance(name, str) or not name:
            logger.warning("a meter's name should say which library it is of, %r does not", name)
        scope = Scope.of(name, version, schema_url, attributes)
        made = self._meters.get(scope)
        if made is None:
            with self._lock:
                made = self._meters.setdefault(scope, Meter(self.sdk, scope))
        return made

    # ---- readers ------------------------------------------------------------------------------------------------

    def add_metric_reader(self, metric_reader: Any) -> None:
        """Let another reader collect.

        Of what there was before it is told the totals, where its streams were there already, and no deltas.
        """
        try:
            _readers([metric_reader])
        except ConfigurationError as error:
            logger.warning("%s", error)
            return
        with self._lock:  # `shutdown()` comes before or after it, and then reaches this reader
            if not self._shut_down:
                self._adopt(metric_reader)
                return
        logger.warning("this meter provider is shut down: %r is not added", metric_reader)

    def remove_metric_reader(self, metric_reader: Any) -> None:
        """Let a reader collect no more, and shut it down."""
        for adapter in self._readers:
            if adapter.reader is metric_reader:
                self._readers = [one for one in self._readers if one is not adapter]
                self._shut_down_readers([adapter], 30.0)
                adapter.detach()
                _adapted.discard(metric_reader)
                return
        logger.warning("%r is no reader of this meter provider", metric_reader)

    def _adopt(self, reader: Any) -> None:
        from .readers import ReaderAdapter  # needs opentelemetry-sdk, where the rest does not

        adapter = ReaderAdapter(reader, self.sdk, self._resource)
        _adapted.add(reader)
        self._readers = [*self._readers, adapter]
        adapter.attach(self)

    # ---- life cycle ---------------------------------------------------------------------------------------------

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and export everything; tell whether all readers and exporters did so within the time. Raises nothing."""
        seconds = 10.0 if timeout_millis is None else timeout_millis / 1000
        deadline = time.monotonic() + seconds
        for adapter in self._readers:
            if adapter.flushing is None or adapter.flushing.has_ended:  # else another one would hang as well
                adapter.flushing = Call(adapter.reader.force_flush, seconds, adapter.failed)
        done = all([adapter.flushing.ended_well(deadline) for adapter in self._readers if adapter.flushing is not None])
        return self.sdk.flush(max(0.0, deadline - time.monotonic())) and done

    def shutdown(self, timeout_millis: float = 30_000) -> bool:
        """Export a last time, and stop; tell whether that was done within the time. Raises nothing. A second call is logged."""
        with self._lock:
            again, self._shut_down = self._shut_down, True
        if again:
            logger.warning("shutdown can only be called once")
            return False
        seconds = 30.0 if timeout_millis is None else timeout_millis / 1000
        deadline = time.monotonic() + seconds
        # What there is is collected first: a reader asks the callbacks, which our SDK does not once it is shut down.
        done = self._shut_down_readers(self._readers, seconds)
        done = self.sdk.shutdown(max(0.1, deadline - time.monotonic())) and done
        for adapter in self._readers:
            _adapted.discard(adapter.reader)
        atexit.unregister(self._at_exit)
        return done

    def _at_exit(self) -> None:
        if self._shutdown_on_exit and not self._shut_down:
            self.shutdown(1000 * self.sdk.config.shutdown_timeout_seconds)

    def _shut_down_readers(self, adapters: Sequence[ReaderAdapter], seconds: float) -> bool:
        """Shut readers down, all at the same time; tell whether all returned within `seconds`, and did not fail."""
        calls = [Call(adapter.reader.shutdown, seconds, adapter.failed) for adapter in adapters]
        deadline = time.monotonic() + seconds
        return all([call.ended_well(deadline) for call in calls])

    def _forked(self) -> None:
        self._lock._at_fork_reinit()
        for meter in list(self._meters.values()):
            meter.forked()


class _ForQueries:
    """A reader that is none: what queries wish."""

    def aggregation(self, kind: str) -> Aggregation | None:
        """Return exponential for histograms."""
        return Aggregation("exponential", max_buckets=320) if kind == "histogram" else None

    def cardinality_limit(self, kind: str) -> int | None:
        """Return the default."""
        return None


def _readers(given: Any) -> list[Any]:
    """Return the readers. Raises ConfigurationError for what is none, and for one that has a meter provider already."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"metric_readers must be a list of readers, not {given!r}")
    readers = list(given)
    for reader in readers:
        if not callable(getattr(reader, "_set_collect_callback", None)):
            raise ConfigurationError(
                f"{reader!r} is no reader of opentelemetry-sdk: an exporter of it goes into a PeriodicExportingMetricReader, "
                "one of ours into Config(exporters=[…])"
            )
        if reader in _adapted or readers.count(reader) > 1:
            raise ConfigurationError(f"{reader!r} has a meter provider already")
    return readers


def _filter(given: Any) -> str:
    if given is None:
        given = os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").strip().lower() or "trace_based"
        if given not in _FILTERS.values():
            logger.warning("OTEL_METRICS_EXEMPLAR_FILTER=%r is ignored: it is none of %s", given, ", ".join(_FILTERS.values()))
            given = "trace_based"
    chosen = given if isinstance(given, str) else _FILTERS.get(type(given).__name__)
    if chosen not in _FILTERS.values():
        raise ConfigurationError(f"exemplar_filter must be one of {', '.join(_FILTERS.values())}, not {given!r}")
    return str(chosen)


_adapted: weakref.WeakSet[Any] = weakref.WeakSet()
_living: weakref.WeakSet[MeterProvider] = weakref.WeakSet()


def _forked() -> None:
    for provider in list(_living):
        provider._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
