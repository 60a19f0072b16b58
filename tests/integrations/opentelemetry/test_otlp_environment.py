"""What the environment says of OTLP: every variable, empty ones, and nonsense."""

from __future__ import annotations

import os
from typing import Any

import pytest
from metrics_sdk_opentelemetry import OTLPExporter, environment
from metrics_sdk_opentelemetry.otlp import DEFAULT_ENDPOINT
from receiver import Receiver

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets

BOTH = "OTEL_EXPORTER_OTLP_"
OWN = "OTEL_EXPORTER_OTLP_METRICS_"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in list(os.environ):
        if key.startswith(("OTEL_", "METRICS_SDK_OTEL_")):
            monkeypatch.delenv(key)


def made(monkeypatch: pytest.MonkeyPatch, **variables: str) -> OTLPExporter:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return OTLPExporter.from_env()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, DEFAULT_ENDPOINT),
        ({BOTH + "ENDPOINT": "", OWN + "ENDPOINT": " "}, DEFAULT_ENDPOINT),
        ({BOTH + "ENDPOINT": "http://a:1"}, "http://a:1/v1/metrics"),
        ({BOTH + "ENDPOINT": "http://a:1/base/"}, "http://a:1/base/v1/metrics"),
        ({OWN + "ENDPOINT": "http://a:1/as/it/is"}, "http://a:1/as/it/is"),
        ({OWN + "ENDPOINT": "http://a:1"}, "http://a:1"),
        ({BOTH + "ENDPOINT": "http://b:1", OWN + "ENDPOINT": "http://a:1/x"}, "http://a:1/x"),
    ],
)
def test_the_endpoint_for_metrics_is_as_it_is_and_the_general_one_a_base(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    assert f"OTLPExporter({expected!r})" == repr(made(monkeypatch, **variables))


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN + "ENDPOINT", "http://a:1")
    assert "OTLPExporter('http://mine:2/x')" == repr(OTLPExporter.from_env(endpoint="http://mine:2/x"))


def test_an_endpoint_that_is_none_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="an endpoint is a URL"):
        made(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318")


def test_headers_and_compression_are_those_for_metrics_else_the_general_ones(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(OWN + "ENDPOINT", f"{receiver.url}/x")
    for variables, headers, compression in (
        ({BOTH + "HEADERS": "api-key=a%20b%3D%2C, other = c=d ,", BOTH + "COMPRESSION": "gzip"}, ("a b=,", "c=d"), "gzip"),
        ({OWN + "HEADERS": "api-key=mine", OWN + "COMPRESSION": "none"}, ("mine", None), None),
        ({OWN + "HEADERS": "secret,=x,api-key=%0D%0Aevil,other=e", OWN + "COMPRESSION": "br"}, (None, "e"), None),
    ):
        exporter = made(monkeypatch, **variables)
        sdk = MetricsSDK(Config(background=False, exporters=[exporter]))
        sdk.counter("c").add(1)
        assert sdk.shutdown()
        found = receiver.asked[-1].headers
        assert (*headers, compression) == (found.get("api-key"), found.get("other"), found.get("content-encoding"))
    assert 3 == len([one for one in caplog.records if f"a part of {OWN}HEADERS is ignored" in one.getMessage()])
    assert "secret" not in caplog.text
    assert f"{OWN}COMPRESSION='br' is ignored" in caplog.text


def test_times_are_in_milliseconds_and_nonsense_is_logged_and_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    export = Export(made(monkeypatch))
    assert (60.0, 10.0) == (export.interval_seconds, export.timeout_seconds)
    export = Export(made(monkeypatch, OTEL_METRIC_EXPORT_INTERVAL="5000", OTEL_EXPORTER_OTLP_TIMEOUT="2500"))
    assert (5.0, 2.5) == (export.interval_seconds, export.timeout_seconds)
    assert 0.25 == Export(made(monkeypatch, OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="250")).timeout_seconds
    assert 3.0 == Export(made(monkeypatch), timeout_seconds=3).timeout_seconds
    assert not caplog.records
    for nonsense in ("soon", "-1", "1.5", "0", "¹"):
        export = Export(made(monkeypatch, OTEL_METRIC_EXPORT_INTERVAL=nonsense, OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=nonsense))
        assert (60.0, 10.0) == (export.interval_seconds, export.timeout_seconds)
    assert 10 == len(caplog.records)


@pytest.mark.parametrize(
    ("preference", "aggregation", "expected"),
    [
        ("", "", ("cumulative", None)),
        ("DELTA", "explicit_bucket_histogram", ("delta", "explicit")),
        ("LowMemory", "base2_exponential_bucket_histogram", ("lowmemory", "exponential")),
        ("sometimes", "round", ("cumulative", None)),
    ],
)
def test_temporality_and_aggregation_are_those_of_the_specification(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, preference: str, aggregation: str, expected: Any
) -> None:
    variables = {OWN + "TEMPORALITY_PREFERENCE": preference, OWN + "DEFAULT_HISTOGRAM_AGGREGATION": aggregation}
    export = Export(made(monkeypatch, **variables))
    assert expected == (export.temporality, export.histogram_aggregation)
    assert (2 if preference == "sometimes" else 0) == len(caplog.records)


def test_certificates_count_for_https_alone_and_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOTH + "CERTIFICATE", "/nowhere/ca.pem")
    assert made(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://a:1")
    with pytest.raises(ConfigurationError, match=r"ca[.]pem"):
        made(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="https://a:1")
    monkeypatch.setenv(BOTH + "CERTIFICATE", "")
    monkeypatch.setenv(OWN + "CLIENT_KEY", "/nowhere/own.key")
    with pytest.raises(ConfigurationError, match=r"own[.]pem"):
        made(monkeypatch, OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE="/nowhere/own.pem")


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("", ExplicitBuckets), ("base2_exponential_bucket_histogram", ExponentialBuckets)],
)
def test_the_provider_of_the_environment_has_one_stream_for_each_histogram_of_the_kind_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, aggregation: str, expected: type
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv(BOTH + "ENDPOINT", receiver.url)
    monkeypatch.setenv(OWN + "DEFAULT_HISTOGRAM_AGGREGATION", aggregation)
    provider = environment.meter_provider()
    provider.get_meter("lib").create_histogram("h").record(3)
    (metric,) = [one for one in provider.sdk.snapshot().metrics if one.name == "h"]
    assert isinstance(metric.points[0].value, expected)
    assert 1 == provider.sdk.health().received
    assert provider.shutdown()
    assert 1 == len(receiver.asked)


def test_an_exporter_that_cannot_be_made_is_logged_and_the_provider_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv(BOTH + "ENDPOINT", "nowhere")
    provider = environment.meter_provider()
    provider.get_meter("lib").create_counter("c").add(1)
    assert 1 == provider.sdk.query("c").sum
    assert "OTEL_METRICS_EXPORTER=otlp cannot be used as it is set up" in caplog.text
    assert provider.shutdown()


def test_certificates_are_used_where_the_endpoint_that_counts_is_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOTH + "ENDPOINT", "HTTPS://a:1")
    monkeypatch.setenv(BOTH + "CERTIFICATE", "/nowhere/ca.pem")
    assert OTLPExporter.from_env(endpoint="http://localhost:4318/v1/metrics")
    with pytest.raises(ConfigurationError, match=r"ca[.]pem"):
        OTLPExporter.from_env()
    with pytest.raises(ConfigurationError, match=r"ca[.]pem"):
        OTLPExporter.from_env(endpoint="https://b:1")


def test_the_shorter_of_the_two_timeouts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2.0 == made(monkeypatch, OTEL_METRIC_EXPORT_TIMEOUT="2000", OTEL_EXPORTER_OTLP_TIMEOUT="3000").timeout_seconds
    assert 1.0 == made(monkeypatch, OTEL_METRIC_EXPORT_TIMEOUT="2000", OTEL_EXPORTER_OTLP_TIMEOUT="1000").timeout_seconds


def test_a_header_that_cannot_be_is_ignored_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert made(monkeypatch, OTEL_EXPORTER_OTLP_HEADERS="Authorization: Bearer c2VjcmV0=,good=yes")
    assert "c2VjcmV0" not in caplog.text
    assert 1 == len(caplog.records)


def test_a_protocol_that_it_does_not_speak_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert made(monkeypatch, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "grpc is ignored: OTLPExporter speaks http/protobuf" in caplog.text
