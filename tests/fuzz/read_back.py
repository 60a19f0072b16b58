"""Every encoder's output, read by somebody else's parser and compared with what went in."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import prometheus_rules as rules
from metrics_sdk_opentelemetry.otlp_requests import Encoder
from metrics_sdk_prometheus import OPENMETRICS, PROTOBUF, TEXT, Format, RemoteWriteExporter, Renderer
from metrics_sdk_statsd import StatsDExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from world import World

from metrics_sdk.core.attributes import identity
from metrics_sdk.exporters import ConsoleExporter, JsonLinesExporter
from metrics_sdk.http_target import Request
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Point, Snapshot
from metrics_sdk.sqlite import SQLiteStore, _attributes_as_text, _attributes_of

INTEGRATIONS = Path(__file__).parents[1] / "integrations"
FOLDER = Path(tempfile.mkdtemp(prefix="metrics_sdk_fuzz_"))


def forget() -> None:
    """Delete the files that were made on the way."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def _module(path: Path, name: str) -> Any:
    sys.path[:0] = [str(INTEGRATIONS.parent)]  # `conftest` needs its neighbours
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


shared = _module(INTEGRATIONS / "prometheus" / "conftest.py", "prometheus_conftest")
grammar = _module(INTEGRATIONS / "statsd" / "statsd_grammar.py", "statsd_grammar")
FAMILY = shared.message_classes("fuzz_client", shared.CLIENT)["MetricFamily"]
WRITE = shared.message_classes("fuzz_write", shared.WRITE)["WriteRequest"]


def same(expected: object, found: object, what: str) -> None:
    """Fail where they differ, with both."""
    assert expected == found, f"{what}: expected {expected!r:.300}, found {found!r:.300}"


# ---- the engine itself ------------------------------------------------------------------------------------------------------


def accounts(world: World) -> None:
    """Every value is accounted for, and what is queried is what is exported."""
    health = world.sdk.health()
    same(health.received, health.merged + sum(health.dropped.values()) + health.pending, "conservation")
    for name, one in health.exporters.items():
        same((0, ""), (one.failures, one.last_error), f"exporter {name}")
    same(
        {}, {kind: n for kind, n in health.faults.items() if not kind.startswith(("callback", "redeclared", "view"))}, "faults"
    )
    found = world.sdk.query_all()
    for metric in world.totals.metrics:
        if metric.name.startswith("metrics_sdk."):
            continue
        keys = Counter([point.attributes for point in metric.points])  # 1, 1.0 and True are one key of a dict
        ids = Counter([identity(point.attributes) for point in metric.points])
        assert max(ids.values(), default=1) == 1, f"{metric.name} has a series twice"
        for point in metric.points:
            if keys[point.attributes] == 1:
                answer = found[metric.name][point.attributes]
                if isinstance(point.value, (ExplicitBuckets, ExponentialBuckets)):
                    same((answer.count, answer.sum), (point.value.count, point.value.sum), f"query of {metric.name}")
                elif metric.kind.endswith("gauge"):
                    same(answer.last, point.value, f"query of {metric.name}")
                else:
                    same(answer.sum, point.value, f"query of {metric.name}")
                assert all([math.isfinite(one) for one in _numbers(point.value)]), point


def _numbers(value: Any) -> list[float]:
    return [value.sum, value.count] if isinstance(value, (ExplicitBuckets, ExponentialBuckets)) else [value]


# ---- Prometheus -------------------------------------------------------------------------------------------------------------


def text(world: World) -> None:
    """The text format."""
    _text(world.totals, TEXT, parse_text)


def openmetrics(world: World) -> None:
    """OpenMetrics."""
    _text(world.totals, OPENMETRICS, parse_openmetrics)


def _text(snapshot: Snapshot, format: Format, parse: Callable[[str], Any]) -> None:
    shown = Renderer().render(snapshot, format).decode("utf-8")
    found: dict[tuple[str, rules.Labels], float] = {}
    for family in parse(shown):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} comes twice"
            found[key] = sample.value
    same(sum([not line.startswith("#") for line in shown.split("\n") if line]), len(found), "lines")
    info = rules.labels(dict(snapshot.resource))
    wanted = rules.expected(snapshot)
    if info and not any([family in ("target", "target_info") for family, _ in wanted]):
        same(1.0, found.pop(("target_info", info)), "target_info")
    for (family, labels), one in wanted.items():
        if one.type == "histogram":
            _histogram_lines(found, family, labels, one)
        else:
            name = f"{family}_total" if one.type == "counter" else family
            _number(one, found.pop((name, labels)))
        if one.type != "gauge":
            found.pop((f"{family}_created", labels), None)
    same({}, found, "forged")


def _number(one: rules.Expected, value: float) -> None:
    value = float(value)  # some parsers make whole numbers an int
    if one.type == "counter" or value not in [float(point.value) for point in one.points]:  # type: ignore[arg-type]
        same(one.total(), value, one.family)  # of gauges that look alike the last one stays


def _histogram_lines(found: dict[Any, float], family: str, labels: rules.Labels, one: rules.Expected) -> None:
    buckets = [
        key for key in found if key[0] == f"{family}_bucket" and tuple([pair for pair in key[1] if pair[0] != "le"]) == labels
    ]
    for key in buckets:
        bound = float(dict(key[1])["le"])
        same(float(one.count_at(bound)), found.pop(key), f"{family} le {bound}")
    assert buckets, f"{family} has no buckets"
    count = found.pop((f"{family}_count", labels), None)
    total = found.pop((f"{family}_sum", labels), None)
    same(rules.has_sum(one), total is not None, f"{family}: whether it has a sum")
    assert count is None or count == one.count, family
    if total is not None and len(one.points) == 1:
        same(one.points[0].value.sum, total, family)  # type: ignore[union-attr]


def protobuf(world: World) -> None:
    """Delimited messages, with native histograms."""
    content = Renderer().render(world.totals, PROTOBUF)
    at = 0
    found: dict[tuple[str, rules.Labels], Any] = {}
    while at < len(content):
        length = shift = 0
        while True:
            length |= (content[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 128:
                break
        family = FAMILY.FromString(content[at : at + length])
        at += length
        for metric in family.metric:
            key = (family.name, tuple(sorted([(pair.name, pair.value) for pair in metric.label])))
            assert key not in found, f"{key} comes twice"
            found[key] = metric
    same(len(content), at, "length")
    wanted = rules.expected(world.totals)
    info = rules.labels(dict(world.totals.resource))
    if info and not any([family in ("target", "target_info") for family, _ in wanted]):
        found.pop(("target_info", info))
    for (family, labels), one in wanted.items():
        message = found.pop((f"{family}_total" if one.type == "counter" else family, labels))
        if one.type == "histogram":
            shown = message.histogram
            same(one.count, shown.sample_count, family)
            for bucket in shown.bucket:
                same(one.count_at(bucket.upper_bound), bucket.cumulative_count, f"{family} le {bucket.upper_bound}")
            if shown.HasField("schema"):
                _native(one, shown.schema, shown.zero_count, _sides(shown, "positive_span", "negative_span"))
        else:
            _number(one, message.counter.value if one.type == "counter" else message.gauge.value)
    same({}, found, "forged")


def _sides(message: Any, positive: str, negative: str) -> tuple[dict[int, int], dict[int, int]]:
    return tuple(  # type: ignore[return-value]
        [
            shared.absolute(getattr(message, name), getattr(message, name.replace("span", "delta")))
            for name in (positive, negative)
        ]
    )


def _native(one: rules.Expected, schema: int, zeros: int, sides: tuple[dict[int, int], dict[int, int]]) -> None:
    values: list[Any] = [point.value for point in one.points]
    same(sum([value.zero_count for value in values]), zeros, one.family)
    for found, side in zip(sides, ("positive", "negative"), strict=True):
        counts: Counter[int] = Counter()
        for value in values:
            for bucket, count in getattr(value, side):
                counts[(bucket >> (value.scale - schema)) + 1] += count
        same(dict(counts), found, f"{one.family} {side}")


class Taken:
    """Stands in for an `HTTPTarget`, and keeps what it is given."""

    endpoint = "http://nowhere/"

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def deliver(self, requests: Any, *args: object, **options: object) -> None:
        self.requests += list(requests)

    def close(self) -> None:
        pass


def remote_write(world: World, native: bool = False) -> None:
    """Prometheus's remote write."""
    exporter = RemoteWriteExporter("http://127.0.0.1:1/", native_histograms=native)
    exporter._target = taken = Taken()  # type: ignore[assignment]
    exporter.export(world.totals, 5.0)
    found: dict[rules.Labels, Any] = {}
    resource = dict(world.totals.resource)
    for request in taken.requests:
        if request.body:
            for series in WRITE.FromString(bytes(cramjam.snappy.decompress_raw(request.body))).timeseries:
                pairs = [(label.name, label.value) for label in series.labels]
                same(sorted(pairs), pairs, "order of labels")
                same(len(dict(pairs)), len(pairs), "labels twice")
                key = tuple(pairs)
                assert key not in found, f"{key} comes twice"
                found[key] = series
    namespace, service, instance = [
        rules.text(resource.pop(key, "")) for key in ("service.namespace", "service.name", "service.instance.id")
    ]
    job = f"{namespace}/{service}" if namespace and service else service or namespace
    target = {name: one for name, one in (("job", job), ("instance", instance)) if one}

    def key_of(name: str, labels: rules.Labels, **more: str) -> rules.Labels:
        return tuple(sorted({**dict(labels), **target, "__name__": name, **more}.items()))

    wanted = rules.expected(world.totals, ("job", "instance"))
    if not any([family in ("target", "target_info") for family, _ in wanted]):
        found.pop(key_of("target_info", rules.labels(resource, ("job", "instance"))), None)
    for (family, labels), one in wanted.items():
        if one.type != "histogram":
            name = f"{family}_total" if one.type == "counter" else family
            _number(one, found.pop(key_of(name, labels)).samples[0].value)
            continue
        whole = found.pop(key_of(family, labels), None)
        if whole is not None:
            (shown,) = whole.histograms
            same(one.count, shown.count_int, family)
            _native(one, shown.schema, shown.zero_count_int, _sides(shown, "positive_spans", "negative_spans"))
            continue
        for key in [key for key in found if dict(key)["__name__"] == f"{family}_bucket"]:
            bare = {name: one for name, one in key if name != "le"}
            if tuple(sorted(bare.items())) == key_of(f"{family}_bucket", labels):
                bound = float(dict(key)["le"])
                same(float(one.count_at(bound)), found.pop(key).samples[0].value, f"{family} le {bound}")
        same(float(one.count), found.pop(key_of(f"{family}_count", labels)).samples[0].value, family)
        found.pop(key_of(f"{family}_sum", labels), None)
    same([], list(found), "forged")


def native_remote_write(world: World) -> None:
    """The same with native histograms."""
    remote_write(world, native=True)


# ---- OTLP -------------------------------------------------------------------------------------------------------------------


def otlp(world: World) -> None:
    """OTLP, totals."""
    _otlp(world.totals)


def otlp_deltas(world: World) -> None:
    """OTLP, what came since."""
    _otlp(world.deltas)


def _any(value: Any) -> Any:
    """Return an OTLP AnyValue with its type, so that 1, 1.0 and True are apart."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return ("array", tuple([_any(one) for one in value.array_value.values]))
    return (kind, getattr(value, kind))


def _own(value: Any) -> Any:
    if isinstance(value, tuple):
        return ("array", tuple([_own(one) for one in value]))
    kind = {bool: "bool_value", int: "int_value", float: "double_value"}.get(type(value), "string_value")
    return (kind, value)


def _otlp(snapshot: Snapshot) -> None:
    found: dict[str, list[Any]] = {}
    abouts: dict[str, Any] = {}
    for request in Encoder(4 << 20).requests(snapshot):
        same(0, request.unfit, request.why)
        for resource in ExportMetricsServiceRequest.FromString(request.body).resource_metrics:
            for metric in [one for scope in resource.scope_metrics for one in scope.metrics]:
                data = getattr(metric, metric.WhichOneof("data"))
                abouts[metric.name] = (metric.unit, metric.description)
                found.setdefault(metric.name, []).extend(data.data_points)
    names = Counter([metric.name for metric in snapshot.metrics if metric.points])
    for metric in snapshot.metrics:
        if metric.points and names[metric.name] == 1:
            description = metric.description.encode("utf-8", "replace").decode()
            same((metric.unit, description), abouts[metric.name], metric.name)
            points = found.pop(metric.name)
            same(len(metric.points), len(points), metric.name)
            for point, shown in zip(metric.points, points, strict=True):
                attributes = [(pair.key, _any(pair.value)) for pair in shown.attributes]
                same([(key, _own(value)) for key, value in point.attributes], attributes, metric.name)
                _otlp_value(point, shown)
    same(set(), {name for name in found if names[name] < 2}, "forged")


def _otlp_value(point: Point, shown: Any) -> None:
    value = point.value
    if isinstance(value, ExplicitBuckets):
        same((value.count, value.sum, value.bucket_counts), (shown.count, shown.sum, tuple(shown.bucket_counts)), "histogram")
        same(value.boundaries, tuple(shown.explicit_bounds), "boundaries")
    elif isinstance(value, ExponentialBuckets):
        same(
            (value.count, value.sum, value.scale, value.zero_count),
            (shown.count, shown.sum, shown.scale, shown.zero_count),
            "sum",
        )
        for side, buckets in ((value.positive, shown.positive), (value.negative, shown.negative)):
            counts = {buckets.offset + at: count for at, count in enumerate(buckets.bucket_counts) if count}
            same(dict(side), counts, "buckets")
    elif type(value) is int and -(2**63) <= value < 2**63:
        same(value, shown.as_int, "value")
    else:
        same(struct.pack("<d", value), struct.pack("<d", shown.as_double), "value")


# ---- StatsD -----------------------------------------------------------------------------------------------------------------


class Unread:
    """Takes datagrams in place of a connection."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def open(self, deadline: float) -> None:
        pass

    def send(self, datagram: bytes, deadline: float) -> None:
        self.datagrams.append(datagram)

    def close(self) -> None:
        pass


def statsd(world: World) -> None:
    """Plain StatsD."""
    _statsd(world.deltas, "statsd")


def dogstatsd(world: World) -> None:
    """Datadog's."""
    _statsd(world.deltas, "dogstatsd")


def _statsd(snapshot: Snapshot, dialect: str) -> None:
    exporter = StatsDExporter("unix:///nowhere", dialect=dialect, max_datagram_bytes=8192)
    for metric in snapshot.metrics:
        for point in metric.points:
            exporter._connection = carried = Unread()  # type: ignore[assignment]
            refused = exporter.export(snapshot._replace(metrics=(metric._replace(points=(point,)),)), 5.0)
            lines = grammar.lines(carried.datagrams)
            assert max(map(len, carried.datagrams), default=0) <= 8192
            assert len({line.name for line in lines}) <= 1, lines
            tags = [tag for line in lines for tag in line.tags if tag.startswith(("host:", "dd.internal"))]
            same([], tags, "tags that are the agent's own")
            value = point.value
            if refused is not None:
                same([], lines, "refused")
                # The difference of two sums at the ends of the doubles is none.
                endless = isinstance(value, float) and not math.isfinite(value)
                allowed = (
                    endless
                    or "longer" in refused.why
                    or (dialect == "statsd" and isinstance(value, tuple) and (value.min or 0) < 0)
                )
                # What a view makes a histogram of an observable has no deltas.
                assert allowed or "beyond all numbers" in refused.why or "cumulative, and only" in refused.why, refused
            elif isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
                same({"ms" if dialect == "statsd" else "d"} if value.count else set(), {line.type for line in lines}, "type")
                same(value.count, sum([round(1 / line.rate) for line in lines]), "count")
            elif metric.kind.endswith("gauge") or "up_down" in metric.kind:
                same(("g", float(value)), (lines[-1].type, lines[-1].value), metric.name)
                same(2 if value < 0 and dialect == "statsd" else 1, len(lines), metric.name)
            else:
                same([("c", float(value))] if value else [], [(line.type, line.value) for line in lines], metric.name)


# ---- files ------------------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON (RFC 8259, section 6)")


def _lists(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"  # JSON has none
    return [_lists(one) for one in value] if isinstance(value, (tuple, list)) else value


def json_lines(world: World) -> None:
    """One JSON object a line."""
    path = FOLDER / "lines.jsonl"
    path.unlink(missing_ok=True)
    JsonLinesExporter(path).export(world.totals, 5.0)
    lines = [json.loads(line, parse_constant=_no_constant) for line in path.read_text("utf-8").splitlines()]
    points = [(metric, point) for metric in world.totals.metrics for point in metric.points]
    same(len(points), len(lines), "lines")
    for (metric, point), line in zip(points, lines, strict=True):
        same((metric.name, metric.kind, metric.unit), (line["name"], line["kind"], line["unit"]), "what it is")
        attributes = [(key, repr(_lists(value))) for key, value in point.attributes]
        same(attributes, [(key, repr(value)) for key, value in line["attributes"].items()], metric.name)
        value = point.value
        if isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
            for name, number in value._asdict().items():
                same(_lists(number), line[name], f"{metric.name} {name}")
        else:
            same(repr(value), repr(line["value"]), metric.name)


def console(world: World) -> None:
    """A line for each series."""
    stream = io.StringIO()
    ConsoleExporter(stream, self_metrics=True).export(world.totals, 5.0)
    shown = [name if name.isprintable() else repr(name)[1:-1] for name in [metric.name for metric in world.totals.metrics]]
    names = [name for name, metric in zip(shown, world.totals.metrics, strict=True) for _ in metric.points]
    lines = stream.getvalue().splitlines()
    for name, line in zip(names, lines, strict=False):
        assert line.startswith(name + "{"), f"{line!r:.300} does not begin with {name!r:.300}"
    same(len(names), len(lines), "lines")
    assert "\x1b" not in stream.getvalue(), "an escape sequence reaches the terminal"


def attributes_in_sqlite(world: World) -> None:
    """What the store keeps of attributes is what they were."""
    for point in [point for metric in world.totals.metrics for point in metric.points]:
        again = _attributes_of(_attributes_as_text(point.attributes))
        same(repr(point.attributes), repr(again), "attributes")
        hash(again)


def sqlite(world: World) -> None:
    """A file answers as the process does."""
    if sum(map(ord, repr([metric.name for metric in world.totals.metrics]))) % 16:  # it takes as long as all the rest
        return
    path = FOLDER / "store.db"
    for one in FOLDER.glob("store.db*"):
        one.unlink()
    with SQLiteStore(path) as store:
        from metrics_sdk import Config, MetricsSDK

        sdk = MetricsSDK(Config(background=False, exporters=[store]))
        for metric in world.totals.metrics[:20]:
            if not metric.name.startswith("metrics_sdk."):
                for point in metric.points:
                    sdk.registry.directory.record(metric.name, _numbers(point.value)[0], dict(point.attributes))
        assert sdk.flush(), sdk.health().exporters
        for name in sdk.query_all():
            same(sdk.query(name).count, store.query(name).count, name)
            for key in {key for pairs in sdk.query_all()[name] for key, _ in pairs}:
                same(
                    sorted([one.count for one in sdk.query_by(name, key).values()]),
                    sorted([one.count for one in store.query_by(name, key).values()]),
                    f"{name} by {key!r}",
                )
        sdk.shutdown()


CHECKS: tuple[Callable[[World], None], ...] = (
    accounts, text, openmetrics, protobuf, remote_write, native_remote_write, otlp, otlp_deltas, statsd, dogstatsd,
    json_lines, console, attributes_in_sqlite, sqlite,
)  # fmt: skip
