"""Meters' instruments: what the same one again means; exporters, windows and changes of the configuration reach them."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export, view

from metrics_sdk import Config, Export, Window
from metrics_sdk.clock import ManualClock
from metrics_sdk.exporters import MemoryExporter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


def made(**config: Any) -> MeterProvider:
    return MeterProvider(config=Config(**config), shutdown_on_exit=False)


def histogram_reader(*boundaries: float) -> Any:
    aggregation = view.ExplicitBucketHistogramAggregation(boundaries=boundaries)
    return export.InMemoryMetricReader(preferred_aggregation={sdk.Histogram: aggregation})


def test_what_the_configuration_says_of_histograms_and_exemplars_is_the_providers_default() -> None:
    provider = made(series_ttl_seconds=60)
    assert (provider.sdk.config.histogram_aggregation, provider.sdk.config.exemplar_filter) == ("explicit", "trace_based")
    provider = made(histogram_aggregation="exponential", exemplar_filter="always_off")
    assert (provider.sdk.config.histogram_aggregation, provider.sdk.config.exemplar_filter) == ("exponential", "always_off")


def test_observables_of_meters_come_with_the_periodic_exports_of_our_own_exporters() -> None:
    seen = threading.Event()

    class Exporter(MemoryExporter):
        def export(self, snapshot: Any, timeout: float) -> None:
            super().export(snapshot, timeout)
            if self.metric("g"):
                seen.set()

    provider = made(exporters=[Export(Exporter(), interval_seconds=0.01)], flush_interval_seconds=0.01)
    meter = provider.get_meter("lib")
    meter.create_observable_gauge("g", [lambda options: [Observation(7)]])
    meter.create_counter("c").add(1)
    assert seen.wait(20)
    provider.shutdown()


def test_observables_of_meters_are_in_the_windows_that_subscribers_get() -> None:
    found: dict[str, Any] = {}
    seen = threading.Event()

    def take(window: Window) -> None:
        found.update(window.aggregates())
        if "g" in found:
            seen.set()

    provider = made(resolutions=[(0.05, 10)], flush_interval_seconds=0.01)
    provider.sdk.subscribe(take)
    meter = provider.get_meter("lib")
    meter.create_observable_gauge("g", [lambda options: [Observation(7)]])
    meter.create_counter("c").add(1)
    assert seen.wait(20)
    provider.shutdown()


def test_reconfigure_turns_instruments_of_meters_off_and_on_and_takes_their_windows(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    counter = provider.get_meter("lib").create_counter("debug.c")
    counter.add(1)
    provider.sdk.reconfigure(disabled=["debug.*"], without_windows=["debug.*"])
    counter.add(10)
    provider.sdk.flush()
    assert provider.sdk.health().dropped == {"disabled": 10} or provider.sdk.health().dropped == {"disabled": 1}
    with pytest.raises(ValueError, match="no windows"):
        provider.sdk.query("debug.c", last=60)
    provider.sdk.reconfigure(disabled=[], without_windows=[])
    counter.add(100)
    assert provider.sdk.query("debug.c").sum == 101
    assert provider.sdk.query("debug.c", last=60).sum == 100


def test_an_observable_that_is_turned_off_is_neither_asked_nor_told(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    calls: list[object] = []
    provider.get_meter("lib").create_observable_gauge("g", [lambda options: calls.append(options) or [Observation(1)]])
    assert [metric.name for metric in provider.sdk.snapshot().metrics if metric.name == "g"] == ["g"]
    provider.sdk.reconfigure(disabled=["g"])
    assert [metric.name for metric in provider.sdk.snapshot().metrics if metric.name == "g"] == []
    assert len(calls) == 1


def test_readers_that_come_and_go_leave_neither_streams_nor_taps_behind(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    histogram = provider.get_meter("lib").create_histogram("h")
    for number in range(20):
        reader = histogram_reader(float(number), 100.0)
        delta = export.InMemoryMetricReader({sdk.Histogram: export.AggregationTemporality.DELTA})
        for one in (reader, delta):
            provider.add_metric_reader(one)
        histogram.record(5)
        for one in (reader, delta):
            assert one.get_metrics_data() is not None
            provider.remove_metric_reader(one)
    (table,) = [table for table in provider.sdk.streams.all_tables() if table.name == "h"]
    assert len(table.cutters) <= 1
    assert provider.sdk.query("h").count == 20


def test_a_reader_whose_slot_another_one_had_begins_with_nothing(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    counter = provider.get_meter("lib").create_counter("c")
    readers = [export.InMemoryMetricReader({sdk.Counter: export.AggregationTemporality.DELTA}) for _ in range(2)]
    provider.add_metric_reader(readers[0])
    counter.add(5)
    provider.remove_metric_reader(readers[0])
    counter.add(7)
    provider.add_metric_reader(readers[1])
    counter.add(1)
    data = readers[1].get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert [point.value for point in metric.data.data_points] == [1]


def test_an_instrument_that_is_made_while_a_reader_is_added_has_its_streams(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    streams, reader = provider.sdk.streams, histogram_reader(1.0)
    new_table = streams.new_table

    def slow(description: Any) -> Any:
        table = new_table(description)
        streams.new_table = new_table  # type: ignore[method-assign]
        provider.add_metric_reader(reader)
        return table

    streams.new_table = slow  # type: ignore[method-assign]
    provider.get_meter("lib").create_histogram("h").record(5)
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.data.data_points[0].explicit_bounds == (1.0,)


def test_a_name_that_another_meter_declares_otherwise_and_does_not_use_changes_no_answer(clock: ManualClock) -> None:
    provider = made(clock=clock, background=False)
    provider.get_meter("one").create_histogram("h", unit="ms").record(5)
    provider.get_meter("two").create_histogram("h", unit="s")
    assert provider.sdk.query("h").count == 1


def test_a_callback_that_hangs_costs_a_reader_no_counter() -> None:
    go = threading.Event()
    reader = export.InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("lib")
    meter.create_counter("c").add(1)
    meter.create_observable_gauge("hanging", [lambda options: go.wait(30) and ()])
    meter.create_observable_gauge("after", [lambda options: [Observation(1)]])
    reader.collect(timeout_millis=50)
    data = reader._metrics_data
    go.set()
    assert data is not None
    assert [metric.name for metric in data.resource_metrics[0].scope_metrics[0].metrics] == ["c"]
    provider.shutdown()


def test_flushing_again_and_again_while_an_exporter_hangs_leaves_one_thread() -> None:
    go = threading.Event()

    class Hanging(export.InMemoryMetricReader):
        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            return go.wait(30)

    provider = MeterProvider([Hanging()], shutdown_on_exit=False)
    before = threading.active_count()
    for _ in range(10):
        assert provider.force_flush(1) is False
    assert threading.active_count() - before <= 2
    go.set()
    provider.shutdown()


def test_after_shutdown_nothing_holds_the_provider() -> None:
    import multiprocessing.util  # it knows what to do at the exit of its children

    assert multiprocessing.util
    provider = MeterProvider([export.InMemoryMetricReader()])
    provider.get_meter("lib").create_counter("c").add(1)
    provider.shutdown()
    gone = threading.Event()
    weakref.finalize(provider.sdk, gone.set)
    del provider
    for _ in range(200):  # its threads are on their way out
        gc.collect()
        if gone.wait(0.05):
            break
    assert gone.is_set()


def test_other_boundaries_for_the_same_histogram_are_warned_of_once_and_the_first_ones_are_used(
    caplog: Any,
) -> None:
    reader = export.InMemoryMetricReader()
    lib = MeterProvider([reader], shutdown_on_exit=False).get_meter("lib")
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
