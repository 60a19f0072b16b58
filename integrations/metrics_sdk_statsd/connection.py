"""Where datagrams go, and the socket to it."""

from __future__ import annotations

import os
import socket
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from metrics_sdk.errors import ConfigurationError

DEFAULT_PORT = 8125
_LONGEST_PATH = 107  # bytes, of the 108 that an address has on Linux


class Endpoint:
    """`udp://host:port`, `unix:///path` or `unixgram:///path`; raises ConfigurationError for anything else."""

    def __init__(self, text: object) -> None:
        if not isinstance(text, str):
            raise ConfigurationError(f"endpoint must be a text such as 'udp://127.0.0.1:8125', not {text!r}")
        self.text = text
        self.path = ""
        self.host = b""
        self.port = DEFAULT_PORT
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in ("udp", "unix", "unixgram"):
            raise ConfigurationError(f"endpoint must begin with udp://, unix:// or unixgram://, not be {text!r}")
        if scheme == "udp":
            self._read_host_and_port()
        else:
            self.path = rest
            if not rest.startswith("/") or rest.endswith("/") or "\0" in rest or len(os.fsencode(rest)) > _LONGEST_PATH:
                raise ConfigurationError(
                    f"endpoint must have an absolute path of at most {_LONGEST_PATH} bytes, such as unix:///run/statsd.sock, "
                    f"not be {text!r}"
                )

    def _read_host_and_port(self) -> None:
        try:
            parts = urlsplit(self.text)
            port = parts.port
            # Encoded now, since the codec is imported for it: that of a forked child could wait for a lock at that forever.
            self.host = (parts.hostname or "").encode("idna")
        except ValueError as error:  # of which UnicodeError is one
            raise ConfigurationError(f"endpoint {self.text!r} has no host and port that can be used: {error}") from None
        if not self.host or port == 0 or parts.path or parts.query or parts.fragment or parts.username is not None:
            raise ConfigurationError(f"endpoint must be udp://host:port and no more than that, not {self.text!r}")
        self.port = DEFAULT_PORT if port is None else port


class Connection:
    """A datagram socket that is opened when it is needed; a forked child opens one of its own.

    Everything raises OSError when it fails; it can be used again after `close()`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        self._pid = 0

    def open(self, deadline: float) -> None:
        """Open it where it is not; `deadline` is of the monotonic clock. A host's name is looked up as long as that takes."""
        if self._socket is not None and self._pid == os.getpid():
            return
        self.close()
        self._pid = os.getpid()
        if self._endpoint.path:
            self._connect(socket.AF_UNIX, self._endpoint.path, deadline)
            return
        failure: OSError | None = None
        for family, _, _, _, address in socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_DGRAM):
            try:
                return self._connect(family, address, deadline)
            except OSError as error:
                failure = error
        raise failure or OSError("the host has no address")

    def _connect(self, family: int, address: Any, deadline: float) -> None:
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.settimeout(_left(deadline))
            made.connect(address)
        except BaseException:
            made.close()
            raise
        self._socket = made

    def send(self, datagram: bytes, deadline: float) -> None:
        """Send it, or wait until there is room for it.

        A refusal that has come back by the time that it was sent, as it has on the same host, is raised: nobody has got it.
        """
        if self._socket is None:
            raise OSError("not connected")
        self._socket.settimeout(_left(deadline))
        self._socket.send(datagram)
        refusal = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))

    def close(self) -> None:
        """Close it if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0.0:
        raise TimeoutError("not done within the timeout")
    return left
