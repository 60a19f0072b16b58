"""Configuration: checked when it is made, with what was wrong and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

import metrics_sdk as metrics
from metrics_sdk import Config, ConfigurationError, Export
from metrics_sdk.exporters import MemoryExporter


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("flush_interval_seconds", 0, "must be a positive number of seconds, not 0"),
        ("flush_interval_seconds", float("nan"), "positive number of seconds"),
        ("flush_interval_seconds", "1", "positive number of seconds, not '1'"),
        ("resolutions", [(-1, 10)], "positive numbers of seconds"),
        ("resolutions", [10, 60], "must be a list of"),
        ("resolutions", [(10, 25)], "multiple of its width"),
        ("resolutions", [(10, 60), (15, 600)], "multiple of the one before"),
        ("resolutions", [(10, 60), (60, 60)], "spans must ascend"),
        ("max_series_per_instrument", 0, "whole number of at least 1"),
        ("max_instruments", True, "whole number of at least 1"),
        ("max_buckets", 1, "whole number of at least 2"),
        ("shards", 0, "whole number of at least 1"),
        ("shards", "many", "whole number of at least 1, not 'many'"),
        ("map_locks", 12, "power of two, not 12"),
        ("resource", [("a", 1)], "mapping with string keys"),
        ("resource", {1: "a"}, "mapping with string keys"),
        ("health_report_interval_seconds", -5, "positive number of seconds"),
        ("shutdown_timeout_seconds", float("inf"), "positive number of seconds"),
        ("exporters", "console", "must be a list of exporters"),
        ("views", "c", "must be a list of View objects, not 'c'"),
        ("views", ["c"], "must be a list of View objects"),
        ("producers", [object()], "objects with a method produce"),
        ("producers", object(), "objects with a method produce"),
        ("histogram_aggregation", "summary", "'summary'"),
        ("exemplar_filter", "sometimes", "'sometimes'"),
        ("max_series", 0, "whole number of at least 1"),
        ("series_ttl_seconds", 0, "positive number of seconds"),
        ("series_ttl_seconds", float("inf"), "positive number of seconds"),
    ],
)
def test_an_impossible_value_is_refused_with_its_name(field: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Config\.{field}:? .*{message}"):
        Config(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("interval_seconds", 0), ("timeout_seconds", -1), ("queue_size", 0)])
def test_an_export_is_checked_as_well(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Export\.{field}"):
        Export(MemoryExporter(), **{field: value})


def test_a_temporality_that_is_none_is_refused_with_an_export() -> None:
    with pytest.raises(ConfigurationError, match="temporality must be"):
        Export(MemoryExporter(), temporality="deltas")  # type: ignore[arg-type]


def test_a_configuration_is_frozen_and_its_resource_a_copy() -> None:
    resource = {"service.name": "shop"}
    config = Config(resource=resource)
    resource["service.name"] = "other"
    assert {"service.name": "shop"} == config.resource
    with pytest.raises(AttributeError, match="cannot be changed"):
        config.shards = 2  # type: ignore[misc]


def test_the_environment_is_read_by_from_env_alone_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=first, deployment.environment = test ,=,x")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert {} == Config().resource
    assert {"service.name": "shop", "deployment.environment": "test"} == Config.from_env().resource
    assert "mine" == Config.from_env(resource={"service.name": "mine"}).resource["service.name"]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "")
    assert "first" == Config.from_env().resource["service.name"]


def test_an_exporter_alone_is_exported_with_defaults() -> None:
    export = Config(exporters=[MemoryExporter()]).exporters[0]
    assert ("MemoryExporter", 60.0) == (export.name, export.interval_seconds)


def test_what_is_no_configuration_is_refused() -> None:
    for configure in (metrics.configure, metrics.MetricsSDK):
        with pytest.raises(ConfigurationError, match="Config"):
            configure(3)  # type: ignore[operator]
