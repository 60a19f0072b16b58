"""Who may know whom: the rows of the README's picture, held."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import metrics_sdk

# Each row may import from the rows above it, and core from itself.
ROWS = [
    {"errors", "clock"},
    {"process_end", "alarm", "aside", "slices", "interval", "version", "protobuf"},
    {"termination"},
    {"http_connection", "checks"},
    {"core", "resolutions"},
    {"names"},
    {"snapshot", "faults", "windows", "temporality", "tracing", "view", "resource"},
    {"export"},
    {"http_target", "config", "produced", "health", "exporters", "query", "selection"},
    {"points"},
    {"store", "flusher", "callbacks"},
    {"streams"},
    {"collector"},
    {"export_jobs", "expiry", "journal"},
    {"exporting"},
    {"reader", "registry", "timing", "feeds"},
    {"subscriptions", "sqlite", "parallelism"},
    {"exports"},
    {"sdk"},
    {"default"},
    {"testing", "query_command"},
    {"__init__", "pytest_plugin", "demo"},
    {"__main__"},
]

PACKAGE = Path(metrics_sdk.__file__).parent
INTEGRATIONS = PACKAGE.parent
CHECKOUT = Path(__file__).parent.parent


def row_of(part: str) -> int:
    return next(number for number, row in enumerate(ROWS) if part in row)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "metrics_sdk"}
    return found


def test_every_module_has_a_row() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts == set().union(*ROWS)


@pytest.mark.parametrize("path", [p for p in PACKAGE.rglob("*.py")], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_from_the_rows_above_its_own(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    known = {"metrics_sdk." + p for row in ROWS for p in row}
    for name in imports(path):
        target = ".".join(name.split(".")[:2])
        if target in known and (other := target.removeprefix("metrics_sdk.")) != part:
            assert row_of(other) < row_of(part), f"{path.name} imports {name}"


@pytest.mark.parametrize("package", [p.parent for p in INTEGRATIONS.glob("metrics_sdk_*/__init__.py")], ids=lambda p: p.name)
def test_an_integration_knows_the_public_modules_alone(package: Path) -> None:
    for path in package.rglob("*.py"):
        for name in imports(path):
            assert not name.startswith("metrics_sdk.core"), f"{path.name} imports {name}"
            if name.startswith("metrics_sdk_"):
                assert name.split(".")[0] == package.name, f"{path.name} imports {name}"


def test_every_integration_is_in_the_wheel_with_its_types() -> None:
    sources = CHECKOUT / "integrations"
    folders = {folder.name for folder in sources.iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    config = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    listed = config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"integrations/{folder}" for folder in folders} | {"metrics_sdk"} == set(listed)
    assert not (sources / "__init__.py").exists()
    for folder in folders:
        assert (INTEGRATIONS / folder / "py.typed").exists()


def test_the_suite_runs_against_the_installed_package() -> None:
    assert not PACKAGE.is_relative_to(CHECKOUT) or ".venv" in PACKAGE.parts or "site-packages" in PACKAGE.parts


def test_without_librt_the_sources_beside_the_compiled_core_are_loaded(run_python: Callable[..., str]) -> None:
    program = """
    import sys
    sys.modules["librt"] = sys.modules["librt.vecs"] = None
    import metrics_sdk
    metrics_sdk.counter("c").add(1)
    print(metrics_sdk.query("c").sum, metrics_sdk.health().compiled)
    """
    assert "1 False\n" == run_python(program)
