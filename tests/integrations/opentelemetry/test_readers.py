"""opentelemetry-sdk's readers on our engine: what collecting raises, and what is left of a reader that is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from metrics_sdk_opentelemetry.readers import ReaderAdapter
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import MetricsTimeoutError, export, view
from opentelemetry.sdk.resources import Resource

from metrics_sdk import MetricsSDK


@pytest.fixture
def ours() -> Iterator[MetricsSDK]:
    made = MetricsSDK()
    yield made
    made.shutdown()


def test_a_collection_that_another_one_holds_up_raises_metrics_timeout_error() -> None:
    reader = export.InMemoryMetricReader()
    made = MeterProvider([reader], shutdown_on_exit=False)
    asked, go = threading.Event(), threading.Event()

    def callback(options: Any) -> list[Observation]:
        asked.set()
        go.wait(30)
        return [Observation(1)]

    made.get_meter("lib").create_observable_gauge("o", [callback])
    first = threading.Thread(target=reader.collect, kwargs={"timeout_millis": 30_000})
    first.start()
    try:
        assert asked.wait(30)
        with pytest.raises(MetricsTimeoutError, match="collecting already"):
            reader.collect(timeout_millis=10)
    finally:
        go.set()
        first.join(30)
        made.shutdown()


def test_an_error_while_collecting_is_logged_and_counted_and_gives_none_and_the_next_collection_works(
    ours: Any, caplog: Any
) -> None:
    resources: list[Any] = [Resource({}), OSError("no resource"), Resource({"service.name": "shop"})]

    def resource() -> Any:
        found = resources.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    reader = export.InMemoryMetricReader()
    ReaderAdapter(reader, ours, resource).attach(None)
    ours.counter("c").add(1)
    assert reader.get_metrics_data() is None
    assert "OSError: no resource" in caplog.text
    assert {"reader:InMemoryMetricReader": 1} == ours.health().faults
    data: Any = reader.get_metrics_data()
    assert data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value == 1


@pytest.mark.parametrize(
    "wishes", [None, {sdk.Histogram: view.ExponentialBucketHistogramAggregation()}], ids=["plain", "wishes"]
)
def test_a_reader_that_is_detached_is_released_from_the_sdk(ours: Any, wishes: Any) -> None:
    reader = export.InMemoryMetricReader({sdk.Counter: export.AggregationTemporality.DELTA}, wishes)
    collectors, readers = list(ours._collectors), list(ours.streams.readers)
    adapter = ReaderAdapter(reader, ours, lambda: Resource({}))
    adapter.attach(None)
    assert len(ours._collectors) == len(collectors) + 1
    adapter.detach()
    assert (collectors, readers) == (list(ours._collectors), list(ours.streams.readers))
    assert reader.get_metrics_data() is None


def test_a_reader_of_a_newer_version_is_told_its_provider(ours: Any) -> None:
    class Newer(export.InMemoryMetricReader):
        told: Any = None

        def _set_meter_provider(self, provider: Any) -> None:
            self.told = provider

    reader = Newer()
    ReaderAdapter(reader, ours, lambda: Resource({})).attach("the provider")
    assert reader.told == "the provider"
