"""The ASGI application, called as a server calls it."""

from __future__ import annotations

import asyncio
import gzip
import threading
from typing import Any

import pytest
from metrics_sdk_prometheus import asgi_app


async def exchange(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    pending = list(received)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return pending.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def http(path: str = "/metrics", method: str = "GET", *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http", "path": path, "method": method, "headers": list(headers), **more}


def call(app: Any, scope: dict[str, Any]) -> tuple[int, dict[bytes, bytes], bytes]:
    start, body = asyncio.run(exchange(app, scope, {"type": "http.request"}))
    assert ("http.response.start", "http.response.body") == (start["type"], body["type"])
    return start["status"], dict(start["headers"]), body["body"]


@pytest.mark.parametrize(
    ("path", "root"),
    [("/metrics", ""), ("/", ""), ("", ""), ("/a/metrics", "/a"), ("/a", "/a"), ("/a/", "/a"), ("/metrics", "/metrics")],
)
def test_it_serves_at_metrics_and_where_it_is_mounted(path: str, root: str, source: Any) -> None:
    status, headers, body = call(asgi_app(source), http(path, root_path=root))
    assert (200, b"# TYPE up gauge\nup 1\n") == (status, body)
    assert (b"text/plain; version=0.0.4; charset=utf-8", b"21") == (headers[b"content-type"], headers[b"content-length"])


def test_it_negotiates_format_and_compression_from_headers_that_may_come_in_parts(source: Any) -> None:
    scope = http(
        "/metrics",
        "GET",
        (b"accept", b"text/plain;q=0.5"),
        (b"accept", b"application/openmetrics-text"),
        (b"accept-encoding", b"gzip"),
    )
    _, headers, body = call(asgi_app(source), scope)
    assert b"# TYPE up gauge\nup 1\n# EOF\n" == gzip.decompress(body)
    assert b"gzip" == headers[b"content-encoding"]


def test_a_head_request_gets_the_headers_alone(source: Any) -> None:
    status, headers, body = call(asgi_app(source), http(method="HEAD"))
    assert (200, b"21", b"") == (status, headers[b"content-length"], body)


@pytest.mark.parametrize(
    ("expected", "path", "method"),
    [(404, "/other", "GET"), (404, "/metricsx", "GET"), (405, "/metrics", "POST"), (404, "/b/metrics", "GET")],
)
def test_everything_else_is_refused_without_asking_the_sdk(expected: int, path: str, method: str, source: Any) -> None:
    assert (expected, []) == (call(asgi_app(source), http(path, method, root_path="/a"))[0], source.asked)


def test_an_error_while_rendering_is_a_500(source: Any) -> None:
    source.error = RuntimeError("secret")
    status, _, body = call(asgi_app(source), http())
    assert (500, b"The metrics could not be rendered; the reason is logged.\n") == (status, body)


def test_the_lifespan_protocol_is_answered() -> None:
    sent = asyncio.run(exchange(asgi_app(), {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
    assert [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}] == sent


def test_a_websocket_is_closed() -> None:
    sent = asyncio.run(exchange(asgi_app(), {"type": "websocket"}, {"type": "websocket.connect"}))
    assert [{"type": "websocket.close", "code": 1000}] == sent


def test_an_unknown_kind_of_scope_is_an_error_as_the_protocol_wants_it() -> None:
    with pytest.raises(ValueError, match="type"):
        asyncio.run(exchange(asgi_app(), {"type": "telepathy"}))


def test_rendering_does_not_block_the_event_loop() -> None:
    """The snapshot is not finished before the loop has run something else."""
    loop_ran = threading.Event()

    class Slow:
        def snapshot(self) -> Any:
            assert loop_ran.wait(10)
            raise RuntimeError

    async def both() -> list[dict[str, Any]]:
        asyncio.get_running_loop().call_later(0.01, loop_ran.set)
        return await exchange(asgi_app(Slow()), http())

    assert 500 == asyncio.run(both())[0]["status"]
