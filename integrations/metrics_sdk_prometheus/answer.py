"""The answer to a request, whatever server it came in by."""

from __future__ import annotations

import gzip
import logging
from http import HTTPStatus
from typing import NamedTuple, Protocol

from metrics_sdk.errors import ConfigurationError
from metrics_sdk.snapshot import Snapshot

from .negotiate import accepts_gzip, choose_format
from .renderer import Renderer

logger = logging.getLogger("metrics_sdk_prometheus")

#: Where the metrics are, as Prometheus expects it.
PATH = "/metrics"

# The fastest level: it leaves 11 % of the text, level 9 leaves 10 % for seventeen times the work.
_GZIP_LEVEL = 1


class Source(Protocol):
    """What is shown: a `metrics_sdk.MetricsSDK`, or anything else that has snapshots."""

    def snapshot(self) -> Snapshot:
        """Return everything there is."""


class Answer(NamedTuple):
    """A response. `body` is empty where the method was HEAD; the headers are those of a GET."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes


def fixed(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer with a text of ours: nothing of the request is ever in it."""
    body = f"{text}\n".encode()
    about = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))))
    return Answer(status, (*about, *_ALWAYS, *headers), body)


_ALWAYS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
NOT_FOUND = fixed(HTTPStatus.NOT_FOUND, "Not found.")
NOT_ALLOWED = fixed(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD.", ("Allow", "GET, HEAD"))
FAILED = fixed(HTTPStatus.INTERNAL_SERVER_ERROR, "The metrics could not be rendered; the reason is logged.")


class Responder:
    """Answers requests with what `source` has to tell; None is the process-wide SDK, looked up at each request."""

    def __init__(self, source: Source | None) -> None:
        if source is not None and not callable(getattr(source, "snapshot", None)):
            raise ConfigurationError(f"sdk must be a MetricsSDK, or None for the process-wide one, not {source!r}")
        self._source = source
        self._renderer = Renderer()

    def answer(self, method: str, found: bool, accept: str, accept_encoding: str) -> Answer:
        """Return the answer to `method` on a path that was `found` or not. An error while rendering is logged and answered."""
        if not found:
            made = NOT_FOUND
        elif method not in ("GET", "HEAD"):
            made = NOT_ALLOWED
        else:
            try:
                made = self._rendered(accept, accept_encoding)
            except Exception:
                logger.exception("rendering the metrics failed")
                made = FAILED
        return made._replace(body=b"") if method == "HEAD" else made

    def _rendered(self, accept: str, accept_encoding: str) -> Answer:
        chosen = choose_format(accept)
        body = self._renderer.render(self._snapshot(), chosen)
        headers = [("Content-Type", chosen.content_type), ("Vary", "Accept, Accept-Encoding"), *_ALWAYS]
        if accepts_gzip(accept_encoding):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        return Answer(HTTPStatus.OK, tuple(headers), body)

    def _snapshot(self) -> Snapshot:
        if self._source is not None:
            return self._source.snapshot()
        import metrics_sdk

        return metrics_sdk.snapshot()
