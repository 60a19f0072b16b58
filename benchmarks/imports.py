"""How long does `import metrics_sdk` take, net of the interpreter's start?

New processes, interleaved; processor time, user and system, of the whole process. What `-X importtime` says is a row beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import harness
from machine import version
from report import Report

MODULES = {
    "metrics_sdk": "metrics-sdk",
    "metrics_sdk_prometheus": "metrics-sdk",
    "prometheus_client": "prometheus-client",
    "opentelemetry.sdk.metrics": "opentelemetry-sdk",
    "datadog": "datadog",
    "statsd": "statsd",
    "spectator": "netflix-spectator-py",
}
FOREIGN = ("wrapt", "opentelemetry", "asyncio", "http", "email")
# Isolated (-I), and in an empty folder: nothing but what is installed is found.
PROBE = f"""
import sys, threading, metrics_sdk
print([name for name in {FOREIGN!r} if name in sys.modules], threading.active_count())
"""


def start(statement: str) -> float:
    """Return the milliseconds of processor time of a process that runs `statement`."""
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", statement], os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise AssertionError(f"{statement!r} ended with status {status}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def importtime(module: str) -> float:
    """Return the cumulative milliseconds that `-X importtime` gives for `module`."""
    command = [sys.executable, "-I", "-X", "importtime", "-c", f"import {module}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    total = 0
    for line in told.splitlines():
        parts = line.removeprefix("import time:").split("|")
        # Modules imported by others are indented; `a.b` imports `a` as well, which stands beside it.
        if (
            len(parts) == 3
            and parts[2].strip()
            and not parts[2].startswith("  ")
            and parts[2].strip().startswith(module.split(".")[0])
        ):
            total += int(parts[1])
    return total / 1e3


def main() -> int:
    settings = harness.settings(__doc__ or "")
    report = Report("imports.py", "how long the import takes, net of the interpreter's start", settings)
    installed = [module for module, distribution in MODULES.items() if version(distribution)]
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        rounds = settings.rounds if settings.quick else 25
        jobs = {"nothing": lambda: start("pass")} | {m: lambda m=m: start(f"import {m}") for m in installed}  # type: ignore[misc]
        samples = harness.interleaved(jobs, rounds)
        crossed = harness.interleaved({m: lambda m=m: importtime(m) for m in installed}, 5)  # type: ignore[misc]
        told = subprocess.run([sys.executable, "-I", "-c", PROBE], check=True, capture_output=True, text=True).stdout.strip()
        os.chdir("/")
    for module in installed:
        net = [a - b for a, b in zip(samples[module], samples["nothing"], strict=True)]
        report.row(f"import {module}", net, "ms", readme=module == "metrics_sdk")
    report.row("the interpreter alone", samples["nothing"], "ms")
    for module in installed:
        report.row(f"-X importtime {module}", crossed[module], "ms")
    report.compare("import metrics_sdk", "import prometheus_client", 2.5)
    report.compare("import metrics_sdk", "import opentelemetry.sdk.metrics")
    report.compare("-X importtime metrics_sdk", "-X importtime prometheus_client", 2.5)
    report.check("modules loaded that should not be, and threads", "[] 1", told)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
