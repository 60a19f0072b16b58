"""statsd: its UDP client, a datagram for each value; what others have as attributes is part of the name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalogue.libraries.exit_on_sigterm import exit_on_sigterm
from catalogue.libraries.library import Counter, Settings
from catalogue.libraries.receiver import Receiver
from statsd import StatsClient

CAN = frozenset({"delivers"})


class StatsD:
    """A client."""

    interval = 0.0

    def __init__(self, receiver: Receiver) -> None:
        self._client = StatsClient("127.0.0.1", receiver.port)

    def counter(self, name: str, *keys: str) -> Counter:
        """Return a function of the client: nothing is declared."""

        def add(value: Any = 1, attributes: Mapping[Any, Any] | None = None, /) -> None:
            self._client.incr(".".join([name, *[str(text) for text in attributes.values()]]) if attributes else name, value)

        return add

    def flush(self) -> None:
        """Nothing is held back."""

    def deliver_on_sigterm(self) -> None:
        """It offers nothing."""
        exit_on_sigterm()


def side(folder: Path) -> Receiver:
    """Return a server."""
    return Receiver(folder)


def start(receiver: Receiver, settings: Settings) -> StatsD:
    """Configure it."""
    return StatsD(receiver)
