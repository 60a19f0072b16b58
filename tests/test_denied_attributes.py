"""Attributes that are denied: in no series, whatever way a value is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, MetricsSDK, View

KEPT = (("kept", "yes"),)


@pytest.fixture
def sdk() -> MetricsSDK:
    views = [View("split"), View("split", name="whole", attribute_keys=[])]
    return MetricsSDK(Config(background=False, denied_attributes=["*secret*"], max_series_per_instrument=5, views=views))


def test_values_that_differ_in_it_alone_are_one_series(sdk: MetricsSDK) -> None:
    counter = sdk.counter("c")
    for number in range(100):
        counter.add(1, {"kept": "yes", "my.Secret": f"s{number}"})
        counter.add(1, {"my.Secret": f"s{number}", "kept": "yes"})
    counter.bind({"secret": "s", "kept": "yes"}).add(1)
    counter.bind({"secret": "s"}).add(1, {"kept": "yes"})
    assert {KEPT: 202} == {key: one.sum for key, one in sdk.query_all()["c"].items()}


def test_the_last_value_of_a_gauge_and_points_with_a_time_are_found_without_it(sdk: MetricsSDK) -> None:
    sdk.gauge("g").set(5, {"secret": 1, "kept": "yes"})
    sdk.histogram("h").put_at(sdk.config.clock.time(), 2.0, {"secret": [1, 2], "kept": "yes"})
    assert (5, 1) == (sdk.query("g", {"kept": "yes"}).last, sdk.query("h", {"kept": "yes"}).count)
    assert {KEPT} == set(sdk.query_all()["g"]) == set(sdk.query_all()["h"])


def test_observables_and_views_leave_it_out(sdk: MetricsSDK) -> None:
    sdk.observable_gauge("o", lambda: [(1, {"secret": "s", "kept": "yes"})])
    sdk.counter("split").add(1, {"secret": "s", "kept": "yes"})
    sdk.flush()
    found = sdk.query_all()
    assert {KEPT} == set(found["o"]) == set(found["split"])
    assert {()} == set(found["whole"])


@pytest.mark.parametrize("patterns", ["*secret*", [1], None, 5])
def test_what_is_no_list_of_patterns_is_refused(patterns: Any) -> None:
    with pytest.raises(ConfigurationError, match="denied_attributes"):
        Config(denied_attributes=patterns)
