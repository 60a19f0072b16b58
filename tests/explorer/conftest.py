"""The schedule explorer: its parts, importable from the tests beside it, and the core that it walks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _share(name: str) -> ModuleType:
    """Load a file of this folder as `schedules_<name>`: with `--import-mode=importlib` nothing here has a name otherwise."""
    full = f"schedules_{name}"
    spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[full] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for _name in ("core_copy", "explorer", "world", "situations", "planted"):  # each may import those before it
    _share(_name)


@pytest.fixture(scope="session")
def core() -> Any:
    """The interpreted core as it is installed, with small constants."""
    return sys.modules["schedules_core_copy"].load()
