"""What several tests need."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from receiver import Receiver

if importlib.util.find_spec("hypothesis"):  # the free-threaded build of the matrix may have none
    from hypothesis import settings

    settings.register_profile("shared machine", deadline=None)  # an example may take long where others are at work
    settings.load_profile("shared machine")

PREAMBLE = "import faulthandler; faulthandler.dump_traceback_later({deadline}, exit=True)\n"


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """Run a program in a process of its own, which ends with a stack dump at its deadline; return what it printed.

    It must end with status 0 and an empty standard error, unless told otherwise.
    """

    def run(program: str, deadline: int = 60, status: int = 0, stderr: str | None = "") -> str:
        source = PREAMBLE.format(deadline=deadline) + textwrap.dedent(program)
        # From 3.12 on each fork of a process with threads is warned of: that it works all the same is what some tests prove.
        command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", source]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=deadline + 30, check=False)
        told = f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == status, told
        assert stderr is None or done.stderr == stderr, told
        return done.stdout

    return run


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server for exporters."""
    made = Receiver()
    yield made
    made.stop()
