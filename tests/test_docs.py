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


@pytest.mark.parametrize(
    "named", sorted(set(re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(\w+)…)?`", PAGE))), ids="::".join
)
def test_what_the_support_table_names_is_there(named: tuple[str, str]) -> None:
    file, test = named
    path = CHECKOUT / file if file.startswith("tests/") else CHECKOUT / "tests" / "integrations" / "opentelemetry" / file
    assert path.exists(), path
    assert f"def {test}" in path.read_text()
