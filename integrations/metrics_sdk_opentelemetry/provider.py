"""The meter provider: OpenTelemetry's API on our engine, a drop-in for opentelemetry-sdk's."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.util.types import Attributes

from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.names import MAX_NAME_LENGTH, as_text
from metrics_sdk.snapshot import Meter as Scope
from metrics_sdk.view import Aggregation

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
        attributes = attributes_of(resource)
        given = {} if config is None else vars(config)
        if config is not None:
            attributes = {**config.resource, **attributes} if resource is not None else {**attributes, **config.resource}
        chosen: dict[str, Any] = {
            "histogram_aggregation": "explicit",
            **given,
            "resource": attributes,
            "views": (*given.get("views", ()), *[view_of(view) for view in views]),
            "exemplar_filter": _filter(exemplar_filter),
        }
        self._disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        self.sdk = MetricsSDK(Config(**chosen), at_exit=self._at_exit)
        self._resource = SDKResource(resource, attributes)
        self._shutdown_on_exit = shutdown_on_exit
        self._lock: Any = threading.RLock()
        self._meters: dict[Scope, Meter] = {}
        self._readers: list[ReaderAdapter] = []
        self._shut_down = False
        for reader in metric_readers:
            if reader in _adapted:
                raise ConfigurationError(f"{reader!r} has a meter provider already")
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
        """Let another reader collect; of what there was before, it is told the totals and no deltas."""
        if metric_reader in _adapted:
            logger.warning("%r has a meter provider already", metric_reader)
        elif self._shut_down:
            logger.warning("this meter provider is shut down: %r is not added", metric_reader)
        else:
            self._adopt(metric_reader)

    def remove_metric_reader(self, metric_reader: Any) -> None:
        """Let a reader collect no more, and shut it down."""
        for adapter in self._readers:
            if adapter.reader is metric_reader:
                self._readers = [one for one in self._readers if one is not adapter]
                self._of_readers("shutdown", [adapter], 30.0)
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
        deadline = time.monotonic() + timeout_millis / 1000
        done = self._of_readers("force_flush", self._readers, timeout_millis / 1000)
        return self.sdk.flush(max(0.0, deadline - time.monotonic())) and done

    def shutdown(self, timeout_millis: float = 30_000) -> bool:
        """Export a last time, and stop; tell whether that was done within the time. Raises nothing. A second call is logged."""
        with self._lock:
            again, self._shut_down = self._shut_down, True
        if again:
            logger.warning("shutdown can only be called once")
            return False
        deadline = time.monotonic() + timeout_millis / 1000
        # What there is is collected first: a reader asks the callbacks, which our SDK does not once it is shut down.
        done = self._of_readers("shutdown", self._readers, timeout_millis / 1000)
        done = self.sdk.shutdown(max(0.1, deadline - time.monotonic())) and done
        for adapter in self._readers:
            _adapted.discard(adapter.reader)
        atexit.unregister(self._at_exit)
        return done

    def _at_exit(self) -> None:
        if self._shutdown_on_exit and not self._shut_down:
            self.shutdown(1000 * self.sdk.config.shutdown_timeout_seconds)

    def _of_readers(self, method: str, adapters: Sequence[ReaderAdapter], seconds: float) -> bool:
        """Call a method of all readers at the same time; tell whether all returned within `seconds`, and did not fail."""
        calls = [_Call(getattr(adapter.reader, method), seconds) for adapter in adapters]
        deadline = time.monotonic() + seconds
        return all([call.ended_well(deadline) for call in calls])

    def _forked(self) -> None:
        self._lock._at_fork_reinit()
        for meter in list(self._meters.values()):
            meter.forked()


class _Call:
    """One call on a thread of its own, so that whoever hangs holds up nobody."""

    def __init__(self, method: Callable[..., Any], seconds: float) -> None:
        self._method = method
        self._seconds = seconds
        self._done = threading.Event()
        self._failed = False
        try:
            threading.Thread(target=self._run, name="metrics-sdk-reader", daemon=True).start()
        except RuntimeError:  # no thread is to be had, as on the interpreter's way out
            self._run()

    def _run(self) -> None:
        try:
            if self._method(timeout_millis=1000 * self._seconds) is False:
                self._failed = True
        except BaseException:
            self._failed = True
            logger.exception("%r failed", self._method)
        finally:
            self._done.set()

    def ended_well(self, deadline: float) -> bool:
        """Tell whether it has returned before `deadline`, and well."""
        return self._done.wait(max(0.0, deadline - time.monotonic())) and not self._failed


class _ForQueries:
    """A reader that is none: what queries wish."""

    def aggregation(self, kind: str) -> Aggregation | None:
        """Return exponential for histograms."""
        return Aggregation("exponential", max_buckets=320) if kind == "histogram" else None

    def cardinality_limit(self, kind: str) -> int | None:
        """Return the default."""
        return None


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
