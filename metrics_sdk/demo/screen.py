"""Where the table is shown: redrawn in place in a terminal, printed now and then elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Protocol, TextIO

from metrics_sdk.demo.table import Row, render

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"
_REST_OF_LINE, _REST_OF_SCREEN = "\x1b[K", "\x1b[J"


class Screen(Protocol):
    """Shows tables one after another. `interval_seconds`: the time between two that suits it."""

    interval_seconds: float

    def show(self, title: str, rows: Sequence[Row]) -> None:
        """Show the state of now."""

    def end(self, title: str, rows: Sequence[Row]) -> None:
        """Show the last state, whole, and leave it there."""


class Terminal:
    """Draws over what it drew before, never more than fits."""

    interval_seconds = 0.5

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn: list[int] = []  # lengths of the lines that are there

    def show(self, title: str, rows: Sequence[Row]) -> None:
        """Redraw, in as many lines as the terminal has."""
        width, height = _size()
        # One line is the title's, one the cursor's.
        self._draw(title, render(rows, width, max(3, height - 2), repeat=False), width, _HIDE_CURSOR, "")

    def end(self, title: str, rows: Sequence[Row]) -> None:
        """Draw a last time, with all series, and give the cursor back."""
        width, _height = _size()
        self._draw(title, render(rows, width, repeat=False), width, "", _SHOW_CURSOR)
        self._drawn = []

    def _draw(self, title: str, table: list[str], width: int, before: str, after: str) -> None:
        lines = [title[:width], *table]
        # A terminal made narrower since has broken the lines that are there.
        rise = sum([max(1, -(-length // width)) for length in self._drawn])
        up = f"\x1b[{rise}A" if rise else ""
        body = [f"{_BOLD}{line}{_NORMAL}" if i < 2 else line for i, line in enumerate(lines)]
        # One write: a terminal that shows half of a frame flickers.
        self._out.write(before + "\r" + up + "".join([line + _REST_OF_LINE + "\n" for line in body]) + _REST_OF_SCREEN + after)
        self._out.flush()
        self._drawn = [len(line) for line in lines]


class Plain:
    """Prints whole tables one below another."""

    interval_seconds = 5.0

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, title: str, rows: Sequence[Row]) -> None:
        """Print the table."""
        self._out.write("\n".join(["", title, *render(rows), ""]))
        self._out.flush()

    end = show


def screen_for(out: TextIO) -> Screen:
    """Return the screen that suits `out`."""
    return Terminal(out) if out.isatty() and os.environ.get("TERM") != "dumb" else Plain(out)


def _size() -> tuple[int, int]:
    columns, lines = shutil.get_terminal_size((80, 24))
    return max(1, columns), lines
