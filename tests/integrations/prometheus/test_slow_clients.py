"""Clients that are slow, silent or many: none of them may keep a scrape waiting."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from metrics_sdk_prometheus import PrometheusEndpoint

pytestmark = pytest.mark.slow

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def clients(endpoint: PrometheusEndpoint, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.settimeout(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", endpoint.port))
            with contextlib.suppress(OSError):  # it may have been thrown out already
                client.sendall(sent)
            opened.append(client)
        yield opened


def seconds_of_a_scrape(ask: Any) -> float:
    before = time.perf_counter()
    status, _, body = ask()
    assert ("HTTP/1.1 200 OK", True) == (status, body.startswith(b"# TYPE up gauge\nup 1\n"))
    return time.perf_counter() - before


@pytest.mark.parametrize("sent", [b"", b"GET /metr", REQUEST[:-2], REQUEST], ids=["silent", "drip", "unfinished", "never read"])
def test_500_slow_clients_leave_a_scrape_under_a_second(sent: bytes, endpoint: PrometheusEndpoint, ask: Any) -> None:
    with clients(endpoint, 500, sent):
        assert seconds_of_a_scrape(ask) < 1


def test_clients_that_do_not_take_in_a_large_answer_leave_a_scrape_under_a_second(
    endpoint: PrometheusEndpoint, ask: Any, source: Any
) -> None:
    source.text = "x" * 6_000_000  # more than the system buffers
    with clients(endpoint, 32, REQUEST):
        while len(source.asked) < 16:
            threading.Event().wait(0.001)
        source.text = ""
        assert seconds_of_a_scrape(ask) < 1


def test_at_most_16_requests_are_answered_at_once_and_all_are_answered() -> None:
    lock = threading.Lock()
    under_way, most = 0, 0
    crowd = threading.Event()

    class Counts:
        def snapshot(self) -> Any:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
                if under_way == 16:
                    crowd.set()
            assert crowd.wait(10)
            with lock:
                under_way -= 1
            raise RuntimeError

    with PrometheusEndpoint(Counts(), port=0) as endpoint, clients(endpoint, 60, REQUEST) as asking:
        answers = [client.makefile("rb").read() for client in asking]
    assert 16 == most
    assert [True] * 60 == [answer.startswith(b"HTTP/1.1 500 ") for answer in answers]


def test_of_more_than_64_unfinished_requests_the_oldest_makes_room(endpoint: PrometheusEndpoint) -> None:
    with clients(endpoint, 65, b"GET /metr") as asking:
        before = time.perf_counter()
        assert b"" == asking[0].makefile("rb").read()
        assert time.perf_counter() - before < 1
        asking[1].sendall(b"ics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asking[1].makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def test_requests_behind_a_callback_that_hangs_are_ended_after_5_seconds() -> None:
    released = threading.Event()

    class Hangs:
        def snapshot(self) -> Any:
            released.wait(20)
            raise RuntimeError

    with PrometheusEndpoint(Hangs(), port=0) as endpoint, clients(endpoint, 17, REQUEST) as asking:
        assert b"" == asking[-1].makefile("rb").read()
        released.set()
        assert asking[0].makefile("rb").read().startswith(b"HTTP/1.1 500 ")


def test_a_request_that_is_not_complete_after_5_seconds_is_ended(endpoint: PrometheusEndpoint) -> None:
    before = time.perf_counter()
    with clients(endpoint, 1, b"GET /metrics HTTP/1.1\r\n") as (client,):
        assert b"" == client.recv(1)
    assert 4 < time.perf_counter() - before < 7


def test_bytes_in_between_do_not_prolong_the_5_seconds(endpoint: PrometheusEndpoint) -> None:
    def is_open(client: socket.socket) -> bool:
        try:
            client.sendall(b"x")
            return client.recv(1) != b""
        except TimeoutError:
            return True
        except OSError:
            return False

    before = time.perf_counter()
    with clients(endpoint, 1, b"GET /metrics HTTP/1.1\r\nX: ") as (client,):
        client.settimeout(0.2)
        while is_open(client) and time.perf_counter() - before < 7:
            continue
    assert 4 < time.perf_counter() - before < 7
