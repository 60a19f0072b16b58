"""Failures are counted all, and logged once and then at most once a minute."""

from __future__ import annotations

import logging
from typing import Any

from metrics_sdk.clock import ManualClock
from metrics_sdk.faults import Faults


def test_the_first_of_a_kind_is_logged_and_repetitions_at_most_once_a_minute_with_their_number(caplog: Any) -> None:
    clock = ManualClock()
    faults = Faults(clock)
    for _ in range(100):
        faults.report("a", "it failed", OSError("down"))
    clock.advance(60)
    faults.report("a", "it failed", OSError("down"))
    assert {"a": 101} == faults.counts()
    assert ["it failed: OSError: down", "it failed: OSError: down (100 times since this was last logged)"] == [
        record.getMessage() for record in caplog.records
    ]


def test_each_kind_is_logged_on_its_own(caplog: Any) -> None:
    faults = Faults(ManualClock())
    faults.report("a", "one")
    faults.report("b", "two")
    assert ["one", "two"] == [record.getMessage() for record in caplog.records]


def test_an_error_without_a_text_and_a_handler_that_raises_do_no_harm() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no")

    faults = Faults(ManualClock())
    faults.report("a", "one", Mute())
    logger = logging.getLogger("metrics_sdk")
    handler = Raising()
    logger.addHandler(handler)
    try:
        faults.report("b", "two")
    finally:
        logger.removeHandler(handler)
    assert {"a": 1, "b": 1, "logging:RuntimeError": 2} == faults.counts()
