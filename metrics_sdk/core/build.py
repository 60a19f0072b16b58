"""Which build of the core this is: compiled by mypyc, or plain interpreted Python."""

from __future__ import annotations

from typing import Final

# mypyc compiles every module of this package or none, so this file speaks for all of them. The type checker is told
# that it is always true (`always_true` in pyproject.toml): a branch `if COMPILED:` is what gets compiled, its `else:`
# is the interpreted twin.
COMPILED: Final = not __file__.endswith(".py")
