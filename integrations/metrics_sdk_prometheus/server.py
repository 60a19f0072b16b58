"""The server behind `PrometheusEndpoint`: one thread accepts and reads, up to 16 answer.

A client gets a thread only when its request is complete, and loses it when it doesn't take in the answer while others wait:
however many clients are slow, a scrape is answered at once.
"""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections import deque

from metrics_sdk.clock import monotonic

from .answer import Responder
from .connection import Connection
from .guard import Guard

logger = logging.getLogger("metrics_sdk_prometheus")

#: Requests that are answered at once.
MAX_ANSWERING = 16
#: Connections whose request is not complete yet; after that the oldest makes room.
MAX_READING = 64
#: Requests that wait for a thread; after that the oldest makes room.
MAX_READY = 64
#: How long a client may take in its answer undisturbed while other requests wait.
GRACE_SECONDS = 0.1

_PAUSE_AFTER_ERROR_SECONDS = 0.1
_LOG_INTERVAL_SECONDS = 60.0


class Server:
    """Serves on `listener` from `start()` until `stop()`; not to be started again."""

    def __init__(self, listener: socket.socket, responder: Responder, guard: Guard) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._responder = responder
        self._guard = guard
        self._stopping = False
        self._log_next = 0.0
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._reading: dict[socket.socket, Connection] = {}  # oldest first; touched by the accepting thread alone
        self._lock = threading.Lock()  # guards the next three
        self._ready: deque[Connection] = deque()
        self._answering: dict[Connection, None] = {}  # oldest first
        self._threads = 0
        self._thread = threading.Thread(target=self._run, name="metrics_sdk_prometheus", daemon=True)

    def start(self) -> None:
        """Start to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to accept, and end all connections. The port is free afterwards. May be called from any thread."""
        self._stopping = True
        try:
            self._wake_sender.send(b"x")
        except OSError:
            logger.debug("the server has ended already", exc_info=True)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        self._listener.close()

    def abandon(self) -> None:
        """Let go of everything in a forked child, where no thread of the server lives. The parent goes on undisturbed."""
        self._stopping = True
        # Descriptors are closed, not shut down nor unregistered: what is behind them is still the parent's.
        for one in (self._listener, self._wake_receiver, self._wake_sender, self._selector):
            one.close()
        for connection in [*self._reading.values(), *self._ready, *self._answering]:
            connection.socket.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._pass()
            except Exception:
                if not self._stopping:
                    self._recover()
        self._selector.close()
        for one in (self._listener, self._wake_receiver, self._wake_sender):
            one.close()
        for connection in [*self._reading.values(), *self._overdue(math.inf)]:
            connection.close()
        for connection in self._writing(0.0):
            connection.abort()

    def _pass(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj in self._reading:
                self._read(self._reading[key.fileobj])
        now = monotonic()
        while self._reading and (oldest := next(iter(self._reading.values()))).deadline <= now:
            self._drop(oldest)
        if self._ready:
            for connection in self._writing(GRACE_SECONDS):
                connection.abort()
            for connection in self._overdue(now):
                connection.close()

    def _recover(self) -> None:
        """Out of descriptors, as a rule: give one back, wait a little, and say so once a minute."""
        now = monotonic()
        if now >= self._log_next:
            self._log_next = now + _LOG_INTERVAL_SECONDS
            logger.exception("accepting requests failed; going on")
        if self._reading:
            self._drop(next(iter(self._reading.values())))
        time.sleep(_PAUSE_AFTER_ERROR_SECONDS)

    def _patience(self) -> float | None:
        if self._ready:
            return GRACE_SECONDS
        for oldest in self._reading.values():
            return max(0.0, oldest.deadline - monotonic())
        return None

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        connection = Connection(accepted, self._responder, self._guard)
        if len(self._reading) >= MAX_READING:
            self._drop(next(iter(self._reading.values())))
        self._reading[accepted] = connection
        self._selector.register(accepted, selectors.EVENT_READ)
        self._read(connection)  # most requests have arrived with the connection

    def _read(self, connection: Connection) -> None:
        complete = connection.read()
        if complete is None:
            self._drop(connection)
        elif complete:
            self._forget(connection)
            self._dispatch(connection)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        del self._reading[connection.socket]

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()

    def _dispatch(self, connection: Connection) -> None:
        with self._lock:
            is_new_thread = self._threads < MAX_ANSWERING
            self._threads += is_new_thread
            if not is_new_thread:
                self._ready.append(connection)
            crowded_out = self._ready.popleft() if len(self._ready) > MAX_READY else None
        if crowded_out is not None:
            crowded_out.close()
        if is_new_thread:
            try:
                threading.Thread(target=self._answer, args=(connection,), name="metrics_sdk_prometheus", daemon=True).start()
            except RuntimeError:  # no thread can be had: then it takes a little longer
                self._answer(connection)

    def _answer(self, connection: Connection | None) -> None:
        """Answer `connection`, and then what is ready, until nothing is: one thread's life."""
        while connection is not None:
            with self._lock:
                self._answering[connection] = None
            connection.serve()
            with self._lock:
                del self._answering[connection]
                connection = self._ready.popleft() if self._ready else None
                self._threads -= connection is None

    def _writing(self, seconds: float) -> list[Connection]:
        """Return the connections that have been taking in their answers for that long."""
        before = monotonic() - seconds
        with self._lock:
            return [one for one in self._answering if one.writing_since is not None and one.writing_since <= before]

    def _overdue(self, now: float) -> list[Connection]:
        """Take the connections off the queue that have waited until their deadline, as behind a callback that hangs."""
        overdue = []
        with self._lock:
            while self._ready and self._ready[0].deadline <= now:
                overdue.append(self._ready.popleft())
        return overdue
