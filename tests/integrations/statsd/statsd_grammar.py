"""StatsD's grammar, read as strictly as it is written, and what a server makes of it. Knows nothing of the exporter."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

# github.com/statsd/statsd, docs/metric_types.md, and Datadog's "DogStatsD datagram format".
LINE = re.compile(
    r"(?P<name>[^:|@#,\s\x00-\x1f\x7f]+):(?P<value>-?\d+(?:\.\d+)?)\|(?P<type>c|g|ms|d)"
    r"(?:\|@(?P<rate>0\.\d+))?(?:\|\#(?P<tags>[^|\s\x00-\x1f\x7f]+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Line:
    name: str
    value: float
    type: str
    rate: float = 1.0
    tags: tuple[str, ...] = ()
    signed: bool = False


def lines(datagrams: Iterable[bytes]) -> list[Line]:
    """Return all lines; fails at the first that is none."""
    made = []
    for datagram in datagrams:
        for text in datagram.decode().split("\n"):
            found = LINE.fullmatch(text)
            assert found, f"not a line: {text!r}"
            rate = float(found["rate"] or "1")
            assert 0.0 < rate <= 1.0, text
            tags = tuple(found["tags"].split(",")) if found["tags"] else ()
            assert all([":" in tag and not tag.startswith(":") for tag in tags]), text
            made.append(Line(found["name"], float(found["value"]), found["type"], rate, tags, found["value"].startswith("-")))
    return made


@dataclass
class Server:
    """Adds up what it gets, as a plain StatsD server does."""

    counters: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    gauges: dict[str, float] = field(default_factory=dict)
    timers: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, datagrams: Iterable[bytes]) -> Server:
        for line in lines(datagrams):
            if line.type == "c":
                self.counters[line.name] += line.value / line.rate
            elif line.type == "g":
                self.gauges[line.name] = self.gauges.get(line.name, 0.0) + line.value if line.signed else line.value
            else:
                self.timers[line.name].append((line.value, 1.0 / line.rate))
        return self
