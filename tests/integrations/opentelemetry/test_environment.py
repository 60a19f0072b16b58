"""What the environment chooses: our meter provider, its exporters, resource and exemplars, with no line of code changed."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider, environment
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

SELLING = """
    from opentelemetry import metrics

    provider = metrics.get_meter_provider()
    metrics.get_meter("shop").create_counter("sold").add(3, {"what": "spoon"})
"""

SERVING = """
    import threading, urllib.request, flask, werkzeug.serving

    app = flask.Flask("shop")

    @app.get("/items/<int:number>")
    def item(number):
        return f"item {number}"

    server = werkzeug.serving.make_server("127.0.0.1", 0, app)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    for number in (1, 2, 3):
        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/items/{number}", timeout=10).read()
    server.shutdown()
    serving.join(10)
    server.server_close()
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of OpenTelemetry is set but by the test."""
    for key in list(os.environ):
        if key.startswith(("OTEL_", "METRICS_SDK_OTEL_")):
            monkeypatch.delenv(key)


@pytest.fixture
def installed() -> None:
    """The package is installed, not only importable: OpenTelemetry finds us by installed entry points."""
    for group in ("opentelemetry_meter_provider", "opentelemetry_distro"):
        if not entry_points(group=group, name="metrics_sdk"):
            pytest.fail(f"no entry point of {group} is metrics_sdk: install this package, `pip install -e '.[test]'` will do")


@pytest.fixture
def instrumented(installed: None, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program by `opentelemetry-instrument`, as anybody's, to its end."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "program.py").write_text(textwrap.dedent(program))
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, "program.py"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        assert 0 == done.returncode, done.stderr
        return done

    return run


@pytest.fixture
def received() -> Iterator[tuple[int, list[ExportMetricsServiceRequest]]]:
    """The port of an OTLP collector, and what it has been sent."""
    requests: list[ExportMetricsServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(ExportMetricsServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path == "/v1/metrics" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield server.server_port, requests
        server.shutdown()
        serving.join(10)


def exported(printed: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the points of each metric, by scope and name, that the console exporter printed in its one document."""
    return {
        (scope["scope"]["name"], metric["name"]): metric["data"]["data_points"]
        for resource in json.loads(printed)["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }


def resource_with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    """Return the resource that a reader is told of, where these variables are set."""
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    provider.get_meter("shop").create_counter("sold").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    (told,) = data.resource_metrics
    assert provider.sdk.config.resource["service.name"] == told.resource.attributes["service.name"]
    provider.shutdown()
    return {key: value for key, value in told.resource.attributes.items() if key != "service.instance.id"}


# ---- the entry points -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_variable_makes_ours_the_meter_provider_which_exports_at_exit(
    installed: None, run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "metrics_sdk")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    printed = run_python(SELLING + "\n    print(type(provider).__module__, type(provider).__name__, flush=True)")
    first, _, rest = printed.partition("\n")
    assert "metrics_sdk_opentelemetry.provider MeterProvider" == first
    ((key, (point,)),) = exported(rest).items()
    assert ("shop", "sold") == key
    assert (3, {"what": "spoon"}) == (point["value"], point["attributes"])


@pytest.mark.slow
def test_an_exporter_that_nobody_installed_is_logged_and_the_others_export(
    installed: None, run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "metrics_sdk")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "carrier_pigeon, console,")
    told = "OTEL_METRICS_EXPORTER=carrier_pigeon is ignored: no package that is installed has the exporter carrier_pigeon\n"
    assert [("shop", "sold")] == list(exported(run_python(SELLING, stderr=told)))


@pytest.mark.slow
def test_nothing_is_exported_where_nothing_is_chosen_or_everything_is_switched_off(
    installed: None, run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "metrics_sdk")
    for exporter, disabled in (("", "false"), ("none", ""), ("console", "True")):
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", exporter)
        monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
        assert "" == run_python(SELLING), (exporter, disabled)


@pytest.mark.slow
def test_exporters_that_are_readers_serve_as_they_do(
    installed: None, run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "metrics_sdk")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", port)
    scraping = f"""
    import urllib.request
    print(urllib.request.urlopen("http://127.0.0.1:{port}/metrics", timeout=10).read().decode())
    """
    page = run_python(SELLING + scraping)
    (line,) = [line for line in page.splitlines() if line.startswith("sold_total{")]
    assert line.endswith('what="spoon"} 3.0')


# ---- opentelemetry-instrument ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_opentelemetry_instrument_with_our_distro_exports_a_flask_programs_requests_by_our_provider(
    instrumented: Callable[[str], subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "metrics_sdk")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "")  # which is as if it were not set
    done = instrumented(SERVING)
    (resource,) = json.loads(done.stdout)["resource_metrics"]
    assert "metrics_sdk" == resource["resource"]["attributes"]["telemetry.sdk.name"]
    (point,) = exported(done.stdout)["opentelemetry.instrumentation.flask", "http.server.request.duration"]
    assert (3, "/items/<int:number>") == (point["count"], point["attributes"]["http.route"])


@pytest.mark.slow
def test_our_distro_sends_otlp_where_no_exporter_is_named(
    instrumented: Callable[[str], subprocess.CompletedProcess[str]],
    received: tuple[int, list[ExportMetricsServiceRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, requests = received
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "metrics_sdk")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout")
    counting = """
    import threading
    print([thread.name for thread in threading.enumerate() if "MetricReader" in thread.name])
    """
    assert "[]\n" == instrumented(SELLING + counting).stdout  # it is our own exporter that sends
    (request,) = requests
    (resource,) = request.resource_metrics
    told = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert ("checkout", "metrics_sdk") == (told["service.name"], told["telemetry.sdk.name"])
    (metric,) = resource.scope_metrics[0].metrics
    assert ("sold", 3) == (metric.name, metric.sum.data_points[0].as_int)


# ---- in this process ------------------------------------------------------------------------------------------------


def test_an_exporter_that_cannot_be_made_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        @staticmethod
        def load() -> Any:
            raise RuntimeError("its certificate is missing")

    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    monkeypatch.setattr(environment, "entry_points", lambda **wanted: [Broken])
    environment.meter_provider().shutdown()
    (record,) = caplog.records
    assert logging.ERROR == record.levelno
    assert "OTEL_METRICS_EXPORTER=console is ignored: it cannot be used" == record.getMessage()
    assert record.exc_info is not None
    assert "its certificate is missing" == str(record.exc_info[1])


def test_the_protocol_that_is_set_is_the_one_that_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(environment, "entry_points", lambda group, name: asked.append(name) or [])
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for general, own, expected in (
        ("", "", ["OTLPExporter"]),
        ("grpc", "", ["otlp_proto_grpc"]),
        ("http/protobuf", "", ["OTLPExporter"]),
        ("http/protobuf", "grpc", ["otlp_proto_grpc"]),
        ("grpc", "http/protobuf", ["OTLPExporter"]),
        ("http/json", "", ["OTLPExporter"]),
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", general)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", own)
        asked.clear()
        provider = environment.meter_provider()
        assert expected == asked + [export.name for export in provider.sdk.config.exporters]
        provider.shutdown()
    shown = [record.getMessage() for record in caplog.records if record.name == "metrics_sdk_opentelemetry"]
    assert 2 == len([text for text in shown if "no package that is installed has the exporter otlp_proto_grpc" in text])
    assert 1 == len([text for text in shown if "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is ignored" in text])
    assert 3 == len(shown)


def test_the_resource_is_what_the_environment_says_percent_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    told = resource_with(monkeypatch, OTEL_RESOURCE_ATTRIBUTES="service.name=caf%C3%A9, owner=a%2Cb%3Dc ,empty=")
    expected = {"service.name": "café", "owner": "a,b=c", "empty": ""}
    assert expected == {key: told.get(key) for key in expected}
    theirs = {key: value for key, value in Resource.create().attributes.items() if key != "service.instance.id"}
    ours = {"telemetry.sdk.name": "metrics_sdk", "telemetry.sdk.version": told.get("telemetry.sdk.version")}
    assert {**theirs, **ours} == {"telemetry.sdk.version": None, **told}


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("checkout", "service.name=shop", "checkout"),
        ("", "service.name=shop", "shop"),
        ("", "", "unknown_service:python"),
        ("", "service.name=", "unknown_service:python"),
    ],
)
def test_the_services_name_is_its_variable_else_the_attribute_and_empty_means_unset(
    monkeypatch: pytest.MonkeyPatch, name: str, attributes: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python")
    told = resource_with(monkeypatch, OTEL_SERVICE_NAME=name, OTEL_RESOURCE_ATTRIBUTES=attributes)
    assert expected == told["service.name"]


@pytest.mark.parametrize(
    ("value", "expected", "warnings"),
    [
        (None, "trace_based", 0),
        ("", "trace_based", 0),
        ("always_off", "always_off", 0),
        (" Always_On ", "always_on", 0),
        ("sometimes", "trace_based", 1),
    ],
)
def test_the_exemplar_filter_is_its_variable_and_what_is_none_is_logged_and_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str | None, expected: str, warnings: int
) -> None:
    if value is not None:
        monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", value)
    provider = MeterProvider()
    assert expected == provider.sdk.config.exemplar_filter
    assert warnings == len(caplog.records)
    provider.shutdown()
