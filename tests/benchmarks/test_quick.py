"""The benchmarks still run, and their results are right. Nothing here looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAMS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "def main()" in path.read_text() and path.stem != "run_all")


def test_there_is_a_program_for_each_question() -> None:
    """A program that run_all.py does not know would never be run."""
    source = (BENCHMARKS / "run_all.py").read_text()
    assert [program for program in PROGRAMS if f'"{program}"' not in source] == []
    assert len(PROGRAMS) == 10


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_quick_run_finds_no_wrong_result(program: str, tmp_path: Path) -> None:
    """Whichever peers are installed, a quick run ends well and has rows."""
    command = [sys.executable, str(BENCHMARKS / f"{program}.py"), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert found["program"] == f"{program}.py"
    assert all(row["min"] <= row["median"] <= row["max"] for row in found["rows"])
    assert any(row["readme"] for row in found["rows"])


def test_the_table_is_written_between_the_marks(tmp_path: Path) -> None:
    """Only what stands between the marks is replaced, and each row names its command."""
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmarks:begin -->\nold\n<!-- benchmarks:end -->\nafter\n")
    command = [sys.executable, str(BENCHMARKS / "run_all.py"), "--quick", "--only", "series", "--write", str(readme)]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    text = readme.read_text()
    assert text.startswith("before\n<!-- benchmarks:begin -->\n")
    assert text.endswith("\n<!-- benchmarks:end -->\nafter\n")
    assert "old" not in text
    assert "`python benchmarks/series.py`" in text


def test_a_wrong_result_is_the_exit_status(tmp_path: Path) -> None:
    """A check that fails makes the program fail; a goal that is missed does not."""
    program = """
import harness
from report import Report
report = Report("x.py", "?", harness.settings("", ["--quick"]))
report.row("slow", [5.0, 6.0], "ms", at_most=1)
first = report.finish()
report.check("sum", 1, 2)
print(first, report.finish())
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[0] = {str(BENCHMARKS)!r}\n{program}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.rstrip().endswith("0 1")
    assert "MISSED" in done.stdout
    assert "WRONG RESULT: sum: expected 1, found 2" in done.stderr
