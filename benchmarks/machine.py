"""What the figures were measured on, and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

PEERS = ("prometheus-client", "opentelemetry-sdk", "datadog", "statsd", "netflix-spectator-py")


def version(distribution: str) -> str:
    """Return the installed version of `distribution`, "" where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """Return the name of the processor's model."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> dict[str, str]:
    """Return machine and versions as name and value, in the order to print them."""
    import metrics_sdk

    own_folder = Path(metrics_sdk.__file__).resolve().parent
    if own_folder.parent == Path(__file__).resolve().parent.parent:
        build = "editable"
    else:
        build = "installed"
    core = "compiled" if metrics_sdk.health().compiled else "interpreted"
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    found = {
        "Python": f"{platform.python_implementation()} {platform.python_version()}{'' if gil else ' free-threaded'}",
        "metrics-sdk": f"{version('metrics-sdk')}, core {core}, {build}",
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
    }
    for peer in PEERS:
        found[peer] = version(peer) or "NOT INSTALLED: its rows are missing"
    return found
