"""Prove that the tests can fail: plant each bug into a copy of the package, and run the test that it must turn red.

`python tests/planted/prove.py [NAME…]`, with an interpreter that the test packages are installed for; `--list` shows the bugs.
The copy is interpreted. Each test is run without a bug first, where it must be green. Ends with status 1 if a bug survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from bugs import BUGS, Bug

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests"
DEADLINE_SECONDS = 90.0  # of a test with a bug, which may hang; most have a deadline of their own
AT_ONCE = os.cpu_count() or 1
FAILED = 1  # pytest's status: tests were run, and some failed


class Run(NamedTuple):
    """How a run of pytest ended: `status` is None where it hung."""

    status: int | None
    seconds: float
    output: str

    def __str__(self) -> str:
        if self.status is None:
            return "hung"
        if self.status in (0, FAILED):
            return ("passed", "failed")[self.status]
        return f"pytest ended with status {self.status}"

    def why(self) -> str:
        """Return the last line that says what was wrong."""
        said = [one for one in re.findall(r"(?m)^E +(.*\S)$", self.output) if not one.startswith(("Use -v", "At index", "+ "))]
        telling = [one for one in said if re.match(r"[\w.]*(Error|Exit|Timeout)\b", one)] or said
        return telling[-1] if telling else ""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def copied(source: Path, folder: Path) -> Path:
    """Copy the package, without what is compiled of it."""
    for name in ("metrics_sdk", "integrations"):
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    return folder


def plant(bug: Bug, folder: Path) -> None:
    """Make the edits of a bug. Raises SystemExit if what they replace is not there exactly once."""
    for edit in bug.edits:
        path = folder / edit.file
        text = path.read_text(encoding="utf-8")
        times = text.count(edit.old)
        if times != 1:
            raise SystemExit(f"{edit.file} has {times} times what {bug.name} replaces: {edit.old!r}")
        made = text.replace(edit.old, edit.new)
        compile(made, edit.file, "exec")  # a file that cannot be read would turn every test red
        path.write_text(made, encoding="utf-8")


def run(package: Path, tests: Sequence[str], deadline: float) -> Run:
    """Run tests against a copy of the package."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    if not entry_points(group="pytest11", name="metrics_sdk"):  # not installed: the copy is all there is
        command += ["-p", "metrics_sdk.pytest_plugin"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{package}{os.pathsep}{package / 'integrations'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:  # no pipe: what a test has forked may outlive it, and hold that open
        process = subprocess.Popen(
            [*command, *[str(TESTS / test) for test in tests]],
            cwd=ROOT,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(deadline)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)  # it, or what it has left behind
        except ProcessLookupError:
            pass
        process.wait()
        said.seek(0)
        return Run(status, time.monotonic() - started, said.read().decode("utf-8", "replace"))


def proved(source: Path, bug: Bug) -> Run:
    """Run the test of a bug with that bug."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        package = copied(source, Path(folder))
        plant(bug, package)
        return run(package, [bug.caught_by], DEADLINE_SECONDS)


def main() -> int:
    """Prove it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help="of bugs; all by default")
    parser.add_argument("--list", action="store_true", help="show the bugs, and what they do")
    parser.add_argument("--package", type=Path, default=ROOT, help="the folder with metrics_sdk/ and integrations/ to copy")
    given = parser.parse_args()
    unknown = set(given.names) - {bug.name for bug in BUGS}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    chosen = [bug for bug in BUGS if not given.names or bug.name in given.names]
    if given.list:
        for bug in chosen:
            say(f"{bug.name:30} {bug.what}\n{'':30} {bug.caught_by}")
        return 0
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:  # as it is now: it may be edited meanwhile
        return prove(chosen, copied(given.package, Path(folder)))


def prove(chosen: list[Bug], package: Path) -> int:
    """Run the tests without the bugs, and each with its own."""
    started = time.monotonic()
    tests = list(dict.fromkeys([bug.caught_by for bug in chosen]))
    green = run(package, tests, DEADLINE_SECONDS + 30 * len(tests))
    say(f"without a bug: {green}, {green.output.strip().splitlines()[-1] if green.output.strip() else ''}")
    if green.status not in (0, FAILED):
        say(green.output[-20_000:])
        return 1
    failed = re.findall(r"(?m)^(?:FAILED|ERROR) tests/(.*?)(?: - .*)?$", green.output)
    unproven = [bug for bug in chosen if any([one.startswith(bug.caught_by) for one in failed])]
    chosen = [bug for bug in chosen if bug not in unproven]
    if " skipped" in green.output:
        say("some were skipped, and prove nothing: their bugs survive")
    survived = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for bug, red in zip(chosen, pool.map(partial(proved, package), chosen), strict=True):
            if red.status not in (FAILED, None):
                survived.append(bug)
            say(f"{bug.name:30} {red!s:10} {red.seconds:5.1f} s  {red.why()[:110]}")
    say(f"{len(chosen) - len(survived)} of {len(chosen)} bugs turned their test red, in {time.monotonic() - started:.0f} s")
    for bug in survived:
        say(f"SURVIVED {bug.name}: {bug.what}; {bug.caught_by}")
    for bug in unproven:
        say(f"UNPROVEN {bug.name}: without the bug its test is red as well; {bug.caught_by}")
    return 1 if survived or unproven else 0


if __name__ == "__main__":
    sys.exit(main())
