"""A demo in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metrics_sdk.testing import IsolatedMetrics, isolated

DEADLINE = 30  # seconds, within which all is over, however slow the machine


class Demo:
    """A running demo whose output is piped."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metrics_sdk", "demo", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.head = ""

    def url(self) -> str:
        """Return where the metrics are served, once the demo says so."""
        assert self.process.stdout is not None
        while not (found := re.search(r"http://\S+", self.head)):
            line = self.process.stdout.readline()
            assert line, self.head + self.end()[2]
            self.head += line
        return found[0]

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the status, all output and all errors."""
        out, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, self.head + out, errors


@pytest.fixture
def isolated_metrics() -> Iterator[IsolatedMetrics]:
    """What users get by installing the package, for a checkout that is not installed."""
    with isolated() as metrics:
        yield metrics


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start demos, none of which outlives the test."""
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(list(arguments), tmp_path))
        return started[-1]

    yield start
    for demo in started:
        demo.process.kill()
        demo.process.communicate()
