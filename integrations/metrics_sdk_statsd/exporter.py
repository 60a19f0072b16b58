"""The exporter: a snapshot of deltas as datagrams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from time import monotonic
from typing import Any

from metrics_sdk.errors import ConfigurationError, ExportError
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Metric, Point, Refused, Snapshot

from .buckets import Buckets
from .connection import Connection, Endpoint
from .datagrams import Datagrams
from .dialects import RESOURCE_TAGS, dialect_named
from .lines import COUNTERS, Lines
from .numerals import Unfit
from .totals import Totals

_DEFAULT_BYTES_UDP = 1432  # what goes through an Ethernet, less what a tunnel may need
_DEFAULT_BYTES_UNIX = 8192  # what Datadog's agent reads at once
_MOST_BYTES = 65507  # what UDP can carry


class StatsDExporter:
    """Sends counters, gauges and timers to a StatsD server, or to whatever understands DogStatsD.

        Export(StatsDExporter("udp://127.0.0.1:8125", prefix="shop."))
        Export(StatsDExporter("unix:///var/run/datadog/dsd.socket", dialect="dogstatsd", tags={"team": "shop"}))

    `endpoint`: `udp://host:port` (8125 without one; IPv6 in brackets), `unix:///path` or `unixgram:///path`. A host's name is
    looked up each time that the socket is opened, for as long as that takes; an address is not.
    `dialect`: "statsd" or "dogstatsd". The first has no tags: attributes are in the name, `name.key.value`, in the order of
    their keys, and what is said of the process has no place but the `prefix`. The second sends attributes as tags, with the
    name of the meter as `otel_scope_name`, and `resource_tags` of the resource. Attributes named like one of these, or like a
    tag that the agent keeps for itself (`host`), get `exported_` before their names.
    `prefix`: stands before each name as it is, so it mostly ends in a dot.
    `tags`: constant ones, for each line, over those of the resource.
    `resource_tags`: which tag each attribute of the resource becomes; by default `service`, `env`, `version`, `instance`,
    `host.name`, `process.pid` and name and version of the SDK, some 150 bytes for each line. `host` is the agent's own to add.
    `max_datagram_bytes`: 1432 over UDP, 8192 over a Unix socket by default.

    Counters leave as what has come since the last export, those that are totals (the SDK's own, a producer's) too; up-down
    counters and gauges as values. Histograms leave as timers ("statsd": in milliseconds, if they are of time) or distributions:
    lines with sample rates that have the histogram's count, sum, min and max, at most 256 ("dogstatsd": 128) for each series
    and export; up to three values less than that, each is a line. A server that counts a line as one value whatever its rate,
    as the reference server does but for the count, has a mean that is off by up to (max - mean) / 256.
    Attribute sets and names that become the same text are one series there: it adds up, of gauges it has the last. Names have
    at most 255 characters ("dogstatsd": 200), keys 100, values and whole tags 200; the rest is cut off.

    Left out, and counted as refused: what is not finite, negative values of timers in "statsd", cumulative exponential
    histograms, and points with a line that is longer than a datagram. UDP itself loses without a word; what a Unix socket, or
    UDP to the same host, refuses is kept and sent when it works again.

    Raises ConfigurationError for arguments that cannot work.
    """

    temporalities = ("delta",)
    temporality = "delta"
    interval_seconds = 10.0
    timeout_seconds = 5.0

    def __init__(
        self,
        endpoint: str = "udp://127.0.0.1:8125",
        *,
        dialect: str = "statsd",
        prefix: str = "",
        tags: Mapping[str, Any] | None = None,
        resource_tags: Mapping[str, str] = RESOURCE_TAGS,
        max_datagram_bytes: int | None = None,
    ) -> None:
        self._endpoint = Endpoint(endpoint)
        self._dialect = dialect_named(dialect)
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix must be a text, not {prefix!r}")
        self._prefix = prefix
        self._tags = _checked("tags", {} if tags is None else tags)
        self._resource_tags = _checked("resource_tags", resource_tags)
        if self._tags and not self._dialect.has_tags:
            raise ConfigurationError(f"the dialect {dialect!r} has no tags: leave tags away, or put them into the prefix")
        self._max_bytes = _DEFAULT_BYTES_UNIX if self._endpoint.path else _DEFAULT_BYTES_UDP
        if max_datagram_bytes is not None:
            if type(max_datagram_bytes) is not int or not 1 <= max_datagram_bytes <= _MOST_BYTES:
                raise ConfigurationError(
                    f"max_datagram_bytes must be a whole number from 1 to {_MOST_BYTES}, not {max_datagram_bytes!r}"
                )
            self._max_bytes = max_datagram_bytes
        self._connection = Connection(self._endpoint)
        self._totals = Totals()

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        """Send `snapshot` within `timeout` seconds; returns what is unfit to be sent.

        Raises ExportError, with how many points were settled: those of whose lines some have left do not leave again.
        """
        deadline = monotonic() + timeout
        datagrams = Datagrams(self._connection, self._max_bytes, deadline)
        unfit: dict[int, str] = {}
        self._totals.begin()
        try:
            self._connection.open(deadline)
            for point, line in in_slices(self._lines(snapshot, datagrams, unfit)):
                datagrams.add(point, line)
            datagrams.send()
        except Exception as error:  # whatever it is: what has left must not leave again
            self._connection.close()
            settled = datagrams.settled
            self._totals.settle(settled)
            refused = sum([point < settled for point in {*unfit, *datagrams.lost}])
            why = f"{self._endpoint.text}: {error}"
            raise ExportError(why, settled=settled, refused=refused) from error
        self._totals.settle(sum([len(metric.points) for metric in snapshot.metrics]))
        for point in datagrams.lost:
            unfit.setdefault(point, f"{self._endpoint.text}: a datagram was too long for the socket")
        return Refused(len(unfit), next(iter(unfit.values()))) if unfit else None

    def _lines(self, snapshot: Snapshot, datagrams: Datagrams, unfit: dict[int, str]) -> Iterator[tuple[int, bytes]]:
        """Yield the lines with the numbers of their points; `unfit` gets why a point has none."""
        lines = Lines(self._dialect, self._prefix, snapshot, self._resource_tags, self._tags)
        numbers = count()
        for metric in snapshot.metrics:
            for point, index in zip(metric.points, numbers):
                try:
                    made = [one.encode() for one in lines.of(metric, point, self._value(index, metric, point))]
                    if not all([datagrams.fits(one) for one in made]):
                        raise Unfit(f"a line of it is longer than {self._max_bytes} bytes")
                except Exception as error:  # a producer's values may be anything: it costs this point and no other
                    unfit[index] = f"{metric.name!r} is left out: {error}"
                    continue
                for one in made:
                    yield index, one

    def _value(self, index: int, metric: Metric, point: Point) -> float | Buckets:
        cumulative = metric.temporality == "cumulative"
        if cumulative and (metric.kind in COUNTERS or isinstance(point.value, tuple)):
            return self._totals.change(index, metric, point)
        return point.value

    def shutdown(self) -> None:
        """Close the socket."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.text!r}, dialect={self._dialect.name!r})"


def _checked(name: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all([isinstance(key, str) and key for key in given]):
        raise ConfigurationError(f"{name} must be a mapping from keys to values, not {given!r}")
    return dict(given)
