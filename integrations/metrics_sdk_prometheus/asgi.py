"""The metrics as an ASGI 3 application, to be mounted in one's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .answer import PATH, Responder, Source

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi_app(sdk: Source | None = None) -> ASGIApp:
    """Return an ASGI application that serves the metrics of `sdk`; None is the process-wide SDK.

    It answers GET and HEAD on `/metrics`, and on the very path that it is mounted at. Who may ask is up to the server around
    it: the `Host` header is not checked. Rendering happens in a thread of the event loop's default executor, so that the loop
    goes on; the loop has to be asyncio's.
    """
    responder = Responder(sdk)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await _respond(responder, scope, send)
        else:
            raise ValueError("an ASGI scope of a type that the metrics application does not know")

    return app


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _respond(responder: Responder, scope: Scope, send: Send) -> None:
    accept, accept_encoding = _header(scope, b"accept"), _header(scope, b"accept-encoding")
    answer = await asyncio.to_thread(responder.answer, scope["method"], _is_found(scope), accept, accept_encoding)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _is_found(scope: Scope) -> bool:
    # Servers differ in whether the path still has the mount point in front.
    path, root = scope["path"], scope.get("root_path", "")
    return path in ("", "/", PATH) or (bool(root) and path.removeprefix(root) in ("", "/", PATH))


def _header(scope: Scope, name: bytes) -> str:
    return ",".join([value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name])
