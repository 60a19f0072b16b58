"""The WSGI application, called as a server calls it."""

from __future__ import annotations

import gzip
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from metrics_sdk_prometheus import wsgi_app

from metrics_sdk.errors import ConfigurationError


def call(app: Any, path: str = "/metrics", method: str = "GET", **environ: str) -> tuple[str, dict[str, str], bytes]:
    given: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "SCRIPT_NAME": "", "QUERY_STRING": "x=1", **environ}
    setup_testing_defaults(given)
    started: list[Any] = []
    # The validator of the standard library asserts that the application keeps to the protocol.
    answered = validator(app)(given, lambda status, headers, error=None: started.append((status, headers)))  # type: ignore[arg-type,return-value,func-returns-value]
    try:
        body = b"".join(answered)
    finally:
        answered.close()  # type: ignore[attr-defined]
    ((status, headers),) = started
    return status, dict(headers), body


@pytest.mark.parametrize("path", ["/metrics", "/", ""])
def test_it_serves_at_metrics_and_where_it_is_mounted(path: str, source: Any) -> None:
    status, headers, body = call(wsgi_app(source), path, SCRIPT_NAME="/somewhere")
    assert ("200 OK", b"# TYPE up gauge\nup 1\n") == (status, body)
    assert ("text/plain; version=0.0.4; charset=utf-8", "21") == (headers["Content-Type"], headers["Content-Length"])


def test_it_negotiates_format_and_compression(source: Any) -> None:
    _, headers, body = call(wsgi_app(source), HTTP_ACCEPT="application/openmetrics-text", HTTP_ACCEPT_ENCODING="gzip")
    assert b"# TYPE up gauge\nup 1\n# EOF\n" == gzip.decompress(body)
    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == headers["Content-Type"]
    assert ("gzip", str(len(body))) == (headers["Content-Encoding"], headers["Content-Length"])


def test_a_head_request_gets_the_headers_alone(source: Any) -> None:
    status, headers, body = call(wsgi_app(source), method="HEAD")
    assert ("200 OK", "21", b"") == (status, headers["Content-Length"], body)


@pytest.mark.parametrize(
    ("expected", "path", "method"),
    [
        ("404 Not Found", "/metrics/", "GET"),
        ("404 Not Found", "/METRICS", "GET"),
        ("404 Not Found", "/metrics/../etc", "POST"),
        ("405 Method Not Allowed", "/metrics", "POST"),
        ("405 Method Not Allowed", "/metrics", "OPTIONS"),
    ],
)
def test_everything_else_is_refused_without_asking_the_sdk(expected: str, path: str, method: str, source: Any) -> None:
    status, headers, _ = call(wsgi_app(source), path, method)
    assert (expected, []) == (status, source.asked)
    assert ("GET, HEAD" if method != "GET" and "405" in expected else None) == headers.get("Allow")


def test_an_error_while_rendering_is_a_500_and_nothing_of_it_is_shown(source: Any) -> None:
    source.error = RuntimeError("secret")
    status, _, body = call(wsgi_app(source))
    assert ("500 Internal Server Error", b"The metrics could not be rendered; the reason is logged.\n") == (status, body)


def test_what_has_no_snapshot_is_refused_when_the_application_is_made() -> None:
    with pytest.raises(ConfigurationError, match="sdk must be a MetricsSDK"):
        wsgi_app("sdk")  # type: ignore[arg-type]
