"""A connection for exporters: one deadline for everything that is done with it, and TLS as it is asked for."""

from __future__ import annotations

import encodings.idna  # looked up by `getaddrinfo`: nothing may be imported at the interpreter's exit  # noqa: F401
import http.client
import os
import select
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from metrics_sdk.clock import monotonic
from metrics_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl


class TLS(NamedTuple):
    """How the other side is trusted, and how it knows us: paths of PEM files.

    `ca_file`: whose certificates are trusted, None for the system's. `certificate_file`, `key_file`: our own.
    """

    ca_file: str | os.PathLike[str] | None = None
    certificate_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None


class Connection(http.client.HTTPConnection):
    """A connection whose `deadline` holds for every step of a request."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.deadline = 0.0
        self._context = context
        self.default_port = 443 if context is not None else 80  # which the Host header leaves out

    def connect(self) -> None:
        """Open it."""
        self.sock: Any = _Socket(fileno=self._plain().detach())
        self.extend()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
            self.extend()

    def _plain(self) -> socket.socket:
        """Return a socket that is connected to the first address that answers; the deadline is for all of them together."""
        error: OSError = OSError(f"{self.host} has no address")
        for *_, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            left = self.deadline - monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            try:
                return socket.create_connection((str(address[0]), self.port), timeout=left)
            except OSError as failed:
                error = failed
        raise error

    def extend(self) -> None:
        """Let the socket know of the deadline."""
        if self.sock is not None:
            self.sock.deadline = self.deadline
            self.sock.settimeout(max(0.001, self.deadline - monotonic()))


_inherited: list[Connection] = []


def leave(connection: Connection) -> None:
    """Let go of a connection of the parent's, in a forked child: of our descriptor, and of nothing else.

    It is not closed, and never collected: a thread of the parent's may have been reading an answer, whose buffer has a lock
    that nobody here would release.
    """
    _inherited.append(connection)
    if connection.sock is not None:
        os.close(connection.sock.detach())


class _Deadline:
    """What waits for no longer than its `deadline`, however little comes at a time: a socket's own timeout is for each step."""

    deadline = 0.0

    def _wait_no_longer(self) -> None:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)  # type: ignore[attr-defined]

    def recv_into(self, *args: Any, **options: Any) -> Any:
        """Receive."""
        self._wait_no_longer()
        return super().recv_into(*args, **options)  # type: ignore[misc]

    def send(self, *args: Any, **options: Any) -> Any:
        """Send."""
        self._wait_no_longer()
        return super().send(*args, **options)  # type: ignore[misc]

    def sendall(self, *args: Any, **options: Any) -> Any:
        """Send everything."""
        self._wait_no_longer()
        return super().sendall(*args, **options)  # type: ignore[misc]


class _Socket(_Deadline, socket.socket):
    pass


def tls_context(tls: TLS | None) -> ssl.SSLContext:
    """Return what `wrap_socket` is asked of. Raises ConfigurationError for files that cannot be used."""
    import ssl  # who does not need it does not pay for it; TLS is configured before anything is exported

    class Socket(_Deadline, ssl.SSLSocket):
        pass

    chosen = TLS() if tls is None else tls
    if not isinstance(chosen, TLS) or (chosen.key_file is not None and chosen.certificate_file is None):
        raise ConfigurationError(f"tls must be a TLS, with a certificate_file where it has a key_file, not {tls!r}")
    try:
        context = ssl.create_default_context(cafile=chosen.ca_file)
        if chosen.certificate_file is not None:
            context.load_cert_chain(chosen.certificate_file, chosen.key_file)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{tls!r} cannot be used: {error}") from error
    context.sslsocket_class = Socket
    return context


def is_readable(sock: socket.socket) -> bool:
    """Tell whether there is something to read, which is the end: nobody has asked for anything."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
