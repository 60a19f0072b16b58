"""Fuzzing: arbitrary bytes become hostile recordings, which every encoder writes and somebody else's parser reads back.

    python tests/fuzz/fuzz.py --seconds 600 [--engine hypothesis|atheris] [--seed N] [--corpus FOLDER]
    python tests/fuzz/fuzz.py --input HEX

Whatever fails is told once for each place, with the input that a test can hold (`--input`), and the run goes on. Ends with
status 1 if anything failed. An input that takes longer than `SLOW_SECONDS` fails as well; one that never ends is told with the
stacks of all threads. Atheris is `pip install atheris==3.0.0`, and measures what of our interpreted packages is reached.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

#: What one input may take. Making an SDK and reading back 14 encodings takes some 20 ms, instrumented 100.
SLOW_SECONDS = 5.0
HANG_SECONDS = 60
PACKAGES = ["metrics_sdk", "metrics_sdk_prometheus", "metrics_sdk_opentelemetry", "metrics_sdk_statsd"]

Check = Callable[[bytes], None]


class TooSlow(BaseException):
    """An input took too long. Not an Exception: nothing on the way may take it for one."""


class Run:
    """Tries inputs, and keeps what failed, once for each place."""

    def __init__(self, checks: dict[str, Check]) -> None:
        self._checks = checks
        self.tried = 0
        self.slowest = 0.0
        self.failures: dict[str, tuple[int, bytes, str]] = {}

    def one(self, data: bytes) -> None:
        """Try one input: the first byte says which check."""
        self.tried += 1
        started = time.monotonic()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_REAL, SLOW_SECONDS)
        try:
            self.check(data)
        except (Exception, TooSlow) as error:
            self._keep(data, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
        self.slowest = max(self.slowest, time.monotonic() - started)

    def check(self, data: bytes) -> None:
        """Do what an input says. Raises whatever is wrong."""
        names = list(self._checks)
        self._checks[names[data[0] % len(names)] if data else names[0]](data[1:])

    def _keep(self, data: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        chosen = [frame for frame in frames if frame.name not in ("one", "check", "encoders", "<lambda>", "same")]
        ours = [frame for frame in chosen if str(HERE) in frame.filename]
        last = ours[:2] if isinstance(error, TooSlow) else [*ours[-1:], *[one for one in chosen[-1:] if one not in ours]]
        place = (
            f"{type(error).__name__} at {' > '.join([f'{Path(one.filename).name}:{one.lineno} {one.name}' for one in last])}"
        )
        known = self.failures.get(place)
        if known is None:
            print(f"FAILED {place}: {str(error)[:200]}\n  --input {data.hex()}", flush=True)
        if known is None or len(data) < len(known[1]):
            self.failures[place] = ((known[0] if known else 0) + 1, data, "".join(traceback.format_exception(error)))
        else:
            self.failures[place] = (known[0] + 1, *known[1:])

    def report(self, engine: str, seconds: float) -> int:
        """Print what came of it; return the status to end with."""
        print(
            f"{engine}: {self.tried} inputs in {seconds:.0f} s, the slowest took {self.slowest:.2f} s,"
            f" {len(self.failures)} different failures"
        )
        for place, (times, data, trace) in self.failures.items():
            print(f"\n=== {times} times: {place}\npython tests/fuzz/fuzz.py --input {data.hex()}\n{trace[-3000:]}")
        sys.stdout.flush()
        return 1 if self.failures else 0


def checks() -> dict[str, Check]:
    """Return what inputs are tried on, by name; imported late, so that Atheris can instrument it."""
    import logging

    import foreign
    import read_back
    from source import Source
    from world import made_of

    logging.lastResort = None  # what is logged of odd input is not told here

    def encoders(data: bytes) -> None:
        world = made_of(Source(data))
        failed: list[BaseException] = []
        for check in read_back.CHECKS:
            try:
                check(world)
            except Exception as error:  # what is wrong with one encoder says nothing of the others
                failed.append(error)
        world.sdk.shutdown()
        if failed:
            raise failed[random.randrange(len(failed))] if len(failed) > 1 else failed[0]

    def of(check: Callable[[Any], None]) -> Check:
        return lambda data: check(Source(data))

    # Half of all inputs are for the encoders.
    return {
        **{f"encoders {number}": encoders for number in range(len(foreign.CHECKS))},
        **{check.__name__: of(check) for check in foreign.CHECKS},
    }


def _too_slow(*_: object) -> None:
    raise TooSlow


def with_hypothesis(run: Run, seconds: float, seed: int, examples: int = 1_000_000) -> None:
    """Try what Hypothesis comes up with, in rounds of a thousand, for so long or so many examples."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end and run.tried < examples:

        @seeded(seed + rounds)
        @settings(
            max_examples=min(1000, examples - run.tried), deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.binary(min_size=1, max_size=400))
        def attempt(data: bytes) -> None:
            if time.monotonic() < end:
                run.one(data)

        attempt()
        # Hypothesis alone likes short inputs; what uses all of a long one reaches further.
        chance = random.Random(seed + rounds)
        for _ in range(200):
            if time.monotonic() < end and run.tried < examples:
                run.one(chance.randbytes(chance.randrange(20, 600)))
        rounds += 1


def with_atheris(seconds: float, seed: int, corpus: str) -> None:
    """Try what Atheris comes up with; does not return."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        made = checks()
    run = Run(made)
    started = time.monotonic()

    def attempt(data: bytes) -> None:
        if time.monotonic() - started > seconds:
            status = run.report("atheris", time.monotonic() - started)
            sys.modules["read_back"].forget()
            os._exit(status)
        run.one(data)

    chance = random.Random(seed)
    folder = Path(corpus or tempfile.mkdtemp(prefix="metrics_sdk_corpus_"))
    for number in range(64):
        (folder / f"seed{number}").write_bytes(bytes([number % len(made)]) + chance.randbytes(chance.randrange(20, 600)))
    flags = ["-max_len=2000", f"-seed={seed}", "-timeout=0", "-handle_alrm=0", "-rss_limit_mb=4096", "-verbosity=0"]
    atheris.Setup(["fuzz", *flags, str(folder)], attempt)
    signal.signal(signal.SIGALRM, _too_slow)
    atheris.Fuzz()


def main() -> int:
    """Read the command line, and run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--engine", choices=["hypothesis", "atheris"], default="hypothesis")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--corpus", default="", help="a folder for Atheris; otherwise a new temporary one")
    options.add_argument("--input", default="", help="one input in hexadecimal, as a failure is told")
    given = options.parse_args()
    signal.signal(signal.SIGALRM, _too_slow)
    if given.input:
        Run(checks()).check(bytes.fromhex(given.input))
        print("passed")
        return 0
    if given.engine == "atheris":
        with_atheris(given.seconds, given.seed or 1, given.corpus)
    started = time.monotonic()
    run = Run(checks())
    with_hypothesis(run, given.seconds, given.seed)
    from read_back import forget

    forget()
    return run.report("hypothesis", time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
