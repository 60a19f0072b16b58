"""Build hook: compiles metrics_sdk/core with mypyc where that can be done, and says so in one line where it cannot.

METRICS_SDK_INTERPRETED=1 in the environment asks for the interpreted core.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRT = "librt>=0.16.0"  # the run-time library of what that version of mypyc compiles, as it requires it
MYPY = "mypy==2.4.1"  # the version that the core was measured and tested with
CORE = Path("metrics_sdk") / "core"


class CompileCore(BuildHookInterface):
    """Adds the compiled core to a wheel, or puts it beside its sources for an editable install."""

    _built = ""

    def dependencies(self) -> list[str]:
        """Return what compiling takes; nothing where it will not be tried."""
        return [] if _why_not() else [MYPY, "setuptools"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; on failure leave the wheel interpreted."""
        root = Path(self.root)
        editable = version == "editable"
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        if editable:  # what an earlier install for this interpreter left
            for stale in [*root.glob(f"*__mypyc{suffix}"), *(root / CORE).glob(f"*{suffix}")]:
                stale.unlink()
        why = _why_not()
        if not why:
            self._built = built = tempfile.mkdtemp(prefix="metrics-sdk-")
            try:
                files = _compile(root, Path(built))
            except (Exception, SystemExit) as error:  # mypyc and setuptools exit: no failure of theirs may fail the install
                why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            else:
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
                build_data["dependencies"].append(LIBRT)
                for file in files:
                    if editable:
                        shutil.copy2(file, root / file.relative_to(built))
                    else:
                        build_data["force_include"][str(file)] = str(file.relative_to(built))
        if why:
            self.app.display_warning(f"metrics-sdk: the recording core is installed interpreted, not compiled ({why})")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was built in passing."""
        if self._built:
            shutil.rmtree(self._built, ignore_errors=True)


def _why_not() -> str:
    if os.environ.get("METRICS_SDK_INTERPRETED"):
        return "METRICS_SDK_INTERPRETED is set"
    if sys.implementation.name != "cpython":
        return f"mypyc compiles for CPython, this is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this interpreter is free-threaded"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return "" if shutil.which(compiler) or shutil.which("cc") else f"there is no C compiler {compiler!r}"


def _compile(root: Path, built: Path) -> list[Path]:
    from mypyc.build import mypycify
    from setuptools import Distribution

    before = Path.cwd()
    os.chdir(root)  # mypyc derives the modules' names from their paths
    try:
        sources = sorted(str(path) for path in CORE.glob("*.py") if path.name != "__init__.py")
        # What the core is imported by is read along with it, and is not what is compiled: it may not fail the build.
        options = ["--config-file=pyproject.toml", "--follow-imports=silent", "--ignore-missing-imports"]
        options.append(f"--cache-dir={built / 'mypy_cache'}")
        extensions = mypycify([*options, *sources], opt_level="3", debug_level="0", target_dir=str(built / "c"))
        for extension in extensions:
            # Functions of one module may call each other directly: 5 to 10 % of the hot path.
            extension.extra_compile_args.append("-fno-semantic-interposition")
        distribution = Distribution({"name": "metrics-sdk-core", "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(built), str(built / "o")
        distribution.run_command("build_ext")
    finally:
        os.chdir(before)
    return sorted(built.rglob("*" + sysconfig.get_config_var("EXT_SUFFIX")))
