"""The other side of an exporter that pushes by HTTP: what is asked of it, how long, and what its answers mean.

Standard library only. One connection, kept open between exports; redirects are not followed, so that what is sent, credentials
included, goes where the application said and nowhere else; proxies in the environment are not used.
"""

from __future__ import annotations

import email.utils
import encodings.idna  # looked up by `getaddrinfo`: nothing may be imported at the interpreter's exit  # noqa: F401
import http.client
import os
import re
import select
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from metrics_sdk.errors import ConfigurationError, ExportError
from metrics_sdk.snapshot import Refused
from metrics_sdk.version import __version__

if TYPE_CHECKING:
    import ssl

#: What is read of an answer at most. OTLP specification, "OTLP/HTTP Response".
MAX_ANSWER_BYTES = 4 << 20

_SHOWN_OF_ANSWER = 200  # characters
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 9110, section 5.6.2
_FIELD = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_OURS = ("content-length", "transfer-encoding", "host", "connection")

_monotonic = time.monotonic


class TLS(NamedTuple):
    """How the other side is trusted, and how it knows us: paths of PEM files.

    `ca_file`: whose certificates are trusted, None for the system's. `certificate_file`, `key_file`: our own.
    """

    ca_file: str | os.PathLike[str] | None = None
    certificate_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None


class Answer(NamedTuple):
    """What came back. `body` is empty if it was longer than `MAX_ANSWER_BYTES`."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    def __str__(self) -> str:
        said = self.body[:_SHOWN_OF_ANSWER].decode("utf-8", "replace")
        shown = "".join([one if one.isprintable() else " " for one in said]).strip()
        return f"{self.status} {self.reason}{': ' if shown else ''}{shown}"


class Request(NamedTuple):
    """A part of a snapshot as it is sent: `points` of it, in its order, of which `unfit` ones could not be put into `body`."""

    body: bytes
    points: int
    unfit: int = 0
    why: str = ""


class HTTPTarget:
    """Where requests go. Raises ConfigurationError for what cannot be.

    `endpoint`: an http or https URL, as it is; a user and password in it become an Authorization header. `headers`: sent with
    each request, and shown nowhere. `tls`: for https.
    """

    def __init__(self, endpoint: str, *, headers: Mapping[str, str] | None = None, tls: TLS | None = None) -> None:
        parts = _parts(endpoint)
        self.headers = {"User-Agent": f"metrics_sdk-python/{__version__}", **_checked(headers)}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers.setdefault("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
        assert parts.hostname is not None
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._context = _context(tls) if parts.scheme == "https" else None
        if tls is not None and self._context is None:
            raise ConfigurationError(f"{self.endpoint} is not https: it has no use for TLS settings")
        self._connection: _Connection | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<{self.endpoint}>"

    def ask(self, method: str, body: bytes, headers: Mapping[str, str], deadline: float, path: str | None = None) -> Answer:
        """Send one request, and return the answer. Raises OSError or HTTPException if there was none before `deadline`.

        `deadline` is of the monotonic clock, and holds for all of it, but the resolution of the host's name.
        """
        connection = self._connected(deadline)
        try:
            try:
                connection.request(method, path or self.path, body, {**self.headers, **headers})
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it had read everything, as with "too large"
            answer = connection.getresponse()
            said = answer.read(MAX_ANSWER_BYTES + 1)
            if len(said) > MAX_ANSWER_BYTES:
                said = b""
                connection.close()
            return Answer(answer.status, answer.reason, answer.headers, said)
        except BaseException:
            connection.close()  # whatever is still on its way there belongs to nobody
            raise

    def deliver(
        self,
        requests: Iterable[Request],
        timeout: float,
        headers: Mapping[str, str],
        retryable: Callable[[int], bool],
        refused: Callable[[Answer], Refused | None] | None = None,
    ) -> Refused | None:
        """POST the requests one after another within `timeout` seconds; return what was refused.

        An answer that is `retryable`, or none at all, ends it: that and what follows shall be tried again. Every other answer
        but 2xx refuses that one request for good. `refused` tells what of a request was, though the answer is 2xx.
        Raises ExportError, which tells how far it came.
        """
        deadline = _monotonic() + timeout
        settled = lost = 0
        why = ""
        failed = False
        for request in requests:
            if request.body:
                try:
                    answer = self.ask("POST", request.body, headers, deadline)
                except (OSError, http.client.HTTPException) as error:
                    raise ExportError(f"{self.endpoint}: {_said(error)}", settled=settled, refused=lost) from error
                if retryable(answer.status):
                    patience = retry_after(answer.headers, time.time())
                    told = f"{self.endpoint}: {answer}"
                    raise ExportError(told, settled=settled, refused=lost, retry_after_seconds=patience)
                if not 200 <= answer.status < 300:
                    failed = True
                    lost += request.points - request.unfit
                    why = f"{self.endpoint}: {answer}"
                elif refused is not None and (part := refused(answer)) is not None:
                    lost += part.points
                    why = part.why
            lost += request.unfit
            why = why or request.why
            settled += request.points
        if failed:
            raise ExportError(why, settled=settled, refused=lost)
        return Refused(lost, why) if lost or why else None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _connected(self, deadline: float) -> _Connection:
        """Return the connection, a new one in a forked child, and where the other side has closed it meanwhile."""
        connection = self._connection
        if connection is None or self._pid != os.getpid():
            if connection is not None:
                connection.close()  # our descriptor alone: the parent's goes on
            self._pid = os.getpid()
            connection = self._connection = _Connection(self._host, self._port, self._context)
        elif connection.sock is not None and _is_readable(connection.sock):
            connection.close()
        connection.deadline = deadline
        connection.extend()
        return connection


def retry_after(headers: http.client.HTTPMessage, now: float) -> float:
    """Return how many seconds the other side wants to be left alone, 0 if it does not say (RFC 9110, section 10.2.3)."""
    said = (headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def codes(*numbers: int) -> Callable[[int], bool]:
    """Return whether a status is one of these, as a function."""
    chosen: Collection[int] = frozenset(numbers)
    return chosen.__contains__


class _Connection(http.client.HTTPConnection):
    """A connection whose `deadline` holds for every step of a request."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.deadline = 0.0
        self._context = context
        self.default_port = 443 if context is not None else 80  # which the Host header leaves out

    def connect(self) -> None:
        """Open it."""
        plain = socket.create_connection((self.host, self.port), timeout=max(0.001, self.deadline - _monotonic()))
        self.sock: Any = _Socket(fileno=plain.detach())
        self.extend()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
            self.extend()

    def extend(self) -> None:
        """Let the socket know of the deadline."""
        if self.sock is not None:
            self.sock.deadline = self.deadline
            self.sock.settimeout(max(0.001, self.deadline - _monotonic()))


class _Deadline:
    """What waits for no longer than its `deadline`, however little comes at a time: a socket's own timeout is for each step."""

    deadline = 0.0

    def _wait_no_longer(self) -> None:
        left = self.deadline - _monotonic()
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


def _context(tls: TLS | None) -> ssl.SSLContext:
    import ssl  # who does not need it does not pay for it; TLS is configured before anything is exported

    class Socket(_Deadline, ssl.SSLSocket):
        pass

    chosen = TLS() if tls is None else tls
    try:
        context = ssl.create_default_context(cafile=chosen.ca_file)
        if chosen.certificate_file is not None:
            context.load_cert_chain(chosen.certificate_file, chosen.key_file)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{tls!r} cannot be used: {error}") from error
    context.sslsocket_class = Socket
    return context


def _parts(endpoint: object) -> SplitResult:
    try:
        if not isinstance(endpoint, str) or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
            raise ValueError("not a URL")
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or parts.port == 0:
            raise ValueError("not a URL of http or https")
        return parts
    except ValueError as error:
        raise ConfigurationError(f"an endpoint is a URL such as http://localhost:4318/v1/metrics, not this: {error}") from error


def _checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    made: dict[str, str] = {}
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError("headers must be a mapping of names to texts")
    for name, value in (headers or {}).items():
        # Their values are secrets: no message has them.
        if not isinstance(name, str) or not _TOKEN.match(name) or name.lower() in _OURS:
            raise ConfigurationError(f"{name!r} cannot be the name of a header")
        if not isinstance(value, str) or not _FIELD.match(value):
            raise ConfigurationError(f"the header {name} must be a text of one line, of Latin-1 characters")
        made[name] = value
    return made


def _is_readable(sock: socket.socket) -> bool:
    """Tell whether there is something to read, which is the end: nobody has asked for anything."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
