"""What a host does where its library offers nothing for SIGTERM."""

from __future__ import annotations

import signal
import sys


def exit_on_sigterm() -> None:
    """Make an exit of it, so that what is registered for the exit is done."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
