"""An HTTP server of its own for the metrics, off until it is started."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import weakref
from types import TracebackType
from typing import Self

from metrics_sdk.errors import ConfigurationError

from .answer import PATH, Responder, Source
from .guard import Guard
from .server import Server

_BACKLOG = 512  # connections the system keeps until they are accepted; it may keep fewer


class PrometheusEndpoint:
    """Serves `http://host:port/metrics` in daemon threads, to Prometheus or anyone else who can reach it.

    It serves text, OpenMetrics, or protobuf with native histograms, whichever is asked for: Prometheus asks for the last where
    native histograms are enabled.

    `sdk`: a `MetricsSDK`, or None for the process-wide one. `host`: a name or address to listen on; the default is for this
    machine only. `port`: 0 takes a free one. Raises ConfigurationError for arguments that cannot be.

    `basic_auth`: a name and a password, `bearer_token`: a token, either of which a request must bring in its `Authorization`
    header; without them whoever reaches the endpoint reads the metrics. Over a network they are only as secret as the
    connection: the endpoint speaks plain HTTP, so put a proxy with TLS before it.

    On loopback the `Host` header must be localhost or an IP address, so that no web page can read the metrics by DNS
    rebinding. On other addresses there is no such check.

    A forked child does not serve: it lets go of the port, and the parent goes on. It may start an endpoint of its own.
    """

    def __init__(
        self,
        sdk: Source | None = None,
        host: str = "127.0.0.1",
        port: int = 9464,
        *,
        basic_auth: tuple[str, str] | None = None,
        bearer_token: str | None = None,
    ) -> None:
        if not isinstance(host, str) or not host or not host.isprintable():
            raise ConfigurationError(f"host must be a name or an IP address, not {host!r}")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise ConfigurationError(f"port must be a whole number from 0 to 65535, not {port!r}")
        self._responder = Responder(sdk)
        self._guard = Guard(basic_auth, bearer_token)
        self._host = host
        self._configured_port = self._port = port
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._hooked = False

    def start(self) -> Self:
        """Listen and serve. Raises OSError if that is not possible, RuntimeError if it is running already.

        After `close()` it may be started again.
        """
        with self._lock:
            self._start()
        return self

    def _start(self) -> None:
        if self._server is not None:
            raise RuntimeError(f"the endpoint is running already, at {self.url}")
        listener = self._listener()
        address, self._port = listener.getsockname()[:2]
        self._guard.checks_host = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        server = Server(listener, self._responder, self._guard)
        try:
            server.start()
        except BaseException:
            server.abandon()
            raise
        self._server = server
        if not self._hooked and hasattr(os, "register_at_fork"):
            self._hooked = True
            os.register_at_fork(after_in_child=_Forget(self))

    def _listener(self) -> socket.socket:
        try:
            infos = socket.getaddrinfo(self._host, self._configured_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = infos[0]
            listener = socket.socket(family, kind, protocol)
            try:
                if os.name == "posix":  # elsewhere it would let two processes have one port
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(_BACKLOG)
            except BaseException:
                listener.close()
                raise
            return listener
        except OSError as error:
            where = f"{self._host!r}, port {self._configured_port}"
            raise type(error)(error.errno, f"cannot serve metrics on {where}: {error.strerror}") from error

    def close(self) -> None:
        """Stop serving and free the port; answers that are under way are cut off. Closing twice does no harm."""
        with self._lock:
            server, self._server = self._server, None
            self._port = self._configured_port
        if server is not None:
            server.stop()

    def _forked(self) -> None:
        self._lock = threading.Lock()  # whoever held the old one does not exist here
        server, self._server = self._server, None
        self._port = self._configured_port
        if server is not None:
            server.abandon()

    @property
    def port(self) -> int:
        """The port: while it is running the real one, otherwise the one that was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where the metrics are, for this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}{PATH}"

    def __enter__(self) -> Self:
        """Start, if it is not running yet."""
        if self._server is None:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"<PrometheusEndpoint {self.url} {'running' if self._server is not None else 'stopped'}>"


class _Forget:
    """The hook in a forked child. Hooks cannot be taken back, so it must not keep the endpoint alive."""

    def __init__(self, endpoint: PrometheusEndpoint) -> None:
        self._endpoint = weakref.ref(endpoint)

    def __call__(self) -> None:
        endpoint = self._endpoint()
        if endpoint is not None:
            endpoint._forked()
