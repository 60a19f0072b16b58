"""Servers of several processes: start one, put it under load, end it, and add up what its processes told.

`make servers` gets the programs; they are Debian 13's, and run with Debian 13's own libraries, whatever Debian this is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from catalogue.host import TESTS, Host
from servers import free_port, until

UNPACKED = TESTS.parent / ".cache" / "hosts" / "root" / "usr"


def program(name: str) -> str:
    """Return the path of a program, or its mere name where it is not there: what a case declares that it needs."""
    unpacked = UNPACKED / "bin" / name
    return shutil.which(name) or (str(unpacked) if unpacked.exists() else name)


def command(name: str) -> list[str]:
    """Return how to run a program."""
    path = program(name)
    if not path.startswith(str(UNPACKED)):
        return [path]
    loader = next((UNPACKED / "lib").glob("*/ld-linux*.so*"))
    return [str(loader), "--library-path", str(loader.parent), path]


class Told(NamedTuple):
    """What the processes of a server told last: the sum of a counter, or the count of a histogram, by instance."""

    totals: Mapping[str, Mapping[str, float]]  # by the instance's id, then by the metric's name

    def total(self, name: str) -> float:
        """Return what all of them told together."""
        return sum([one.get(name, 0) for one in self.totals.values()])

    def instances(self, name: str) -> int:
        """Return how many of them have recorded it."""
        return len([one for one in self.totals.values() if one.get(name)])


class Fleet:
    """A server's processes, from its start to its end."""

    def __init__(self, host: Host, *arguments: str, **environment: str) -> None:
        """Run it: `{port}` in an argument is a free port of 127.0.0.1; `environment` are variables that its application reads."""
        self.folder = host.folder
        self.port = free_port()
        self.log = host.folder / "log"
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **environment,
            "CATALOGUE_FOLDER": str(host.folder),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        with self.log.open("w") as log:
            # A session of its own, so that every process of it can be found, and ended.
            self.process = subprocess.Popen(
                [one.replace("{port}", str(self.port)) for one in arguments],
                stdout=log, stderr=subprocess.STDOUT, cwd=host.folder, env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ready(self, line: str, times: int = 1, seconds: float = 20.0) -> None:
        """Wait until its log has a line like this, so many times."""
        until(lambda: len(re.findall(line, self.log.read_text())) >= times, f"{line!r} in {self.log.read_text()}", seconds)

    def threads(self) -> int:
        """Return how many threads the master has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def children(self) -> list[int]:
        """Return the processes that the master has started and that are there."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(one) for one in found.split()]

    def send(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15.0) -> int:
        """Have it end, with all of its processes: return its status."""
        self.send(number)
        status = self.process.wait(seconds)
        until(self._nobody_left, f"a process hangs: {self.log.read_text()}", seconds)
        return status

    def _nobody_left(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """End what is left of it by force."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGABRT)  # what hangs tells the stacks of its threads
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            print(self.log.read_text(), file=sys.stderr)
        self.kill()

    # ---- what has become of the values --------------------------------------------------------------------------

    def counted(self) -> dict[int, int]:
        """Return how much each process has done, by the application's own count."""
        return {int(path.stem): path.stat().st_size for path in self.folder.glob("*.counted")}

    def exiting(self) -> set[int]:
        """Return the processes that the server has let end as Python ends."""
        return {int(path.stem) for path in self.folder.glob("*.exiting")}

    def told(self) -> Told:
        """Return what the processes told last; the account of each must be in order."""
        return told(self.folder)


def told(folder: Path) -> Told:
    """Return what processes told last in the files of a folder, see `applications/recording.py`."""
    made: dict[str, Counter[str]] = {}
    for path in folder.glob("*.jsonl"):
        by_time: dict[str, dict[float, Counter[str]]] = {}
        for line in path.read_text().splitlines():
            one: dict[str, Any] = json.loads(line)
            assert one["resource"]["process.pid"] == int(path.stem), f"{path} tells of {one['resource']}"
            snapshots = by_time.setdefault(one["resource"]["service.instance.id"], {})
            totals = snapshots.setdefault(one["time"], Counter())
            totals[one["name"]] += one["count"] if "count" in one else one["value"]
        for instance, snapshots in by_time.items():
            assert instance not in made, f"{path}: {instance} is the id of another process too"
            made[instance] = last = snapshots[max(snapshots)]  # totals since its start: those told last count
            accounted = last["metrics_sdk.merged"] + last["metrics_sdk.dropped"] + last["metrics_sdk.pending"]
            assert last["metrics_sdk.received"] == accounted, f"{path}: {last}"
    return Told(made)
