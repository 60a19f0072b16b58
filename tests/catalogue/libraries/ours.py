"""metrics_sdk: the process-wide API, with an exporter that writes into the book."""

from __future__ import annotations

import os
import time
from pathlib import Path

from catalogue.libraries.book import Series, Wire
from catalogue.libraries.library import Counter, Settings

import metrics_sdk as metrics
from metrics_sdk import Config, Export, MetricsSDK, Snapshot

CAN = frozenset({"delivers", "exporter", "attributes", "keys", "reliable"})


class Told:
    """An exporter that writes the counters into the book, and is the ledger of the standard check."""

    def __init__(self, wire: Wire, encoded: bool) -> None:
        self._wire = wire
        self._totals: dict[str, float] = {}
        self._encoded = encoded

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Write it."""
        series = [one for one in (encoded(snapshot) if self._encoded else counters(snapshot)) if "metrics_sdk." not in one[0]]
        self._wire.send(series, totals_of=str(os.getpid()))
        totals: dict[str, float] = {}
        for name, _, value in series:
            totals[name] = totals.get(name, 0) + value
        self._totals = totals

    def shutdown(self) -> None:
        """Nothing is held."""

    def wait_for(self, name: str, total: float, seconds: float) -> bool:
        """Wait until that much was told."""
        deadline = time.monotonic() + seconds
        while self._totals.get(name) != total and time.monotonic() < deadline:
            time.sleep(0.002)  # no condition: its lock would be held for ever in who is forked while it is held
        return self._totals.get(name) == total


def counters(snapshot: Snapshot) -> list[Series]:
    """Return its counters."""
    found = [metric for metric in snapshot.metrics if metric.kind == "counter"]
    return [(metric.name, dict(point.attributes), point.value) for metric in found for point in metric.points]


def encoded(snapshot: Snapshot) -> list[Series]:
    """Return its counters, as a collector reads them."""
    from catalogue.libraries.otlp import read
    from metrics_sdk_opentelemetry.otlp_requests import Encoder

    return [series for request in Encoder(4 << 20).requests(snapshot) for series in read(request.body)]


class Ours:
    """The process-wide SDK."""

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self.interval = settings.interval
        self.ledger = Told(wire, settings.encoded)
        self.sdk: MetricsSDK = metrics.configure(
            Config(
                exporters=[Export(self.ledger, interval_seconds=settings.interval, name="ledger")],
                flush_interval_seconds=settings.interval,
                shutdown_timeout_seconds=settings.exit_seconds or 5.0,
            )
        )

    def counter(self, name: str, *keys: str) -> Counter:
        """Declare it."""
        return metrics.counter(name).add

    def flush(self) -> bool:
        """Deliver now."""
        return metrics.flush()

    def deliver_on_sigterm(self) -> None:
        """Ask for it."""
        metrics.deliver_on_sigterm()


def side(folder: Path) -> Wire:
    """Return the way to the other side."""
    return Wire(folder)


def start(wire: Wire, settings: Settings) -> Ours:
    """Configure it."""
    return Ours(wire, settings)
