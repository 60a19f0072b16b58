"""Our classes are the API's: by their signatures, and for type checkers."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metrics_sdk_opentelemetry import Meter, MeterProvider, instruments
from opentelemetry import metrics
from opentelemetry.sdk import metrics as sdk

CONSUMER = """
from typing import assert_type

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from metrics_sdk import Config
from metrics_sdk_opentelemetry import MeterProvider, OpenTelemetryExporter

provider: metrics.MeterProvider = MeterProvider([], {"service.name": "shop"}, config=Config(flush_interval_seconds=5))
metrics.set_meter_provider(MeterProvider())
meter: metrics.Meter = provider.get_meter("lib", "1.0", "https://example.org", {"a": 1})
assert_type(meter.create_counter("c"), metrics.Counter)
assert_type(meter.create_up_down_counter("u"), metrics.UpDownCounter)
assert_type(meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2.5]), metrics.Histogram)
meter.create_counter("c").add(1, {"k": "v"}, None)
meter.create_gauge("g").set(1.5)


def callback(options: CallbackOptions) -> list[Observation]:
    return [Observation(1, {"k": "v"})]


assert_type(meter.create_observable_gauge("o", callbacks=[callback]), metrics.ObservableGauge)
ours: MeterProvider = MeterProvider()
assert_type(ours.force_flush(1000), bool)
assert_type(ours.sdk.query("c").count, int)
OpenTelemetryExporter(provider)
"""

CLASSES = [
    (MeterProvider, metrics.MeterProvider),
    (Meter, metrics.Meter),
    (instruments.Counter, metrics.Counter),
    (instruments.UpDownCounter, metrics.UpDownCounter),
    (instruments.Histogram, metrics.Histogram),
    (instruments.Gauge, metrics._Gauge),
    (instruments.ObservableCounter, metrics.ObservableCounter),
    (instruments.ObservableUpDownCounter, metrics.ObservableUpDownCounter),
    (instruments.ObservableGauge, metrics.ObservableGauge),
]


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("ours", "theirs"), CLASSES, ids=lambda one: one.__name__)
def test_every_overridden_method_has_the_signature_of_the_api(ours: type, theirs: type) -> None:
    overridden = [name for name in vars(ours) if name in vars(theirs) and inspect.isfunction(getattr(theirs, name))]
    public = [name for name in overridden if not name.startswith("_")]
    assert public or theirs.__name__.startswith("Observable")
    for name in public:
        assert parameters(getattr(ours, name)) == parameters(getattr(theirs, name)), name


def test_the_methods_that_instruments_record_with_have_the_parameters_of_the_api() -> None:
    meter = MeterProvider(shutdown_on_exit=False).get_meter("lib")
    for made, verb in (
        (meter.create_counter("c"), "add"),
        (meter.create_up_down_counter("u"), "add"),
        (meter.create_histogram("h"), "record"),
        (meter.create_gauge("g"), "set"),
    ):
        found = [name for name, _kind, _default in parameters(getattr(made, verb))]
        assert found == ["amount", "attributes", "context"]


@pytest.mark.parametrize("method", ["__init__", "force_flush", "shutdown", "get_meter", "add_metric_reader"])
def test_the_provider_takes_what_that_of_opentelemetry_sdk_takes(method: str) -> None:
    theirs = [one for one in parameters(getattr(sdk.MeterProvider, method)) if not one[0].startswith("_")]
    assert parameters(getattr(MeterProvider, method))[: len(theirs)] == theirs


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_accept_our_classes_as_the_types_of_the_api(tmp_path: Path, checker: str) -> None:
    program = tmp_path / "consumer.py"
    program.write_text(CONSUMER)
    if checker == "mypy":
        command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-executable", sys.executable]
    else:
        (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
        command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    command += [str(program)] if checker == "mypy" else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
