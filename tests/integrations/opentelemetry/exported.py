"""What exporters got, as JSON to compare: with names in the place of ports, and types in the place of what a clock or a machine says."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData
from prometheus_client.parser import text_string_to_metric_families

#: Which values are the same each time: sizes in bytes, and what is counted. Not those of the machine.
STEADY_UNITS = {"By", "{request}", "{connection}", "connections"}
MACHINE = "opentelemetry.instrumentation.system_metrics"
EXPORTERS = "opentelemetry-sdk"
#: Attributes whose sets come and go with what the machine does: one of each key is shown.
MACHINE_ATTRIBUTES = {"device", "family", "type", "protocol", "state"}


class Masks:
    """Shows what was exported. `ports`: their names. `traces`: the ids of traces that there were."""

    def __init__(self, ports: Mapping[int, str], traces: Collection[str]) -> None:
        self._ports = ports
        self._traces = traces

    # ---- one method for each way out ----------------------------------------------------------------------------

    def metrics_data(self, data: MetricsData | None) -> Any:
        """Show what a reader in memory returns: types of objects and values count."""
        return None if data is None else self._resources(_plain(data)["resource_metrics"])

    def console(self, text: str) -> Any:
        """Show what the console exporter wrote: one JSON document after the other."""
        shown = []
        decoder = json.JSONDecoder()
        while text := text.lstrip():
            document, end = decoder.raw_decode(text)
            shown.append(self._resources(document["resource_metrics"], flushed=True))
            text = text[end:]
        return shown

    def otlp(self, body: bytes) -> Any:
        """Show what an OTLP exporter sent."""
        request = ExportMetricsServiceRequest.FromString(body)
        return self._resources(MessageToDict(request, preserving_proto_field_name=True)["resource_metrics"], flushed=True)

    def prometheus(self, page: str) -> Any:
        """Show a page for Prometheus."""
        families = []
        for family in text_string_to_metric_families(page):
            machine = any(sample.labels.get("otel_scope_name") == MACHINE for sample in family.samples)
            steady = not machine and not family.name.endswith(("_seconds", "_milliseconds", "_created"))
            samples = []
            for sample in family.samples:
                labels = self._masked(sample.labels, machine)
                if "le" in labels:
                    labels["le"] = float(labels["le"])
                counted = steady or (family.type == "histogram" and sample.name.endswith("_count"))
                samples.append([sample.name, labels, sample.value if counted else "a number"])
            families.append([family.name, family.type, family.documentation, family.unit, _in_order(samples)])
        return _in_order(families)

    # ---- the parts ----------------------------------------------------------------------------------------------

    def _resources(self, resources: Sequence[Any], flushed: bool = False) -> Any:
        """Show them. `flushed` readers may export at the same time: what they tell of themselves meanwhile is left out."""
        return [
            {
                **resource,
                "scope_metrics": _in_order(
                    [
                        {**scope, "metrics": _in_order([self._metric(metric, scope["scope"]) for metric in scope["metrics"]])}
                        for scope in resource["scope_metrics"]
                        if not (flushed and scope["scope"]["name"] == EXPORTERS)
                    ]
                ),
            }
            for resource in resources
        ]

    def _metric(self, metric: dict[str, Any], scope: dict[str, Any]) -> Any:
        machine = scope["name"] == MACHINE
        steady = not machine and metric.get("unit") in STEADY_UNITS
        shown = dict(metric)
        for part in ("data", "sum", "gauge", "histogram", "exponential_histogram"):
            if part in metric:
                points = [self._point(point, steady, machine) for point in metric[part]["data_points"]]
                if part == "exponential_histogram":
                    points = [_exponential(point) for point in points]
                shown[part] = {**metric[part], "data_points": _in_order(points)}
        return shown

    def _point(self, point: dict[str, Any], steady: bool, machine: bool) -> Any:
        shown = {**point, "attributes": self._masked(point["attributes"], machine)} if "attributes" in point else dict(point)
        start, end = point.get("start_time_unix_nano"), point.get("time_unix_nano")
        shown["time_unix_nano"] = int(end) > 1_700_000_000 * 10**9 if end is not None else None
        if start is not None:
            shown["start_time_unix_nano"] = "before" if 1_700_000_000 * 10**9 < int(start) < int(end) else start
        if exemplars := shown.pop("exemplars", None):
            shown["exemplars"] = [self._exemplar(exemplar) for exemplar in exemplars[:1]]
        if not steady:
            for key in ("value", "as_int", "as_double"):
                if key in point:
                    shown[key] = type(point[key]).__name__
            for key in ("sum", "min", "max"):
                if key in point:
                    shown[key] = "a number" if point[key] is not None else None
            if "bucket_counts" in point:
                assert sum(map(int, point["bucket_counts"])) == int(point["count"]), point
                shown["bucket_counts"] = len(point["bucket_counts"])
            for key in ("positive", "negative", "scale"):
                shown.pop(key, None)
            if "scale" in point or "zero_count" in point:
                shown["zero_count"] = "there may be some"
        return shown

    def _exemplar(self, exemplar: dict[str, Any]) -> Any:
        trace = exemplar["trace_id"]
        known = (f"{trace:032x}" if isinstance(trace, int) else _hexadecimal(trace)) in self._traces
        return {**dict.fromkeys(exemplar, None), "trace_id": known or trace}

    def _masked(self, value: Any, machine: bool) -> Any:
        if isinstance(value, Mapping):
            return {
                key: "any" if machine and key in MACHINE_ATTRIBUTES else self._masked(one, machine)
                for key, one in value.items()
            }
        if isinstance(value, list):
            shown = [self._masked(one, machine) for one in value]
            for one in shown:
                if machine and isinstance(one, dict) and one.get("key") in MACHINE_ATTRIBUTES:
                    one["value"] = "any"
            return _in_order(shown)
        if isinstance(value, int) and value in self._ports:
            return self._ports[value]
        if isinstance(value, str):
            for port, name in self._ports.items():
                value = value.replace(str(port), name)
        return value


def _exponential(point: dict[str, Any]) -> dict[str, Any]:
    """Return a point of an exponential histogram, by what it says: empty buckets, and a scale of none, say nothing.

    Where there are zeros, exemplars are left out: see `deviations.py`. How many is in `count`, with the buckets.
    """
    shown = {key: value for key, value in point.items() if key not in ("positive", "negative")}
    for key in ("positive", "negative"):
        counts = [int(count) for count in point.get(key, {}).get("bucket_counts", ())]
        offset = int(point.get(key, {}).get("offset", 0))
        shown[key] = [[offset + number, count] for number, count in enumerate(counts) if count]
    if not shown["positive"] and not shown["negative"]:
        shown.pop("scale", None)
    if shown.pop("zero_count", None):
        shown.pop("exemplars", None)
    return shown


def _hexadecimal(trace: str) -> str:
    """Return the id of a trace as it is written: the console has `0x…`, protobuf's JSON base64."""
    import base64

    return trace.removeprefix("0x").rjust(32, "0") if trace.startswith("0x") else base64.b64decode(trace).hex()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "attributes"):  # a resource, a scope
        return {
            "class": type(value).__name__,
            "name": getattr(value, "name", None),
            "version": getattr(value, "version", None),
            "schema_url": value.schema_url,
            "attributes": _plain(dict(value.attributes or {})),
        }
    raise TypeError(repr(value))


def _in_order(found: list[Any]) -> list[Any]:
    """Return them in one order, each once."""
    texts = {json.dumps(one, sort_keys=True): one.get("name", "") if isinstance(one, dict) else "" for one in found}
    return [json.loads(text) for text in sorted(texts, key=lambda text: (texts[text], text))]
