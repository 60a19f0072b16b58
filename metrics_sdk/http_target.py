"""The other side of an exporter that pushes by HTTP: what is asked of it, how long, and what its answers mean.

Standard library only. One connection, kept open between exports; redirects are not followed, so that what is sent, credentials
included, goes where the application said and nowhere else; proxies in the environment are not used.
"""

from __future__ import annotations

import email.utils
import http.client
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from metrics_sdk.clock import monotonic
from metrics_sdk.errors import ConfigurationError, ExportError
from metrics_sdk.http_connection import TLS as TLS  # part of what exporters need, as the rest of this module
from metrics_sdk.http_connection import Connection, is_readable, leave, tls_context
from metrics_sdk.snapshot import Refused
from metrics_sdk.version import __version__

#: What is read of an answer at most. OTLP specification, "OTLP/HTTP Response".
MAX_ANSWER_BYTES = 4 << 20

#: What an OTLP receiver has to take at most, and others do by default. "OTLP/HTTP Request".
LARGEST_REQUEST_BYTES = 64 << 20

_SHOWN = 200  # characters of what the other side says
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 9110, section 5.6.2
_FIELD = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_OURS = ("content-length", "transfer-encoding", "host", "connection")


class Answer(NamedTuple):
    """What came back. `body` is empty if it was longer than `MAX_ANSWER_BYTES`."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    def __str__(self) -> str:
        said = shown(self.body[:_SHOWN].decode("utf-8", "replace"))
        return f"{self.status} {shown(self.reason)}{': ' if said else ''}{said}"


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
        assert parts.hostname is not None
        self.headers = _joined({"User-Agent": f"metrics_sdk-python/{__version__}", **_authorization(parts)}, _checked(headers))
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._context = tls_context(tls) if parts.scheme == "https" else None
        if tls is not None and self._context is None:
            raise ConfigurationError(f"{self.endpoint} is not https: it has no use for TLS settings")
        self._connection: Connection | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<{self.endpoint}>"

    def ask(self, method: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
        """Send one request, and return the answer. Raises OSError or HTTPException if there was none before `deadline`.

        `deadline` is of the monotonic clock, and holds for all of it, but the resolution of the host's name. `headers` win over
        the target's own.
        """
        connection = self._connected(deadline)
        try:
            if connection.sock is None:
                connection.connect()
            try:
                connection.request(method, self.path, body, _joined(self.headers, headers))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it had read everything, as with "too large"
            answer = connection.getresponse()
        except BaseException:
            connection.close()  # whatever is still on its way there belongs to nobody
            raise
        try:
            said = answer.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException):
            said = b""  # its status says what became of the request, however its body ends
            connection.close()
        if len(said) > MAX_ANSWER_BYTES:
            said = b""
            connection.close()
        return Answer(answer.status, answer.reason, answer.headers, said)

    def deliver(
        self,
        requests: Iterable[Request],
        timeout: float,
        headers: Mapping[str, str],
        retryable: Callable[[int], bool],
        refused: Callable[[Answer], Refused | None] | None = None,
        method: str = "POST",
    ) -> Refused | None:
        """Send the requests one after another within `timeout` seconds; return what was refused.

        An answer that is `retryable`, or none at all, ends it: that and what follows shall be tried again. Every other answer
        but 2xx refuses that one request for good. `refused` tells what of a request was, though the answer is 2xx.
        Raises ExportError, which tells how far it came.
        """
        deadline = monotonic() + timeout
        settled = lost = 0
        why = ""
        failed = False
        making = iter(requests)
        while True:
            try:
                request = next(making, None)
            except Exception as error:  # what was accepted before must not be told again
                told = f"a request to {self.endpoint} cannot be made: {_said(error)}"
                raise ExportError(told, settled=settled, refused=lost) from error
            if request is None:
                break
            if request.body:
                try:
                    answer = self.ask(method, request.body, headers, deadline)
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
                    lost += min(part.points, request.points - request.unfit)
                    why = part.why
            lost += request.unfit
            why = why or request.why
            settled += request.points
        if failed:
            raise ExportError(why, settled=settled, refused=lost)
        return Refused(lost, why) if lost or why else None

    def close(self) -> None:
        """Close the connection, if there is one of this process."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()

    def _connected(self, deadline: float) -> Connection:
        """Return the connection, a new one in a forked child, and where the other side has closed it meanwhile."""
        connection = self._connection
        if connection is None or self._pid != os.getpid():
            if connection is not None:
                leave(connection)
            self._pid = os.getpid()
            connection = self._connection = Connection(self._host, self._port, self._context)
        elif connection.sock is not None and is_readable(connection.sock):
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


def busy_or_broken(status: int) -> bool:
    """Tell whether a server is busy or has failed: what is worth another try where a protocol says no more about it."""
    return status == 429 or 500 <= status < 600


def shown(said: str) -> str:
    """Return what the other side says as it may stand in a log: of limited length, and in one line."""
    return "".join([one if one.isprintable() else " " for one in said[:_SHOWN]]).strip()


def is_header(name: object, value: object) -> bool:
    """Tell whether a header may be sent: RFC 9110, section 5; not those that say how long the request is, and to whom."""
    if not isinstance(name, str) or not _TOKEN.match(name) or name.lower() in _OURS:
        return False
    return isinstance(value, str) and _FIELD.match(value) is not None


def checked_size(max_request_bytes: object) -> int:
    """Return how large a request may be at most. Raises ConfigurationError for what is no such number."""
    if type(max_request_bytes) is not int or not 1024 <= max_request_bytes <= LARGEST_REQUEST_BYTES:
        raise ConfigurationError(
            f"max_request_bytes must be a whole number from 1024 to {LARGEST_REQUEST_BYTES}, not {max_request_bytes!r}"
        )
    return max_request_bytes


def _joined(headers: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return headers with `others` over them; case does not matter."""
    kept = {name: value for name, value in headers.items() if name.lower() not in {other.lower() for other in others}}
    return {**kept, **others}


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _parts(endpoint: object) -> SplitResult:
    try:
        if not isinstance(endpoint, str) or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
            raise ValueError("not a URL")
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or parts.port == 0:
            raise ValueError("not a URL of http or https")
        parts.hostname.encode("idna")
        return parts
    except ValueError:  # whose text may have a part of a password
        told = "what was given is none" if not isinstance(endpoint, str) or "@" in endpoint else f"not {endpoint[:_SHOWN]!r}"
        raise ConfigurationError(f"an endpoint is a URL such as http://localhost:4318/v1/metrics: {told}") from None


def _checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError("headers must be a mapping of names to texts")
    made: dict[str, str] = {}
    for number, (name, value) in enumerate((headers or {}).items(), 1):
        if not is_header(name, value):  # nor is it shown: what is a value may stand where a name should
            raise ConfigurationError(
                f"header {number} cannot be sent: its name is a token, none of {', '.join(_OURS)}; its value a line of Latin-1"
            )
        made = _joined(made, {name: value})
    return made


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {shown(str(error))}" if str(error) else type(error).__name__
