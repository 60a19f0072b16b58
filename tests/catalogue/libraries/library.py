"""What a metrics library is to the cases that several are put through, and how it is found by its name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from catalogue.libraries.book import Book

#: Distribution → the module beside this one that uses it as its documentation says.
MODULES = {
    "metrics-sdk": "ours",
    "prometheus-client": "prometheus",
    "opentelemetry-sdk": "otel",
    "datadog": "dogstatsd",
    "statsd": "plain_statsd",
    "sentry-sdk": "sentry",
}


class Counter(Protocol):
    """Records: a counter that was declared, as the library's user holds it."""

    def __call__(self, value: Any = 1, attributes: Mapping[Any, Any] | None = None, /) -> None:
        """Add `value`."""


class Side(Protocol):
    """The other side, which the library delivers to: what arrives there is in the book."""

    book: Book

    def down(self) -> None:
        """Refuse what comes."""

    def up(self) -> None:
        """Accept again."""

    def close(self) -> None:
        """End it."""


class Library(Protocol):
    """A library at work in this process. Its module has two functions, `side(folder)` and `start(side, settings)`, and `CAN`:

    "delivers": it sends what it has by itself, and is not asked for it;
    "exporter": what carries it away is the user's, and may fail in every way;
    "attributes": values have attributes; "keys": whose keys are given when recording, and need not be text;
    "reliable": under load, too, everything arrives that was sent.
    """

    interval: float  # seconds between deliveries, where it has any

    def counter(self, name: str, *keys: str) -> Counter:
        """Declare a counter with attributes of these keys."""

    def flush(self) -> object:
        """Deliver now."""

    def deliver_on_sigterm(self) -> None:
        """Have everything delivered when SIGTERM comes: as the library offers it, else by making an exit of it."""


class Settings:
    """What the user wishes, where the library lets him.

    `interval`: seconds between deliveries. `exit_seconds`: how long the exit may take. `encoded`: an exporter encodes what it
    delivers as OTLP, and it is read back by OpenTelemetry's own classes.
    """

    def __init__(self, interval: float = 0.2, exit_seconds: float | None = None, encoded: bool = False) -> None:
        self.interval = interval
        self.exit_seconds = exit_seconds
        self.encoded = encoded


def module(name: str) -> Any:
    """Return the module that uses the library `name`."""
    return importlib.import_module(f"catalogue.libraries.{MODULES[name]}")


def start(name: str, folder: str, **settings: Any) -> Library:
    """Start the library in this process, which is not the one that opened the other side."""
    using = module(name)
    started: Library = using.start(using.side(Path(folder)), Settings(**settings))
    return started
