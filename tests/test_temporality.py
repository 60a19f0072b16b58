"""Temporality: the presets, and preferences by kind."""

from __future__ import annotations

from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, Export, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.core import kinds
from metrics_sdk.exporters import MemoryExporter
from metrics_sdk.temporality import by_kind

SYNCHRONOUS = {"counter", "up_down_counter", "gauge", "histogram"}


@pytest.mark.parametrize(
    ("deltas", "preference"),
    [
        (set(), "cumulative"),
        ({"counter", "gauge", "histogram", "observable_counter", "observable_gauge"}, "delta"),
        ({"counter", "histogram"}, "lowmemory"),
        ({"up_down_counter"}, {"up_down_counter": "delta", "counter": "cumulative"}),
        (set(), {}),
    ],
)
def test_each_kind_has_the_temporality_that_the_preference_says(deltas: set[str], preference: Any) -> None:
    chosen = by_kind(preference)
    assert list(kinds.BY_NAME) == list(chosen)
    assert deltas == {kind for kind, temporality in chosen.items() if temporality == "delta"}


@pytest.mark.parametrize(
    "preference", ["deltas", "", None, 3, {"timer": "delta"}, {"counter": "sum"}, {"counter": None}, ["delta"]]
)
def test_a_preference_that_is_none_is_refused_wherever_it_is_given(preference: Any) -> None:
    givers = [by_kind, lambda wrong: MetricsSDK(Config(background=False)).collector(wrong)]
    if preference is not None:  # as the exporter wants it
        givers.append(lambda wrong: Export(MemoryExporter(), temporality=wrong))
    for give in givers:
        with pytest.raises(ConfigurationError, match="temporality must be"):
            give(preference)


@pytest.mark.parametrize("preference", ["cumulative", "delta", "lowmemory"])
def test_a_collector_tells_each_kind_as_its_preset_has_it(preference: Any) -> None:
    clock = ManualClock()
    sdk = MetricsSDK(Config(background=False, clock=clock))
    collector = sdk.collector(preference)
    sdk.observable_counter("observable_counter", lambda: 5)
    sdk.observable_up_down_counter("observable_up_down_counter", lambda: 5)
    sdk.observable_gauge("observable_gauge", lambda: 5)
    found: dict[str, list[Any]] = {}
    for _ in range(2):
        for kind in SYNCHRONOUS:
            getattr(sdk, kind)(kind).put(5)
        clock.advance(1)
        for metric in sdk.collect(collector).metrics:
            value: Any = metric.points[0].value
            found.setdefault(metric.name, []).append((metric.temporality, getattr(value, "sum", value)))
        collector.acknowledge()
    for kind, temporality in by_kind(preference).items():
        second = 0 if kind == "observable_counter" else 5
        total = 5 if "gauge" in kind or kind.startswith("observable") else 10
        assert [(temporality, 5), (temporality, second if temporality == "delta" else total)] == found[kind], kind
