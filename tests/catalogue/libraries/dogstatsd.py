"""datadog: the global DogStatsD client by UDP, buffering and aggregating as its documentation advises for many metrics.

Its interval stays what it is by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalogue.libraries.exit_on_sigterm import exit_on_sigterm
from catalogue.libraries.library import Counter, Settings
from catalogue.libraries.receiver import Receiver
from datadog import initialize, statsd

CAN = frozenset({"delivers", "attributes", "reliable"})


class Datadog:
    """The global client."""

    interval = 0.3

    def __init__(self, receiver: Receiver) -> None:
        initialize(
            statsd_host="127.0.0.1",
            statsd_port=receiver.port,
            statsd_disable_buffering=False,
            statsd_disable_aggregation=False,
            hostname_from_config=False,
        )

    def counter(self, name: str, *keys: str) -> Counter:
        """Return a function of its own client: nothing is declared."""

        def add(value: Any = 1, attributes: Mapping[Any, Any] | None = None, /) -> None:
            statsd.increment(name, value, tags=[f"{key}:{text}" for key, text in attributes.items()] if attributes else None)

        return add

    def flush(self) -> None:
        """Deliver now."""
        statsd.flush_aggregated_metrics()
        statsd.flush()

    def deliver_on_sigterm(self) -> None:
        """It offers nothing."""
        exit_on_sigterm()


def side(folder: Path) -> Receiver:
    """Return an agent."""
    return Receiver(folder)


def start(receiver: Receiver, settings: Settings) -> Datadog:
    """Configure it."""
    return Datadog(receiver)
