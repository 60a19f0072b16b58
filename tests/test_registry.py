"""Declaring instruments: what is the same, what contradicts, what cannot be."""

from __future__ import annotations

import sys
import threading
from decimal import Decimal
from typing import Any

import pytest

from metrics_sdk import Config, DeclarationError, MetricsSDK, TooManyInstruments


@pytest.fixture
def sdk() -> MetricsSDK:
    return MetricsSDK(Config(background=False))


def test_declaring_the_same_again_returns_the_same_instrument(sdk: MetricsSDK) -> None:
    assert sdk.counter("c", unit="By") is sdk.counter("c", unit="By", description="said later")
    assert sdk.histogram("h", boundaries=[1, 2]) is sdk.histogram("H", boundaries=(1.0, 2.0))


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (("counter", {}), ("gauge", {}), "kind"),
        (("counter", {"unit": "s"}), ("counter", {"unit": "ms"}), "unit"),
        (("histogram", {"boundaries": [1]}), ("histogram", {"boundaries": [2]}), "boundaries"),
        (("histogram", {}), ("histogram", {"boundaries": [2]}), "boundaries"),
    ],
)
def test_a_contradiction_raises_and_says_what_was_declared_where(sdk: MetricsSDK, first: Any, second: Any, what: str) -> None:
    getattr(sdk, first[0])("x", **first[1])
    with pytest.raises(
        DeclarationError, match=rf"'x' was declared as a {first[0]}.* at .*test_registry.py:\d+.*not the same {what}"
    ):
        getattr(sdk, second[0])("x", **second[1])


@pytest.mark.parametrize("name", ["", "1x", "a b", "é", "x" * 256, None, 7])
def test_an_impossible_name_raises_and_says_what_would_be_right(sdk: MetricsSDK, name: Any) -> None:
    with pytest.raises(DeclarationError, match="name is a letter and then"):
        sdk.counter(name)


@pytest.mark.parametrize("boundaries", [["a"], [1, 1], [2, 1], [float("nan")], [float("inf")], 5])
def test_impossible_boundaries_raise(sdk: MetricsSDK, boundaries: Any) -> None:
    with pytest.raises(DeclarationError, match="boundaries of 'h' must be"):
        sdk.histogram("h", boundaries=boundaries)


@pytest.mark.parametrize(("unit", "description"), [(5, ""), ("x" * 64, ""), ("µ", ""), ("", 5), ("", "x" * 1025)])
def test_impossible_units_and_descriptions_raise(sdk: MetricsSDK, unit: Any, description: Any) -> None:
    with pytest.raises(DeclarationError, match="of 'c' must be"):
        sdk.counter("c", unit=unit, description=description)


def test_one_name_too_many_raises() -> None:
    sdk = MetricsSDK(Config(background=False, max_instruments=1))
    sdk.counter("a")
    sdk.counter("a")
    with pytest.raises(TooManyInstruments, match="max_instruments=1"):
        sdk.counter("b")


def test_a_provisional_histogram_takes_on_its_declaration_and_keeps_its_values(sdk: MetricsSDK) -> None:
    sdk.record("h", 1.5)
    declared = sdk.histogram("h", unit="s", description="d")
    declared.record(2.5)
    sdk.record("h", 3.0)
    assert (3, 7.0, "s") == (sdk.query("h").count, sdk.query("h").sum, sdk.query("h").unit)


def test_a_provisional_histogram_declared_as_another_kind_starts_anew_and_its_values_are_counted_as_dropped(
    sdk: MetricsSDK,
) -> None:
    sdk.record("x", 1.5)
    sdk.record("x", 2.5)
    sdk.counter("x").add(4)
    sdk.record("x", 1)
    assert 5 == sdk.query("x").sum
    health = sdk.health()
    assert (4, 2, {"redeclared": 2}, 0) == (health.received, health.merged, health.dropped, health.pending)


def test_a_provisional_histogram_may_be_given_boundaries(sdk: MetricsSDK) -> None:
    timed = sdk.timed("x")
    with timed:
        pass
    sdk.histogram("x", unit="ms", boundaries=[1.0])
    with timed:
        pass
    assert (1, 1) == (sdk.query("x").count, sdk.health().dropped["redeclared"])


def test_observables_report_totals_changes_and_attributes(sdk: MetricsSDK) -> None:
    total = iter([10, 15, 15, 3])
    sdk.observable_counter("bytes", lambda: next(total))
    sdk.observable_gauge("pool", lambda: [(1, {"p": "a"}), (2.5, {"p": "b"})])
    found = [sdk.query("bytes") for _ in range(4)]
    assert [10, 15, 15, 18] == [one.sum for one in found]  # a total that fell has begun anew
    assert 8 == sdk.streams.named("bytes")[0].listed()[0].total().total()  # what was there at first is in no window and no rate
    assert (1, 2.5) == (sdk.query("pool", {"p": "a"}).last, sdk.query("pool", {"p": "b"}).last)


def test_a_series_that_is_not_observed_any_more_is_not_reported(sdk: MetricsSDK) -> None:
    alive = ["a", "b"]
    sdk.observable_gauge("pool", lambda: [(1, {"p": p}) for p in alive])
    assert 2 == len(sdk.query_all()["pool"])
    alive.remove("a")
    assert [(("p", "b"),)] == list(sdk.query_all()["pool"])


def test_two_callbacks_of_one_observable_are_both_asked_until_they_are_closed(sdk: MetricsSDK) -> None:
    first = sdk.observable_gauge("pool", lambda: [(1, {"p": "a"})])
    sdk.observable_gauge("pool", lambda: [(2, {"p": "b"})])
    assert 2 == len(sdk.query_all()["pool"])
    first.close()
    assert [(("p", "b"),)] == list(sdk.query_all()["pool"])


def test_a_callback_that_raises_costs_its_own_values_alone_and_is_counted(sdk: MetricsSDK, caplog: Any) -> None:
    def broken() -> Any:
        yield 1.0, {"p": "before"}
        raise RuntimeError("no")

    sdk.observable_gauge("broken", broken)
    sdk.observable_gauge("wrong", lambda: "text")  # type: ignore[arg-type, return-value]
    sdk.observable_gauge("fine", lambda: 5)
    found = sdk.query_all()
    assert (1, 5) == (len(found["broken"]), found["fine"][()].last)
    assert sdk.health().faults["callback:broken"] >= 1
    assert {"invalid_value": 1} == sdk.health().dropped
    assert 1 == sum("callback of broken" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("callback", [None, 5])
def test_a_callback_that_cannot_be_called_raises_at_declaration(sdk: MetricsSDK, callback: Any) -> None:
    with pytest.raises(DeclarationError, match="callback of 'x'"):
        sdk.observable_gauge("x", callback)


async def _coroutine() -> float:
    return 1.0


def test_a_coroutine_function_is_no_callback(sdk: MetricsSDK) -> None:
    with pytest.raises(DeclarationError, match="plain function"):
        sdk.observable_gauge("x", _coroutine)  # type: ignore[arg-type]


def test_observed_totals_of_any_number_type_are_totals(sdk: MetricsSDK) -> None:
    sdk.observable_counter("bytes", lambda: Decimal(100))  # type: ignore[arg-type, return-value]
    assert [100, 100, 100] == [sdk.query("bytes").sum for _ in range(3)]


def test_an_observable_that_is_closed_and_declared_again_goes_on_where_it_was(sdk: MetricsSDK) -> None:
    total = [100]
    first = sdk.observable_counter("bytes", lambda: total[0])
    assert 100 == sdk.query("bytes").sum
    first.close()
    total[0] = 130
    sdk.observable_counter("bytes", lambda: total[0])
    assert 130 == sdk.query("bytes").sum


def test_totals_that_share_a_series_add_up_and_do_not_grow_by_being_observed() -> None:
    sdk = MetricsSDK(Config(background=False, max_series_per_instrument=2))
    sdk.observable_counter("bytes", lambda: [(10 * i, {"user": i}) for i in range(1, 6)])
    sdk.observable_counter("twice", lambda: 5)
    sdk.observable_counter("twice", lambda: 7)
    for _ in range(3):
        assert (150, 12) == (sdk.query("bytes").sum, sdk.query("twice").sum)


def test_names_of_the_sdk_itself_are_reserved(sdk: MetricsSDK) -> None:
    with pytest.raises(DeclarationError, match="SDK's own"):
        sdk.counter("metrics_sdk.received")
    sdk.record("Metrics_SDK.received", 1)
    sdk.flush()
    assert {"invalid_name": 1} == sdk.health().dropped


@pytest.mark.slow
def test_declaring_while_others_record_by_name_gives_everybody_the_declared_instrument() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for round_ in range(60):
            sdk = MetricsSDK(Config(background=False))
            start = threading.Barrier(4)
            errors: list[BaseException] = []

            def record() -> None:
                start.wait()
                for i in range(40):
                    sdk.record(f"n{i}", 1)

            def declare() -> None:
                start.wait()
                for i in range(40):
                    try:
                        sdk.counter(f"n{i}").add(1)
                    except BaseException as error:
                        errors.append(error)

            threads = [threading.Thread(target=target) for target in (record, record, declare, declare)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sdk.flush()
            health = sdk.health()
            assert not errors
            assert (160, 160, 0) == (health.received, health.merged + sum(health.dropped.values()), health.pending)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.slow
def test_of_contradicting_declarations_at_once_exactly_one_kind_wins() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for round_ in range(300):
            sdk = MetricsSDK(Config(background=False))
            start = threading.Barrier(2)
            made: list[str] = []

            def declare(kind: str) -> None:
                start.wait()
                try:
                    made.append(repr(getattr(sdk, kind)("x").kind))
                except DeclarationError:
                    made.append("refused")

            threads = [threading.Thread(target=declare, args=(kind,)) for kind in ("counter", "gauge")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert 1 == made.count("refused"), made
    finally:
        sys.setswitchinterval(before)
