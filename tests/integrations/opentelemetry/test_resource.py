"""What is said of the process: kept as it was given, and renewed in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from metrics_sdk_opentelemetry.resource import SDKResource, attributes_of
from opentelemetry.sdk.resources import Resource


def test_a_resource_that_is_given_is_kept_as_the_object_it_is() -> None:
    given = Resource({"service.name": "shop"}, "https://example.org/schema")
    made = SDKResource(given, attributes_of(given))
    assert made() is given
    assert made() is given


def test_a_mapping_that_is_given_is_all_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OTEL_RESOURCE_ATTRIBUTES", "team=a")
    given = {"service.name": "shop"}
    assert given == dict(SDKResource(given, attributes_of(given))().attributes)


def test_what_is_detected_is_told_besides_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OTEL_RESOURCE_ATTRIBUTES", "team=a")
    made: Any = SDKResource(None, attributes_of(None))()
    assert ("a", "metrics_sdk") == (made.attributes["team"], made.attributes["telemetry.sdk.name"])


@pytest.mark.slow
def test_a_forked_child_tells_what_depends_on_the_process_of_itself_and_keeps_the_rest(
    run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process")
    program = """
    import os, signal, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, which is the point
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from metrics_sdk_opentelemetry import MeterProvider

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = provider.get_meter("lib").create_counter("c")

    def told():
        counter.add(1)
        found = reader.get_metrics_data().resource_metrics[0].resource.attributes
        print(found["process.pid"] == os.getpid(), found["telemetry.sdk.name"], flush=True)

    told()
    child = os.fork()
    if not child:
        signal.alarm(30)
        told()
        told()
        os._exit(0)
    os.waitpid(child, 0)
    told()
    """
    assert ["True metrics_sdk"] * 4 == run_python(program).splitlines()
