"""What a case of the fault catalogue is: a function that is run in a process of its own, and what must be true at its end."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from catalogue.host import Host

FOLDER = Path(__file__).parent / "cases"

#: Full size: the numbers of the catalogue. Otherwise cases are smaller, so that all of them take a minute.
FULL = os.environ.get("METRICS_SDK_FULL") == "1"


class Case(NamedTuple):
    """One way to provoke a fault, and what must hold besides the standard check.

    `row`: the row of `docs/guarantees.md` that it proves. `variants`: the case is run once for each, and finds it as
    `host.variant`. `deadline`: seconds after which it is stopped, with the stacks of all threads. `needs`: what it cannot be run
    without: "fork", the name of a module, or "command:NAME" of a program. `stderr`: whether the host writes there itself.
    """

    name: str
    row: str
    run: Callable[[Host], None]
    variants: tuple[str, ...]
    deadline: float
    needs: tuple[str, ...]
    stderr: bool

    def missing(self) -> list[str]:
        """Return what it needs and is not there."""
        return [need for need in self.needs if not _is_there(need)]


def _is_there(need: str) -> bool:
    kind, _, name = need.rpartition(":")
    if kind == "command":
        return shutil.which(name) is not None
    if need == "fork":
        return hasattr(os, "fork")
    if need == "gil":
        return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
    return importlib.util.find_spec(name) is not None


CASES: dict[str, Case] = {}


def case(
    row: str, *, variants: tuple[str, ...] = ("",), deadline: float = 60.0, needs: tuple[str, ...] = (), stderr: bool = False
) -> Callable[[Callable[[Host], None]], Callable[[Host], None]]:
    """Make a function of a `Host` a case of the catalogue, see `Case`."""

    def make(run: Callable[[Host], None]) -> Callable[[Host], None]:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        assert name not in CASES, f"two cases are called {name}"
        CASES[name] = Case(name, row, run, variants, deadline, needs, stderr)
        return run

    return make


def load(module: str | None = None) -> dict[str, Case]:
    """Return the cases of a module of `cases/`, or of all, by name."""
    found = [module] if module else sorted([path.stem for path in FOLDER.glob("*.py")])
    modules: list[Any] = [importlib.import_module(f"catalogue.cases.{name}") for name in found]
    loaded = {one.__name__.rpartition(".")[2] for one in modules}
    return {name: one for name, one in CASES.items() if name.partition(".")[0] in loaded}
