"""What the applications have in common: the process-wide SDK, made at import, with a file for what each process tells.

`CATALOGUE_FOLDER` is where the files go; with `CATALOGUE_URL`, it is told by OTLP as well.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import metrics_sdk as metrics
from metrics_sdk.exporters import JsonLinesExporter

FOLDER = Path(os.environ["CATALOGUE_FOLDER"])


class FilePerProcess:
    """Appends to a file that is named after the process which exports."""

    def export(self, snapshot: metrics.Snapshot, timeout: float) -> None:
        """Append the snapshot."""
        JsonLinesExporter(FOLDER / f"{os.getpid()}.jsonl").export(snapshot, timeout)

    def shutdown(self) -> None:
        """Nothing is held open."""


def _exporters() -> list[metrics.Export]:
    made = [metrics.Export(FilePerProcess(), interval_seconds=1)]
    if "CATALOGUE_URL" in os.environ:
        from metrics_sdk_opentelemetry import OTLPExporter

        made.append(metrics.Export(OTLPExporter(os.environ["CATALOGUE_URL"]), interval_seconds=1))
    return made


sdk = metrics.configure(
    metrics.Config(exporters=_exporters(), flush_interval_seconds=0.25, resource={"service.name": "catalogue"})
)
_counts: dict[int, int] = {}  # by process: the file that it counts in


def count() -> None:
    """Count something done, independently of the SDK: a byte in a file of this process. Call it after the recording."""
    process = os.getpid()
    if process not in _counts:
        _counts[process] = os.open(FOLDER / f"{process}.counted", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # After the SDK's, hence before it at the exit: tells whether the server lets the interpreter end at all.
        atexit.register((FOLDER / f"{process}.exiting").touch)
    os.write(_counts[process], b".")
