"""Requests over loopback: a server with a few routes, and a client that asks it. Both are measured."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import json
import threading
import time
from collections.abc import Iterator

import metrics_sdk as metrics
from metrics_sdk.demo import library

#: Time between two requests of the client, in seconds: bounds the rate.
PAUSE_SECONDS = 0.02
TIMEOUT_SECONDS = 2.0

#: What the client asks for, in turn.
PATHS = ("/", "/digest/ast", "/p99", "/digest/typing", "/digest/nosuchmodule", "/digest/socket", "/nowhere")

requests = metrics.counter("http.server.requests", unit="{request}", description="Requests answered, by route and status.")
duration = metrics.histogram("http.server.duration", unit="s", description="Time to answer, by route and status.")
active = metrics.up_down_counter("http.server.active", unit="{request}", description="Requests being answered.")
lost = metrics.counter("http.errors", unit="{error}", description="Requests lost on the way, by side and error.")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request, and measures how."""

    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Answer."""
        started = time.perf_counter()
        active.add(1)
        route, status, body = answer(self.path)
        try:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        finally:
            active.add(-1)
            attributes = {"route": route, "status": status}
            requests.add(1, attributes)
            duration.record(time.perf_counter() - started, attributes)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the metrics tell."""


class Server(http.server.ThreadingHTTPServer):
    """Has a thread for each request, and waits for them all when it is closed."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Count a client that went away, and print nothing."""
        lost.add(1, {"side": "server"})


def answer(path: str) -> tuple[str, int, bytes]:
    """Return the route that `path` belongs to, the status and the body. The route is what keeps the series few."""
    if path == "/":
        return "/", 200, b"ask for /digest/<module> or /p99\n"
    if path == "/p99":
        told = {"library.parse.duration": metrics.query("library.parse.duration").percentile(99)}
        return "/p99", 200, json.dumps(told).encode()
    name = path.removeprefix("/digest/")
    if name != path:
        # An identifier names no other folder.
        source = library.root() / f"{name}.py"
        if name.isidentifier() and source.is_file():
            return "/digest/{module}", 200, library.digest(source.read_bytes()).encode()
        return "/digest/{module}", 404, b"no such module\n"
    return "unknown", 404, b"no such page\n"


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Serve on a free port of 127.0.0.1, which is what the block gets."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="demo-web-server")
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(stop: threading.Event, port: int) -> None:
    """Ask the server on `port` for one path after another until `stop`."""
    # The client's side is measured from outside: its code is not ours.
    metrics.histogram("http.client.duration", unit="s", description="Time that a client waited for an answer.")
    with contextlib.closing(metrics.instrument("http.client:HTTPConnection.getresponse", "http.client.duration")):
        for path in itertools.cycle(PATHS):
            if stop.wait(PAUSE_SECONDS):
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
            try:
                connection.request("GET", path)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                lost.add(1, {"side": "client", "error.type": type(error).__name__})
            finally:
                connection.close()
