"""The whole catalogue on every interpreter, with the core compiled and interpreted: `python tests/catalogue/matrix.py [--reduced]`.

Each interpreter gets environments of its own in `.venv/matrix/`. On a free-threaded one, whose packages are few, the core is
interpreted, and the cases of threads, signals and conservation are run. Prints a table; status 0 if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".venv" / "matrix"
EVERYTHING = ["tests/catalogue", "tests/test_conservation.py"]
#: What free-threaded interpreters run: what depends on threads, and needs no package that they cannot have.
THREADED = ["reentrancy", "exporters", "exits", "forks", "clocks", "asyncio", "dropped", "conservation"]


class Outcome(NamedTuple):
    """What became of the tests in one environment."""

    passed: int
    failed: list[str]
    skipped: list[str]
    seconds: float


def environment(python: str, build: str, extra: str) -> Path:
    """Make an environment with the package as it is now; return its interpreter."""
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout.split()[1]
    folder = ENVIRONMENTS / f"{version}-{build}"
    if not folder.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    made = folder / "bin" / "python"
    asked = {**os.environ, "METRICS_SDK_INTERPRETED": "1"} if build == "interpreted" else dict(os.environ)
    install = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--force-reinstall", "--no-deps", "--no-cache-dir", str(ROOT)], check=True, env=asked)
    subprocess.run(
        [*install, f"metrics-sdk{extra}", "pytest", "pytest-xdist", "freezegun", "hypothesis"], check=True, env=asked
    )
    return made


def run(python: Path, tests: list[str], chosen: list[str], reduced: bool, report: Path) -> Outcome:
    """Run the tests there."""
    sizes = {} if reduced else {"METRICS_SDK_FULL": "1", "METRICS_SDK_RECORDS": "500000"}
    # Two at a time: most of the time a case waits.
    command = [str(python), "-m", "pytest", "-q", "--tb=short", "-n", "2", f"--junit-xml={report}", *tests]
    started = time.monotonic()
    report.unlink(missing_ok=True)
    done = subprocess.run([*command, *(["-k", " or ".join(chosen)] if chosen else [])], cwd=ROOT, env={**os.environ, **sizes})
    if done.returncode not in (0, 1):
        raise SystemExit(f"the tests could not be run with {python}: status {done.returncode}")
    cases = list(xml.parse(report).iter("testcase"))
    failed = [str(one.get("name")) for one in cases if one.find("failure") is not None or one.find("error") is not None]
    skipped = [f"{one.get('name')}: {found.get('message')}" for one in cases if (found := one.find("skipped")) is not None]
    return Outcome(len(cases) - len(failed) - len(skipped), failed, skipped, time.monotonic() - started)


def main() -> int:
    """Run all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--build", nargs="+", default=["compiled", "interpreted"])
    parser.add_argument("--freethreaded", nargs="*", default=[], help="interpreters without a GIL")
    parser.add_argument("--reduced", action="store_true", help="as small as in the ordinary suite")
    given = parser.parse_args()
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    wanted = [(python, build, "[test]", EVERYTHING, list[str]()) for python in given.python for build in given.build]
    wanted += [(python, "interpreted", "", EVERYTHING, THREADED) for python in given.freethreaded]
    lines = ["| interpreter | core | passed | failed | skipped | seconds |", "|---|---|---|---|---|---|"]
    failures: list[str] = []
    for python, build, extra, tests, chosen in wanted:
        made = environment(python, build, extra)
        found = run(made, tests, chosen, given.reduced, made.parent.parent / "report.xml")
        version = made.parent.parent.name.partition("-")[0]
        counts = f"{found.passed} | {len(found.failed)} | {len(found.skipped)} | {found.seconds:.0f}"
        lines.append(f"| {version} | {build} | {counts} |")
        failures += [f"{version} {build}: {name}" for name in found.failed]
        print(*[f"skipped on {version} {build}: {one}" for one in found.skipped], sep=os.linesep, flush=True)
    print(*lines, *failures, sep=os.linesep)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
