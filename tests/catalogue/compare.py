"""Put every library through the cases of `cases/compared.py`, and print what happened as a table.

`python tests/catalogue/compare.py [--library NAME …] [--case NAME …] [--write FILE] [--keep FOLDER]`: each case with each library
is a process of its own with a deadline, and what stands in a cell is what that process, or its end, has shown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parent.parent)

from catalogue.cases.compared import COMPARED, OURS, Compared
from catalogue.libraries.library import MODULES
from catalogue.libraries.trial import FellShortError, Trial, status_name

BEGIN, END = "<!-- compared:begin -->", "<!-- compared:end -->"
RESULT = "result.json"
PASSES, NOT_COMPARABLE, CASE_FAILED = "passes", "–", "CASE FAILED"


# ---- one trial, in its own process ----------------------------------------------------------------------------------


def cell(one: Compared, library: str, folder: Path) -> str:
    """Run one case with one library in this process; return what its cell says."""
    trial = Trial(library, folder, one.processes)
    try:
        if not one.uses <= trial.can:
            return NOT_COMPARABLE
        one.run(trial)
        if not one.uses <= trial.can:  # the case knows better
            return NOT_COMPARABLE
        trial.judge()
    except FellShortError as fell:
        return ", ".join([str(fell), *trial.measured])
    except Exception as error:  # what the library raised where the case does not allow for it, or the case itself
        traceback.print_exc()
        if trial.fell:
            return "; ".join(trial.fell)
        return f"raised {type(error).__name__}" if from_library(error) else f"{CASE_FAILED}: {type(error).__name__}"
    finally:
        trial.side.close()
    return ", ".join([PASSES, *trial.measured])


def from_library(error: BaseException) -> bool:
    """Tell whether the innermost frame of ours that was active called into the library."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return not last.startswith(str(Path(__file__).parent))


def run_one(name: str, library: str, folder: Path) -> None:
    """Write the cell into the folder, and end at once: what the library does at the exit is the matter of other cases."""
    said = cell(COMPARED[name], library, folder)
    (folder / RESULT).write_text(json.dumps(said))
    sys.stderr.flush()
    os._exit(0)


# ---- all of them ----------------------------------------------------------------------------------------------------


def observed(name: str, library: str, folder: Path) -> str:
    """Run one case with one library in a process; return what its cell says."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", __file__, "--trial", name, library, str(folder)]
    with (folder / "output").open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, start_new_session=True)
        try:
            status: int | None = running.wait(COMPARED[name].deadline)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(running.pid, signal.SIGKILL)  # and the children that hang
        except ProcessLookupError:
            pass
        running.wait()
    if (folder / RESULT).exists():
        said: str = json.loads((folder / RESULT).read_text())
        return said
    return "hung" if status is None else f"process ended: {status_name(status)}"


def installed(library: str) -> str:
    """Return the version that is there, "" if none is."""
    if library == OURS:
        from metrics_sdk.version import __version__

        return __version__
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def table(cases: list[str], libraries: list[str], cells: dict[tuple[str, str], str]) -> str:
    """Return the table in Markdown, with what made it."""
    import metrics_sdk

    core = "compiled" if metrics_sdk.health().compiled else "interpreted"
    lines = [
        f"`python tests/catalogue/compare.py`, Python {platform.python_version()}, {platform.system()}, "
        f"{datetime.date.today().isoformat()}, core {core}. –: not comparable.",
        "",
        f"| case | {' | '.join([f'{library} {installed(library)}' for library in libraries])} |",
        "|---|" + "---|" * len(libraries),
    ]
    for name in cases:
        row = [cells[name, library].replace("|", "\\|") for library in libraries]
        lines.append(f"| {COMPARED[name].row} | {' | '.join(row)} |")
    return "\n".join(lines)


def write(file: Path, text: str) -> None:
    """Put the table where the file has its place for it."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{file} has no {BEGIN} … {END}")
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--library", action="append", choices=[*MODULES], help="all that are installed")
    options.add_argument("--case", action="append", choices=[*COMPARED], help="all")
    options.add_argument("--write", type=Path, help="a Markdown file with a place for the table")
    options.add_argument("--keep", type=Path, help="a folder for the output of each trial")
    options.add_argument("--trial", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.trial:
        run_one(given.trial[0], given.trial[1], Path(given.trial[2]))
    cases = given.case or [*COMPARED]
    libraries = given.library or [library for library in MODULES if installed(library)]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        folder = given.keep or Path(temporary)
        pairs = [(name, library) for name in cases for library in libraries]
        cells = dict(zip(pairs, pool.map(lambda pair: observed(*pair, folder / pair[1] / pair[0]), pairs), strict=True))
    text = table(cases, libraries, cells)
    sys.stdout.write(text + "\n")
    if given.write:
        write(given.write, text)
    failed = [pair for pair, said in cells.items() if said.startswith(CASE_FAILED)]
    if failed:
        raise SystemExit(f"cases that failed themselves: {failed}")


if __name__ == "__main__":
    main()
