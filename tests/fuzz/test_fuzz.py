"""The fuzzers, for a few hundred inputs: they work, and find nothing. `fuzz.py` says how to run them for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cramjam")

PROGRAM = str(Path(__file__).with_name("fuzz.py"))

#: Inputs that something was wrong with once, each with what that was.
FOUND = {
    "a store whose rows are text was read with an AttributeError": "3ff075",
    "a store that is damaged at its head was read with a UnicodeDecodeError": "df40f6d6fff92cec4f4262a7724fc4bd",
    "rows of another kind of aggregate were merged with a TypeError": "df00e75e694a",
}


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.mark.slow
def test_whatever_is_recorded_is_read_back_and_whatever_is_sent_to_us_is_answered() -> None:
    assert "0 different failures" in run("--seconds", "6", "--seed", "7")


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_once_is_mended(what: str) -> None:
    assert "passed" in run("--input", FOUND[what])
