"""The other side of StatsD and DogStatsD: `python receiver.py FOLDER PORT`, a process that ends with who started it."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])

from catalogue.libraries.book import Book

PORT = "port"


class Receiver:
    """The receiver, in a process of its own, for the process that opens it; others know it by its folder."""

    def __init__(self, folder: Path) -> None:
        self.book = Book(folder)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens; it is started by the first who asks."""
        if not (self._folder / PORT).exists():
            self._start(0)
        return int((self._folder / PORT).read_text())

    def _start(self, port: int) -> None:
        (self._folder / PORT).unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, __file__, str(self._folder), str(port)])
        deadline = time.monotonic() + 10
        while not (self._folder / PORT).exists():
            assert time.monotonic() < deadline, "the receiver does not start"
            time.sleep(0.005)  # there is no way to wait for a file

    def down(self) -> None:
        """Be not there."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def up(self) -> None:
        """Be there again, in the same place."""
        self._start(self.port)

    def close(self) -> None:
        """End it, if it was started here."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def parsed(line: str) -> tuple[str, dict[str, str], float] | None:
    """Return what a line of StatsD or DogStatsD says of a counter, None for what a server would refuse or what is not ours.

    The servers take no number that is not finite.
    """
    head, *parts = line.split("|")
    name, colon, text = head.partition(":")
    if not colon or not parts or parts[0] != "c" or name.startswith("datadog."):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    tags = next((part[1:] for part in parts[1:] if part.startswith("#")), "")
    labels = dict([tag.partition(":")[::2] for tag in tags.split(",") if tag])
    name, dot, rest = name.partition(".")  # who has no attributes makes them part of the name
    return name, {**labels, "k": rest} if dot else labels, value


def serve(folder: Path, port: int) -> None:
    """Write what comes into the book, until there is no parent any more."""
    book, parent = Book(folder), os.getppid()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        server.bind(("127.0.0.1", port))
        server.settimeout(0.02)
        (folder / "port.new").write_text(str(server.getsockname()[1]))
        (folder / "port.new").replace(folder / PORT)
        while os.getppid() == parent:
            waiting: list[bytes] = []
            try:
                while len(waiting) < 2000:
                    waiting.append(server.recv(65536))
            except TimeoutError:
                pass
            lines = b"\n".join(waiting).decode("utf-8", "surrogateescape").split("\n")
            told: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
            for one in filter(None, map(parsed, lines)):
                key = one[0], tuple(sorted(one[1].items()))
                told[key] = told.get(key, 0) + one[2]
            if told:
                book.write([(name, dict(labels), value) for (name, labels), value in told.items()])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
