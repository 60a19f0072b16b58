"""Meters: each a namespace of instruments. What a library gets wrong is logged; nothing here raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import CallbackT

from metrics_sdk.names import MAX_NAME_LENGTH, as_text, has_syntax
from metrics_sdk.registry import MAX_DESCRIPTION_LENGTH, Observable
from metrics_sdk.sdk import MetricsSDK
from metrics_sdk.snapshot import Meter as Scope
from metrics_sdk.view import checked_boundaries

from .instruments import (
    Counter,
    Gauge,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    Ours,
    UpDownCounter,
)

logger = logging.getLogger("metrics_sdk_opentelemetry")

T = TypeVar("T")

_LONGEST_UNIT = 255  # not a rule of the API: it bounds what is kept

#: Name in lower case, kind, unit, description: what makes two instruments of a meter the same one.
_Identity = tuple[str, str, str, str]


class Meter(metrics.Meter):
    """Makes the instruments of one instrumentation scope. The same one again, by whatever spelling, is the same object."""

    def __init__(self, sdk: MetricsSDK, scope: Scope) -> None:
        super().__init__(scope.name, scope.version, scope.schema_url)
        self._sdk = sdk
        self._scope = scope
        self._declaring: Any = threading.RLock()
        self._made: dict[_Identity, Any] = {}
        self._advised: dict[_Identity, tuple[float, ...] | None] = {}
        self._names: dict[str, _Identity] = {}
        self._warned: set[str] = set()

    def forked(self) -> None:
        """Begin anew in a forked child, where the lock may be held by a thread that is no more."""
        self._declaring._at_fork_reinit()

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        """Return a counter."""
        return self._instrument(Counter, "counter", name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> metrics.UpDownCounter:
        """Return an up-down counter."""
        return self._instrument(UpDownCounter, "up_down_counter", name, unit, description)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> metrics._Gauge:
        """Return a gauge."""
        return self._instrument(Gauge, "gauge", name, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        """Return a histogram. Boundaries that cannot be are logged, and as if they were not there."""
        boundaries = _boundaries(explicit_bucket_boundaries_advisory, name)
        return self._instrument(Histogram, "histogram", name, unit, description, boundaries)

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        """Return an observable counter. The same one again keeps the callbacks of both."""
        made = self._instrument(self._observed(ObservableCounter), "observable_counter", name, unit, description)
        made.add_callbacks(callbacks)
        return made

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        """Return an observable up-down counter. The same one again keeps the callbacks of both."""
        kind = "observable_up_down_counter"
        made = self._instrument(self._observed(ObservableUpDownCounter), kind, name, unit, description)
        made.add_callbacks(callbacks)
        return made

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        """Return an observable gauge. The same one again keeps the callbacks of both."""
        made = self._instrument(self._observed(ObservableGauge), "observable_gauge", name, unit, description)
        made.add_callbacks(callbacks)
        return made

    def _observed(self, wanted: Callable[[Ours, Callable[[Any], None]], T]) -> Callable[[Ours], T]:
        def made(ours: Ours) -> T:
            registry = self._sdk.registry

            def observe(ask: Any) -> None:
                registry.observables[Observable(registry, ours, ask, on_demand=True)] = None

            return wanted(ours, observe)

        return made

    def _instrument(
        self,
        wanted: Callable[[Ours], T],
        kind: str,
        name: Any,
        unit: Any,
        description: Any,
        boundaries: tuple[float, ...] | None = None,
    ) -> T:
        name, unit, description = self._checked(name, unit, description)
        identity = (name.lower(), kind, unit, description)
        known, advised = identity, boundaries
        with self._declaring:
            made: T | None = self._made.get(identity)
            if made is None:
                known = self._names.setdefault(identity[0], identity)
                ours = self._sdk.registry.declare_for(self._scope, kind, name, unit, description, boundaries)
                made = self._made[identity] = wanted(ours)
                self._advised[identity] = boundaries
            advised = self._advised[identity]
        # Logged without the lock: a handler may do anything.
        if known != identity:
            self._warn(
                f"conflict {identity[0]}",
                f"{name} was created before as {known[1]} with unit {known[2]!r} and description {known[3]!r}, now it is "
                f"{identity[1]} with unit {identity[2]!r} and description {identity[3]!r}: both are exported under one name",
            )
        if advised != boundaries:
            self._warn(f"advised {name}", f"{name} was created before, with other boundaries advised: {advised} are used")
        return made

    def _checked(self, name: Any, unit: Any, description: Any) -> tuple[str, str, str]:
        if not has_syntax(name):
            shown = as_text(name, MAX_NAME_LENGTH)
            self._warn(f"name {shown}", f"{shown!r} is no valid name of an instrument, it is used all the same")
            name = shown
        return name, as_text(unit, _LONGEST_UNIT), as_text(description, MAX_DESCRIPTION_LENGTH)

    def _warn(self, about: str, message: str) -> None:
        if about not in self._warned and len(self._warned) < 1000:
            self._warned.add(about)
            logger.warning("meter %s: %s", self._scope.name, message)


def _boundaries(advised: Any, name: object) -> tuple[float, ...] | None:
    try:
        return None if advised is None else checked_boundaries(advised)
    except Exception as error:  # of a sequence that is not one
        logger.warning("what is advised for %s is ignored: %s", as_text(name, MAX_NAME_LENGTH), error)
        return None
