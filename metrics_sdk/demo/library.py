"""The main work: threads that parse and hash the files of Python's standard library."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import metrics_sdk as metrics

#: A breath after each file, in seconds, that leaves a small machine room for its other work.
PAUSE_SECONDS = 0.002

#: What is not the standard library's own, though it lies there.
_INSTALLED = {"site-packages", "dist-packages"}

#: Python 3.11 counts the depth of all syntax trees under construction in one place: threads that build two at a time, with a
#: finaliser that lets one run amid the other, get a SystemError (CPython issue 106905). Under the GIL waiting costs nothing.
_parsing = threading.Lock() if sys.version_info < (3, 13) else contextlib.nullcontext()

files_read = metrics.counter("library.files", unit="{file}", description="Files of the standard library handled, by outcome.")
file_size = metrics.histogram("library.file.size", unit="By", description="Sizes of the files read.")


@metrics.timed("library.parse.duration")
def parse(source: bytes) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(source)


@metrics.timed("library.hash.duration")
def digest(source: bytes) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(source).hexdigest()


def root() -> Path:
    """Return the folder of the running Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def work(stop: threading.Event, worker: int, workers: int) -> None:
    """Handle every `workers`-th file, again and again, until `stop`."""
    for path in _again(worker, workers):
        files_read.add(1, {"outcome": handle(path)})
        if stop.wait(PAUSE_SECONDS):
            return


def handle(path: Path) -> str:
    """Hash and parse a file; return what came of it: "ok", "syntax_error", "too_deep" or "unreadable"."""
    try:
        source = path.read_bytes()
        file_size.record(len(source))
        digest(source)
        with _parsing:
            parse(source)
    except (SyntaxError, ValueError):  # some of the standard library's tests are files that no parser takes
        return "syntax_error"
    except (RecursionError, MemoryError):  # this is how the parser refuses what is nested too deeply
        return "too_deep"
    except OSError:
        return "unreadable"
    return "ok"


def _again(worker: int, workers: int) -> Iterator[Path]:
    while True:
        found = False
        for path in itertools.islice(_files(), worker, None, workers):
            found = True
            yield path
        if not found:  # a Python without sources, as when they are in an archive
            return


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk(root()):
        folders[:] = sorted(set(folders) - _INSTALLED)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))
