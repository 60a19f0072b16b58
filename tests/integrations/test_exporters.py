"""One shape for all exporters that send: a new one is a row in this table, and then all of these promises hold for it."""

from __future__ import annotations

import math
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cramjam
import pytest
from metrics_sdk_prometheus import OPENMETRICS, render
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from receiver import Receiver, reply, reset

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK, Snapshot
from metrics_sdk.clock import ManualClock
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.protobuf import fields
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Meter, Metric, Point

# ---- the other side -------------------------------------------------------------------------------------------------


class HTTP:
    """Takes requests, at `url`."""

    def __init__(self, folder: Path) -> None:
        self.receiver = Receiver()
        self.url = self.receiver.url
        self.start, self.stop = self.receiver.start, self.receiver.stop

    def sent(self) -> list[bytes]:
        """Return what was accepted, unpacked."""
        unpacked = []
        for asked in self.receiver.accepted:
            is_snappy = asked.headers.get("content-encoding") == "snappy"
            unpacked.append(bytes(cramjam.snappy.decompress_raw(asked.body)) if is_snappy else asked.content)
        return unpacked

    def close(self) -> None:
        """Be gone for good."""
        self.stop()


class UnixSocket:
    """Takes datagrams, at the path in `url`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "s"
        self.url = f"unix://{self._path}"
        self._taken: list[bytes] = []
        self.start()

    def start(self) -> None:
        """Listen."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._reading = threading.Thread(target=self._read, args=(self._socket,), daemon=True)
        self._reading.start()

    def stop(self) -> None:
        """Be gone."""
        self._path.unlink()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reading.join(10)
        self._socket.close()

    def _read(self, listening: socket.socket) -> None:
        while taken := listening.recv(1 << 16):
            self._taken.append(taken)

    def sent(self) -> list[bytes]:
        """Return what came until now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as marking:
            marking.sendto(b"until now", str(self._path))
        deadline, pause = time.monotonic() + 20, threading.Event()
        while self._taken[-1:] != [b"until now"]:
            assert time.monotonic() < deadline
            pause.wait(0.002)
        self._taken.pop()
        return list(self._taken)

    def close(self) -> None:
        """Be gone for good."""
        self.stop()


# ---- how much of the counter `orders` arrived, from everything that was accepted ----------------------------------------


def otlp_total(sent: Sequence[bytes]) -> float:
    total = 0
    for body in sent:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in [one for scope in resource.scope_metrics for one in scope.metrics if one.name == "orders"]:
                value = sum([point.as_int for point in metric.sum.data_points])
                total = total + value if metric.sum.aggregation_temporality == 1 else value
    return total


def remote_write_total(sent: Sequence[bytes]) -> float:
    total = 0.0
    for body in sent:
        for number, series in fields(body):
            if number == 1 and isinstance(series, bytes) and b"orders_total" in series:
                sample = next(value for key, value in fields(series) if key == 2)
                (total,) = struct.unpack("<d", next(value for key, value in fields(sample) if key == 1))  # type: ignore[arg-type]
    return total


def text_total(sent: Sequence[bytes]) -> float:
    return float(re.findall(rb"^orders_total(?:\{.*\})? (\S+)$", sent[-1], re.M)[-1]) if sent else 0


def statsd_total(sent: Sequence[bytes]) -> float:
    return sum([float(value) for body in sent for value in re.findall(rb"^orders:(\S+?)\|c", body, re.M)])


# ---- the table ----------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """`made`: Python for an exporter to `{url}`; `total` reads what the `other` side has got."""

    name: str
    package: str
    made: str
    other: type[HTTP] | type[UnixSocket]
    total: Callable[[Sequence[bytes]], float]
    temporality: str = "cumulative"
    says_whose_it_is: bool = True
    in_children: bool = True  # whether a forked child exports, too

    def exporter(self, url: str) -> Any:
        names: dict[str, Any] = {}
        exec(f"from {self.package} import *\nexporter = {self.made.format(url=url)}", names)
        return names["exporter"]

    def beginning(self, url: str, **options: Any) -> str:
        """Return the first line of a program: it has an `sdk` that exports to `url`."""
        given = {"temporality": self.temporality, **options}
        imports = f"import atexit, os, sys; from metrics_sdk import Config, Export, MetricsSDK; from {self.package} import *"
        exports = f"[Export({self.made.format(url=url)}, **{given!r})]"
        return f"{imports}; sdk = MetricsSDK(Config(exporters={exports}, shutdown_timeout_seconds=1))"


OTLP = "OTLPExporter('{url}/v1/metrics')"
ROWS = [
    Row("otlp", "metrics_sdk_opentelemetry", OTLP, HTTP, otlp_total),
    Row("otlp, deltas", "metrics_sdk_opentelemetry", OTLP, HTTP, otlp_total, "delta"),
    Row("remote write", "metrics_sdk_prometheus", "RemoteWriteExporter('{url}/write')", HTTP, remote_write_total),
    Row(
        "pushgateway", "metrics_sdk_prometheus", "PushgatewayExporter('{url}', job='test')", HTTP, text_total, in_children=False
    ),
    Row("statsd", "metrics_sdk_statsd", "StatsDExporter('{url}')", UnixSocket, statsd_total, "delta", says_whose_it_is=False),
    Row("dogstatsd", "metrics_sdk_statsd", "StatsDExporter('{url}', dialect='dogstatsd')", UnixSocket, statsd_total, "delta"),
]
HTTP_ROWS = [row for row in ROWS if row.other is HTTP]


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def other(row: Row, tmp_path: Path) -> Iterator[HTTP | UnixSocket]:
    made = row.other(tmp_path)
    yield made
    made.close()


def sdk_of(row: Row, url: str, **options: Any) -> MetricsSDK:
    export = Export(row.exporter(url), name="it", temporality=row.temporality, **{"timeout_seconds": 5, **options})  # type: ignore[arg-type]
    return MetricsSDK(Config(background=False, exporters=[export], resource={"service.name": "shop"}, clock=ManualClock(1.7e9)))


def interval(sdk: MetricsSDK, amount: int) -> bool:
    sdk.counter("orders").add(amount)
    sdk.config.clock.advance(10)  # type: ignore[attr-defined]
    return sdk.flush()


# ---- the promises -------------------------------------------------------------------------------------------------------


def test_what_is_recorded_arrives_and_says_whose_it_is(row: Row, other: HTTP | UnixSocket) -> None:
    sdk = sdk_of(row, other.url)
    assert interval(sdk, 3)
    assert interval(sdk, 4)
    assert 7 == row.total(other.sent())
    resource = sdk.snapshot().resource
    if row.says_whose_it_is:
        for key in ("service.name", "service.instance.id", "telemetry.sdk.name", "telemetry.sdk.version"):
            assert resource[key].encode() in b"".join(other.sent()), key
    health = sdk.health().exporters["it"]
    assert (2, 0, 0, 2, 0, "") == (
        health.exports, health.failures, health.refused, health.acknowledged, health.unacknowledged, health.last_error,
    )  # fmt: skip
    assert sdk.shutdown()
    assert 7 == row.total(other.sent())


def test_while_the_other_side_is_gone_nothing_is_lost_and_the_reason_shows(row: Row, other: HTTP | UnixSocket) -> None:
    sdk = sdk_of(row, other.url)
    assert interval(sdk, 1)
    other.stop()
    for amount in (10, 100, 1000):
        assert not interval(sdk, amount)
    health = sdk.health().exporters["it"]
    assert (3, "open", 1, 3) == (health.failures, health.state, health.acknowledged, health.unacknowledged)
    assert re.search(r"refused|No such file", health.last_error)
    other.start()
    assert interval(sdk, 10_000)
    assert 11_111 == row.total(other.sent())
    assert ("idle", 0) == (sdk.health().exporters["it"].state, sdk.health().exporters["it"].unacknowledged)
    assert sdk.shutdown()


def test_one_that_is_gone_delays_no_other(row: Row, other: HTTP | UnixSocket) -> None:
    other.stop()
    memory = MemoryExporter()
    gone = Export(row.exporter(other.url), interval_seconds=0.02, name="it", temporality=row.temporality)  # type: ignore[arg-type]
    sdk = MetricsSDK(Config(exporters=[gone, Export(memory, interval_seconds=0.02)], flush_interval_seconds=0.01))
    sdk.counter("orders").add(1)
    deadline, pause = time.monotonic() + 20, threading.Event()
    while len(memory.snapshots) < 5 or not sdk.health().exporters["it"].failures:
        assert time.monotonic() < deadline
        pause.wait(0.005)
    started = time.monotonic()
    assert not sdk.shutdown(0.4)
    assert time.monotonic() - started < 2
    assert 0 == sdk.health().exporters["MemoryExporter"].unacknowledged
    other.start()


@pytest.mark.parametrize("row", HTTP_ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("failure", ["hang", "drip", "reset", 429, 503])
def test_what_fails_for_a_time_comes_later_exactly_once_in_the_totals(row: Row, other: HTTP, failure: str | int) -> None:
    sdk = sdk_of(row, other.url, timeout_seconds=0.5)
    receiver = other.receiver
    behaviour = reply(failure) if isinstance(failure, int) else reset if failure == "reset" else getattr(receiver, failure)
    receiver.behaviours = [behaviour]
    started = time.monotonic()
    assert not interval(sdk, 1)
    assert time.monotonic() - started < 3
    assert interval(sdk, 10)
    assert 11 == row.total(other.sent())
    health = sdk.health().exporters["it"]
    assert (1, 1, 0) == (health.failures, health.exports, health.refused)
    assert sdk.shutdown()


@pytest.mark.parametrize("row", HTTP_ROWS, ids=lambda row: row.name)
def test_retry_after_is_respected(row: Row, other: HTTP) -> None:
    sdk = sdk_of(row, other.url)
    other.receiver.behaviours = [reply(503, b"", "Retry-After: 25")]
    assert [False, False, False, True] == [interval(sdk, amount) for amount in (1, 10, 100, 1000)]
    assert 2 == len(other.receiver.asked)
    assert 1111 == row.total(other.sent())
    assert sdk.shutdown()


@pytest.mark.parametrize("row", HTTP_ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413])
def test_what_is_refused_is_counted_and_not_asked_again(row: Row, other: HTTP, status: int) -> None:
    sdk = sdk_of(row, other.url)
    other.receiver.behaviours = [reply(status, b"because", "Location: http://127.0.0.1:1/")]
    assert not interval(sdk, 1)
    health = sdk.health().exporters["it"]
    assert health.refused >= 1
    assert (1, True) == (health.failures, f"{status} Whatever: because" in health.last_error)
    assert 1 == len(other.receiver.asked)
    assert interval(sdk, 10)
    assert (10 if row.temporality == "delta" else 11) == row.total(other.sent())
    assert sdk.shutdown()


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    __repr__ = __str__


BAD = [
    Point((), math.nan, 1.0, 2.0),
    Point((), math.inf, 1.0, 2.0),
    Point((), 10**400, 1.0, 2.0),
    Point((), 2**70, 1.0, 2.0),
    Point((), "odd", 1.0, 2.0),  # type: ignore[arg-type]
    Point((), None, 1.0, 2.0),  # type: ignore[arg-type]
    Point((("k", "\ud800\n|#:,@"),), 1, 1.0, 2.0),
    Point((("\udfff\n{}", 10**30),), 1, 1.0, 2.0),
    Point((("k", Hostile()),), 1, 1.0, 2.0),
    Point((), 1, math.nan, 2.0),
]
BAD_HISTOGRAMS = [
    Point((), ExplicitBuckets(1, math.nan, math.nan, math.inf, (1.0,), (0, 1)), 1.0, 2.0),
    Point((), ExponentialBuckets(1, math.nan, None, None, 0, 0, ((10**9, 1),), ()), 1.0, 2.0),
    Point((), ExponentialBuckets(2, 1.0, 1.0, 1.0, 0, 0, ((0, 1), (10**6, 1)), ()), 1.0, 2.0),
    Point((), "odd", 1.0, 2.0),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_one_bad_point_never_costs_another(row: Row, other: HTTP | UnixSocket, kind: str) -> None:
    temporality: Any = row.temporality
    good = Metric("orders", "counter", "", "", None, (Point((), 3, 1.0, 2.0),), temporality)
    bad = BAD_HISTOGRAMS if kind == "histogram" else BAD
    metrics = [Metric(f"m{i}", kind, "", "", None, (point,), temporality) for i, point in enumerate(bad)]
    together = Metric("m", kind, "", "", None, tuple(bad), temporality)
    exporter = row.exporter(other.url)
    refused = exporter.export(Snapshot({"service.name": "shop", "odd": Hostile()}, 1.7e9, (together, *metrics, good)), 20)
    exporter.shutdown()
    assert 3 == row.total(other.sent())
    assert refused is not None
    assert 1 <= refused.points <= 2 * len(bad)
    assert refused.why


def test_a_forked_child_delivers_its_own_and_nothing_is_imported_for_that(
    row: Row, other: HTTP | UnixSocket, run_python: Callable[..., str]
) -> None:
    program = f"""
    {row.beginning(other.url, timeout_seconds=20)}
    before = set(sys.modules)
    counter = sdk.counter("orders")
    counter.add(1)
    assert sdk.flush(20)
    print(sorted(set(sys.modules) - before))
    sys.stdout.flush()
    counter.add(10)
    child = os.fork()
    if not child:
        counter.add(100)
        os._exit(0 if sdk.shutdown(20) is {row.in_children} else 1)
    assert os.waitpid(child, 0)[1] == 0
    """  # the end of the process delivers the rest
    assert "[]\n" == run_python(program, stderr="" if row.in_children else None)
    # The parent's total comes last.
    assert (111 if row.temporality == "delta" else 11) == row.total(other.sent())


def test_a_failure_at_the_end_of_the_interpreter_imports_nothing_either(
    row: Row, other: HTTP | UnixSocket, run_python: Callable[..., str]
) -> None:
    other.stop()
    program = f"""
    {row.beginning(other.url)}
    before = set(sys.modules)
    atexit.register(lambda: print(sorted(set(sys.modules) - before)))
    sdk.counter("orders").add(1)
    """
    assert "[]\n" == run_python(program, stderr=None)
    other.start()


def test_a_child_that_was_forked_before_the_first_export_delivers_all_of_its_own(
    row: Row, other: HTTP | UnixSocket, run_python: Callable[..., str]
) -> None:
    program = f"""
    {row.beginning(other.url, timeout_seconds=20)}
    counter = sdk.counter("orders")
    counter.add(1000)
    child = os.fork()
    if not child:
        counter.add(7)
        sdk.shutdown(20)
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)
    """
    run_python(program, stderr=None)
    assert (7 if row.in_children else 0) == row.total(other.sent())


# What a producer may tell in the place of metrics.
POINT = (Point((), 1, 1.0, 2.0),)
ODD_METRICS: list[Any] = [
    Metric("odd", "counter", 5, "", None, POINT),  # type: ignore[arg-type]
    Metric("odd", "counter", "", None, None, POINT),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, POINT, "weird"),  # type: ignore[arg-type]
    Metric("odd", None, "", "", None, POINT),  # type: ignore[arg-type]
    Metric(7, "gauge", "", "", None, POINT),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, None),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, ("no point", *POINT)),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, (Point(((1, "x"),), 1, 1.0, 2.0),)),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, (Point([("k", "x")], 1, 1.0, 2.0),)),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, (Point((), 1, "then", 2.0),)),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, (Point((), 1, 1.0, 2.0, ("no exemplar",)),)),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, POINT, meter=Meter("m", attributes=[("k", ["x"])])),  # type: ignore[arg-type]
    Metric("odd", "counter", "", "", None, POINT, meter="m"),  # type: ignore[arg-type]
    "no metric",
    None,
]


@pytest.mark.parametrize("odd", ODD_METRICS, ids=range(len(ODD_METRICS)))
def test_a_producers_odd_metric_costs_itself_alone_and_is_counted(row: Row, other: HTTP | UnixSocket, odd: object) -> None:
    class Producing:
        def produce(self) -> list[Any]:
            return [odd]

    export = Export(row.exporter(other.url), name="it", temporality=row.temporality)  # type: ignore[arg-type]
    sdk = MetricsSDK(Config(background=False, producers=[Producing()], exporters=[export], clock=ManualClock(1.7e9)))
    for amount in (3, 4):
        sdk.counter("orders").add(amount)
        sdk.config.clock.advance(10)  # type: ignore[attr-defined]
        assert sdk.flush(), sdk.health().exporters["it"].last_error
    assert 7 == row.total(other.sent())
    sdk.shutdown()


@pytest.mark.parametrize("row", HTTP_ROWS, ids=lambda row: row.name)
def test_credentials_are_sent_and_shown_nowhere(row: Row, other: HTTP, caplog: pytest.LogCaptureFixture) -> None:
    url = other.url.replace("127.0.0.1", "joe:pa55word@127.0.0.1")
    names: dict[str, Any] = {}
    made = row.made.format(url=url).removesuffix(")") + ", headers={'X-Key': 'token'})"
    exec(f"from {row.package} import *\nexporter = {made}", names)
    other.receiver.otherwise = reply(403)
    sdk = MetricsSDK(Config(background=False, exporters=[Export(names["exporter"], name="it", temporality=row.temporality)]))  # type: ignore[arg-type]
    sdk.counter("orders").add(1)
    assert not sdk.flush()
    sent = other.receiver.asked[0].headers
    assert ("token", "Basic am9lOnBhNTV3b3Jk") == (sent["x-key"], sent["authorization"])
    for shown in (repr(names["exporter"]), repr(sdk.config), caplog.text, sdk.health().exporters["it"].last_error):
        assert not any(secret in shown for secret in ("token", "pa55word", "joe", "am9l"))
        assert not shown or f"127.0.0.1:{other.receiver.port}" in shown
    sdk.shutdown()


@pytest.mark.parametrize("endpoint", ["", "nowhere", "ftp://127.0.0.1/", "http://", "udp://"])
def test_an_endpoint_that_cannot_be_is_refused_when_it_is_made(row: Row, endpoint: str) -> None:
    cut = re.sub(r"\{url\}[^']*", endpoint, row.made)
    names: dict[str, Any] = {}
    with pytest.raises(ConfigurationError, match=r"endpoint"):
        exec(f"from {row.package} import *\n{cut}", names)


def test_a_temporality_that_it_cannot_carry_is_refused(row: Row, other: HTTP | UnixSocket) -> None:
    exporter = row.exporter(other.url)
    for temporality in ("cumulative", "delta"):
        if temporality in getattr(exporter, "temporalities", ("cumulative", "delta")):
            assert temporality == Export(exporter, temporality=temporality).temporality  # type: ignore[arg-type]
        else:
            with pytest.raises(ConfigurationError, match=f"as {temporality}"):
                Export(exporter, temporality=temporality)  # type: ignore[arg-type]
    assert row.temporality in getattr(exporter, "temporalities", ("cumulative", "delta"))


def test_an_attribute_that_is_denied_leaves_by_no_exporter_nor_endpoint(row: Row, other: HTTP | UnixSocket) -> None:
    config = Config(
        exporters=[Export(row.exporter(other.url), temporality=row.temporality)],  # type: ignore[arg-type]
        denied_attributes=["*password*", "token"],
        exemplar_filter="always_on",
        background=False,
    )
    with MetricsSDK(config) as sdk:
        sdk.counter("orders").add(3, {"user.PASSWORD": "hunter2"})
        sdk.counter("orders").bind({"token": "hunter2"}).add(4)
        sdk.record("latency", 0.5, {"Token": "hunter2"})
        sdk.observable_gauge("g", lambda: [(1.0, {"token": "hunter2"})])
        assert sdk.flush(5)
        assert b"hunter2" not in render(sdk.snapshot(), OPENMETRICS)
        assert "hunter2" not in repr(sdk.snapshot())
    sent = other.sent()
    assert 7 == row.total(sent)
    assert not any(b"hunter2" in one for one in sent)
