"""Every example in the README runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.S)


def test_the_examples_run_one_after_the_other(run_python: Callable[..., str]) -> None:
    scripts = [example for example in EXAMPLES if "def test_" not in example]
    assert len(scripts) >= 8
    printed = run_python("\n".join(scripts), stderr=None)  # it configures after recording, which is warned of
    assert "1 " in printed
    assert "http://127.0.0.1:" in printed


def test_the_first_example_is_short_and_runs_alone(run_python: Callable[..., str]) -> None:
    assert len([line for line in EXAMPLES[0].splitlines() if line]) <= 10
    assert run_python(EXAMPLES[0]).startswith("1 ")


@pytest.mark.slow
def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    example = next(example for example in EXAMPLES if "def test_" in example)
    (tmp_path / "test_example.py").write_text(EXAMPLES[0] + example)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_commands_are_targets_of_the_makefile() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "lint", "soak", "bench"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in named)


def test_the_picture_of_the_layout_names_every_module() -> None:
    picture = README[README.index("metrics_sdk/\n") :]
    for path in (CHECKOUT / "metrics_sdk").glob("*.py"):
        assert path.name in picture or path.name == "__main__.py", path.name
    for folder in (CHECKOUT / "integrations").glob("metrics_sdk_*"):
        assert folder.name in picture
