"""A private copy of the interpreted core, loaded from the installed sources and changed where a test asks for it.

The sources lie beside the compiled modules, so the interpreted core is explored whichever build is installed. The copy has a
package name of its own: nothing here touches the core that the rest of the suite uses.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

_spec = importlib.util.find_spec("metrics_sdk")
assert _spec is not None
assert _spec.origin is not None
SOURCES = Path(_spec.origin).parent
MODULES = (
    "core.account",
    "core.aggregates",
    "core.aggregation",
    "core.append",
    "core.instruments",
    "core.kinds",
    "core.table",
    "store",
    "clock",
)

_numbers = count()

codes: list[CodeType] = []  # of all functions loaded, for the explorer to take


class Edit(NamedTuple):
    """Text of a module, which must occur exactly once, and what takes its place."""

    module: str
    old: str
    new: str


# The same code, with boundaries that a few values reach.
SMALL = (
    Edit("core.append", "FOLD_AT: Final = 1024", "FOLD_AT: Final = 8"),
    Edit("core.append", "len(pending) & 1023", "len(pending) & 7"),
    Edit("core.append", "LARGEST_BATCH: Final = 8192", "LARGEST_BATCH: Final = 12"),
    Edit("core.append", "CAP: Final = 1 << 20", "CAP: Final = 32"),
    Edit("slices", "SLICE_SECONDS = 0.00045", "SLICE_SECONDS = 60.0"),  # no step depends on how fast the machine is
)


class Core:
    """The modules of one copy, as attributes (`core.append`, `core.store`, …)."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self.__dict__.update({name.rpartition(".")[2]: module for name, module in modules.items()})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class _Finder:
    """Finds and loads the modules of one copy."""

    def __init__(self, package: str, edits: Iterable[Edit]) -> None:
        self.package = package
        self.left = list(edits)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] != self.package:
            return None
        return ModuleSpec(name, self, is_package=name in (self.package, f"{self.package}.core"))  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if hasattr(module, "__path__"):
            return  # what the packages themselves do at import is not wanted
        inner = module.__name__.removeprefix(f"{self.package}.")
        file = SOURCES.joinpath(*inner.split(".")).with_suffix(".py")
        module.__file__ = str(file)
        exec(self._compiled(inner, file), module.__dict__)

    def _compiled(self, inner: str, file: Path) -> CodeType:
        text = file.read_text(encoding="utf-8")
        for edit in [edit for edit in self.left if edit.module == inner]:
            assert text.count(edit.old) == 1, f"{inner} has {text.count(edit.old)} times: {edit.old}"
            text = text.replace(edit.old, edit.new)
            self.left.remove(edit)
        text = re.sub(r"(?m)^(\s*(?:from|import) )metrics_sdk\b", rf"\g<1>{self.package}", text)
        made = compile(text, str(file), "exec", dont_inherit=True)
        codes.extend(_within(made))
        return made


def _within(code: CodeType) -> Iterable[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _within(constant)


def load(edits: Iterable[Edit] = ()) -> Core:
    """Return a fresh copy of the core with `edits` made."""
    package = f"explored_{next(_numbers)}"
    finder = _Finder(package, [*SMALL, *edits])
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        for name in MODULES:
            importlib.import_module(f"{package}.{name}")
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}
    assert not finder.left, f"in no module that was loaded: {finder.left}"
    assert loaded[f"{package}.core.build"].COMPILED is False
    return Core(loaded)
