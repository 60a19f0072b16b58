"""No planted bug rots unnoticed: what it replaces is there, once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_each_edit_finds_its_text_exactly_once() -> None:
    spec = importlib.util.spec_from_file_location("planted_bugs", Path(__file__).with_name("bugs.py"))
    assert spec is not None
    assert spec.loader is not None
    bugs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bugs)
    assert len(bugs.BUGS) >= 15
    places = [
        (ROOT / edit.file if (ROOT / edit.file).exists() else ROOT / "integrations" / edit.file, edit)
        for bug in bugs.BUGS
        for edit in bug.edits
    ]
    assert [] == [edit for path, edit in places if path.read_text().count(edit.old) != 1]
