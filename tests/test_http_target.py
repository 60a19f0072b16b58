"""The other side of an exporter that pushes: every rule of what is sent, waited for, tried again and given up."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from receiver import Receiver, reply, reset

from metrics_sdk import ConfigurationError
from metrics_sdk.errors import ExportError
from metrics_sdk.http_target import MAX_ANSWER_BYTES, TLS, HTTPTarget, Request, retry_after
from metrics_sdk.snapshot import Refused

RETRYABLE = frozenset((429, 503)).__contains__


def deliver(target: HTTPTarget, *requests: Request, timeout: float = 10.0) -> Refused | None:
    return target.deliver(requests, timeout, {"Content-Type": "x"}, RETRYABLE)


@pytest.fixture
def to() -> Iterator[Callable[..., HTTPTarget]]:
    """Makes targets, and closes them in the end."""
    made: list[HTTPTarget] = []

    def make(*arguments: object, **options: object) -> HTTPTarget:
        made.append(HTTPTarget(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


ONE = Request(b"one", 1)
TWO = Request(b"two", 2)
THREE = Request(b"three", 3)


def test_what_is_accepted_arrives_in_order_over_one_connection_that_stays_open(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    target = to(f"{receiver.url}/v1/metrics?a=b", headers={"X-Key": "secret"})
    assert deliver(target, ONE, TWO) is None
    assert deliver(target, THREE) is None
    assert [b"one", b"two", b"three"] == [asked.body for asked in receiver.asked]
    assert 1 == receiver.connections
    asked = receiver.asked[0]
    assert ("POST", "/v1/metrics?a=b", "secret", "x") == (
        asked.method, asked.path, asked.headers["x-key"], asked.headers["content-type"],
    )  # fmt: skip
    assert asked.headers["user-agent"].startswith("metrics_sdk-python/")
    assert f"127.0.0.1:{receiver.port}" == asked.headers["host"]


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_be_tried_again_ends_the_export_and_tells_how_far_it_came_and_how_long_to_wait(
    to: Callable[..., HTTPTarget], receiver: Receiver, status: int
) -> None:
    receiver.behaviours = [reply(), reply(400), reply(status, b"busy\x07\n", "Retry-After: 7")]
    with pytest.raises(ExportError) as failed:
        deliver(to(receiver.url), ONE, TWO, THREE, ONE)
    assert (3, 2, 7.0) == (failed.value.settled, failed.value.refused, failed.value.retry_after_seconds)
    assert f"{receiver.url}: {status} Whatever: busy" == str(failed.value)
    assert 3 == len(receiver.asked)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 304, 400, 401, 403, 404, 413, 500, 501, 505, 600])
def test_every_other_answer_refuses_its_own_request_for_good_and_no_other(
    to: Callable[..., HTTPTarget], receiver: Receiver, status: int
) -> None:
    receiver.behaviours = [reply(status, b"", "Location: /elsewhere"), reply(204)]
    with pytest.raises(ExportError) as failed:
        deliver(to(receiver.url), ONE, TWO)
    assert (3, 1, 0.0) == (failed.value.settled, failed.value.refused, failed.value.retry_after_seconds)
    assert [b"two"] == [asked.body for asked in receiver.accepted]
    assert ["/", "/"] == [asked.path for asked in receiver.asked]


def test_what_could_not_be_encoded_is_refused_without_a_failure(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    unfit = Request(b"five", 5, 2, "odd")
    assert Refused(3, "odd") == deliver(to(receiver.url), unfit, Request(b"", 1, 1, "odder"))
    assert [b"five"] == [asked.body for asked in receiver.asked]


@pytest.mark.parametrize("behaviour", ["reset", "hang", "drip", "nonsense"])
def test_an_answer_that_does_not_come_in_time_or_is_none_is_tried_again_and_the_next_export_succeeds(
    to: Callable[..., HTTPTarget], receiver: Receiver, behaviour: str
) -> None:
    receiver.behaviours = [
        {"reset": reset, "hang": receiver.hang, "drip": receiver.drip, "nonsense": lambda *_: b"what?\r\n\r\n"}[behaviour]
    ]
    target = to(receiver.url)
    started = time.monotonic()
    with pytest.raises(ExportError) as failed:
        deliver(target, ONE, TWO, timeout=0.3)
    assert time.monotonic() - started < 1.5
    assert (0, 0) == (failed.value.settled, failed.value.refused)
    assert deliver(target, ONE) is None


def test_the_timeout_is_for_all_requests_of_an_export_together(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    def late(connection: object, asked: object) -> bytes | None:
        receiver._stopping.wait(0.15)
        return reply()(connection, asked)  # type: ignore[arg-type]

    receiver.otherwise = late
    started = time.monotonic()
    with pytest.raises(ExportError) as failed:
        deliver(to(receiver.url), *[ONE] * 100, timeout=0.4)
    assert time.monotonic() - started < 2.0
    assert 1 <= failed.value.settled <= 3


def test_a_receiver_that_is_gone_fails_and_serves_again_when_it_is_back(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    target = to(receiver.url)
    assert deliver(target, ONE) is None
    receiver.stop()
    with pytest.raises(ExportError, match=r"Refused|reset|closed"):
        deliver(target, ONE)
    receiver.start()
    assert deliver(target, TWO) is None
    assert [b"one", b"two"] == [asked.body for asked in receiver.accepted]


def test_a_connection_that_the_other_side_closed_while_it_was_idle_is_replaced_without_a_failure(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    target = to(receiver.url)
    assert deliver(target, ONE) is None
    receiver.stop()
    receiver.start()
    assert deliver(target, TWO) is None


def test_an_answer_before_everything_was_read_is_heard(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    receiver.early = True
    receiver.otherwise = reply(413)
    with pytest.raises(ExportError, match="413") as failed:
        deliver(to(receiver.url), Request(b"x" * (32 << 20), 9))
    assert (9, 9) == (failed.value.settled, failed.value.refused)


def test_of_an_answer_no_more_is_read_than_the_limit_and_its_status_counts(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    receiver.behaviours = [reply(200, b"x" * (MAX_ANSWER_BYTES + 1)), reply(400, b"y" * (MAX_ANSWER_BYTES + 1))]
    target = to(receiver.url)
    answer = target.ask("POST", b"", {}, time.monotonic() + 20)
    assert (200, b"") == (answer.status, answer.body)
    with pytest.raises(ExportError) as failed:
        deliver(target, ONE)
    assert 1 == failed.value.refused
    assert deliver(target, ONE) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0), ("", 0), ("120", 120), (" 5 ", 5), ("-1", 0), ("1.5", 0), ("soon", 0), ("9" * 30, 999_999_999), ("²", 0),
        (email.utils.formatdate(1060, usegmt=True), 60), (email.utils.formatdate(900, usegmt=True), 0),
        ("Wed, 99 Foo 2015 07:28:00 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_a_date_and_nonsense_is_none(said: str | None, seconds: float) -> None:
    headers = HTTPMessage()
    if said is not None:
        headers["Retry-After"] = said
    assert seconds == retry_after(headers, 1000.0)


@pytest.mark.parametrize(
    "endpoint",
    ["", "localhost:4318", "ftp://a/", "http://", "http:///x", "http://a b/", "http://a/\r\nX: y", "http://a:99999/", "http://a:x/",
     "http://ä/", "http://a/#part", "http://a:0/", None, 3],
)  # fmt: skip
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="an endpoint is a URL such as"):
        HTTPTarget(endpoint)


@pytest.mark.parametrize(
    "headers",
    [{"": "x"}, {"A B": "x"}, {"A:": "x"}, {"A": "x\r\nB: y"}, {"A": "x\n"}, {"A": "\0"}, {"A": "€"}, {"A": 1}, {1: "a"}, [("A", "b")],
     {"Content-Length": "3"}, {"host": "x"}, {"Transfer-Encoding": "chunked"}],
)  # fmt: skip
def test_headers_that_could_say_something_else_are_refused_and_their_values_not_told(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        HTTPTarget("http://localhost", headers=headers)
    assert "B: y" not in str(refused.value)


def test_a_user_and_password_in_the_endpoint_are_sent_as_a_header_and_shown_nowhere(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    receiver.otherwise = reply(401)
    target = to(f"http://me:pa%20ss@127.0.0.1:{receiver.port}/x", headers={"X-Key": "secret"})
    with pytest.raises(ExportError) as failed:
        deliver(target, ONE)
    assert "Basic bWU6cGEgc3M=" == receiver.asked[0].headers["authorization"]
    for shown in (repr(target), str(failed.value), target.endpoint):
        assert "me" not in shown.replace("metrics", "")
        assert "secret" not in shown


def test_a_forked_child_has_a_connection_of_its_own(run_python: Callable[..., str], receiver: Receiver) -> None:
    program = f"""
    import os, time
    from metrics_sdk.http_target import HTTPTarget

    target = HTTPTarget({receiver.url!r})

    def ask(body):
        return target.ask("POST", body, {{}}, time.monotonic() + 20).status

    assert ask(b"parent") == 200
    child = os.fork()
    if not child:
        os._exit(0 if ask(b"child") == 200 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(b"parent") == 200
    """
    run_python(program)
    assert [b"parent", b"child", b"parent"] == [asked.body for asked in receiver.asked]
    assert 2 == receiver.connections


def test_nothing_is_imported_by_a_request_that_the_construction_has_not_imported(
    run_python: Callable[..., str], receiver: Receiver
) -> None:
    program = f"""
    import sys, time
    from metrics_sdk.http_target import HTTPTarget, Request

    target = HTTPTarget("http://localhost:{receiver.port}")
    before = set(sys.modules)
    target.deliver([Request(b"x", 1)], 20, {{}}, frozenset([503]).__contains__)
    receiver_gone = HTTPTarget("http://localhost:1")
    try:
        receiver_gone.deliver([Request(b"x", 1)], 20, {{}}, frozenset([503]).__contains__)
    except OSError:
        pass
    print(sorted(set(sys.modules) - before))
    """
    assert "[]\n" == run_python(program)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's `ca.pem`, and `own.pem` with `own.key`, for 127.0.0.1, of that authority."""
    folder = tmp_path_factory.mktemp("certificates")

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(folder / "own.key")
    own.cert_chain_pems[0].write_to_path(folder / "own.pem")
    return folder


@pytest.fixture
def secure(certificates: Path) -> Iterator[Receiver]:
    """A receiver that wants to know who it talks to."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "own.pem", certificates / "own.key")
    context.verify_mode = ssl.CERT_REQUIRED
    made = Receiver(context)
    yield made
    made.stop()


def test_https_takes_a_private_authority_and_a_certificate_of_ours(
    to: Callable[..., HTTPTarget], secure: Receiver, certificates: Path
) -> None:
    tls = TLS(certificates / "ca.pem", certificates / "own.pem", certificates / "own.key")
    target = to(secure.url, tls=tls)
    assert deliver(target, ONE) is None
    assert deliver(target, TWO) is None
    assert [b"one", b"two"] == [asked.body for asked in secure.asked]
    assert 1 == secure.connections


def test_https_does_not_talk_to_whom_it_does_not_trust_and_keeps_its_deadline(
    to: Callable[..., HTTPTarget], secure: Receiver, certificates: Path
) -> None:
    with pytest.raises(ExportError, match="certificate verify failed"):
        deliver(to(secure.url), ONE)
    other_name = secure.url.replace("127.0.0.1", "localhost")
    with pytest.raises(ExportError, match="certificate verify failed"):
        deliver(to(other_name, tls=TLS(certificates / "ca.pem")), ONE)
    secure.behaviours = [secure.drip]
    target = to(secure.url, tls=TLS(certificates / "ca.pem", certificates / "own.pem", certificates / "own.key"))
    started = time.monotonic()
    with pytest.raises(ExportError):
        deliver(target, ONE, timeout=0.5)
    assert time.monotonic() - started < 2.0
    assert deliver(target, ONE) is None


def test_tls_settings_that_cannot_be_used_are_refused_when_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        HTTPTarget("https://localhost", tls=TLS(ca_file=tmp_path / "missing.pem"))
    (tmp_path / "odd.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        HTTPTarget("https://localhost", tls=TLS(certificate_file=tmp_path / "odd.pem"))
    with pytest.raises(ConfigurationError, match="not https"):
        HTTPTarget("http://localhost", tls=TLS())


# ---- what a review found ----------------------------------------------------------------------------------------------


CUT = [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12",
]


@pytest.mark.parametrize("answer", CUT)
def test_the_status_says_what_became_of_a_request_however_its_body_ends(
    to: Callable[..., HTTPTarget], receiver: Receiver, answer: bytes
) -> None:
    def half(connection: socket.socket, asked: object) -> None:
        connection.sendall(answer)

    receiver.behaviours = [half, reply()]
    target = to(receiver.url)
    assert deliver(target, ONE, TWO) is None
    assert [b"one", b"two"] == [asked.body for asked in receiver.asked]


def test_an_answer_that_is_left_open_counts_by_its_status_at_the_deadline(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    def open_ended(connection: socket.socket, asked: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        receiver.hang(connection, asked)  # type: ignore[arg-type]

    receiver.behaviours = [open_ended]
    assert deliver(to(receiver.url), ONE, timeout=0.3) is None


def test_a_request_that_cannot_be_made_settles_those_before_it(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    def making() -> Iterator[Request]:
        yield ONE
        yield TWO
        raise RuntimeError("odd")

    with pytest.raises(ExportError, match="cannot be made: RuntimeError: odd") as failed:
        to(receiver.url).deliver(making(), 10, {}, RETRYABLE)
    assert (3, 0) == (failed.value.settled, failed.value.refused)


def test_no_more_is_refused_than_was_asked_for(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    told = to(receiver.url).deliver(
        [Request(b"x", 7, 2, "odd")], 10, {}, RETRYABLE, lambda answer: Refused(10**15, "all of it")
    )
    assert Refused(7, "all of it") == told


def test_what_the_other_side_says_is_shown_in_one_line_of_limited_length(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    forged = b"HTTP/1.1 400 \x1b[2Jno" + b"y" * 5000 + b"\r\nContent-Length: 2000\r\n\r\n" + b"a\nERROR forged\r\n" * 125
    receiver.behaviours = [lambda connection, asked: forged]
    with pytest.raises(ExportError) as failed:
        deliver(to(receiver.url), ONE)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 500


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "http://joe:pa55/word@host/"},
        {"endpoint": "http://joe:pa55word@host:port/"},
        {"endpoint": "http://localhost", "headers": {"Authorization: Bearer pa55word": "x"}},
        {"endpoint": "http://localhost", "headers": {"Authorization": "pa55word\n"}},
    ],
)
def test_an_error_shows_no_part_of_a_secret(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        HTTPTarget(**given)
    assert "pa55" not in "".join(traceback.format_exception_only(refused.value)) + str(refused.value.__cause__)


def test_of_two_headers_that_differ_in_case_the_users_is_sent_and_the_protocols_wins(
    to: Callable[..., HTTPTarget], receiver: Receiver
) -> None:
    heads: list[bytes] = []
    receiver.otherwise = lambda connection, asked: heads.append(repr(asked.headers).encode()) or reply()(connection, asked)  # type: ignore[func-returns-value]
    headers = {"user-agent": "mine", "AUTHORIZATION": "Bearer x", "content-type": "text/plain"}
    target = to(receiver.url.replace("127", "joe:pw@127"), headers=headers)
    assert deliver(target, ONE) is None
    found = receiver.asked[0].headers
    assert ("mine", "Bearer x", "x") == (found["user-agent"], found["authorization"], found["content-type"])
    assert {"user-agent": 1, "authorization": 1, "content-type": 1} == {
        name: [one.lower() for one in target.headers].count(name) or 1
        for name in ("user-agent", "authorization", "content-type")
    }


def test_all_addresses_of_a_name_share_the_deadline(monkeypatch: pytest.MonkeyPatch, to: Callable[..., HTTPTarget]) -> None:
    with contextlib.ExitStack() as closing:
        full = [closing.enter_context(socket.socket()) for _ in range(3)]
        for listening in full:  # its queue is full: connecting hangs
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(4):
                filling = closing.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(listening.getsockname())
        port = full[0].getsockname()[1]
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 3
        resolve = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *rest, **more: addresses if host == "many" else resolve(host, *rest, **more)
        )
        started = time.monotonic()
        with pytest.raises(ExportError):
            deliver(to(f"http://many:{port}"), ONE, timeout=0.5)
        assert time.monotonic() - started < 1.2


def test_a_handshake_that_is_reset_is_told_as_such(to: Callable[..., HTTPTarget], receiver: Receiver) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def refuse() -> None:
            connection, _ = listening.accept()
            connection.recv(100)
            reset(connection, None)  # type: ignore[arg-type]

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with pytest.raises(ExportError, match=r"reset|EOF|closed"):
            deliver(to(f"https://127.0.0.1:{listening.getsockname()[1]}"), ONE)
        refusing.join(10)


@pytest.mark.parametrize("background", [True, False])
def test_a_child_that_was_forked_while_an_answer_was_read_exports_and_ends(
    run_python: Callable[..., str], receiver: Receiver, background: bool
) -> None:
    going_on = threading.Event()

    def half(connection: socket.socket, asked: object) -> bytes:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        going_on.wait(20)
        return b"67890"

    receiver.behaviours = [half]
    program = f"""
    import os, threading
    from metrics_sdk import Config, Export, MetricsSDK
    from metrics_sdk.http_target import HTTPTarget, Request
    import metrics_sdk.http_target as http_target

    reading = threading.Event()
    read = http_target.http.client.HTTPResponse.read
    def telling(self, amount):
        reading.set()
        return read(self, amount)
    http_target.http.client.HTTPResponse.read = telling

    class Exporter:
        def __init__(self):
            self.target = HTTPTarget({receiver.url!r})
        def export(self, snapshot, timeout):
            self.target.deliver([Request(b"x", 1)], timeout, {{}}, frozenset([503]).__contains__)
        def shutdown(self):
            self.target.close()

    sdk = MetricsSDK(Config(background={background}, exporters=[Export(Exporter(), timeout_seconds=20)]))
    sdk.counter("c").add(1)
    flushing = threading.Thread(target=sdk.flush)
    flushing.start()
    reading.wait(20)
    child = os.fork()
    if not child:
        sdk.counter("c").add(1)
        print(sdk.flush(10), sdk.shutdown(10), flush=True)
        os._exit(0)  # the interpreter's end would wait for the thread that dumps stacks, which is the parent's
    print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
    """
    try:
        assert "True True\n0\n" == run_python(program, deadline=30, stderr=None)
    finally:
        going_on.set()
