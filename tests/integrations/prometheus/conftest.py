"""What the tests of the HTTP side share."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from metrics_sdk_prometheus import PrometheusEndpoint
from servers import Servers, program

from metrics_sdk.snapshot import Metric, Point, Snapshot


@dataclass
class Source:
    """Has snapshots of one gauge, `up 1`, and of a text if it is given one, or raises what it is told to."""

    text: str = ""
    error: BaseException | None = None
    asked: list[None] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        self.asked.append(None)
        if self.error is not None:
            raise self.error
        points = (Point((), 1, 0.0, 1.0), Point((("text", self.text),), 1, 0.0, 1.0))
        return Snapshot({}, 1.0, (Metric("up", "gauge", "", "", None, points if self.text else points[:1]),))


@pytest.fixture
def promtool() -> str:
    return program("promtool")


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def endpoint(source: Source) -> Iterator[PrometheusEndpoint]:
    with PrometheusEndpoint(source, port=0) as endpoint:
        yield endpoint


class Ask:
    """Sends bytes to an endpoint as they are, and returns all that comes back."""

    def __init__(self, endpoint: PrometheusEndpoint) -> None:
        self.endpoint = endpoint

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.endpoint.port), timeout=10)

    def raw(self, sent: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(sent)
            received = b""
            while more := client.recv(1 << 20):
                received += more
            return received

    def __call__(
        self, line: str = "GET /metrics HTTP/1.1", *headers: str, host: str = "Host: localhost"
    ) -> tuple[str, str, bytes]:
        """Return the status line, the headers and the body."""
        head, _, body = self.raw("\r\n".join([line, host, *headers, "", ""]).encode("latin-1")).partition(b"\r\n\r\n")
        status, _, rest = head.decode("latin-1").partition("\r\n")
        return status, rest, body


@pytest.fixture
def ask(endpoint: PrometheusEndpoint) -> Ask:
    return Ask(endpoint)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    yield made
    made.close()


# ---- messages, as others read them: the fields are those of client_model's metrics.proto and of Prometheus's prompb ------------

CLIENT = """
LabelPair: string name=1, string value=2
Gauge: double value=1
Counter: double value=1, Exemplar exemplar=2, Timestamp created_timestamp=3
Bucket: uint64 cumulative_count=1, double upper_bound=2, Exemplar exemplar=3
BucketSpan: sint32 offset=1, uint32 length=2
Histogram: uint64 sample_count=1, double sample_sum=2, repeated Bucket bucket=3, sint32 schema=5, double zero_threshold=6,
  uint64 zero_count=7, repeated BucketSpan negative_span=9, repeated sint64 negative_delta=10,
  repeated BucketSpan positive_span=12, repeated sint64 positive_delta=13, Timestamp created_timestamp=15,
  repeated Exemplar exemplars=16
Exemplar: repeated LabelPair label=1, double value=2, Timestamp timestamp=3
Timestamp: int64 seconds=1, int32 nanos=2
Metric: repeated LabelPair label=1, Gauge gauge=2, Counter counter=3, Histogram histogram=7, int64 timestamp_ms=6
MetricFamily: string name=1, string help=2, int32 type=3, repeated Metric metric=4, string unit=5
"""
WRITE = """
Label: string name=1, string value=2
Sample: double value=1, int64 timestamp=2
Exemplar: repeated Label labels=1, double value=2, int64 timestamp=3
BucketSpan: sint32 offset=1, uint32 length=2
Histogram: uint64 count_int=1, double sum=3, sint32 schema=4, double zero_threshold=5, uint64 zero_count_int=6,
  repeated BucketSpan negative_spans=8, repeated sint64 negative_deltas=9, repeated BucketSpan positive_spans=11,
  repeated sint64 positive_deltas=12, int32 reset_hint=14, int64 timestamp=15
TimeSeries: repeated Label labels=1, repeated Sample samples=2, repeated Exemplar exemplars=3, repeated Histogram histograms=4
MetricMetadata: int32 type=1, string metric_family_name=2, string help=4, string unit=5
WriteRequest: repeated TimeSeries timeseries=1, repeated MetricMetadata metadata=3
"""


def message_classes(package: str, declared: str) -> dict[str, Any]:
    """Return classes of google.protobuf for messages that are declared as above."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    types = descriptor_pb2.FieldDescriptorProto
    for line in declared.replace("\n  ", " ").strip().split("\n"):
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for one in fields.split(", "):
            (repeated, kind, called, number) = re.fullmatch(r"(repeated )?(\w+) (\w+)=(\d+)", one).groups()  # type: ignore[union-attr]
            field = message.field.add(name=called, number=int(number))
            field.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
            if kind[0].isupper():
                field.type, field.type_name = types.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = getattr(types, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in names}


@pytest.fixture(scope="session")
def read_families() -> Callable[[bytes], dict[str, Any]]:
    """Read delimited MetricFamily messages; they come by name, and none may have a field that is not declared."""
    family = message_classes("client", CLIENT)["MetricFamily"]

    def read(content: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {}
        at = 0
        while at < len(content):
            length = shift = 0
            while True:
                length |= (content[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if content[at - 1] < 128:
                    break
            made = family.FromString(content[at : at + length])
            assert made.name not in found
            found[made.name] = made
            at += length
        assert at == len(content)
        return found

    return read


@pytest.fixture(scope="session")
def write_request() -> Any:
    """The class of remote write's requests."""
    return message_classes("write", WRITE)["WriteRequest"]


def absolute(spans: Any, deltas: Any) -> dict[int, int]:
    """Return counts by Prometheus's number of the bucket, of spans and deltas; the empty ones are left out."""
    counts: dict[int, int] = {}
    at = count = used = 0
    for span in spans:
        at += span.offset
        for _ in range(span.length):
            count += deltas[used]
            used += 1
            counts[at] = count
            at += 1
    assert used == len(deltas)
    return {number: count for number, count in counts.items() if count}


@pytest.fixture(scope="session")
def buckets_of() -> Callable[[Any, Any], dict[int, int]]:
    return absolute
