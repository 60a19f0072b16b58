"""The page of guarantees says what the cases prove, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from catalogue.case import load

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
#: The cases of the comparison have a table of their own, which the program that runs them writes.
CASES = {name: one for name, one in load().items() if not name.startswith("compared.")}


def plain(text: str) -> str:
    return text.replace("`", "").strip()


def rows() -> dict[str, str]:
    """Return the last cell of each row of a table with cases, by its first."""
    found = re.findall(r"^\| (.+?) \| .+ \| (`[a-z_]+\.[a-z_]+`.*?) \|$", PAGE, re.M)
    return {plain(first): last for first, last in found}


def test_every_row_names_the_cases_that_prove_it_and_every_case_has_a_row() -> None:
    proved: dict[str, set[str]] = {}
    for name, one in CASES.items():
        proved.setdefault(plain(one.row), set()).add(name)
    assert proved == {row: set(re.findall(r"`([a-z_]+\.[a-z_]+)`", cases)) for row, cases in rows().items()}


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", PAGE)
    assert len(named) > 8
    assert [] == [name for name in named if not (ROOT / name).exists()]


def test_the_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^make (\w+)", PAGE, re.M)
    assert len(commands) >= 5
    assert [] == [name for name in commands if not re.search(rf"^{name}:", makefile, re.M)]
