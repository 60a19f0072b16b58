"""What the tests of StatsD share: sockets to send to, snapshots, and the real server."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from metrics_sdk_statsd import StatsDExporter

sys.path.insert(0, str(Path(__file__).parent))

from servers import CACHE, free_port, missing, until
from statsd_grammar import Line, lines

END = b"\0the end"


class Inbox:
    """A bound datagram socket, and a thread that reads it until it is told to leave it alone."""

    def __init__(self, family: int, address: Any, reading: bool = True) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.address = self.socket.getsockname()
        self._got: queue.Queue[bytes] = queue.Queue()
        self._thread: threading.Thread | None = None
        if reading:
            self.read()

    @property
    def endpoint(self) -> str:
        if self.socket.family == socket.AF_UNIX:
            return f"unix://{self.address}"
        host, port = self.address[:2]
        return f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}"

    def read(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while (got := self.socket.recv(1 << 17)) != END + b"!":
            self._got.put(got)

    def _tell(self, text: bytes) -> None:
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(10)
            sender.sendto(text, self.address)

    def datagrams(self) -> list[bytes]:
        """All that has come until now."""
        self._tell(END)
        return list(iter(lambda: self._got.get(timeout=10), END))

    def lines(self) -> list[Line]:
        return lines(self.datagrams())

    def close(self) -> None:
        if self._thread is not None:
            self._tell(END + b"!")
            self._thread.join(10)
        self.socket.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for the address of a Unix socket."""
    made = Path(tempfile.mkdtemp(prefix="statsd"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def bind(folder: Path) -> Iterator[Callable[..., Inbox]]:
    """Makes inboxes: on a Unix socket of this name, on this port of 127.0.0.1 (0 is any), or at this address of IPv6."""
    made: list[Inbox] = []

    def bind(where: str | int = "s", reading: bool = True) -> Inbox:
        if isinstance(where, int):
            made.append(Inbox(socket.AF_INET, ("127.0.0.1", where), reading))
        elif ":" in where:
            made.append(Inbox(socket.AF_INET6, (where, 0), reading))
        else:
            made.append(Inbox(socket.AF_UNIX, str(folder / where), reading))
        return made[-1]

    yield bind
    for one in made:
        if one.socket.fileno() >= 0:
            one.close()


@pytest.fixture
def unix(bind: Callable[..., Inbox]) -> Inbox:
    return bind()


@pytest.fixture
def exporter_to() -> Iterator[Callable[..., StatsDExporter]]:
    """Makes exporters to an inbox, or to an endpoint."""
    made: list[StatsDExporter] = []

    def exporter_to(where: Inbox | str, **options: Any) -> StatsDExporter:
        made.append(StatsDExporter(where if isinstance(where, str) else where.endpoint, **options))
        return made[-1]

    yield exporter_to
    for one in made:
        one.shutdown()


class StatsDServer:
    """The reference server (npm's `statsd`), with a backend that writes down what a flush has as JSON."""

    BACKEND = """
    exports.init = function (startup, config, events) {
      events.on('flush', function (time, metrics) {
        require('fs').writeFileSync(config.told, JSON.stringify(metrics));
      });
      return true;
    };
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.port, self._management = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self._told = folder / "told.json"
        (folder / "backend.js").write_text(self.BACKEND)
        config = {
            "address": "127.0.0.1",
            "port": self.port,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._management,
            "flushInterval": 3_600_000,
            "percentThreshold": [50, 90],
            "backends": [str(folder / "backend.js")],
            "told": str(self._told),
        }
        (folder / "config.js").write_text(json.dumps(config))
        self._log = (folder / "log.txt").open("w+")
        command = ["node", "--no-deprecation", str(package / "stats.js"), str(folder / "config.js")]
        self.process = subprocess.Popen(command, cwd=package, stdout=self._log, stderr=subprocess.STDOUT)

    @property
    def endpoint(self) -> str:
        return f"udp://127.0.0.1:{self.port}"

    def ask(self, command: str) -> str:
        """What the management interface answers."""
        with socket.create_connection(("127.0.0.1", self._management), timeout=10) as client:
            client.sendall(f"{command}\n".encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                more = client.recv(1 << 20)
                assert more, answer
                answer += more
        return answer.decode()

    def _settle(self) -> None:
        """Wait until it has read all that was sent: a line of the test's own, sent last, has been counted."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"statsd.last:1|c", ("127.0.0.1", self.port))
        until(lambda: "'statsd.last': 1" in self.ask("counters"), "the server has had everything")

    def flushed(self) -> dict[str, Any]:
        """End it once it has read all that was sent, and return what it has made of it."""
        self._settle()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        told: dict[str, Any] = json.loads(self._told.read_text())
        told["counters"]["statsd.metrics_received"] -= told["counters"].pop("statsd.last")
        return told

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


@pytest.fixture
def statsd_server(tmp_path: Path) -> Iterator[StatsDServer]:
    """The real server, which `make servers` gets.

    A test that needs it is skipped where it is not there, or fails where METRICS_SDK_REQUIRE_SERVERS is set.
    """
    package = CACHE / "statsd" / "node_modules" / "statsd"
    if not (package / "stats.js").exists():
        missing("the StatsD server")
    if shutil.which("node") is None:
        missing("node")
    made = StatsDServer(package, tmp_path)
    try:
        until(lambda: made.ask("counters"), "the server is up")
        yield made
    finally:
        made.stop()
