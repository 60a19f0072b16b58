"""Forked children of the soak: each records a little, delivers it, and looks whether that is all that was delivered."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from random import Random

from checks import check_all
from exporters import Flipping
from tally import Tally
from workload import Workload

from metrics_sdk import MetricsSDK

SECONDS = 60.0  # for a child, on a machine that is busy


class Children:
    """Forks, and waits for no child: those that have ended are looked at now and then."""

    def __init__(self, sdk: MetricsSDK, workload: Workload, exporters: list[Flipping]) -> None:
        self._sdk = sdk
        self._workload = workload
        self._exporters = exporters
        self._alive: dict[int, float] = {}  # the deadline of each
        self.forks = 0

    def fork(self, seed: int) -> None:
        """Fork a child, while everybody else goes on."""
        pid = os.fork()
        if pid:
            self.forks += 1
            self._alive[pid] = time.monotonic() + SECONDS
            return
        status = 1
        try:
            # Not `dump_traceback_later`: that would wait for the parent's thread, which is not there.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.register(signal.SIGALRM, chain=True)
            signal.setitimer(signal.ITIMER_REAL, SECONDS - 5)
            gc.callbacks.clear()
            self._live(seed)
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())  # a lock of sys.stderr may be held by a thread that is no more
        finally:
            os._exit(status)

    def _live(self, seed: int) -> None:
        """Be a child. Only this thread is left."""
        source = Random(seed)
        for exporter in self._exporters:
            exporter.begin()
            exporter.heal()
        self._sdk.reconfigure(disabled=[])
        tally = Tally()
        for slot in range(source.randrange(1, 6)):
            self._workload.batch(tally, source, slot, source.randrange(1, 50))
        last = source.random() < 0.3
        done = self._sdk.shutdown(30) if last else self._sdk.flush(30)
        assert done, f"not delivered: {self._sdk.health()}"
        check_all(self._sdk, tally, self._exporters)

    def reap(self) -> None:
        """Look at those that have ended. Raises AssertionError for one that failed, or does not end."""
        for pid, deadline in list(self._alive.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._alive[pid]
                code = os.waitstatus_to_exitcode(status)
                assert code == 0, f"a child ended with status {code}: its stacks or traceback are above"
            elif time.monotonic() > deadline:
                self.end()
                raise AssertionError("a child hangs: its stacks are above")

    def end(self) -> None:
        """End those that are left, which show their stacks."""
        for pid in self._alive:
            os.kill(pid, signal.SIGABRT)
        for pid in self._alive:
            os.waitpid(pid, 0)
        self._alive.clear()

    def wait(self) -> None:
        """Wait for all of them."""
        while self._alive:
            self.reap()
            time.sleep(0.01)


def forked_without_collecting(fork: Callable[[int], None], seed: int) -> None:
    """Fork with the collector off: in the child it would finalise what is the parent's before the child has a say."""
    gc.disable()
    try:
        fork(seed)
    finally:
        gc.enable()
