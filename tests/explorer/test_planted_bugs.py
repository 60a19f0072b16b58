"""The explorer finds what it is there to find: each planted bug turns the test red that is named for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from schedules_core_copy import load
from schedules_explorer import Broken
from schedules_planted import BUGS, Bug


@pytest.fixture(scope="module")
def tests() -> Any:
    """The module with the named tests."""
    spec = importlib.util.spec_from_file_location("schedules_tests", Path(__file__).with_name("test_schedules.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_turns_its_test_red(bug: Bug, tests: Any) -> None:
    with pytest.raises(Broken, match=bug.symptom):
        getattr(tests, bug.caught_by)(load(bug.edits))
