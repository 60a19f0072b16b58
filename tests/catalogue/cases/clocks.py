"""Time: wall clocks that jump, libraries that freeze them, processes that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from catalogue.case import case
from catalogue.host import Host

DAY = 86_400.0


class Jumping:
    """The machine's clocks, but the wall clock is set now and then."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        """Return Unix seconds, as somebody has set them."""
        return time.time() + self.ahead

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


@case("clock jumps", variants=("back a day", "ahead ten years", "to and fro"))
def jumps(host: Host) -> None:
    """The wall clock is set: flushing and exporting go on, deadlines end, no value is lost and no duration is negative."""
    clock = Jumping()
    sdk = host.sdk(clock=clock)
    counter, latency = sdk.counter("c"), sdk.histogram("h", unit="s")
    ledger = host.ledger(sdk)
    steps = {"back a day": [-DAY], "ahead ten years": [3650 * DAY], "to and fro": [DAY, -3 * DAY, 3650 * DAY, -3650 * DAY]}
    recorded = 0
    for step in [0.0, *steps[host.variant]]:
        with latency.time():
            clock.ahead += step
            counter.add(1)
        recorded += 1
        assert ledger.wait_for("c", recorded, 2.0), f"nothing came after {step:+.0f} s: {sdk.health()}"
        started = time.monotonic()
        assert sdk.flush(5)
        assert sdk.query("c").sum == recorded
        assert sdk.query("c", last=60).count <= recorded
        assert time.monotonic() - started < 2
    found = sdk.query("h")
    assert found.count == recorded
    assert found.min is not None
    assert found.min >= 0, found


@case("time is frozen by a test library", needs=("freezegun",))
def frozen(host: Host) -> None:
    """freezegun stops and moves `time`: the flusher goes on, and durations that are measured meanwhile are not negative."""
    import freezegun

    sdk = host.sdk()
    counter, latency = sdk.counter("c"), sdk.histogram("h", unit="s")
    with freezegun.freeze_time("2001-01-01") as moved:
        for recorded in range(1, 4):
            with latency.time():
                counter.add(1)
                moved.tick(-3600)
            assert host.ledger(sdk).wait_for("c", recorded, 2.0), sdk.health()
            assert sdk.flush(5)
    found = sdk.query("h")
    assert found.min is not None
    assert found.min >= 0, found


@case("suspended process", needs=("fork",))
def suspended(host: Host) -> None:
    """Stopped for a while with an interval of 0.1 s, a process makes one flush to catch up, not one for each that it missed."""
    program = """
    import os, sys, time
    from metrics_sdk import Config, MetricsSDK
    sdk = MetricsSDK(Config(flush_interval_seconds=0.1))
    counter = sdk.counter("c")
    counter.add(1)
    while sdk.health().flushes < 2: time.sleep(0.01)
    print(sdk.health().flushes, flush=True)
    sys.stdin.readline()
    counter.add(1)
    started, flushes = time.monotonic(), sdk.health().flushes
    while sdk.query("c").sum < 2: time.sleep(0.001)
    print(sdk.health().flushes, time.monotonic() - started, flush=True)
    """
    from textwrap import dedent

    from catalogue.host import PREAMBLE, TESTS

    source = PREAMBLE.format(deadline=30, tests=str(TESTS)) + dedent(program)
    child = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    before = int(child.stdout.readline())
    seconds = host.size(1, 5)
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(seconds)  # it is the time that passes which is tried
    os.kill(child.pid, signal.SIGCONT)
    child.stdin.write("go\n")
    child.stdin.flush()
    after, took = child.stdout.readline().split()
    assert child.wait(20) == 0
    assert int(after) - before <= 5, f"{int(after) - before} flushes after {seconds} s of sleep"
    assert float(took) < 1.0, took
