"""The exporters of the standard library."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.exporters import ConsoleExporter, JsonLinesExporter, MemoryExporter
from metrics_sdk.snapshot import Meter, Metric, Point, Snapshot


@pytest.fixture
def sdk() -> MetricsSDK:
    made = MetricsSDK(Config(background=False, clock=ManualClock(1000.0), resource={"service.name": "shop"}))
    made.counter("c", unit="{request}").add(2, {"route": 'a"\n\u2028\ud800'})
    made.histogram("h", unit="s", boundaries=[1, 2]).record(1.5)
    made.histogram("e").record(-4)
    made.gauge("g").set(0.5)
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_are_one_object_a_series_and_read_back_what_was_recorded(sdk: MetricsSDK, tmp_path: Path) -> None:
    exporter = JsonLinesExporter(tmp_path / "metrics.jsonl")
    exporter.export(sdk.snapshot(), 1.0)
    found = {line["name"]: line for line in lines(exporter.path)}
    assert "shop" == found["c"]["resource"]["service.name"]
    assert {
        "time": 1000.0, "start_time": 1000.0, "name": "c", "kind": "counter", "unit": "{request}", "temporality": "cumulative",
        "attributes": {"route": 'a"\n\u2028?'}, "resource": dict(sdk.resource()), "value": 2,
    } == found["c"]  # fmt: skip
    assert ([1.0, 2.0], [0, 1, 0], 1, 1.5) == tuple(found["h"][key] for key in ("boundaries", "bucket_counts", "count", "sum"))
    assert 1 == found["e"]["negative"][0][1]
    exporter.export(sdk.snapshot(), 1.0)
    assert 2 == sum(line["name"] == "c" for line in lines(exporter.path))


def deltas_of_two_meters() -> Snapshot:
    point = Point((), 1, 1000.0, 1001.0)
    meters = (Meter("one"), Meter("two\n", "1.0"), None)
    metrics = [Metric("c", "counter", "By", "", None, (point,), "delta", meter) for meter in meters]
    return Snapshot({}, 1001.0, (*metrics, Metric("g", "gauge", "", "", None, (point,), "delta")))


def test_a_json_line_tells_deltas_from_totals_and_one_meters_metric_from_anothers(tmp_path: Path) -> None:
    exporter = JsonLinesExporter(tmp_path / "metrics.jsonl")
    exporter.export(deltas_of_two_meters(), 1.0)
    assert [
        ("c", "delta", {"name": "one", "version": None}),
        ("c", "delta", {"name": "two\n", "version": "1.0"}),
        ("c", "delta", None),
        ("g", None, None),
    ] == [(line["name"], line.get("temporality"), line.get("meter")) for line in lines(exporter.path)]


def test_the_console_tells_deltas_from_totals_and_one_meters_metric_from_anothers() -> None:
    stream = io.StringIO()
    ConsoleExporter(stream).export(deltas_of_two_meters(), 1.0)
    assert [
        "c{} 1 By (delta, meter 'one')",
        "c{} 1 By (delta, meter 'two\\n' '1.0')",
        "c{} 1 By (delta)",
        "g{} 1",
    ] == stream.getvalue().splitlines()


def test_the_file_is_made_for_its_owner_alone_and_no_link_is_followed(sdk: MetricsSDK, tmp_path: Path) -> None:
    exporter = JsonLinesExporter(tmp_path / "metrics.jsonl")
    exporter.export(sdk.snapshot(), 1.0)
    assert 0o600 == stat.S_IMODE(exporter.path.stat().st_mode)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        JsonLinesExporter(link).export(sdk.snapshot(), 1.0)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_written_is_a_failed_export_and_recording_goes_on(tmp_path: Path) -> None:
    sdk = MetricsSDK(Config(background=False, exporters=[JsonLinesExporter(tmp_path / "no" / "such" / "folder")]))
    sdk.counter("c").add(1)
    assert not sdk.flush()
    assert (1, 1) == (sdk.health().exporters["JsonLinesExporter"].failures, sdk.query("c").sum)
    assert not sdk.shutdown()


def test_the_console_prints_a_line_a_series(sdk: MetricsSDK) -> None:
    stream = io.StringIO()
    ConsoleExporter(stream).export(sdk.snapshot(), 1.0)
    printed = stream.getvalue().splitlines()
    assert "h{} count=1 mean=1.5 min=1.5 max=1.5 s" in printed
    assert "g{} 0.5" in printed
    assert 4 == len(printed)
    ConsoleExporter(stream, self_metrics=True).export(sdk.snapshot(), 1.0)
    assert "metrics_sdk.received{} 4 {value}" in stream.getvalue()


def test_the_memory_exporter_keeps_the_newest(sdk: MetricsSDK) -> None:
    exporter = MemoryExporter(capacity=2)
    assert exporter.metric("c") is None
    for _ in range(3):
        exporter.export(sdk.snapshot(), 1.0)
    assert 2 == len(exporter.snapshots)
    metric = exporter.metric("g")
    assert metric is not None
    assert 0.5 == metric.points[0].value
    assert exporter.metric("never") is None
