"""Export: an exporter and how it is driven, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from metrics_sdk.checks import check_choice, check_seconds, check_whole, refuse, shown
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.resolutions import divides
from metrics_sdk.snapshot import Exporter, WindowExporter
from metrics_sdk.temporality import Preference, by_kind

_COROUTINE = 0x80 | 0x200  # flags of the code of coroutines and asynchronous generators; `inspect` takes 10 ms to import


class Export:
    """An exporter and how it is driven: what is not said here is as the exporter wants it, else as it stands below.

    `interval_seconds`: time between exports, 60; each costs a snapshot of all series. An exporter that takes windows gets each
    as soon as it has closed instead.
    `timeout_seconds`: what one export may take, 30; it is then counted as failed, and none begins until it has returned.
    `queue_size`: snapshots that may wait while one is being exported; when it is full the oldest is let go and counted
    (snapshots are cumulative: the next one makes up for it).
    `name`: how `health()` calls it; the class's name by default.
    `temporality`: "cumulative" totals, "delta" for what has come since the last export that succeeded, "lowmemory" for deltas
    of counters and histograms alone, or a mapping from kinds of instrument to "cumulative" and "delta".
    `histogram_aggregation`: what histograms without boundaries of their own are to this exporter, "exponential" or "explicit";
    None is `Config.histogram_aggregation`. Another one than that costs a second record for each value.
    """

    exporter: Exporter | WindowExporter
    interval_seconds: float
    timeout_seconds: float
    queue_size: int
    name: str
    temporality: Preference
    histogram_aggregation: Literal["exponential", "explicit"] | None

    __setattr__ = __delattr__ = refuse
    __repr__ = shown

    def __init__(
        self,
        exporter: Exporter | WindowExporter,
        *,
        interval_seconds: float | None = None,
        timeout_seconds: float | None = None,
        queue_size: int = 2,
        name: str = "",
        temporality: Preference | None = None,
        histogram_aggregation: Literal["exponential", "explicit"] | None = None,
    ) -> None:
        if isinstance(exporter, type):
            raise ConfigurationError(f"an exporter is an object, not a class: write {exporter.__name__}(…)")
        if not any([callable(getattr(exporter, method, None)) for method in ("export", "export_windows")]):
            raise ConfigurationError(
                f"an exporter needs the method export(snapshot, timeout) or export_windows(windows, timeout), "
                f"{exporter!r} has neither"
            )
        for method in ("export", "export_windows", "shutdown"):
            code = getattr(getattr(exporter, method, None), "__code__", None)
            if code is not None and code.co_flags & _COROUTINE:
                raise ConfigurationError(f"{method} of {exporter!r} must not be a coroutine: nobody would await it")
        if not callable(getattr(exporter, "shutdown", None)):
            raise ConfigurationError(f"an exporter needs the method shutdown(), {exporter!r} has none")
        interval_seconds = _wanted(interval_seconds, exporter, "interval_seconds", 60.0)
        timeout_seconds = _wanted(timeout_seconds, exporter, "timeout_seconds", 30.0)
        temporality = _wanted(temporality, exporter, "temporality", "cumulative")
        histogram_aggregation = _wanted(histogram_aggregation, exporter, "histogram_aggregation", None)
        check_seconds("Export.interval_seconds", interval_seconds)
        check_seconds("Export.timeout_seconds", timeout_seconds)
        check_whole("Export.queue_size", queue_size, 1)
        check_temporality(temporality, exporter)
        check_choice("Export.histogram_aggregation", histogram_aggregation, (None, "exponential", "explicit"))
        vars(self).update(
            exporter=exporter,
            interval_seconds=float(interval_seconds),
            timeout_seconds=float(timeout_seconds),
            queue_size=queue_size,
            name=name or type(exporter).__name__,
            temporality=temporality,
            histogram_aggregation=histogram_aggregation,
        )

    def named(self, name: str) -> Export:
        """Return the same under another name."""
        return Export(self.exporter, **{**{key: value for key, value in vars(self).items() if key != "exporter"}, "name": name})


def _wanted(given: Any, exporter: object, name: str, otherwise: Any) -> Any:
    if given is not None:
        return given
    own = getattr(exporter, name, None)
    return otherwise if own is None else own


def check_temporality(temporality: Preference, exporter: object) -> None:
    """Raise ConfigurationError for a temporality that is none, or that the exporter cannot carry.

    One that carries one temporality alone has no way to tell which it is: an up-down counter is a total to it, as gauges are.
    """
    chosen = by_kind(temporality)
    carried = getattr(exporter, "temporalities", ("cumulative", "delta"))
    if len(carried) != 1:
        return
    only = carried[0]
    for kind, one in chosen.items():
        fits = "cumulative" if "up_down" in kind else one if "gauge" in kind and only == "delta" else only
        if one != fits:
            raise ConfigurationError(
                f"{type(exporter).__name__} cannot carry {kind}s as {one}, only as {fits}: "
                f"temporality={temporality!r} does not fit"
            )


def takes_windows(exporter: object) -> bool:
    """Tell whether an exporter takes closed windows, not snapshots."""
    return callable(getattr(exporter, "export_windows", None))


def check_width(exporter: object, resolutions: Sequence[tuple[float, float]]) -> None:
    """Raise ConfigurationError if the windows that an exporter takes cannot be had."""
    if takes_windows(exporter):
        if not resolutions:
            raise ConfigurationError(f"{exporter!r} takes windows, which Config(resolutions=()) turns off")
        width = getattr(exporter, "window_seconds", 0.0)
        if width and not divides(resolutions[0][0], width):
            raise ConfigurationError(
                f"windows of {width!r} seconds cannot be made of windows of {resolutions[0][0]!r} seconds, for {exporter!r}"
            )
