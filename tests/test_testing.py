"""The test kit, used as users use it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import metrics_sdk as metrics
from metrics_sdk import default
from metrics_sdk.testing import IsolatedMetrics, isolated

orders = metrics.counter("test.kit.orders")
in_euros = orders.bind({"currency": "EUR"})


@metrics.timed("test.kit.checkout")
def checkout() -> None:
    orders.add(1, {"currency": "USD"})
    in_euros.add(2)
    metrics.record("test.kit.total", 12.5)


def test_instruments_of_a_module_record_into_the_state_of_the_test(isolated_metrics: IsolatedMetrics) -> None:
    checkout()
    isolated_metrics.assert_sum("test.kit.orders", 3)
    isolated_metrics.assert_sum("test.kit.orders", 2, {"currency": "EUR"})
    isolated_metrics.assert_count("test.kit.checkout", 1)
    isolated_metrics.assert_count("test.kit.total", 1)


def test_the_next_test_begins_with_nothing(isolated_metrics: IsolatedMetrics) -> None:
    isolated_metrics.assert_not_recorded("test.kit.orders")
    isolated_metrics.assert_not_recorded("test.kit.total")
    isolated_metrics.assert_not_recorded("test.kit.never.heard.of")


def test_a_failing_assertion_shows_what_was_recorded(isolated_metrics: IsolatedMetrics) -> None:
    checkout()
    with pytest.raises(AssertionError, match=r"expected a sum of 9 of test.kit.orders, found 3; recorded was:\n(.*\n)?.*USD"):
        isolated_metrics.assert_sum("test.kit.orders", 9)
    with pytest.raises(AssertionError, match="nothing was recorded"):
        metrics.gauge("test.kit.depth")
        isolated_metrics.assert_last("test.kit.depth", 1)


def test_what_is_declared_in_a_test_may_be_declared_otherwise_later_and_the_old_state_is_back() -> None:
    with isolated():
        before = metrics.counter("test.kit.temporary")
        before.add(1)
    outer = default.current()
    with isolated() as inner:
        inner.assert_not_recorded("test.kit.temporary")
        metrics.histogram("test.kit.temporary", unit="s").record(1)
        in_euros.add(5)
        assert 5 == inner.query("test.kit.orders").sum
        assert default.current() is inner.sdk
    assert default.current() is outer
    assert 0 == outer.query("test.kit.temporary").count
    already = outer.query("test.kit.orders").sum
    in_euros.add(7)
    assert already + 7 == outer.query("test.kit.orders").sum


def test_a_module_that_a_test_imports_first_records_in_the_next_test_as_well() -> None:
    with isolated() as first:
        late = metrics.counter("test.kit.late")
        late.add(1)
        first.assert_sum("test.kit.late", 1)
    with isolated() as second:
        late.add(2)
        second.assert_sum("test.kit.late", 2)


def test_time_passes_when_the_test_says_so(isolated_metrics: IsolatedMetrics) -> None:
    checkout()
    isolated_metrics.clock.advance(100)
    assert 0 == isolated_metrics.sdk.query("test.kit.orders", last=10).count
    with pytest.raises(ValueError, match="backwards"):
        isolated_metrics.clock.advance(-1)


def test_a_flush_hands_the_snapshot_to_the_exporter(isolated_metrics: IsolatedMetrics) -> None:
    checkout()
    assert "test.kit.orders" in [metric.name for metric in isolated_metrics.flush().metrics]


def test_isolation_starts_no_thread(isolated_metrics: IsolatedMetrics) -> None:
    checkout()
    isolated_metrics.flush()
    assert not isolated_metrics.sdk.health().flusher_running


def test_importing_the_plugin_does_not_import_the_package_for_suites_that_do_not_use_it(run_python: Callable[..., str]) -> None:
    program = """
    import sys, metrics_sdk.pytest_plugin
    print("metrics_sdk.testing" in sys.modules)
    """
    assert "False\n" == run_python(program)
