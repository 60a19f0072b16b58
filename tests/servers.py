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
import urllib.parse
import urllib.request
from collections.abc import Callable
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


def until(find: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Return what `find` finds, once that is something; an error of the network is nothing."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        try:
            found = find()
            if found:
                return found
        except OSError:
            pass
        pause.wait(0.05)
    raise AssertionError(f"{what} within {seconds} s")


class Servers:
    """Real servers: starts them on free ports of 127.0.0.1, asks them, and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = contextlib.ExitStack()

    def get(self, url: str, accept: str = "*/*") -> str:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
            return str(answer.read().decode())

    def start(self, program: str, *flags: str) -> str:
        """Run a program that has `{port}` in one of its flags, until the test ends; return its URL."""
        port = free_port()
        log = self._running.enter_context((self.folder / f"{Path(program).name}.txt").open("w"))
        command = [program, *[flag.replace("{port}", str(port)) for flag in flags]]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        self._running.callback(process.wait, 20)
        self._running.callback(process.terminate)
        return f"http://127.0.0.1:{port}"

    def prometheus(self, *flags: str, target: str = "", interval: str = "1s") -> str:
        """Run a Prometheus that scrapes the URL `target` as the job "demo", if there is one; return its URL."""
        config: dict[str, Any] = {"global": {"scrape_interval": interval, "scrape_timeout": interval}}
        if target:
            scraped = {"targets": [urllib.parse.urlsplit(target).netloc]}
            config["scrape_configs"] = [{"job_name": "demo", "static_configs": [scraped]}]
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        return self.start(
            program("prometheus"), f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder}/data-{{port}}", "--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *flags,
        )  # fmt: skip

    def victoria_metrics(self) -> str:
        """Run a VictoriaMetrics; return its URL."""
        url = self.start(
            program("victoria-metrics"), "-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={self.folder}/victoria-{{port}}",
            "-search.latencyOffset=0s", "-search.disableCache", "-loggerLevel=ERROR",
        )  # fmt: skip
        until(lambda: self.get(f"{url}/health"), "VictoriaMetrics is ready")
        return url

    def pushgateway(self) -> str:
        """Run a Pushgateway; return its URL."""
        flags = ("--web.listen-address=127.0.0.1:{port}", "--persistence.file=")
        url = self.start(program("prometheus-pushgateway"), *flags)
        until(lambda: self.get(f"{url}/-/ready"), "the gateway is ready")
        return url

    def query(self, url: str, expression: str, **options: Any) -> list[dict[str, Any]]:
        """Return the result of an instant query in PromQL."""
        asked = urllib.parse.urlencode({"query": expression, **options})
        answer = json.loads(self.get(f"{url}/api/v1/query?{asked}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def stored(self, url: str, match: str) -> list[dict[str, Any]]:
        """Return every sample that a VictoriaMetrics has of the series that match."""
        self.get(f"{url}/internal/force_flush")
        lines = self.get(f"{url}/api/v1/export?{urllib.parse.urlencode({'match[]': match})}")
        return [json.loads(line) for line in lines.splitlines()]

    def close(self) -> None:
        """End them."""
        self._running.close()
