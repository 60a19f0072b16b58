"""Real servers for tests, on the loopback interface, which `make servers` gets; where one is missing, the test is skipped.

With METRICS_SDK_REQUIRE_SERVERS set, as in CI, a missing one fails the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

CACHE = Path(__file__).parents[1] / ".cache"


def missing(what: str) -> None:
    """Skip the test, or fail it."""
    if os.environ.get("METRICS_SDK_REQUIRE_SERVERS"):
        pytest.fail(f"{what} is required here, and `make servers` did not get it")
    pytest.skip(f"{what} is not there: `make servers` gets it")


def program(name: str) -> str:
    """Return the path of a server's program."""
    unpacked = CACHE / "prometheus" / "root" / "usr" / "bin"
    found = shutil.which(name, path=f"{unpacked}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        missing(name)
    return str(found)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody uses now."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def until(find: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Return what `find` finds, once that is something; an error of the network is nothing."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        try:
            found = find()
            if found:
                return found
        except (OSError, urllib.error.URLError):
            pass
        pause.wait(0.1)
    raise AssertionError(f"{what} within {seconds} s")


@contextlib.contextmanager
def serving(command: list[str], ready: str, folder: Path) -> Iterator[None]:
    """Run a server until the block ends; it is ready when the URL `ready` answers."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until(lambda: process.poll() is not None or get(ready) is not None, f"{command[0]} answers")
        assert process.poll() is None, (folder / "server.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def victoria_metrics(folder: Path) -> Iterator[VictoriaMetrics]:
    """Run a VictoriaMetrics."""
    port = free_port()
    command = [
        program("victoria-metrics"), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'data'}",
        "-search.latencyOffset=0s", "-search.disableCache", "-loggerLevel=ERROR",
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/health", folder):
        yield VictoriaMetrics(f"http://127.0.0.1:{port}")


class VictoriaMetrics:
    """A server that takes OTLP and remote write, and answers PromQL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, time: float | None = None) -> list[dict[str, Any]]:
        """Return the series that an expression finds now, or at a time, with labels and value."""
        get(f"{self.url}/internal/force_flush")
        asked = {"query": expression} | ({} if time is None else {"time": f"{time:.3f}"})
        answer = json.loads(get(f"{self.url}/api/v1/query?{urllib.parse.urlencode(asked)}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def exported(self, match: str) -> list[dict[str, Any]]:
        """Return every stored sample of the series that match."""
        get(f"{self.url}/internal/force_flush")
        lines = get(f"{self.url}/api/v1/export?{urllib.parse.urlencode({'match[]': match})}")
        return [json.loads(line) for line in lines.splitlines()]
