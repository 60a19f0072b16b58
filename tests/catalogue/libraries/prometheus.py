"""prometheus_client: nothing is delivered, so what has arrived is what a scrape shows; with several processes, its mode for these."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalogue.libraries.book import Book
from catalogue.libraries.exit_on_sigterm import exit_on_sigterm
from catalogue.libraries.library import Counter, Settings

CAN = frozenset({"attributes", "reliable"})
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Scrape(Book):
    """What a scrape shows, read by the library's own parser."""

    def refresh(self) -> None:
        """Scrape."""
        from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
        from prometheus_client.parser import text_string_to_metric_families

        registry = REGISTRY
        if DIRECTORY in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        text = generate_latest(registry).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self._totals["scrape"] = [
            (sample.name.removesuffix("_total"), sample.labels, sample.value)
            for sample in samples
            if sample.name.endswith("_total") and not sample.name.startswith(("python_", "process_"))
        ]


class Scraped:
    """Prometheus."""

    def __init__(self, folder: Path) -> None:
        self.book = Scrape(folder)

    def down(self) -> None:
        """Nobody scrapes."""

    def up(self) -> None:
        """Somebody does."""

    def close(self) -> None:
        """Nothing is held."""


class PrometheusClient:
    """The default registry."""

    interval = 0.0

    def counter(self, name: str, *keys: str) -> Counter:
        """Declare it."""
        from prometheus_client import Counter as Declared

        declared = Declared(name, "documentation", keys)

        def add(value: Any = 1, attributes: Mapping[Any, Any] | None = None, /) -> None:
            (declared.labels(**attributes) if attributes else declared).inc(value)

        return add

    def flush(self) -> None:
        """Nothing is held back: who wants to know scrapes."""

    def deliver_on_sigterm(self) -> None:
        """It offers nothing."""
        exit_on_sigterm()


def side(folder: Path) -> Scraped:
    """Return who scrapes."""
    return Scraped(folder)


def start(scraped: Scraped, settings: Settings) -> PrometheusClient:
    """There is nothing to configure."""
    return PrometheusClient()
