"""The walk from attributes to their series: whatever the order, the objects and the threads, every value gets to its own."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sdk.config import Config
from metrics_sdk.core.instruments import MAX_SHAPES
from metrics_sdk.sdk import MetricsSDK

attribute_sets = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["x", "y", 1, 2, True, 1.0, "1", ("x",)]), max_size=4
)


def tag(attributes: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((key, type(value).__name__, repr(value)) for key, value in attributes.items()))


def series_by_tag(sdk: MetricsSDK) -> dict[tuple[Any, ...], int]:
    found = {}
    for metric in sdk.snapshot().metrics:
        if metric.name == "c":
            for point in metric.points:
                found[tag(dict(point.attributes))] = point.value
    return found


@given(st.lists(st.tuples(attribute_sets, st.permutations(["a", "b", "c", "d"]))))
def test_every_value_is_in_the_series_of_its_attributes_whatever_was_recorded_before(
    calls: list[tuple[dict[str, Any], list[str]]],
) -> None:
    sdk = MetricsSDK(Config(background=False))
    counter = sdk.counter("c")
    expected: Counter[tuple[Any, ...]] = Counter()
    for attributes, order in calls:
        given_so = {key: attributes[key] for key in order if key in attributes}
        counter.add(1, given_so)
        expected[tag(attributes)] += 1
    assert expected == series_by_tag(sdk)


def test_no_attributes_and_empty_ones_are_the_same() -> None:
    sdk = MetricsSDK(Config(background=False))
    counter = sdk.counter("c")
    bound = counter.bind({"a": 1})
    for attributes in (None, {}, {}):
        counter.add(1, attributes)
        bound.add(1, attributes)
    assert {(): 3, (("a", "int", "1"),): 3} == series_by_tag(sdk)


def test_values_that_are_equal_and_other_objects_are_found() -> None:
    sdk = MetricsSDK(Config(background=False))
    counter = sdk.counter("c")
    for i in range(1000):
        counter.add(1, {"route": "".join(["/ca", "rt"]), "status": 500 + len("x" * (i % 2)), "shard": int("1" + "0" * 20)})
    assert {500: 500, 501: 500} == {dict(pairs)["status"]: found.sum for pairs, found in sdk.query_all()["c"].items()}


def test_more_orders_than_are_remembered_lead_to_the_same_series() -> None:
    sdk = MetricsSDK(Config(background=False))
    counter = sdk.counter("c")
    orders = list(itertools.permutations(["a", "b", "c", "d"]))
    assert len(orders) > MAX_SHAPES
    for _ in range(3):
        for order in orders:
            counter.add(1, dict.fromkeys(order, "x"))
    assert (MAX_SHAPES, 1) == (len(counter.route.shapes), len(sdk.query_all()["c"]))
    assert 3 * len(orders) == sdk.query("c").sum


@pytest.mark.parametrize("shards", [1, 8])
def test_threads_that_learn_the_same_ways_at_once_lose_nothing_and_mix_nothing(shards: int) -> None:
    sdk = MetricsSDK(Config(background=False, shards=shards))
    counter = sdk.counter("c")
    start = threading.Barrier(4)

    def work(me: int) -> None:
        start.wait()
        for i in range(2000):
            attributes = {"route": str(i % 37), "status": i % 11}
            counter.add(1, attributes if (i + me) % 2 else dict(reversed(attributes.items())))

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = Counter(tag({"route": str(i % 37), "status": i % 11}) for i in range(2000))
    assert {key: 4 * n for key, n in expected.items()} == series_by_tag(sdk)
