"""The metrics as a WSGI application, to be mounted in one's own server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer import PATH, Responder, Source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def wsgi_app(sdk: Source | None = None) -> WSGIApplication:
    """Return a WSGI application that serves the metrics of `sdk`; None is the process-wide SDK.

    It answers GET and HEAD on `/metrics`, and on the very path that it is mounted at. Who may ask is up to the server around
    it: the `Host` header is not checked.
    """
    responder = Responder(sdk)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = responder.answer(
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", "") in ("", "/", PATH),
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_ACCEPT_ENCODING", ""),
        )
        start_response(f"{answer.status.value} {answer.status.phrase}", list(answer.headers))
        return [answer.body]

    return app
