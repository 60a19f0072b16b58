"""The sampler: records how this machine is doing."""

from __future__ import annotations

import contextlib
import platform
import threading
from collections.abc import Callable, Iterator, Mapping

import metrics_sdk as metrics
from metrics_sdk.demo.readings import Reading, Source

#: Time between two samples of the processor, in seconds.
SAMPLE_SECONDS = 0.25

#: The tags of everything that is measured here.
HOST = {"host.name": platform.node() or "localhost"}

cpu_usage = metrics.gauge("cpu.usage", unit="1", description="Share of the processors' time, by mode.")


def sample(stop: threading.Event, source: Source) -> None:
    """Record the use of the processors from one sample to the next until `stop`."""
    before = source.cpu()
    while not stop.wait(SAMPLE_SECONDS):
        now = source.cpu()
        for mode, share in usage(before, now).items():
            cpu_usage.set(share, {**HOST, "mode": mode})
        before = now


def usage(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Return the share (0 to 1) of each mode but "idle" in the time from `before` to `now`; nothing if none has passed."""
    spent = {mode: max(0.0, now[mode] - before.get(mode, 0.0)) for mode in now}
    whole = sum(spent.values())
    return {mode: time / whole for mode, time in spent.items() if mode != "idle"} if whole else {}


@contextlib.contextmanager
def observed(source: Source) -> Iterator[None]:
    """Have the readings that need no sampling asked for, at every flush, inside the block."""
    handles = [
        metrics.observable_gauge("mem.used", _tagged(source.memory), unit="By", description="Memory in use."),
        metrics.observable_counter(
            "disk.io", _since_now(source.disks), unit="By", description="Bytes read and written, by device and direction."
        ),
        metrics.observable_counter("net.rx", _since_now(source.received), unit="By", description="Bytes received, by device."),
        metrics.observable_counter("net.tx", _since_now(source.sent), unit="By", description="Bytes sent, by device."),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.close()


def unavailable(source: Source) -> list[str]:
    """Return the names of what cannot be read on this machine."""
    found = {
        "cpu.usage": source.cpu(),
        "mem.used": source.memory(),
        "disk.io": source.disks(),
        "net.rx": source.received(),
        "net.tx": source.sent(),
    }
    return [name for name, reading in found.items() if not reading]


def _tagged(read: Callable[[], Reading]) -> Callable[[], Reading]:
    return lambda: [(value, {**HOST, **attributes}) for value, attributes in read()]


def _since_now(read: Callable[[], Reading]) -> Callable[[], Reading]:
    """Count from the first reading on. The kernel counts from its boot, and all of that would go into the rate of this run."""
    first: dict[tuple[str, ...], int] = {}

    def total() -> Reading:
        return [
            (value - first.setdefault(tuple(attributes.values()), value), attributes) for value, attributes in _tagged(read)()
        ]

    total()
    return total
