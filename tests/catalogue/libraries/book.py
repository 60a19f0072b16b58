"""What has arrived on the other side, kept in a file: processes end, are killed and are forked, and it still adds up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

#: Name, attributes, value.
Series = tuple[str, Mapping[Any, Any], Any]


class Book:
    """A file of lines, each appended by one write, that any process writes into and reads from.

    A line is what one delivery carried: totals of a process, that replace what it told before, or amounts, that are added up.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "book.jsonl"
        self._read = 0
        self._totals: dict[str, list[Any]] = {}
        self._amounts: dict[str, list[Any]] = {}

    def write(self, series: Iterable[Series], totals_of: str = "") -> None:
        """Write what a delivery carried. `totals_of`: the process whose totals these are; else they are amounts."""
        told = [
            (name, [[str(key), str(value)] for key, value in dict(labels).items()], value) for name, labels, value in series
        ]
        line = json.dumps([totals_of, told]).encode() + b"\n"
        # Opened each time: a descriptor would be a forked child's as well, and one that the host did not have before.
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def refresh(self) -> None:
        """Read what has come since."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        complete = text.rfind(b"\n") + 1
        self._read += complete
        for line in text[:complete].splitlines():
            source, told = json.loads(line)
            if source:
                self._totals[source] = told
                continue
            for name, labels, value in told:
                key = json.dumps([name, labels])
                self._amounts.setdefault(key, [name, labels, 0])[2] += value

    def series(self) -> list[tuple[str, dict[str, str], float]]:
        """Return what has arrived, of all processes."""
        self.refresh()
        told = [*self._amounts.values(), *[one for totals in list(self._totals.values()) for one in totals]]
        return [(name, dict(labels), value) for name, labels, value in told]

    def total(self, name: str, attributes: Mapping[str, str] | None = None) -> float:
        """Return what the series of that name that include these attributes add up to."""
        wanted = dict(attributes or {}).items()
        return sum([value for one, labels, value in self.series() if one == name and wanted <= labels.items()])


class Wire:
    """The way to the other side for who has an exporter of its own: `before` is what happens to each delivery first."""

    def __init__(self, folder: Path) -> None:
        self.book = Book(folder)
        self.before: Callable[[], object] = nothing

    def send(self, series: Iterable[Series], totals_of: str = "") -> None:
        """Deliver, or whatever `before` does instead."""
        self.before()
        self.book.write(series, totals_of)

    def down(self) -> None:
        """Refuse what comes."""
        self.before = refused

    def up(self) -> None:
        """Accept again."""
        self.before = nothing

    def close(self) -> None:
        """Nothing is held."""


def nothing() -> None:
    """Do nothing."""


def refused() -> None:
    """Be a server that is not there."""
    raise ConnectionRefusedError("the other side is down")
