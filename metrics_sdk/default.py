"""The one process-wide SDK behind `metrics_sdk.record()`, `metrics_sdk.counter()` and the rest.

It is made at the first use, with a default `Config`; `configure()` puts another in its place, and every instrument declared
before, bound ones and decorated functions included, goes on under the new one.
"""

from __future__ import annotations

import copyreg
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, SupportsFloat

from metrics_sdk.config import Config
from metrics_sdk.core import kinds
from metrics_sdk.core.attributes import Pairs
from metrics_sdk.core.instruments import Attributes, Counter, Directory, Gauge, Histogram, Instrument, UpDownCounter
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.feeds import Window
from metrics_sdk.health import Health
from metrics_sdk.interval import Seconds, Time
from metrics_sdk.parallelism import Concurrency
from metrics_sdk.query import Aggregate, Grouped
from metrics_sdk.registry import CLASSES, Observable, Observations
from metrics_sdk.sdk import MetricsSDK, handle_sigterm
from metrics_sdk.snapshot import Snapshot
from metrics_sdk.subscriptions import Subscription
from metrics_sdk.timing import Instrumented, Timed


class Record(Protocol):
    """The signature of `record`."""

    def __call__(
        self,
        name: str,
        value: SupportsFloat,
        attributes: Attributes | None = None,
        timestamp: Time | None = None,
    ) -> None:
        """Record `value` under `name`: with the instrument of that name, else a provisional histogram.

        `timestamp`: the time that the value belongs to, if that is not now.
        """


def _first_use(name: object) -> Instrument:
    return current().registry.provisional(name)


_directory: Directory = globals().get("_directory") or Directory(_first_use)
# Of this module, loaded anew, what was there before is kept: instruments that were handed out record there.
_current: MetricsSDK | None = globals().get("_current")
# Reentrant: a finaliser may record for the first time while its own thread is making the SDK.
_making: Any = threading.RLock()

record: Record = _directory.record


def _tell_of_another() -> None:
    """Tell when the package was imported a second time, under another name or after it was taken out of `sys.modules`."""
    others = vars(sys).setdefault("_metrics_sdk_imports", [])  # outlives the modules
    if any([other != id(_directory) for other in others]):
        import logging

        logging.getLogger("metrics_sdk").warning(
            "metrics_sdk is imported a second time in this process, here as %s: what was declared with the first one goes on "
            "under a configuration of its own, and each of the two delivers its own values",
            __name__.partition(".")[0],
        )
    others.append(id(_directory))


_tell_of_another()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _making._at_fork_reinit())


def current() -> MetricsSDK:
    """Return the process-wide SDK."""
    if _current is not None:
        return _current
    with _making:
        return _put(Config()) if _current is None else _current


def configure(config: Config) -> MetricsSDK:
    """Make the process-wide SDK work as `config` says, and return it.

    Instruments that were declared before go on under it, with counts that begin anew; what was recorded until now is
    delivered by the exporters that were configured until now, within `shutdown_timeout_seconds`.
    """
    if not isinstance(config, Config):
        raise ConfigurationError(f"configure() takes a Config, such as Config(exporters=[…]), not {config!r}")
    with _making:
        before = _current
        made = _put(config)
    if before is not None:
        if not before.config.exporters and before.health().received:
            before.faults.report("configure", "configure() begins anew: what was recorded before had no exporter to go to")
        before.shutdown(before.config.shutdown_timeout_seconds)
    return made


def reconfigure(**changes: Any) -> Config:
    """Change how the process-wide SDK works while it is running; see `MetricsSDK.reconfigure`."""
    return current().reconfigure(**changes)


def _pickled(instrument: Instrument) -> tuple[Any, ...]:
    """Return how an instrument is pickled: as what it was declared as, so that it is the same-named one elsewhere.

    Raises TypeError for one of another SDK: elsewhere there is no such SDK.
    """
    description = instrument.route.table.own().description
    known = None if _current is None else _current.registry.declared.get(description.name.lower())
    if known is None or instrument.bound is not known.bound:
        raise TypeError(f"cannot pickle {instrument!r}: only instruments of the process-wide SDK can be found again elsewhere")
    declared = (description.kind.name, description.name, description.unit, description.description, description.boundaries)
    return _unpickled, (*declared, description.provisional, instrument.route.base)


def _unpickled(
    kind: str, name: str, unit: str, text: str, boundaries: tuple[float, ...] | None, provisional: str, base: Pairs
) -> Instrument:
    registry = current().registry
    made: Instrument
    if provisional == "record":
        made = registry.provisional(name)
    else:
        made = registry.declare(kinds.BY_NAME[kind], name, unit, text, boundaries, provisional)
    return made.bind(dict(base)) if base else made


for _class in set(CLASSES.values()):
    copyreg.pickle(_class, _pickled)


def _put(config: Config) -> MetricsSDK:
    global _current
    if _current is None:
        made = MetricsSDK(config, directory=_directory)
        if _current is not None:  # a handler that recorded while this one was being made has put its own there
            made = MetricsSDK(config, registry=_current.registry)
    else:
        made = MetricsSDK(config, registry=_current.registry)
    _current = made
    return made


def replace_current(config: Config) -> MetricsSDK:
    """Put another SDK in the place of the process-wide one, which is neither shut down nor forgotten; see `restore`."""
    with _making:
        return _put(config)


def restore(sdk: MetricsSDK) -> None:
    """Put `sdk` back as the process-wide one: the instruments record there again."""
    global _current
    with _making:
        _current = sdk
        sdk.registry.redirect(sdk)


def counter(name: str, *, unit: str = "", description: str = "") -> Counter:
    """Return the counter of that name: it adds up what only grows."""
    return current().counter(name, unit=unit, description=description)


def up_down_counter(name: str, *, unit: str = "", description: str = "") -> UpDownCounter:
    """Return the up-down counter of that name: it adds up what grows and shrinks by amounts."""
    return current().up_down_counter(name, unit=unit, description=description)


def gauge(name: str, *, unit: str = "", description: str = "") -> Gauge:
    """Return the gauge of that name: it holds the value that was set last."""
    return current().gauge(name, unit=unit, description=description)


def histogram(name: str, *, unit: str = "", description: str = "", boundaries: Sequence[float] | None = None) -> Histogram:
    """Return the histogram of that name: base-2 exponential, or explicit with ascending upper `boundaries`."""
    return current().histogram(name, unit=unit, description=description, boundaries=boundaries)


def observable_counter(name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = "") -> Observable:
    """Read a total that only grows by calling back at every flush; returns a handle with `close()`."""
    return current().observable_counter(name, callback, unit=unit, description=description)


def observable_up_down_counter(
    name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = ""
) -> Observable:
    """Read a total that grows and shrinks by calling back at every flush; returns a handle with `close()`."""
    return current().observable_up_down_counter(name, callback, unit=unit, description=description)


def observable_gauge(name: str, callback: Callable[[], Observations], *, unit: str = "", description: str = "") -> Observable:
    """Read a value by calling back at every flush; returns a handle with `close()`."""
    return current().observable_gauge(name, callback, unit=unit, description=description)


def timed(name: str, attributes: Attributes | None = None) -> Timed:
    """Measure durations into the histogram `name`: a decorator for any kind of function, and a context manager."""
    return current().timed(name, attributes)


def concurrency(name: str) -> Concurrency:
    """Return the section `name`, which tells how parallel it really runs: a context manager, and a decorator."""
    return current().concurrency(name)


def instrument(target: str, name: str, attributes: Attributes | None = None) -> Instrumented:
    """Time a callable that is not yours, named "module:Class.method", now or when its module is first imported."""
    return current().instrument(target, name, attributes)


def query(
    name: str,
    attributes: Attributes | None = None,
    *,
    last: Seconds | None = None,
    since: Time | None = None,
    until: Time | None = None,
) -> Aggregate:
    """Return what was recorded under `name`, up to this moment; see `MetricsSDK.query`."""
    return current().query(name, attributes, last=last, since=since, until=until)


def query_by(
    name: str,
    *keys: str,
    attributes: Attributes | None = None,
    last: Seconds | None = None,
    since: Time | None = None,
    until: Time | None = None,
) -> Grouped:
    """Return the same apart for each value of the attribute that `keys` names; see `MetricsSDK.query_by`."""
    return current().query_by(name, *keys, attributes=attributes, last=last, since=since, until=until)


def query_all(
    *, last: Seconds | None = None, since: Time | None = None, until: Time | None = None
) -> Mapping[str, Mapping[Pairs, Aggregate]]:
    """Return the aggregate of every series: by name, then by its attributes as a sorted tuple of pairs."""
    return current().query_all(last=last, since=since, until=until)


def subscribe(callback: Callable[[Window], object], *, every: float | None = None) -> Subscription:
    """Call `callback(window)` with each window that has closed; see `MetricsSDK.subscribe`. Call it after `configure()`."""
    return current().subscribe(callback, every=every)


def snapshot() -> Snapshot:
    """Return everything there is, frozen: what exporters get."""
    return current().snapshot()


def health() -> Health:
    """Return the accounting, and how the parts are doing."""
    return current().health()


def flush(timeout: float = 5.0) -> bool:
    """Merge everything that was recorded before the call, and export it; see `MetricsSDK.flush`."""
    return current().flush(timeout)


async def aflush(timeout: float = 5.0) -> bool:
    """Flush as `flush()` does, while the event loop goes on."""
    return await current().aflush(timeout)


async def ashutdown(timeout: float = 5.0) -> bool:
    """Shut down as `shutdown()` does, while the event loop goes on."""
    return await current().ashutdown(timeout)


def deliver_on_sigterm(timeout: float | None = None) -> None:
    """Have everything delivered when SIGTERM ends the process, within `timeout` seconds; see `MetricsSDK.deliver_on_sigterm`.

    Whichever SDK is the process-wide one by then.
    """
    seconds = current().config.shutdown_timeout_seconds if timeout is None else timeout
    handle_sigterm(0, lambda: _current, seconds)


def shutdown(timeout: float = 5.0) -> bool:
    """Stop: refuse later values, drain, merge, export a last time, end the threads; see `MetricsSDK.shutdown`."""
    return current().shutdown(timeout)
