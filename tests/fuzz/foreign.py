"""Our parsers of what others send, given anything: they answer, or raise what they say they raise, and soon."""

from __future__ import annotations

import http.client
import math
import os
import socket
import sqlite3
from collections.abc import Callable
from typing import Any

from metrics_sdk_opentelemetry import OTLPExporter
from metrics_sdk_opentelemetry.otlp import partial_success
from metrics_sdk_prometheus import accepts_gzip, choose_format
from metrics_sdk_prometheus.request import is_complete, names_loopback, parse
from metrics_sdk_statsd.datagrams import Datagrams
from read_back import FOLDER, Unread, same
from source import Source

from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.core.aggregation import new_aggregate
from metrics_sdk.core.packing import least_shift, pack, unpack
from metrics_sdk.errors import ExportError, StoreError
from metrics_sdk.http_connection import Connection, _Socket
from metrics_sdk.http_target import Answer, HTTPTarget, Request, busy_or_broken, retry_after
from metrics_sdk.protobuf import fields
from metrics_sdk.sqlite import SQLiteStore

EMPTIES = [
    lambda: new_aggregate("sum", None, 320),
    lambda: new_aggregate("last_value", None, 320),
    lambda: new_aggregate("histogram", (0.0, 1.0, 10.0), 320),
    lambda: new_aggregate("histogram", None, 20),
    lambda: new_aggregate("histogram", None, 320),
]


def request_head(source: Source) -> None:
    """The head of an HTTP request."""
    beginning = source.one_of(
        (b"", b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.0\nHost: ", b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    )
    head = beginning + source.rest()
    is_complete(head, 0)
    request = parse(head)
    if request is not None:
        assert request.path.startswith("/") and "\n" not in request.path and "?" not in request.path, request
        choose_format(request.header("accept"))
        accepts_gzip(request.header("accept-encoding"))
        if names_loopback(request):
            (host,) = request.headers["host"]
            assert host.lower().startswith("localhost") or set(host.lower()) <= set("0123456789abcdef.:[]"), host


def negotiation(source: Source) -> None:
    """`Accept` and `Accept-Encoding`."""
    parts = (
        "text/plain",
        "*/*",
        "application/*",
        "application/openmetrics-text",
        "version=1.0.0",
        ";q=",
        ",",
        ";",
        "0.5",
        "gzip",
    )
    header = "".join([source.one_of((*parts, source.text())) for _ in range(source.below(20))])
    assert choose_format(header).name in ("text", "openmetrics", "protobuf")
    assert accepts_gzip(header) in (True, False)


def answer(source: Source) -> None:
    """What a server answers to an exporter."""
    statuses = (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 429 Busy\r\nRetry-After: ",
        b"HTTP/1.1 503 \r\nContent-Length: 5\r\n\r\n",
    )
    beginning = source.one_of((*statuses, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
    content = beginning + source.rest()[:8000] + source.one_of((b"", b"\r\n\r\n"))
    target = HTTPTarget("http://127.0.0.1:1/")
    ours, theirs = socket.socketpair()
    connection = target._connection = Connection("127.0.0.1", 1, None)

    def connect() -> None:
        connection.sock = _Socket(fileno=ours.detach())
        connection.extend()

    connection.connect = connect  # type: ignore[method-assign]
    with theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        failed: ExportError | None = None
        try:
            target.deliver([Request(b"x", 1)], 2.0, {}, busy_or_broken, partial_success)
        except ExportError as error:
            failed = error
        finally:
            target.close()
            ours.close()
    if failed is not None:
        assert "\n" not in str(failed) and "\x1b" not in str(failed), "what the other side says is told as it is"
        assert failed.retry_after_seconds is None or 0 <= failed.retry_after_seconds < math.inf, failed.retry_after_seconds


def retry_afters(source: Source) -> None:
    """The value of Retry-After, and what is read of OTLP's answers."""
    headers = http.client.HTTPMessage()
    text = source.one_of(("", "Wed, 21 Oct 2015 07:28:00 GMT", "1", "9" * 30)) + source.text().replace("\n", "").replace(
        "\r", ""
    )
    headers.add_header("Retry-After", text.encode("utf-8", "replace").decode("latin-1"))
    assert 0 <= retry_after(headers, 1.7e9) < math.inf
    body = source.rest()
    partial_success(Answer(200, "", headers, body))
    try:
        list(fields(body))
    except ValueError:
        pass


def datagrams(source: Source) -> None:
    """Lines packed into datagrams: none is torn, none too long, none lost."""
    size = 1 + source.below(64)
    carried = Unread()
    packed = Datagrams(carried, size, 1e9, pause=lambda _: None)
    given = []
    for number in range(source.below(40)):
        line = b"x" * source.below(70)
        if line and packed.fits(line):
            given.append(line)
            packed.add(number, line)
    packed.send()
    assert max(map(len, carried.datagrams), default=0) <= size
    same(given, [line for one in carried.datagrams for line in one.split(b"\n")], "lines")


def environment(source: Source) -> None:
    """What `from_env` reads."""
    names = (b"OTEL_RESOURCE_ATTRIBUTES", b"OTEL_SERVICE_NAME", b"OTEL_EXPORTER_OTLP_ENDPOINT", b"OTEL_EXPORTER_OTLP_HEADERS")
    names += (b"OTEL_EXPORTER_OTLP_TIMEOUT", b"OTEL_EXPORTER_OTLP_COMPRESSION", b"OTEL_METRIC_EXPORT_INTERVAL")
    before = {name: os.environb.get(name) for name in names}
    try:
        for name in names:
            if source.below(2):
                os.environb[name] = (source.text().encode("utf-8", "replace") + source.take(source.below(20))).replace(
                    b"\0", b""
                )
        config = Config.from_env(background=False)
        sdk = MetricsSDK(config)
        sdk.counter("a").add(1)
        assert sdk.snapshot().metrics
        try:
            repr(OTLPExporter.from_env())
        except ConfigurationError:
            pass
    finally:
        for name, value in before.items():
            os.environb.pop(name, None)
            if value is not None:
                os.environb[name] = value


def packing(source: Source) -> None:
    """A packed window is what it was; other bytes are one too, or a ValueError."""
    empty = source.one_of(EMPTIES)()
    if source.below(2):
        try:
            unpack(source.rest(), empty)
        except ValueError:
            pass
        return
    made = empty.fresh()
    values = [float(value) for value in [source.number() for _ in range(source.below(60))] if _is_finite(value)]
    if values:
        made.fold(values)
    data = pack(made)
    again = unpack(data, empty)
    same((made.count, len(values)), (again.count, again.count), "count")
    if values:
        same((made.sum, made.min, made.max) if hasattr(made, "min") else made.count, _facts(again), "facts")
    if not hasattr(made, "shift") or made.shift >= least_shift(made.max_buckets):
        same(data, pack(again), "packed again")


def _facts(one: Any) -> Any:
    return (one.sum, one.min, one.max) if hasattr(one, "min") else one.count


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and -1e308 <= value <= 1e308


def blobs(source: Source) -> None:
    """A store whose file holds anything answers, or raises a StoreError."""
    if source.below(16):  # it takes milliseconds
        return
    for one in FOLDER.glob("blobs.db*"):
        one.unlink()
    path = FOLDER / "blobs.db"
    with SQLiteStore(path) as store:
        sdk = MetricsSDK(Config(background=False, exporters=[store]))
        sdk.counter("a").add(1, {"k": 1})
        sdk.histogram("h").record(1, {"k": 1})
        sdk.flush()
        sdk.shutdown()
    if source.below(2):
        column = source.one_of(
            ("windows.data", "series.attributes", "instruments.boundaries", "instruments.kind", "windows.start")
        )
        table, _, name = column.partition(".")
        content: Any = source.one_of((source.text().encode("utf-8", "replace").decode(), source.take(40), source.below(256)))
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE {table} SET {name} = ?", (content,))
        connection.close()
    else:
        at = source.below(4096)
        content = path.read_bytes()
        path.write_bytes(content[:at] + source.rest() + content[at + 8 :])
    with SQLiteStore(path) as store:
        for name in ("a", "h"):
            for ask in (store.query, lambda name: store.query_by(name, "k")):
                try:
                    ask(name)
                except (StoreError, LookupError):  # UnknownInstrument is one
                    pass


CHECKS: tuple[Callable[[Source], None], ...] = (
    request_head, negotiation, answer, retry_afters, datagrams, environment, packing, blobs,
)  # fmt: skip
