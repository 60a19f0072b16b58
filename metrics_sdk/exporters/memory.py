"""Keeps snapshots in memory: for tests and for looking around."""

from __future__ import annotations

from collections import deque

from metrics_sdk.snapshot import Metric, Snapshot


class MemoryExporter:
    """Keeps the last `capacity` snapshots in `snapshots`, the newest at the end."""

    def __init__(self, capacity: int = 100) -> None:
        self.snapshots: deque[Snapshot] = deque(maxlen=capacity)
        self.is_shut_down = False

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Keep `snapshot`."""
        self.snapshots.append(snapshot)

    def shutdown(self) -> None:
        """Remember that the SDK was shut down; the snapshots stay."""
        self.is_shut_down = True

    def metric(self, name: str) -> Metric | None:
        """Return the metric of that name in the newest snapshot, None if it is not there."""
        if not self.snapshots:
            return None
        return next((metric for metric in self.snapshots[-1].metrics if metric.name == name), None)
