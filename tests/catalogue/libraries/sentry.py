"""sentry-sdk: its counters, through its own transport and worker, of which the request alone is ours.

When it delivers cannot be said: after 1,000 values, or 5 to 6 seconds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sentry_sdk
from catalogue.libraries.book import Series, Wire
from catalogue.libraries.exit_on_sigterm import exit_on_sigterm
from catalogue.libraries.library import Counter, Settings
from sentry_sdk.transport import HttpTransport

CAN = frozenset({"delivers", "exporter", "attributes", "keys", "reliable"})


class Accepted:
    """The answer of a server that accepts."""

    status = 200
    headers: Mapping[str, str] = {}
    data = b""

    def close(self) -> None:
        """Nothing is held."""


def counters(envelope: bytes) -> Iterator[Series]:
    """Yield what an envelope has of counters, without what the library says of itself."""
    lines = iter(gzip.decompress(envelope).split(b"\n")[1:])
    for head in lines:
        if head and json.loads(head)["type"] == "trace_metric":
            for item in json.loads(next(lines))["items"]:
                labels = {key: one["value"] for key, one in item["attributes"].items() if not key.startswith(OWN)}
                yield item["name"], labels, item["value"]
        elif head:
            next(lines)


OWN = ("sentry.", "server.", "process.", "os.", "user.", "thread.")


class Sentry:
    """The global client."""

    interval = 6.0

    def __init__(self, wire: Wire, settings: Settings) -> None:
        class Told(HttpTransport):
            """Writes the counters into the book."""

            def _request(self, method: str, endpoint_type: Any, body: Any, headers: Mapping[str, str]) -> Any:
                wire.send(list(counters(body)))
                return Accepted()

        options = {} if settings.exit_seconds is None else {"shutdown_timeout": settings.exit_seconds}
        sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Told, **options)

    def counter(self, name: str, *keys: str) -> Counter:
        """Return a function of the client: nothing is declared."""

        def add(value: Any = 1, attributes: Mapping[Any, Any] | None = None, /) -> None:
            sentry_sdk.metrics.count(name, value, attributes=attributes)

        return add

    def flush(self) -> None:
        """Deliver now."""
        sentry_sdk.flush()

    def deliver_on_sigterm(self) -> None:
        """It offers nothing."""
        exit_on_sigterm()


def side(folder: Path) -> Wire:
    """Return the way to the other side."""
    return Wire(folder)


def start(wire: Wire, settings: Settings) -> Sentry:
    """Configure it."""
    return Sentry(wire, settings)
