"""Every example of docs/ runs, and every test that is named there is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "opentelemetry.md").read_text()


def test_the_examples_run_one_after_the_other(run_python: Callable[..., str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(examples) == 5
    printed = run_python("\n".join(examples))
    assert "library_calls_total 3" in printed
    assert "requests_total 1" in printed
    assert "(('route', '/cart'),)" in printed


def named_in_the_support_table() -> list[tuple[str, str]]:
    """Return (file, beginning of a test's name) of all that is named, in full or, after a file in the same cell, by `…test_x…`."""
    found = []
    for cell in re.findall(r"^\|.*\|(.*test_.*)\|$", PAGE, re.M):
        file = ""
        for code in re.findall(r"`([^`]*)`", cell):
            told = re.fullmatch(r"(?:((?:tests/)?[\w/]*test_\w+\.py)(?:::|$)|…)?(?:(test_\w+)…)?", code)
            assert told, f"{code} is no name of a test"
            file = told[1] or file
            assert file, f"{code} continues no file"
            found.append((file, told[2] or "test"))
    return sorted(set(found))


def test_the_shortened_names_of_the_support_table_are_read_as_tests_of_the_file_before() -> None:
    found = named_in_the_support_table()
    assert ("test_provider.py", "test_a_generator") in found
    assert ("test_conformance.py", "test_4") in found


@pytest.mark.parametrize("named", named_in_the_support_table(), ids="::".join)
def test_what_the_support_table_names_is_there(named: tuple[str, str]) -> None:
    file, test = named
    path = CHECKOUT / file if file.startswith("tests/") else CHECKOUT / "tests" / "integrations" / "opentelemetry" / file
    assert re.search(rf"def {test}_\w+\(", path.read_text()), f"{path} has no {test}…"
