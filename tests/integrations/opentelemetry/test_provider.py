"""The meter provider: what it promises beyond what opentelemetry-sdk's does, and its life."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from metrics_sdk_opentelemetry import MeterProvider
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export, view
from opentelemetry.sdk.resources import Resource

from metrics_sdk import Aggregation, Config, ConfigurationError, Export, View
from metrics_sdk.clock import ManualClock
from metrics_sdk.exporters import MemoryExporter


def points(reader: Any, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics if data else []
    return [p for scope in scopes for m in scope.metrics if m.name == name for p in m.data.data_points]


def test_meters_are_the_same_for_the_same_four_parameters_alone(provider: Any) -> None:
    made = provider()
    given = ("lib", "1.0", "https://example.org", {"a": 1})
    meter = made.get_meter(*given)
    assert made.get_meter(*given) is meter
    others = [("other", *given[1:]), ("lib", "2.0", *given[2:]), (*given[:2], None, given[3]), (*given[:3], {"a": 2})]
    assert len({id(one) for one in [meter, *[made.get_meter(*other) for other in others]]}) == 5


def test_meters_are_namespaces_and_queries_see_all_of_them(provider: Any) -> None:
    reader = export.InMemoryMetricReader()
    made = provider([reader])
    for name in ("one", "two"):
        made.get_meter(name).create_counter("c").add(1)
    assert [point.value for point in points(reader, "c")] == [1, 1]
    assert made.sdk.query("c").sum == 2


def test_an_instrument_by_another_spelling_is_the_same_object(provider: Any) -> None:
    meter = provider().get_meter("lib")
    assert meter.create_counter("Requests") is meter.create_counter("requests")


def test_instruments_that_were_made_before_the_provider_was_set_record_here(run_python: Callable[..., str]) -> None:
    program = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from metrics_sdk_opentelemetry import MeterProvider

    meter = metrics.get_meter("lib")
    counter = meter.create_counter("c")
    meter.create_observable_gauge("o", [lambda options: [metrics.Observation(5)]])
    provider = MeterProvider([InMemoryMetricReader()])
    metrics.set_meter_provider(provider)
    counter.add(1, {"k": "v"})
    print(provider.sdk.query("c").sum, provider.sdk.query("o").last)
    """
    assert run_python(program).split() == ["1", "5"]


def test_several_providers_are_independent(provider: Any) -> None:
    one, other = provider(), provider()
    one.get_meter("lib").create_counter("c").add(1)
    other.get_meter("lib").create_counter("c").add(10)
    assert (one.sdk.query("c").sum, other.sdk.query("c").sum) == (1, 10)


def test_a_reader_that_is_added_later_gets_totals_and_no_old_deltas(provider: Any) -> None:
    made = provider()
    counter = made.get_meter("lib").create_counter("c")
    counter.add(100)
    total = export.InMemoryMetricReader()
    deltas = export.InMemoryMetricReader({sdk.Counter: export.AggregationTemporality.DELTA})
    made.add_metric_reader(total)
    made.add_metric_reader(deltas)
    counter.add(1)
    assert ([p.value for p in points(total, "c")], [p.value for p in points(deltas, "c")]) == ([101], [1])


def test_a_reader_that_is_removed_is_shut_down_and_collects_no_more(provider: Any, caplog: Any) -> None:
    reader = export.InMemoryMetricReader()
    made = provider([reader])
    made.get_meter("lib").create_counter("c").add(1)
    made.remove_metric_reader(reader)
    assert reader.get_metrics_data() is None
    made.remove_metric_reader(reader)
    assert "no reader" in caplog.text
    provider([reader])  # it may go to another one


def test_a_reader_of_another_provider_is_refused(provider: Any, caplog: Any) -> None:
    reader = export.InMemoryMetricReader()
    first = provider([reader])
    with pytest.raises(ConfigurationError, match="already"):
        MeterProvider([reader])
    first.add_metric_reader(reader)
    assert "already" in caplog.text


def test_a_view_of_ours_and_one_of_opentelemetry_sdk_do_the_same(provider: Any) -> None:
    theirs = view.View(
        instrument_name="h",
        attribute_keys={"route"},
        aggregation=view.ExplicitBucketHistogramAggregation(boundaries=[1, 2], record_min_max=False),
    )
    ours = View("h", attribute_keys={"route"}, aggregation=Aggregation("explicit", boundaries=[1, 2], extremes=False))
    found = []
    for one in (theirs, ours):
        reader = export.InMemoryMetricReader()
        made = provider([reader], views=[one])
        made.get_meter("lib").create_histogram("h").record(1.5, {"route": "/cart", "user": "me"})
        (point,) = points(reader, "h")
        found.append((point.attributes, point.bucket_counts, point.explicit_bounds, point.min))
    assert found[0] == found[1] == ({"route": "/cart"}, (0, 1, 0), (1.0, 2.0), None)


def test_what_is_no_view_raises_when_the_provider_is_made() -> None:
    with pytest.raises(ConfigurationError, match="no View"):
        MeterProvider(views=["everything"])
    with pytest.raises(ConfigurationError, match="exemplar_filter"):
        MeterProvider(exemplar_filter="sometimes")


def test_each_reader_has_the_histograms_it_prefers_and_queries_are_exact_on_demand(provider: Any) -> None:
    exponential = export.InMemoryMetricReader(
        preferred_aggregation={sdk.Histogram: view.ExponentialBucketHistogramAggregation(max_size=20)}
    )
    explicit = export.InMemoryMetricReader()
    made = provider([explicit, exponential])
    made.get_meter("lib").create_histogram("h").record(7)
    assert points(explicit, "h")[0].bucket_counts[2] == 1
    assert points(exponential, "h")[0].scale > 0
    assert made.sdk.query("h").interpolated
    precise = provider([export.InMemoryMetricReader()], exponential_for_queries=True)
    histogram = precise.get_meter("lib").create_histogram("h")
    for i in range(1, 1001):
        histogram.record(i)
    answer = precise.sdk.query("h")
    assert (answer.interpolated, answer.count) == (False, 1000)
    assert answer.percentile(50) == pytest.approx(500, rel=0.011)


def test_our_own_exporters_and_windows_work_with_it(provider: Any) -> None:
    exporter = MemoryExporter()
    made = provider(
        resource={"service.name": "shop"},
        config=Config(exporters=[Export(exporter, temporality="delta")], clock=ManualClock(1000.0)),
    )
    counter = made.get_meter("lib", "1.0").create_counter("c", unit="1", description="text")
    counter.add(2, {"k": "v"})
    assert made.force_flush()
    metric = exporter.metric("c")
    assert metric is not None
    assert metric.meter is not None
    assert (metric.meter.name, metric.meter.version, metric.temporality) == ("lib", "1.0", "delta")
    assert (metric.points[0].value, metric.points[0].attributes) == (2, (("k", "v"),))
    assert exporter.snapshots[-1].resource["service.name"] == "shop"
    assert made.sdk.query("c", last=60).sum == 2


def test_a_resource_of_opentelemetry_sdk_arrives_as_it_is(provider: Any) -> None:
    reader = export.InMemoryMetricReader()
    resource = Resource({"service.name": "shop"}, "https://example.org/schema")
    provider([reader], resource).get_meter("lib").create_counter("c").add(1)
    data = reader.get_metrics_data()
    assert data.resource_metrics[0].resource == resource
    assert data.resource_metrics[0].schema_url == "https://example.org/schema"


# ---- callbacks --------------------------------------------------------------------------------------------------


def test_callbacks_run_once_for_each_collection_of_each_reader_and_not_in_between(provider: Any) -> None:
    readers = [export.InMemoryMetricReader(), export.InMemoryMetricReader()]
    made = provider(readers, config=Config(flush_interval_seconds=0.001))
    calls: list[object] = []

    def callback(options: CallbackOptions) -> list[Observation]:
        calls.append(options)
        return [Observation(len(calls))]

    made.get_meter("lib").create_observable_gauge("o", [callback])
    made.get_meter("lib").create_counter("c").add(1)  # starts the background thread
    assert made.sdk.flush()
    before = len(calls)
    found = [points(reader, "o")[0].value for reader in readers]
    assert (len(calls) - before, [value - before for value in found]) == (2, [1, 2])


def test_a_generator_is_sent_the_options_of_each_collection(provider: Any) -> None:
    def numbers() -> Generator[list[Observation], CallbackOptions, None]:
        options = yield []
        for i in range(2):
            assert isinstance(options, CallbackOptions)
            options = yield [Observation(i + 1)]

    reader = export.InMemoryMetricReader()
    provider([reader]).get_meter("lib").create_observable_counter("o", [numbers()])
    assert [[p.value for p in points(reader, "o")] for _ in range(3)] == [[1], [2], []]


def test_a_callback_that_fails_or_is_a_coroutine_costs_its_own_observations_alone(provider: Any, caplog: Any) -> None:
    async def later(options: CallbackOptions) -> list[Observation]:
        return [Observation(1)]

    def fails(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"from": "the one that fails"})
        raise OSError("no such sensor")

    reader = export.InMemoryMetricReader()
    meter = provider([reader]).get_meter("lib")
    callbacks: list[Any] = [later, fails, lambda options: [Observation(2, {"from": "the other"})]]
    meter.create_observable_gauge("o", callbacks)
    found = {point.attributes["from"]: point.value for point in points(reader, "o")}
    assert found == {"the one that fails": 1, "the other": 2}
    assert "coroutine" in caplog.text


def test_observations_of_one_set_add_up_for_sums_and_the_last_one_counts_for_gauges(provider: Any) -> None:
    reader = export.InMemoryMetricReader()
    meter = provider([reader]).get_meter("lib")
    twice = [lambda options: [Observation(2, {"k": "v"}), Observation(3, {"k": "v"})]]
    meter.create_observable_counter("sum", twice)
    meter.create_observable_gauge("gauge", twice)
    assert ([p.value for p in points(reader, "sum")], [p.value for p in points(reader, "gauge")]) == ([5], [3])


def test_what_is_dropped_is_logged_once_with_its_reason_and_counted(provider: Any, caplog: Any) -> None:
    made = provider([export.InMemoryMetricReader()])
    counter = made.get_meter("lib").create_counter("requests")
    for amount in (-1, float("nan"), "1", None):
        for _ in range(10):
            counter.add(amount)
    made.force_flush()
    assert made.sdk.health().dropped == {"negative": 10, "non_finite": 10, "invalid_value": 20}
    logged = [one.getMessage() for one in caplog.records if "requests" in one.getMessage()]
    assert len(logged) == 3
    assert all(any(reason in message for message in logged) for reason in ("negative", "non_finite", "invalid_value"))


# ---- life cycle -------------------------------------------------------------------------------------------------


class Hanging(export.MetricExporter):
    """Does not return before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> Any:
        self.go.wait(30)
        return export.MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass


def test_an_exporter_that_hangs_holds_up_neither_force_flush_nor_shutdown_nor_other_readers() -> None:
    exporter = Hanging()
    hanging = export.PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)

    class Other(export.InMemoryMetricReader):
        ended = False

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            self.ended = True

    other = Other()
    made = MeterProvider([hanging, other], shutdown_on_exit=False)
    made.get_meter("lib").create_counter("c").add(1)
    try:
        assert made.force_flush(timeout_millis=50) is False
        made.shutdown(timeout_millis=50)
        assert other.ended
    finally:
        exporter.go.set()


def test_shutdown_works_once_and_meters_made_afterwards_do_nothing(caplog: Any) -> None:
    reader = export.InMemoryMetricReader()
    made = MeterProvider([reader], shutdown_on_exit=False)
    counter = made.get_meter("lib").create_counter("c")
    assert made.shutdown() is True
    assert made.shutdown() is False
    assert "once" in caplog.text
    counter.add(1)
    assert made.sdk.health().dropped == {"after_shutdown": 1}
    assert isinstance(made.get_meter("later"), metrics.NoOpMeter)


def test_a_reader_of_a_provider_that_was_shut_down_may_go_to_another_one(provider: Any) -> None:
    reader = export.InMemoryMetricReader()
    MeterProvider([reader], shutdown_on_exit=False).shutdown()
    other = provider([reader])
    other.get_meter("lib").create_counter("c").add(7)
    assert [point.value for point in points(reader, "c")] == [7]


def test_a_reader_that_was_removed_may_be_added_again_and_to_another_provider(provider: Any, caplog: Any) -> None:
    reader = export.InMemoryMetricReader()
    first, second = provider([reader]), provider()
    first.remove_metric_reader(reader)
    first.add_metric_reader(reader)
    first.remove_metric_reader(reader)
    second.add_metric_reader(reader)
    second.get_meter("lib").create_counter("c").add(7)
    assert [point.value for point in points(reader, "c")] == [7]
    assert caplog.messages == []


def test_a_provider_that_was_shut_down_is_not_kept_for_the_interpreters_exit() -> None:
    made = MeterProvider()
    made.get_meter("lib").create_counter("c")
    gone = weakref.ref(made)
    made.shutdown()
    del made
    gc.collect()
    assert gone() is None


class Refusing(export.InMemoryMetricReader):
    """Does not do what it is asked to, and says so."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return False

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> Any:
        return False


class Raising(export.InMemoryMetricReader):
    """Raises whatever it is asked to do."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        raise OSError("no flush")

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> Any:
        raise OSError("no shutdown")


@pytest.mark.parametrize("failing", [Refusing, Raising])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_reader_that_does_not_flush_or_end_makes_force_flush_and_shutdown_tell_so(failing: Any, first: bool) -> None:
    both = [failing(), export.InMemoryMetricReader()]
    made = MeterProvider(both if first else both[::-1], shutdown_on_exit=False)
    assert made.force_flush() is False
    assert made.shutdown() is False


@pytest.mark.slow
def test_a_forked_child_makes_meters_and_instruments_whoever_held_their_locks(run_python: Callable[..., str]) -> None:
    program = """
    import os, signal, threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, which is the point
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from metrics_sdk_opentelemetry import MeterProvider

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meters = [provider.get_meter("one"), provider.get_meter("two")]
    held, go = threading.Event(), threading.Event()

    def hold():
        with provider._lock, meters[0]._declaring, meters[1]._declaring:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)  # kills it where it waits
        for meter in (*meters, provider.get_meter("three")):
            meter.create_counter("c").add(1)
        scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
        print([scope.scope.name for scope in scopes], flush=True)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
    go.set()
    thread.join()
    """
    assert run_python(program).splitlines() == ["['one', 'two', 'three']", "0"]


def test_at_exit_everything_is_exported_with_a_last_observation(run_python: Callable[..., str]) -> None:
    program = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
    from metrics_sdk_opentelemetry import MeterProvider

    def shown(data):
        found = [(m.name, p.value) for s in data.resource_metrics[0].scope_metrics for m in s.metrics for p in m.data.data_points]
        return f"{sorted(found)}\\n"

    reader = PeriodicExportingMetricReader(ConsoleMetricExporter(formatter=shown), export_interval_millis=1e9)
    metrics.set_meter_provider(MeterProvider([reader]))
    meter = metrics.get_meter("lib")
    meter.create_counter("c").add(3)
    meter.create_observable_gauge("o", [lambda options: [metrics.Observation(7)]])
    """
    assert run_python(program) == "[('c', 3), ('o', 7)]\n"


def test_a_disabled_sdk_gives_out_meters_that_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")
    made = MeterProvider([export.InMemoryMetricReader()], shutdown_on_exit=False)
    made.get_meter("lib").create_counter("c").add(1)
    assert made.sdk.health().received == 0
    made.shutdown()


def test_past_the_limit_of_instruments_values_are_counted_as_dropped(provider: Any) -> None:
    made = provider(config=Config(max_instruments=3))
    for i in range(10):
        made.get_meter("lib").create_counter(f"c{i}").add(1)
    made.force_flush()
    health = made.sdk.health()
    assert (health.received, health.merged, health.dropped) == (10, 3, {"instrument_limit": 7})


# ---- a flood ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_flood_of_attribute_sets_costs_bounded_memory_and_no_value(run_python: Callable[..., str]) -> None:
    program = """
    import os, resource
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from metrics_sdk import Config
    from metrics_sdk.clock import ManualClock
    from metrics_sdk_opentelemetry import MeterProvider

    SETS = int(os.environ.get("METRICS_SDK_SETS", "100000"))
    clock = ManualClock(1000.0)
    reader = InMemoryMetricReader()
    config = Config(series_ttl_seconds=60, clock=clock, background=False)
    provider = MeterProvider([reader], config=config, shutdown_on_exit=False)
    counter, histogram = [getattr(provider.get_meter("lib"), f"create_{kind}")(kind) for kind in ("counter", "histogram")]

    def memory():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def told():
        metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: metric.data.data_points for metric in metrics}

    told() if counter.add(1) is histogram.record(1.0) else None
    before = memory()
    for i in range(SETS):
        attributes = {"user": f"user-{i}", "route": "/cart"}
        counter.add(1, attributes)
        histogram.record(1.0, attributes)
    found = told()
    grown = (memory() - before) / 1e6
    print(len(found["counter"]) <= 2001, sum(p.value for p in found["counter"]) == SETS + 1)
    print(sum(p.count for p in found["histogram"]) == SETS + 1, grown < 32)
    print({"otel.metric.overflow": True} in [p.attributes for p in found["counter"]])
    print(provider.sdk.health().instruments["counter"].overflow_key)
    for _ in range(3):
        clock.advance(61)
        provider.force_flush()
    counter.add(5, {"route": "/legitimate"})
    found = told()
    print([p.value for p in found["counter"] if p.attributes == {"route": "/legitimate"}])
    print(provider.sdk.query("counter").sum == SETS + 6, (memory() - before) / 1e6 < 32)

    """
    found = run_python(program, stderr=None).split("\n")[:-1]
    assert found == ["True True", "True True", "True", "user", "[5]", "True True"]
