"""Instruments that are observed: how often their callbacks are called, and when generators are at their end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import export


@pytest.fixture
def made() -> Iterator[tuple[Any, Any, Any]]:
    """Return a meter, the reader of what it has, and the provider."""
    reader = export.InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider.get_meter("lib"), reader, provider
    provider.shutdown()


def values(reader: Any) -> list[Any]:
    data = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics if data else []
    return [point.value for scope in scopes for metric in scope.metrics for point in metric.data.data_points]


@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge"])
def test_a_callback_that_is_given_twice_is_called_once_for_each_collection(made: Any, kind: str) -> None:
    meter, reader, _ = made
    calls: list[object] = []

    def callback(options: CallbackOptions) -> list[Observation]:
        calls.append(options)
        return [Observation(5)]

    create = getattr(meter, f"create_observable_{kind}")
    create("o", [callback, callback])
    create("o", [callback])
    assert ([5], 1) == (values(reader), len(calls))


def test_a_generator_that_has_ended_gives_nothing_more_and_is_no_fault(made: Any, caplog: Any) -> None:
    def numbers() -> Generator[list[Observation], CallbackOptions, None]:
        yield []
        yield [Observation(1)]

    meter, reader, provider = made
    meter.create_observable_gauge("o", [numbers()])
    assert [[1], [], []] == [values(reader) for _ in range(3)]
    assert [] == caplog.messages
    assert {} == dict(provider.sdk.health().faults)


def test_a_generator_that_cannot_be_started_is_logged_and_costs_its_own_observations_alone(made: Any, caplog: Any) -> None:
    def ended() -> Generator[list[Observation], CallbackOptions, None]:
        return
        yield

    meter, reader, _ = made
    meter.create_observable_gauge("o", [ended(), lambda options: [Observation(2)]])
    assert values(reader) == [2]
    assert "the callback of o failed: TypeError: this callback cannot be used" in caplog.text
