"""One library put through one case: what it is given, and what is noted of it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from catalogue.case import FULL
from catalogue.libraries.library import Library, Settings, Side, module

TESTS = Path(__file__).parents[2]

#: The program of a further process, before its own text.
PREAMBLE = """\
import faulthandler, sys
faulthandler.dump_traceback_later({deadline}, exit=True)
sys.path.insert(0, {tests!r})
from catalogue.libraries.library import start
def begin(**settings):
    return start({name!r}, {folder!r}, **settings)
"""


class FellShortError(AssertionError):
    """What a library did instead of passing, in a few words."""


class Ended(NamedTuple):
    """How a program ended. `seconds`: after it said, or should have said, that it is ready."""

    status: int | None  # None: not at all
    stdout: str
    stderr: str
    seconds: float


class Trial:
    """A library, by the name of its distribution, and the other side in an empty folder."""

    def __init__(self, name: str, folder: Path, processes: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.library: Library | None = None
        self.fell: list[str] = []
        self.measured: list[str] = []
        if processes and name == "prometheus-client":  # read at its import, and by the processes to come
            (folder / "processes").mkdir()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "processes")
        self._using = module(name)
        self.can: frozenset[str] = self._using.CAN
        self.side: Side = self._using.side(folder)
        getattr(self.side, "port", None)  # a receiver is there before its library, in this process

    def start(self, **settings: Any) -> Library:
        """Start the library in this process, see `Settings`."""
        self.library = self._using.start(self.side, Settings(**settings))
        return self.library

    def size(self, reduced: int, full: int) -> int:
        """Return how many: the catalogue's number where the whole matrix is run, a smaller one elsewhere."""
        return full if FULL else reduced

    # ---- what is noted ------------------------------------------------------------------------------------------

    def falls(self, what: str) -> None:
        """Note that it fell short, and go on."""
        if what not in self.fell:
            self.fell.append(what)

    def judge(self) -> None:
        """Raise FellShortError if it fell short of anything."""
        if self.fell:
            raise FellShortError("; ".join(self.fell))

    def attempt(self, call: Callable[..., object], *arguments: Any) -> bool:
        """Call; False: it raised, which is noted."""
        try:
            call(*arguments)
        except Exception as error:
            self.falls(f"raised {type(error).__name__}")
            return False
        return True

    # ---- what has arrived ---------------------------------------------------------------------------------------

    def total(self, name: str, attributes: Mapping[str, str] | None = None) -> float:
        """Return what has arrived of a counter."""
        return self.side.book.total(name, attributes)

    def arrives(
        self,
        name: str,
        expected: float,
        attributes: Mapping[str, str] | None = None,
        seconds: float = 3.0,
        by_itself: bool = False,
    ) -> bool:
        """Wait until exactly `expected` has arrived; note it if it does not within `seconds`.

        `by_itself`: nobody has asked for it to be delivered, so two intervals are granted besides.
        """
        interval = self.library.interval if self.library is not None and by_itself else 0.0
        deadline = time.monotonic() + seconds + 2 * interval
        while (found := self.total(name, attributes)) != expected and time.monotonic() < deadline:
            time.sleep(0.01)  # it may be another process that delivers
        if found != expected:
            self.falls(difference(found, expected))
        return found == expected

    # ---- other processes ----------------------------------------------------------------------------------------

    def fork(self, work: Callable[[], object]) -> int:
        """Fork; return the child, which does `work` and ends with status 0, or 1."""
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

    def end(self, pids: Iterable[int], seconds: float = 5.0) -> int:
        """Wait for all children, `seconds` in all; note those that hang, which are killed, and those that failed."""
        deadline = time.monotonic() + seconds
        waiting, failed = set(pids), 0
        forked = len(waiting)
        while waiting and time.monotonic() < deadline:
            for pid in list(waiting):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    waiting.discard(pid)
                    failed += status != 0
            time.sleep(0.002)  # there is no way to wait for processes with a deadline
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if waiting:
            self.falls(f"{len(waiting)} of {forked} hung" if forked > 1 else "child hung")
        if failed:
            self.falls(f"{failed} of {forked} failed" if forked > 1 else "child failed")
        return len(waiting) + failed

    def program(self, text: str, *arguments: str, term: bool = False, seconds: float = 10.0) -> Ended:
        """Run a program to its end, or for `seconds`; in it `begin(**settings)` starts the library.

        `term`: send SIGTERM as soon as it has printed a line.
        """
        file = self.folder / "program.py"
        file.write_text(
            PREAMBLE.format(deadline=seconds + 15, tests=str(TESTS), name=self.name, folder=str(self.folder))
            + textwrap.dedent(text)
        )
        with (self.folder / "stderr").open("w+b") as stderr:
            running = subprocess.Popen(
                [sys.executable, "-W", "ignore:This process:DeprecationWarning", str(file), *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=self.folder,
            )
            assert running.stdout is not None
            first = running.stdout.readline()
            since = time.monotonic()
            if term:
                running.send_signal(signal.SIGTERM)
            status: int | None
            try:
                status = running.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
                running.kill()
                running.wait()
            took = time.monotonic() - since
            with running.stdout:
                stdout = first + (running.stdout.read() if status is not None else "")
            stderr.seek(0)
            return Ended(status, stdout, stderr.read().decode("utf-8", "replace"), took)

    def ends_well(self, ended: Ended, status: int = 0) -> bool:
        """Note it if a program did not end, not so, or not in silence."""
        if ended.status is None:
            self.falls(f"hung for {ended.seconds:.0f} s")
        elif ended.status != status:
            self.falls(f"status {status_name(ended.status)}")
        elif ended.stderr:
            self.falls("writes to stderr")
        if self.fell:
            sys.stderr.write(ended.stdout + ended.stderr)
        return not self.fell


def difference(found: float, expected: float) -> str:
    """Say how what was found differs from what was expected."""
    if not math.isfinite(found) or abs(found) > 1e15:
        return f"sum = {found:.3g}"
    if found == 0:
        return f"lost all {expected:,.0f}" if expected > 1 else "lost"
    if found == 2 * expected:
        return f"doubled: {found:,.0f} for {expected:,.0f}"
    if found > expected:
        return f"counts {found:,.0f} for {expected:,.0f}"
    return f"lost {expected - found:,.0f} of {expected:,.0f}"


def status_name(status: int) -> str:
    """Name an exit status by its signal, where one ended the process."""
    return signal.Signals(-status).name if status < 0 else str(status)
