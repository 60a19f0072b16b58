"""The process that a case happens in: it makes SDKs, and checks at the end that nothing was lost, doubled or left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogue.case import FULL

from metrics_sdk import Config, Export, MetricsSDK, Snapshot
from metrics_sdk.health import Health

TESTS = Path(__file__).parent.parent

#: The program of a child, before its own text: a deadline with the stacks of all threads.
PREAMBLE = "import faulthandler, sys; faulthandler.dump_traceback_later({deadline}, exit=True); sys.path.insert(0, {tests!r})\n"


class Ledger:
    """An exporter that adds up what it was told, as the other side would, and lets a test wait for it."""

    def __init__(self) -> None:
        self.last: Snapshot | None = None
        self.exports = 0

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        """Keep it."""
        self.last = snapshot
        self.exports += 1

    def shutdown(self) -> None:
        """Nothing is held."""

    def total(self, name: str) -> float:
        """Return the sum of all series of a counter, or the count of a histogram, as it was told last."""
        metrics = self.last.metrics if self.last is not None else ()
        points = [point for metric in metrics if metric.name == name for point in metric.points]
        values: list[Any] = [point.value for point in points]
        return sum([value.count if hasattr(value, "bucket_counts") or hasattr(value, "scale") else value for value in values])

    def wait_for(self, name: str, total: float, seconds: float) -> bool:
        """Wait until that much was told. Without a lock, which a child could inherit held."""
        deadline = time.monotonic() + seconds
        while self.total(name) != total and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.total(name) == total


class Host:
    """What a case is given."""

    def __init__(self, variant: str, folder: Path) -> None:
        self.variant = variant
        self.folder = folder  # empty, and the case's own
        self._watched: list[tuple[MetricsSDK, Ledger | None, float]] = []
        self._before = resources()

    def size(self, reduced: int, full: int) -> int:
        """Return how many: the catalogue's number where the whole matrix is run, a smaller one elsewhere."""
        return full if FULL else reduced

    def sdk(self, *, flush_interval_seconds: float = 0.25, **fields: Any) -> MetricsSDK:
        """Return an SDK with a `Ledger` beside the exporters given, which is checked at the end of the case."""
        ledger = Ledger()
        exporters = [*fields.pop("exporters", ()), Export(ledger, interval_seconds=flush_interval_seconds, name="ledger")]
        sdk = MetricsSDK(Config(exporters=exporters, flush_interval_seconds=flush_interval_seconds, **fields))
        self.watch(sdk, ledger)
        return sdk

    def watch(self, sdk: MetricsSDK, ledger: Ledger | None = None) -> None:
        """Check `sdk` as well at the end of the case."""
        self._watched.append((sdk, ledger, sdk.config.flush_interval_seconds))

    def ledger(self, sdk: MetricsSDK) -> Ledger:
        """Return the ledger of an SDK that `sdk()` has made."""
        return next(ledger for one, ledger, _ in self._watched if one is sdk and ledger is not None)

    def python(
        self, program: str, *arguments: str, deadline: float = 30.0, status: int = 0, stderr: str | None = "", **more: Any
    ) -> str:
        """Run a program in a further process; return what it printed. It must end with `status`, and write that to stderr."""
        source = PREAMBLE.format(deadline=deadline, tests=str(TESTS)) + textwrap.dedent(program)
        command = [sys.executable, *IGNORED, "-c", source, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, timeout=deadline + 30, check=False, **more
        )
        told = f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == status, told
        assert stderr is None or done.stderr == stderr, told
        return done.stdout

    def forked(self, work: Callable[[], object]) -> int:
        """Fork; return the child, which does `work` and ends with status 0, or 1 and a traceback."""
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    def ended_well(self, pid: int, seconds: float = 20.0) -> bool:
        """Wait for a child; False: it failed, or hung and was killed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.002)  # there is no way to wait for a process with a deadline
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return False

    # ---- the standard check -------------------------------------------------------------------------------------

    def check(self) -> None:
        """The standard check: every value is accounted for, the next one arrives on time, and nothing is left behind."""
        for sdk, ledger, interval in self._watched:
            if not sdk.health().shut_down:
                self.check_running(sdk, ledger, interval)
                assert sdk.shutdown(10), sdk.health()
            check_accounts(sdk.health())
        deadline = time.monotonic() + 5
        while (left := beyond(resources(), self._before)) and time.monotonic() < deadline:
            time.sleep(0.005)  # a thread that has done its work is there for a moment longer
        assert not left, f"left behind: {left}"

    def check_running(self, sdk: MetricsSDK, ledger: Ledger | None, interval: float) -> None:
        """The part of the check for an SDK that is at work."""
        sdk.flush(10)
        check_accounts(sdk.health())
        if ledger is None:
            return
        name = f"catalogue.after.{os.getpid()}.{id(self)}"
        after = sdk.counter(name)
        started = time.monotonic()
        after.add(1)
        if sdk.config.background:
            assert ledger.wait_for(name, 1, 2 * interval + 0.1), (
                f"no value in {time.monotonic() - started:.2f} s: {sdk.health()}"
            )
        assert sdk.flush(10), sdk.health()
        told = sdk.health().exporters["ledger"]
        assert told.acknowledged == sdk.health().merged, sdk.health()


def check_accounts(health: Health) -> None:
    """Every value is merged, dropped for a reason, or pending: in all, for each instrument and for each exporter."""
    for name, one in [("all", health), *health.instruments.items()]:
        accounted = one.merged + sum(one.dropped.values()) + one.pending
        assert one.received == accounted, f"{name}: {one.received} received, {accounted} accounted for: {one}"
    for name, exporter in health.exporters.items():
        assert exporter.acknowledged + exporter.unacknowledged == health.merged, f"{name}: {exporter}, {health.merged}"
        assert exporter.acknowledged >= 0, exporter
        assert exporter.unacknowledged >= 0, exporter


def resources() -> dict[str, int]:
    """Return how many threads and descriptors this process has, by the system's count where it has one."""
    if not os.path.isdir("/proc/self/task"):
        return {"threads": threading.active_count()}
    return {"threads": len(os.listdir("/proc/self/task")), "descriptors": len(os.listdir("/proc/self/fd"))}


def beyond(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Return what there is more of than there was."""
    return {name: now[name] - before[name] for name in now if now[name] > before[name]}


#: From 3.12 on each fork of a process with threads is warned of: that it works all the same is what cases prove.
IGNORED = ("-W", "ignore:This process:DeprecationWarning")
