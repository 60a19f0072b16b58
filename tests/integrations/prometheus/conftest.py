"""What the tests of the HTTP side share."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint

from metrics_sdk.snapshot import Metric, Point, Snapshot


@dataclass
class Source:
    """Has snapshots of one gauge, `up 1`, and of a text if it is given one, or raises what it is told to."""

    text: str = ""
    error: BaseException | None = None
    asked: list[None] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        self.asked.append(None)
        if self.error is not None:
            raise self.error
        points = (Point((), 1, 0.0, 1.0), Point((("text", self.text),), 1, 0.0, 1.0))
        return Snapshot({}, 1.0, (Metric("up", "gauge", "", "", None, points if self.text else points[:1]),))


def _tool(name: str) -> str:
    """Return the path of a program that `make prometheus` gets.

    A test that needs it is skipped where it is not there, or fails where METRICS_SDK_REQUIRE_PROMETHEUS is set.
    """
    unpacked = Path(__file__).parents[3] / ".cache" / "prometheus" / "root" / "usr" / "bin"
    found = shutil.which(name, path=f"{unpacked}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        if os.environ.get("METRICS_SDK_REQUIRE_PROMETHEUS"):
            pytest.fail(f"{name} is required here, and `make prometheus` did not get it")
        pytest.skip(f"{name} is not there: `make prometheus` gets it")
    return found


@pytest.fixture
def promtool() -> str:
    return _tool("promtool")


@pytest.fixture
def prometheus_program() -> str:
    return _tool("prometheus")


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def endpoint(source: Source) -> Iterator[PrometheusEndpoint]:
    with PrometheusEndpoint(source, port=0) as endpoint:
        yield endpoint


class Ask:
    """Sends bytes to an endpoint as they are, and returns all that comes back."""

    def __init__(self, endpoint: PrometheusEndpoint) -> None:
        self.endpoint = endpoint

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.endpoint.port), timeout=10)

    def raw(self, sent: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(sent)
            received = b""
            while more := client.recv(1 << 20):
                received += more
            return received

    def __call__(
        self, line: str = "GET /metrics HTTP/1.1", *headers: str, host: str = "Host: localhost"
    ) -> tuple[str, str, bytes]:
        """Return the status line, the headers and the body."""
        head, _, body = self.raw("\r\n".join([line, host, *headers, "", ""]).encode("latin-1")).partition(b"\r\n\r\n")
        status, _, rest = head.decode("latin-1").partition("\r\n")
        return status, rest, body


@pytest.fixture
def ask(endpoint: PrometheusEndpoint) -> Ask:
    return Ask(endpoint)
