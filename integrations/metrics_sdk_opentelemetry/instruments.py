"""The API's instruments. The verb of each is that of one of our own: a call of it costs nothing more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, CallbackT, Observation
from opentelemetry.util.types import Attributes

import metrics_sdk

#: One of our own instruments.
Ours = metrics_sdk.Counter | metrics_sdk.UpDownCounter | metrics_sdk.Gauge | metrics_sdk.Histogram


class _Recording:
    """An instrument that is recorded into. `verb` is the name of its method, which it takes from ours."""

    def __init__(self, ours: Ours, verb: str) -> None:
        self.name = ours.name
        self.unit = ours.unit
        self.description = ours.description
        # In the place of the method below, which is there for the API's signature: one call instead of two.
        vars(self)[verb] = getattr(ours, verb)


class Counter(_Recording, metrics.Counter):
    """Adds up what only grows."""

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours, "add")

    def add(self, amount: int | float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Add `amount`. Never raises; what is not accepted is counted as dropped, and logged."""


class UpDownCounter(_Recording, metrics.UpDownCounter):
    """Adds up what grows and shrinks."""

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours, "add")

    def add(self, amount: int | float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Add `amount`. Never raises; what is not accepted is counted as dropped, and logged."""


class Histogram(_Recording, metrics.Histogram):
    """Keeps the distribution of what is recorded."""

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours, "record")

    def record(self, amount: int | float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Record `amount`. Never raises; what is not accepted is counted as dropped, and logged."""


class Gauge(_Recording, metrics._Gauge):
    """Holds the value that was set last."""

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours, "set")

    def set(self, amount: int | float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Set the value. Never raises; what is not accepted is counted as dropped, and logged."""


class _Observing:
    """An instrument that is observed, by callbacks: `observe` is told of each."""

    def __init__(self, ours: Ours, observe: Callable[[Callable[[], Iterable[Any]]], object]) -> None:
        self.name = ours.name
        self.unit = ours.unit
        self.description = ours.description
        self._observe = observe
        self._callbacks: dict[int, tuple[object, object]] = {}  # by id; each is kept, so that no other has its id

    def add_callbacks(self, callbacks: Sequence[CallbackT] | None) -> None:
        """Observe by these callbacks as well; those that it has already, once. One that is none fails whenever it is asked."""
        for callback in callbacks or ():
            mine = (callback, object())
            if self._callbacks.setdefault(id(callback), mine) is not mine:  # one call: whoever comes second leaves it
                continue
            try:
                ask = _asking(callback)
            except Exception as error:  # it fails whenever it is asked, which is counted and logged
                ask = partial(_fail, repr(error))
            self._observe(partial(_observations, ask))


class ObservableCounter(_Observing, metrics.ObservableCounter):
    """Reads a total that only grows."""


class ObservableUpDownCounter(_Observing, metrics.ObservableUpDownCounter):
    """Reads a total that grows and shrinks."""


class ObservableGauge(_Observing, metrics.ObservableGauge):
    """Reads a value."""


def _asking(callback: Any) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return a function of the options. A generator has been started, and is sent the options each time."""
    if not isinstance(callback, Generator):
        if not callable(callback):
            raise TypeError(f"a callback is a function of the options, or a generator, not {callback!r}")
        if inspect.iscoroutinefunction(callback) or inspect.isasyncgenfunction(callback):
            raise TypeError(f"a callback cannot be a coroutine function: {callback!r}")
        return callback  # type: ignore[no-any-return]
    next(callback)

    def ask(options: CallbackOptions) -> Iterable[Observation]:
        try:
            found: Iterable[Observation] = callback.send(options)
        except StopIteration:
            return ()
        return found

    return ask


def _fail(why: str, options: CallbackOptions) -> Iterable[Observation]:
    raise TypeError(f"this callback cannot be used: {why}")


def _observations(ask: Callable[[CallbackOptions], Iterable[Observation]]) -> Iterator[tuple[Any, Any]]:
    found = ask(CallbackOptions())
    if inspect.iscoroutine(found):
        found.close()  # else Python complains that nobody awaited it
        raise TypeError("a callback cannot be a coroutine function")
    for one in found:
        yield one.value, one.attributes
