"""The HTTP endpoint: requests, refusals and its life."""

from __future__ import annotations

import gc
import gzip
import logging
import os
import socket
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint

from metrics_sdk.errors import ConfigurationError

BODY = b"# TYPE up gauge\nup 1\n"


def test_a_get_is_answered_with_the_metrics(endpoint: PrometheusEndpoint) -> None:
    with urllib.request.urlopen(endpoint.url, timeout=10) as response:
        assert (200, BODY) == (response.status, response.read())
        assert "text/plain; version=0.0.4; charset=utf-8" == response.headers["Content-Type"]


def test_a_head_request_gets_the_headers_of_a_get_and_no_body(ask: Any) -> None:
    assert (*ask()[:2], b"") == ask("HEAD /metrics HTTP/1.1")


def test_format_and_compression_are_negotiated(ask: Any) -> None:
    _, headers, body = ask("GET /metrics HTTP/1.1", "Accept: application/openmetrics-text", "ACCEPT-ENCODING: gzip")
    assert BODY + b"# EOF\n" == gzip.decompress(body)
    assert "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in headers
    assert "Content-Encoding: gzip" in headers
    assert f"Content-Length: {len(body)}" in headers


def test_a_query_is_ignored(ask: Any) -> None:
    assert BODY == ask("GET /metrics?name[]=x HTTP/1.1")[2]


def test_lines_may_end_in_line_feeds_alone_and_headers_may_come_in_pieces(ask: Any) -> None:
    with ask.connect() as client:
        for piece in (b"GET /met", b"rics HTTP/1.0\nHost: [::1]:9464", b"\n", b"\n"):
            client.sendall(piece)
        assert client.makefile("rb").read().endswith(BODY)


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        (404, "GET / HTTP/1.1"),
        (404, "GET /metrics/ HTTP/1.1"),
        (404, "GET /Metrics HTTP/1.1"),
        (404, "GET //metrics HTTP/1.1"),
        (404, "POST /other HTTP/1.1"),
        (405, "POST /metrics HTTP/1.1"),
        (405, "DELETE /metrics HTTP/1.1"),
        (405, "get /metrics HTTP/1.1"),
        (400, "GET /metrics HTTP/2.0"),
        (400, "GET /metrics"),
        (400, "GET http://localhost/metrics HTTP/1.1"),
        (400, "GET /met\trics HTTP/1.1"),
        (400, "<script>alert(1)</script>"),
        (400, ""),
    ],
)
def test_everything_else_is_refused_without_asking_the_sdk(expected: int, line: str, ask: Any, source: Any) -> None:
    status, _, _ = ask(line)
    assert (expected, []) == (int(status.split()[1]), source.asked)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:9464", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:9464", "192.168.1.7:9464", "10.0.0.1"],
)
def test_on_loopback_localhost_and_addresses_are_served(host: str, ask: Any) -> None:
    assert BODY == ask(host=f"Host: {host}")[2]


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: evil.example",),
        ("Host: localhost.evil.example",),
        ("Host: 127.0.0.1.evil.example:9464",),
        ("Host: evil.example:127.0.0.1",),
        ("Host: localhost@evil.example",),
        ("Host: [evil.example]",),
        ("Host: ",),
        ("X: y",),
        ("Host: localhost", "Host: evil.example"),
        ("Host: localhost, evil.example",),
    ],
)
def test_on_loopback_every_other_host_is_refused_so_that_dns_rebinding_fails(
    headers: tuple[str, ...], ask: Any, source: Any
) -> None:
    status, _, body = ask("GET /metrics HTTP/1.1", *headers[1:], host=headers[0])
    assert ("HTTP/1.1 403 Forbidden", []) == (status, source.asked)
    assert b"The Host header must be localhost or an IP address.\n" == body


def test_elsewhere_any_host_is_served(source: Any) -> None:
    with PrometheusEndpoint(source, host="0.0.0.0", port=0) as endpoint:
        assert f"http://127.0.0.1:{endpoint.port}/metrics" == endpoint.url
        with urllib.request.urlopen(
            urllib.request.Request(endpoint.url, headers={"Host": "shop.example"}), timeout=10
        ) as response:
            assert BODY == response.read()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /PLANTED HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PLANTED /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PLANTED\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: PLANTED\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nPLANTED\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: PLANTED\r\nOrigin: PLANTED\r\n\r\n",
        b"GET /metrics?PLANTED HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_nothing_of_the_request_is_in_the_answer(sent: bytes, ask: Any) -> None:
    assert b"PLANTED" not in ask.raw(sent)


def test_a_head_that_is_too_long_is_refused(ask: Any) -> None:
    assert b"400" in ask.raw(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 16384)[:20]


def test_a_request_with_a_body_gets_its_refusal_although_the_body_is_not_read(ask: Any) -> None:
    assert b"HTTP/1.1 405" in ask.raw(
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60000
    )


@pytest.mark.parametrize("error", [RuntimeError("secret"), SystemExit(3), KeyboardInterrupt(), RecursionError()])
def test_an_error_while_rendering_is_a_logged_500_and_the_server_goes_on(
    error: BaseException, ask: Any, source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source.error = error
    with caplog.at_level(logging.ERROR, "metrics_sdk_prometheus"):
        status, _, body = ask()
    assert "HTTP/1.1 500 Internal Server Error" == status
    assert b"secret" not in body
    assert ["rendering the metrics failed"] == [record.getMessage() for record in caplog.records]
    source.error = None
    assert BODY == ask()[2]


def test_nothing_is_written_to_stderr(
    endpoint: PrometheusEndpoint, ask: Any, source: Any, run_python: Callable[..., str]
) -> None:
    """Run without any logging set up, where Python itself writes warnings and errors to stderr."""
    program = """
        import socket, urllib.request, urllib.error
        from metrics_sdk_prometheus import PrometheusEndpoint
        class Broken:
            def snapshot(self): raise RuntimeError
        with PrometheusEndpoint(Broken(), port=0) as endpoint:
            socket.create_connection(("127.0.0.1", endpoint.port)).close()
            try:
                urllib.request.urlopen(endpoint.url, timeout=10)
            except urllib.error.HTTPError as error:
                print(error.code)
                error.close()
    """
    assert "500\n" == run_python(program)


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        ("port", {"port": -1}),
        ("port", {"port": 65536}),
        ("port", {"port": "9464"}),
        ("port", {"port": True}),
        ("host", {"host": ""}),
        ("host", {"host": None}),
        ("host", {"host": "a\nb"}),
        ("sdk", {"sdk": object()}),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(expected: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{expected} must be "):
        PrometheusEndpoint(**arguments)


def test_a_port_in_use_is_an_error_that_names_it(endpoint: PrometheusEndpoint, source: Any) -> None:
    second = PrometheusEndpoint(source, port=endpoint.port)
    with pytest.raises(OSError, match=f"cannot serve metrics on '127.0.0.1', port {endpoint.port}: "):
        second.start()
    second.close()


def test_a_host_that_does_not_exist_is_an_error_that_names_it(source: Any) -> None:
    with pytest.raises(OSError, match=r"cannot serve metrics on 'nowhere.invalid'"):
        PrometheusEndpoint(source, host="nowhere.invalid").start()


def test_nothing_listens_before_start_nor_after_close_and_it_can_be_started_again(source: Any) -> None:
    endpoint = PrometheusEndpoint(source, port=0)
    assert 0 == endpoint.port
    for _ in range(2):
        assert endpoint is endpoint.start()
        port = endpoint.port
        with urllib.request.urlopen(endpoint.url, timeout=10) as response:
            assert BODY == response.read()
        endpoint.close()
        endpoint.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)


def test_starting_twice_is_a_clear_error(endpoint: PrometheusEndpoint) -> None:
    with pytest.raises(RuntimeError, match="running already, at http"):
        endpoint.start()


def test_ipv6_loopback_is_served(source: Any) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with PrometheusEndpoint(source, host="::1", port=0) as endpoint:
        assert endpoint.url.startswith("http://[::1]:")
        with urllib.request.urlopen(endpoint.url, timeout=10) as response:
            assert BODY == response.read()


def test_closing_is_quick_while_clients_are_connected_and_a_scrape_hangs(ask: Any, endpoint: PrometheusEndpoint) -> None:
    hanging, released = threading.Event(), threading.Event()

    class Hangs:
        def snapshot(self) -> Any:
            hanging.set()
            released.wait(10)
            raise RuntimeError

    other = PrometheusEndpoint(Hangs(), port=0).start()
    clients = [socket.create_connection(("127.0.0.1", other.port), timeout=10) for _ in range(3)]
    clients[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert hanging.wait(10)
    before = time.perf_counter()
    other.close()
    assert time.perf_counter() - before < 0.5
    released.set()
    for client in clients:
        client.close()


def test_the_threads_are_daemons_and_end_with_close(source: Any) -> None:
    def ours() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "metrics_sdk_prometheus"]

    before = ours()
    with PrometheusEndpoint(source, port=0):
        (started,) = [thread for thread in ours() if thread not in before]
        assert started.daemon
    assert not started.is_alive()


def test_an_endpoint_that_is_closed_is_not_kept_alive(source: Any) -> None:
    endpoint = PrometheusEndpoint(source, port=0).start()
    endpoint.close()
    reference = weakref.ref(endpoint)
    del endpoint
    gc.collect()
    assert reference() is None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_serve_and_the_parent_goes_on(run_python: Callable[..., str]) -> None:
    program = """
        import os, socket, urllib.request, warnings
        from metrics_sdk.snapshot import Snapshot
        from metrics_sdk_prometheus import PrometheusEndpoint
        class Source:
            def snapshot(self): return Snapshot({"pid": os.getpid()}, 0.0, ())
        endpoint = PrometheusEndpoint(Source(), port=0).start()
        url, port = endpoint.url, endpoint.port
        ready, go = os.pipe(), os.pipe()
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: the process has threads
        child = os.fork()
        if child == 0:
            assert endpoint.port == 0, endpoint
            endpoint.close()
            with endpoint:  # it may have one of its own
                body = urllib.request.urlopen(endpoint.url, timeout=10).read()
                assert f'pid="{os.getpid()}"'.encode() in body, body
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(7)
        os.read(ready[0], 1)
        for _ in range(20):
            body = urllib.request.urlopen(url, timeout=10).read()
            assert f'pid="{os.getpid()}"'.encode() in body, body
        endpoint.close()
        try:  # the port is free although the child is alive
            socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            print("refused")
        os.write(go[1], b"x")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert "refused\n7\n" == run_python(program)
