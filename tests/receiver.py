"""A server for exporters, on the loopback interface, that does what a test wants: answers, misbehaves, goes away and comes back."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came; `content` is the body, unpacked where it was compressed."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def content(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


Behaviour = Callable[[socket.socket, Asked], bytes | None]


def reply(status: int = 200, body: bytes = b"", *headers: str) -> Behaviour:
    """Answer."""
    head = "\r\n".join([f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""])
    return lambda connection, asked: head.encode("latin-1") + body


def reset(connection: socket.socket, asked: Asked) -> None:
    """Break the connection off, without an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Receiver:
    """Keeps what was `asked`, and answers as `behaviours` say, the first one first; when there are none left, with 200.

    `accepted` is what was answered with 2xx. `early`: answers when it has seen the head of a request, and reads no further.
    """

    def __init__(self, certificate: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.accepted: list[Asked] = []
        self.behaviours: list[Behaviour] = []
        self.otherwise: Behaviour = reply()
        self.early = False
        self.connections = 0
        self._certificate = certificate
        self._came = threading.Condition()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._stopping.clear()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be gone: connections are refused from now on, and those that are open end."""
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait_for(self, number: int, seconds: float = 20.0) -> list[Asked]:
        """Return what was asked, once there are so many requests."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.asked) >= number, seconds), f"{len(self.asked)} of {number} came"
        return self.asked

    def hang(self, connection: socket.socket, asked: Asked) -> None:
        """Answer never."""
        self._stopping.wait(60)

    def drip(self, connection: socket.socket, asked: Asked) -> None:
        """Answer so slowly that it never ends, byte by byte."""
        pause = threading.Event()
        while not self._stopping.is_set():
            connection.sendall(b"H")
            pause.wait(0.02)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._certificate is not None:
                connection = self._certificate.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            while (asked := self._read(connection)) is not None:
                behaviour = self.behaviours.pop(0) if self.behaviours else self.otherwise
                with self._came:
                    self.asked.append(asked)
                    self._came.notify_all()
                answer = behaviour(connection, asked)
                if answer is None:
                    break
                if answer.startswith(b"HTTP/1.1 2"):
                    self.accepted.append(asked)
                connection.sendall(answer)
                if self.early:
                    break
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket) -> Asked | None:
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(1 << 16)
            if not more:
                return None
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in [one.partition(":") for one in rest]}
        while len(body) < int(headers.get("content-length", "0")) and not self.early:
            more = connection.recv(1 << 20)
            if not more:
                return None
            body += more
        method, path, _ = line.split(" ")
        return Asked(method, path, headers, body)
