"""Meters: what the same instrument means when it is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry.sdk.metrics import export


@pytest.fixture
def meter() -> Iterator[Callable[[Any], Any]]:
    made: list[MeterProvider] = []

    def make(reader: Any) -> Any:
        made.append(MeterProvider([reader], shutdown_on_exit=False))
        return made[-1].get_meter("lib")

    yield make
    for one in made:
        one.shutdown()


def test_other_boundaries_for_the_same_histogram_are_warned_of_once_and_the_first_ones_are_used(
    meter: Any, caplog: Any
) -> None:
    reader = export.InMemoryMetricReader()
    lib = meter(reader)
    first = lib.create_histogram("h", explicit_bucket_boundaries_advisory=[1.0, 2.0])
    assert lib.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2]) is first
    assert caplog.messages == []
    for other in ([1.0, 3.0], None, [4.0]):
        assert lib.create_histogram("h", explicit_bucket_boundaries_advisory=other) is first
    (warned,) = caplog.messages
    assert "other boundaries" in warned
    assert "(1.0, 2.0) are used" in warned
    first.record(1)
    data: Any = reader.get_metrics_data()
    assert (1.0, 2.0) == data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].explicit_bounds
