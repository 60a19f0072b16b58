"""What is said of this process in everything that leaves it. OpenTelemetry's resource semantic conventions."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from metrics_sdk.core.attributes import normalise
from metrics_sdk.version import __version__

INSTANCE = "service.instance.id"


def detected() -> dict[str, Any]:
    """Return what can be known of this process without being told.

    Its service has no name but that of the interpreter, until it is given one; `service.instance.id` is a random UUID.
    """
    return {
        "service.name": f"unknown_service:{os.path.basename(sys.executable or '') or 'python'}",
        INSTANCE: _uuid(),
        "host.name": os.uname().nodename,
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "metrics_sdk",
        "telemetry.sdk.version": __version__,
    }


class Resource:
    """The attributes of this process: what is detected, and over it what was given.

    A forked child is another instance: its id is new, or, where one was given, that with the process's number behind it.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        told = normalise({key: value for key, value in given.items() if value is not None})
        self._given = {key: value for key, value in told if not (type(value) is str and not value)}
        self._made_in = self._pid = os.getpid()
        self._attributes = self._made()

    def __call__(self) -> Mapping[str, Any]:
        """Return them: the very same object for as long as nothing changes."""
        if self._pid != os.getpid():
            self._attributes, self._pid = self._made(), os.getpid()
        return self._attributes

    def _made(self) -> Mapping[str, Any]:
        made = {**detected(), **self._given}
        pid = os.getpid()
        if pid != self._made_in and INSTANCE in self._given:
            made[INSTANCE] = f"{self._given[INSTANCE]}-{pid}"
        return MappingProxyType(made)


def _uuid() -> str:
    """Return a random UUID (RFC 9562, version 4); the module `uuid` would take milliseconds to import."""
    bits = bytearray(os.urandom(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    text = bits.hex()
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])
