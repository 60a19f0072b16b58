"""A site that counts its requests, for servers of WSGI and ASGI."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from catalogue.applications.recording import count

import metrics_sdk as metrics

requests = metrics.counter("requests", description="Requests answered.")
latency = metrics.histogram("latency", unit="s")
master = metrics.counter("master", description="What the first process has recorded.")

if "CATALOGUE_MASTER_RECORDS" in os.environ:
    master.add(3)


def answer() -> bytes:
    """Do what a request takes."""
    with latency.time():
        requests.add(1, {"route": "/"})
    count()
    return b"answered"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request."""
    body = answer()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Answer a request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # how a server is told that there is no such thing
    body = answer()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
