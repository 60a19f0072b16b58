"""What this machine says of itself: from /proc where there is one, else what the standard library knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

SECTOR_BYTES = 512  # the unit of /proc/diskstats, whatever the device's own sectors are

#: Values with attributes, as an observable's callback returns them.
Reading = list[tuple[int, Mapping[str, str]]]


class Source(Protocol):
    """Where readings come from. What cannot be read is empty."""

    origin: str

    def cpu(self) -> Mapping[str, float]:
        """Return the processor time spent so far, by mode ("idle" is one), in any unit."""

    def memory(self) -> Reading:
        """Return the memory in use, in bytes."""

    def disks(self) -> Reading:
        """Return the bytes read and written so far, by device and direction."""

    def received(self) -> Reading:
        """Return the bytes received so far, by device."""

    def sent(self) -> Reading:
        """Return the bytes sent so far, by device."""


class Proc:
    """Reads the files of a Linux kernel."""

    origin = "/proc"

    def __init__(self, proc: Path = Path("/proc"), blocks: Path = Path("/sys/block")) -> None:
        self._proc = proc
        self._blocks = blocks

    def cpu(self) -> Mapping[str, float]:
        """Return the time of all processors so far, by mode, in ticks."""
        for line in self._lines("stat"):
            if line.startswith("cpu "):
                user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in line.split()[1:9])
                return {"user": user + nice, "system": system + irq + softirq + steal, "iowait": iowait, "idle": idle}
        return {}

    def memory(self) -> Reading:
        """Return what is not available to programs any more."""
        kib = {line.partition(":")[0]: int(line.split()[1]) for line in self._lines("meminfo")}
        if "MemTotal" not in kib or "MemAvailable" not in kib:
            return []
        return [((kib["MemTotal"] - kib["MemAvailable"]) * 1024, {})]

    def disks(self) -> Reading:
        """Return the traffic of whole devices, not of their partitions, that have had any."""
        found: Reading = []
        for line in self._lines("diskstats"):
            fields = line.split()
            device, read, written = fields[2], int(fields[5]), int(fields[9])
            if (read or written) and (self._blocks / device.replace("/", "!")).exists():
                found.append((read * SECTOR_BYTES, {"device": device, "direction": "read"}))
                found.append((written * SECTOR_BYTES, {"device": device, "direction": "write"}))
        return found

    def received(self) -> Reading:
        """Return what the interfaces have received."""
        return self._interfaces(0)

    def sent(self) -> Reading:
        """Return what the interfaces have sent."""
        return self._interfaces(8)

    def _interfaces(self, field: int) -> Reading:
        found: Reading = []
        for line in self._lines("net/dev"):
            device, colon, numbers = line.partition(":")
            fields = numbers.split()
            if colon and (int(fields[0]) or int(fields[8])):  # those that are not in use say nothing
                found.append((int(fields[field]), {"device": device.strip()}))
        return found

    def _lines(self, name: str) -> Iterable[str]:
        try:
            return (self._proc / name).read_text().splitlines()
        except OSError:
            return ()


class Portable:
    """Asks the standard library, which knows this process but not the machine."""

    origin = "this process only, there is no /proc"

    def cpu(self) -> Mapping[str, float]:
        """Return the processor time of this process so far, in seconds, and what else all processors could have done."""
        used = time.process_time()
        return {"process": used, "idle": time.monotonic() * (os.cpu_count() or 1) - used}

    def memory(self) -> Reading:
        """Return the most that this process ever used."""
        try:
            import resource
        except ImportError:  # not on Windows
            return []
        # Bytes on macOS, kibibytes elsewhere.
        unit = 1 if os.uname().sysname == "Darwin" else 1024
        return [(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, {})]

    def disks(self) -> Reading:
        """Return nothing: the standard library does not know."""
        return []

    received = sent = disks


def best() -> Source:
    """Return the best source that there is on this machine."""
    proc = Proc()
    return proc if proc.cpu() else Portable()
