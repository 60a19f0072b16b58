"""A registry of prometheus_client, bridged: what it says itself and what we say of it agree, sample by sample."""

from __future__ import annotations

import logging
import math
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metrics_sdk_prometheus import OPENMETRICS, CollectorRegistryProducer, PrometheusEndpoint, Renderer, render
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.exporters.memory import MemoryExporter
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, Metric, Snapshot


class Collector:
    """Has families of its own, or raises."""

    def __init__(self, *families: Any, error: Exception | None = None) -> None:
        self._families = families
        self._error = error

    def collect(self) -> Iterator[Any]:
        yield from self._families
        if self._error is not None:
            raise self._error


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def of(*families: Any) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Collector(*families))
    return made


def produced(registry: Any) -> dict[str, Metric]:
    metrics = CollectorRegistryProducer(registry).produce()
    assert len(metrics) == len({metric.name for metric in metrics})
    return {metric.name: metric for metric in metrics}


def shown(registry: Any) -> Snapshot:
    return Snapshot({}, 2.0, tuple(CollectorRegistryProducer(registry).produce()))


def samples(families: Iterable[Family], *, created: bool = False) -> dict[Any, float]:
    """Return the values by name and labels; empty labels are none to Prometheus."""
    found: dict[Any, float] = {}
    for family in families:
        for sample in family.samples:
            if created or not sample.name.endswith("_created"):
                key = (sample.name, frozenset([(name, text) for name, text in sample.labels.items() if text]))
                assert key not in found
                found[key] = sample.value
    return found


def said_and_shown(registry: CollectorRegistry) -> tuple[list[Family], list[Family]]:
    """Return the families in the text formats of prometheus_client and of ours."""
    said = prometheus_client.generate_latest(registry).decode()
    return list(parse_text(said)), list(parse_text(render(shown(registry)).decode()))


NASTY = ["", "\\", '"', "\n", "\\n", '"} 1\nforged{x="y"} 2\n# EOF\n', "\r\n# TYPE forged counter\r\nforged_total 1", "%s%d%%", " # {} 1", "\u2028😀\x00"]  # fmt: skip


def fill(registry: CollectorRegistry, *texts: str) -> None:
    """Declare one of each type, with a series for each of `texts`."""
    counter = Counter("requests", 'All "of"\nthem\\', ["path", "method"], registry=registry)
    gauge = Gauge("queue_bytes", "Waiting.", ["path"], unit="bytes", registry=registry)
    histogram = Histogram("latency", "How long.", ["path"], unit="seconds", registry=registry)
    offset = Histogram("offset", "Both ways.", ["path"], buckets=(0.5, 2, 1000000), registry=registry)
    summary = Summary("size", "How large.", ["path"], registry=registry)
    state = Enum("state", "What now.", ["path"], states=["on", "off"], registry=registry)
    for number, text in enumerate(texts, 1):
        counter.labels(text, "GET").inc(number)
        gauge.labels(text).set(-number / 3)
        for value in (0.0001, 0.3, 0.3, 42.0 * number):
            histogram.labels(text).observe(value)
            offset.labels(text).observe(value)
            summary.labels(text).observe(value)
        state.labels(text).state("off")
    Info("build", "Which.", registry=registry).info({"version": "1.2", **dict(zip("abcdefghijk", texts))})
    Counter("untouched", "Zero.", registry=registry)


def test_the_text_of_a_registry_and_ours_of_it_agree_sample_by_sample(registry: CollectorRegistry) -> None:
    fill(registry, "/a", *NASTY)
    said, ours = said_and_shown(registry)
    # A summary has a bucket here: the one that all values are in.
    expected = samples(said)
    found = {key: value for key, value in samples(ours).items() if key[0] != "size_bucket"}
    assert expected == found
    assert len(expected) > 200


def test_types_and_texts_of_families_agree(registry: CollectorRegistry) -> None:
    fill(registry, "/a")
    said, ours = said_and_shown(registry)
    expected = {one.name: (one.type, one.documentation) for one in said if not one.name.endswith("_created")}
    assert ("summary", "How large.") == expected["size"]
    assert {**expected, "size": ("histogram", "How large.")} == {one.name: (one.type, one.documentation) for one in ours}


@pytest.mark.slow
@given(texts=st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=8) | st.sampled_from(NASTY), min_size=1, max_size=4, unique=True))  # fmt: skip
@example(texts=NASTY)
def test_whatever_label_values_are_the_samples_agree(texts: list[str]) -> None:
    registry = CollectorRegistry()
    fill(registry, *texts)
    said, ours = said_and_shown(registry)
    assert samples(said) == {key: value for key, value in samples(ours).items() if key[0] != "size_bucket"}


def test_openmetrics_agrees_too_with_what_was_created_when_and_with_exemplars(registry: CollectorRegistry) -> None:
    fill(registry, "/a", "/b")
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7"}
    exemplified = Counter("exemplified", "", registry=registry)
    exemplified.inc(3, exemplar={**ids, "user": "ann"})
    durations = Histogram("durations", "", registry=registry, buckets=(1, 2))
    for value, exemplar in ((0.5, {"trace_id": "not-hexadecimal"}), (1.5, ids), (9, {"trace_id": "g" * 32})):
        durations.observe(value, exemplar=exemplar)
    said = list(parse_openmetrics(generate_openmetrics(registry).decode()))
    ours = list(parse_openmetrics(render(shown(registry), OPENMETRICS).decode()))
    expected = samples(said, created=True)
    assert expected == {key: value for key, value in samples(ours, created=True).items() if key[0] != "size_bucket"}

    def exemplars(families: list[Family]) -> dict[Any, Any]:
        return {(one.name, one.labels.get("le")): one.exemplar for family in families for one in family.samples if one.exemplar}

    assert 4 == len(exemplars(said))
    assert exemplars(said) == exemplars(ours)


def test_units_are_told_as_ucum_and_shown_as_the_registry_has_them(registry: CollectorRegistry) -> None:
    units = {
        "seconds": "s",
        "bytes": "By",
        "bytes_per_second": "By/s",
        "per_minute": "/min",
        "celsius": "Cel",
        "microseconds": "us",
        "ratio": "ratio",
    }
    for words in units:
        Gauge("x", "", unit=words, registry=registry)
    metrics = produced(registry)
    assert {f"x_{words}": unit for words, unit in units.items()} == {name: metric.unit for name, metric in metrics.items()}
    ours = parse_openmetrics(render(shown(registry), OPENMETRICS).decode())
    assert {f"x_{words}": words for words in units} == {family.name: family.unit for family in ours}


def test_a_counter_is_told_without_total_since_it_was_created(registry: CollectorRegistry) -> None:
    Counter("c_total", "Text.", ["b", "a"], registry=registry).labels(b="1", a="2").inc(3)
    (created,) = [one.value for family in registry.collect() for one in family.samples if one.name == "c_created"]
    metric = produced(registry)["c"]
    assert ("counter", "Text.", "cumulative", None) == (metric.kind, metric.description, metric.temporality, metric.boundaries)
    (point,) = metric.points
    assert ((("a", "2"), ("b", "1")), 3.0, created) == (point.attributes, point.value, point.start_time)
    assert created <= point.time


def test_a_histogram_is_told_with_the_count_of_each_bucket(registry: CollectorRegistry) -> None:
    histogram = Histogram("h", "", buckets=(1, 2, 5), registry=registry)
    for value in (0.5, 1, 3, 4, 9):
        histogram.observe(value)
    metric = produced(registry)["h"]
    assert ("histogram", (1.0, 2.0, 5.0)) == (metric.kind, metric.boundaries)
    assert ExplicitBuckets(5, 17.5, None, None, (1.0, 2.0, 5.0), (2, 0, 2, 1)) == metric.points[0].value


def test_buckets_are_told_in_their_order_whatever_order_they_come_in() -> None:
    given = family("histogram", *[("odd_bucket", {"le": bound}, count) for bound, count in (("+Inf", 6), ("10", 3), ("9", 1))])
    (value,) = [point.value for point in produced(of(given))["odd"].points]
    assert isinstance(value, ExplicitBuckets)
    assert (6, (9.0, 10.0), (1, 2, 3)) == (value.count, value.boundaries, value.bucket_counts)


def test_a_trace_whose_span_is_not_known_is_told_by_its_id() -> None:
    given = CounterMetricFamily("c", "", labels=[])
    given.add_metric([], 5, exemplar=prometheus_client.core.Exemplar({"trace_id": f"{5:032x}"}, 2.5, 150.5))
    assert (Exemplar(2.5, 150.5, (), 5, 0),) == produced(of(given))["c"].points[0].exemplars


def test_a_summary_is_a_histogram_without_boundaries_and_its_quantiles_are_a_gauge() -> None:
    family = SummaryMetricFamily("s", "Text.", count_value=4, sum_value=10)
    family.add_sample("s", {"quantile": "0.5"}, 2.5)
    metrics = produced(of(family))
    assert ExplicitBuckets(4, 10, None, None, (), (4,)) == metrics["s"].points[0].value
    gauge = metrics["s_quantile"]
    assert ("gauge", (("quantile", "0.5"),), 2.5) == (gauge.kind, gauge.points[0].attributes, gauge.points[0].value)
    assert 2 == len(metrics)


def test_everything_else_is_gauges_named_as_the_samples_are() -> None:
    info = InfoMetricFamily("i", "", {"v": "1"})
    states = StateSetMetricFamily("e", "", {"on": True, "off": False})
    unknown = UnknownMetricFamily("u", "", 3)
    gauges = GaugeHistogramMetricFamily("gh", "", buckets=[("1", 2), ("+Inf", 3)], gsum_value=5)
    plain = GaugeMetricFamily("g", "", 7)
    found = {
        (name, point.attributes): point.value
        for name, metric in produced(of(info, states, unknown, gauges, plain)).items()
        for point in metric.points
        if metric.kind == "gauge"
    }
    assert {
        ("i_info", (("v", "1"),)): 1,
        ("e", (("e", "on"),)): 1,
        ("e", (("e", "off"),)): 0,
        ("u", ()): 3,
        ("gh_bucket", (("le", "1"),)): 2,
        ("gh_bucket", (("le", "+Inf"),)): 3,
        ("gh_gcount", ()): 3,
        ("gh_gsum", ()): 5,
        ("g", ()): 7,
    } == found


def test_a_histogram_whose_sum_is_not_known_is_shown_without() -> None:
    family = HistogramMetricFamily("h", "", buckets=[("-1.0", 1), ("+Inf", 3)], sum_value=None)
    positive = HistogramMetricFamily("p", "", buckets=[("1.0", 1), ("+Inf", 3)], sum_value=None)
    (value,) = [point.value for point in produced(of(positive))["p"].points]
    assert isinstance(value, ExplicitBuckets)
    assert math.isnan(value.sum)
    ours = samples(parse_openmetrics(render(shown(of(family, positive)), OPENMETRICS).decode()))
    assert {"h_bucket": 2, "p_bucket": 2} == {name: len([key for key in ours if key[0] == name]) for name, _ in ours}


def test_the_time_of_a_sample_is_that_of_its_point() -> None:
    family = CounterMetricFamily("c", "", labels=["x"])
    family.add_metric(["1"], 5, created=100.5, timestamp=200.5)
    (point,) = produced(of(family))["c"].points
    assert (100.5, 200.5) == (point.start_time, point.time)


def test_exemplars_are_told_with_their_ids() -> None:
    family = CounterMetricFamily("c", "", labels=[])
    labels = {"trace_id": f"{5:032x}", "span_id": f"{6:016x}", "b": "x", "a": "y"}
    family.add_metric([], 5, exemplar=prometheus_client.core.Exemplar(labels, 2.5, 150.5))
    (point,) = produced(of(family))["c"].points
    assert (Exemplar(2.5, 150.5, (("a", "y"), ("b", "x")), 5, 6),) == point.exemplars


def test_what_is_said_of_the_process_is_left_to_the_resource() -> None:
    registry = CollectorRegistry(target_info={"service_name": "theirs"})
    shown_text = render(shown(registry)._replace(resource={"service.name": "ours"})).decode()
    assert 'target_info{service_name="ours"} 1' in shown_text
    assert "theirs" not in shown_text


BROKEN: dict[str, Callable[[], Any]] = {
    "is no family": object,
    "has a sample of another name": lambda: family("counter", ("odd_sum", {}, 1)),
    "has no number": lambda: family("gauge", ("odd", {}, "much")),
    "has a bucket without a bound": lambda: family("histogram", ("odd_bucket", {}, 1)),
    "has a bound that is no number": lambda: family("histogram", ("odd_bucket", {"le": "high"}, 1)),
    "has half a value": lambda: family("histogram", ("odd_bucket", {"le": "+Inf"}, 1.5)),
    "has counts that fall": lambda: family("histogram", ("odd_bucket", {"le": "1"}, 2), ("odd_bucket", {"le": "+Inf"}, 1)),
    "has no count": lambda: family("summary", ("odd_sum", {}, 1)),
    "has infinitely many values": lambda: family("summary", ("odd_count", {}, float("inf"))),
}


def family(type: str, *given: tuple[str, dict[str, str], Any]) -> Family:
    made = Family("odd", "", type)
    for sample in given:
        made.add_sample(*sample)
    return made


@pytest.mark.parametrize("why", BROKEN)
def test_a_family_that_cannot_be_told_costs_itself_alone_and_is_logged_once(why: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = of(GaugeMetricFamily("before", "", 1), BROKEN[why](), GaugeMetricFamily("after", "", 2))
    producer = CollectorRegistryProducer(registry)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert ["before", "after"] == [metric.name for metric in producer.produce()]
    assert 1 == len(caplog.records)


def test_a_series_that_was_created_and_has_no_value_is_left_out() -> None:
    given = family("counter", ("odd_created", {"x": "1"}, 5.0), ("odd_total", {"x": "2"}, 1), ("odd_created", {"x": "2"}, 6.0))
    assert [((("x", "2"),), 6.0)] == [(point.attributes, point.start_time) for point in produced(of(given))["odd"].points]


def test_a_collector_that_raises_costs_the_bridged_metrics_alone(registry: CollectorRegistry) -> None:
    registry.register(Collector(error=OSError("gone")))
    sdk = MetricsSDK(Config(background=False, producers=[CollectorRegistryProducer(registry)]))
    sdk.counter("ours").add(1)
    assert "ours" in {metric.name for metric in sdk.snapshot().metrics}
    sdk.shutdown()


def test_series_keep_their_attributes_so_that_a_renderer_remembers_their_labels(registry: CollectorRegistry) -> None:
    gauge = Gauge("g", "", ["x"], registry=registry)
    for number in range(30):
        gauge.labels(str(number)).set(number)
    producer, renderer = CollectorRegistryProducer(registry), Renderer()
    for _ in range(5):
        renderer.render(Snapshot({}, 2.0, tuple(producer.produce())))
    assert 30 == renderer.remembered


def test_what_has_left_the_registry_is_not_kept(registry: CollectorRegistry) -> None:
    gauge = Gauge("g", "", ["x"], registry=registry)
    producer = CollectorRegistryProducer(registry)
    for number in range(100):
        gauge.labels(str(number)).set(number)
        gauge.remove(str(number - 1)) if number else None
        assert 1 == len(producer.produce()[0].points)
    assert 1 == len(producer._known)


def test_without_a_registry_it_is_that_of_the_process() -> None:
    assert "python_info" in produced(None)


def test_what_is_no_registry_raises_when_the_producer_is_made() -> None:
    with pytest.raises(ConfigurationError, match="registry"):
        CollectorRegistryProducer(5)  # type: ignore[arg-type]


def test_prometheus_client_is_imported_only_when_its_own_registry_is_asked_for(run_python: Callable[..., str]) -> None:
    program = """
    import sys
    sys.modules["prometheus_client"] = None
    from metrics_sdk_prometheus import CollectorRegistryProducer
    class Registry:
        def collect(self):
            return []
    print(CollectorRegistryProducer(Registry()).produce())
    try:
        CollectorRegistryProducer()
    except ImportError:
        print("ImportError")
    """
    assert "[]\nImportError\n" == run_python(program)


def test_a_bridged_registry_is_scraped_and_exported_beside_the_sdk_s_own_metrics(registry: CollectorRegistry) -> None:
    Counter("theirs", "", ["x"], registry=registry).labels("y").inc(2)
    exporter = MemoryExporter()
    sdk = MetricsSDK(Config(background=False, producers=[CollectorRegistryProducer(registry)], exporters=[exporter]))
    sdk.counter("ours").add(1)
    with PrometheusEndpoint(sdk, port=0) as endpoint:
        text = urllib.request.urlopen(endpoint.url, timeout=10).read().decode()
    assert {"ours_total 1", 'theirs_total{x="y"} 2.0'} <= set(text.splitlines())
    sdk.flush()
    metric = exporter.metric("theirs")
    assert metric is not None
    assert [((("x", "y"),), 2.0)] == [(point.attributes, point.value) for point in metric.points]
    sdk.shutdown()
