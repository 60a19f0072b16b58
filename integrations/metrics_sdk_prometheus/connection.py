"""One connection: it reads a request without waiting, answers it, and is closed."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus

from metrics_sdk.clock import monotonic

from .answer import FAILED, PATH, Answer, Responder, fixed
from .guard import Guard
from .request import MAX_HEAD_BYTES, Request, is_complete, parse

logger = logging.getLogger("metrics_sdk_prometheus")

#: What a client may take to send its request and wait for a thread, and again to take in the answer.
TIMEOUT_SECONDS = 5.0

BAD_REQUEST = fixed(HTTPStatus.BAD_REQUEST, "Not an HTTP/1 request that this server understands.")


class Connection:
    """`deadline` and `writing_since` are by the monotonic clock; `writing_since` is None while nothing is being written."""

    def __init__(self, sock: socket.socket, responder: Responder, guard: Guard) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.deadline = monotonic() + TIMEOUT_SECONDS
        self.writing_since: float | None = None
        self._responder = responder
        self._guard = guard
        self._head = b""
        # Guarantees that abort() never shuts down a descriptor that was closed and given to somebody else meanwhile.
        self._closing = threading.Lock()

    def read(self) -> bool | None:
        """Take what has arrived. True: the request is complete; False: there is more to come; None: the client is gone."""
        try:
            received = self.socket.recv(MAX_HEAD_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return None
        if not received:
            return None
        before = len(self._head)
        self._head += received
        return len(self._head) > MAX_HEAD_BYTES or is_complete(self._head, before)

    def serve(self) -> None:
        """Answer the request and close the connection. Never raises."""
        try:
            request = parse(self._head) if len(self._head) <= MAX_HEAD_BYTES else None
            answer = self._answer(request)
            self.writing_since = monotonic()
            self.socket.settimeout(TIMEOUT_SECONDS)
            self.socket.sendall(_head(answer) + answer.body)
            self._discard_rest()
        except OSError:
            logger.debug("a client went away or was too slow", exc_info=True)
        except BaseException:
            logger.exception("answering a request failed")
        finally:
            self.close()

    def _answer(self, request: Request | None) -> Answer:
        if request is None:
            return BAD_REQUEST
        refusal = self._guard.refusal(request)
        if refusal is not None:
            return refusal
        accept, accept_encoding = request.header("accept"), request.header("accept-encoding")
        try:
            return self._responder.answer(request.method, request.path == PATH, accept, accept_encoding)
        except BaseException:  # a callback may raise SystemExit: the thread is ours, and so is the answer
            logger.exception("rendering the metrics failed")
            return FAILED

    def _discard_rest(self) -> None:
        # Closing with unread bytes, as of a request's body, would reset the connection before the answer has been read.
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except (BlockingIOError, InterruptedError):
            return

    def abort(self) -> None:
        """End the connection now, whatever its thread is doing with it."""
        self._locked(self._shut_down)

    def close(self) -> None:
        """Give the descriptor back."""
        self._locked(self.socket.close)

    def _locked(self, action: Callable[[], None]) -> None:
        with self._closing:
            action()

    def _shut_down(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the client was gone already", exc_info=True)


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
