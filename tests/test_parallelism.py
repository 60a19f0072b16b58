"""Sections that tell how parallel they really run: fake concurrency shows as a number."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from metrics_sdk import Config, DeclarationError, MetricsSDK
from metrics_sdk.parallelism import Concurrency

WORKERS = 5
SECONDS = 0.01  # of one piece of work


@pytest.fixture
def sdk() -> Iterator[MetricsSDK]:
    with MetricsSDK(Config(background=False)) as made:
        yield made


def wait() -> None:
    """Work that waits for something else, a server's answer say."""
    threading.Event().wait(SECONDS)


def compute() -> None:
    """Work that needs a processor, in Python."""
    end = time.thread_time() + SECONDS
    while time.thread_time() < end:
        pass


def through_a_pool(section: Concurrency, work: Callable[[], None], mutex: Any = None, pieces: int = 40) -> None:
    def piece(_number: int) -> None:
        with section:
            if mutex is None:
                work()
            else:
                with mutex:
                    work()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(piece, range(pieces)))


@pytest.mark.slow
@pytest.mark.parametrize("work", [wait, compute])
def test_a_pool_behind_one_mutex_achieves_one_of_the_five_that_it_offers(sdk: MetricsSDK, work: Callable[[], None]) -> None:
    for attempt in range(10):  # where other processes take the processor away, the runs are not as long as each other
        section = sdk.concurrency(f"publish.{attempt}")
        through_a_pool(section, work, threading.Lock())
        found = section.report()
        assert (40, 0, WORKERS) == (found.entered, found.in_flight, found.in_flight_max)
        if pytest.approx(1.0, abs=0.1) == found.effective and pytest.approx(WORKERS, rel=0.15) == found.offered:
            break
    assert pytest.approx(WORKERS, rel=0.15) == found.offered
    assert pytest.approx(1.0, abs=0.1) == found.effective


@pytest.mark.slow
def test_the_same_pool_without_the_mutex_achieves_what_it_offers(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("publish")
    through_a_pool(section, wait)
    found = section.report()
    assert found.effective is not None
    assert found.offered is not None
    assert 0.8 * WORKERS <= found.effective <= found.offered <= WORKERS


@pytest.mark.slow
def test_a_pool_of_one_achieves_one(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("publish")
    for _ in range(20):
        with section:
            wait()
    found = section.report()
    assert (pytest.approx(1.0, abs=0.1), pytest.approx(1.0, abs=0.1), 1) == (
        found.offered, found.effective, found.in_flight_max,
    )  # fmt: skip


@pytest.mark.slow
def test_threads_that_share_the_gil_achieve_what_processor_time_they_get(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("crunch")
    through_a_pool(section, compute)
    found = section.report()
    assert found.effective is not None
    assert found.offered is not None
    assert found.effective == pytest.approx(found.cpu_seconds / found.busy_seconds)
    assert found.effective < 0.6 * found.offered


class Time:
    """A clock for the section: what is in flight is then exact."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 100.0
        monkeypatch.setattr("metrics_sdk.parallelism.perf_counter", lambda: self.now)
        monkeypatch.setattr("metrics_sdk.parallelism._cpu", lambda: self.cpu)

    def passes(self, seconds: float, cpu: float = 0.0) -> None:
        self.now += seconds
        self.cpu += cpu


def test_time_in_flight_is_weighted_and_idle_time_counts_for_nothing(sdk: MetricsSDK, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    section = sdk.concurrency("s")
    clock.passes(7)
    with section:  # 2 s alone, 1 s with another one inside, then idle
        clock.passes(2, cpu=0.5)
        assert 1 == section.report().in_flight
        with section:
            clock.passes(1, cpu=0.25)
    clock.passes(5)
    found = section.report()
    assert (2, 0, 2) == (found.entered, found.in_flight, found.in_flight_max)
    assert (3.0, 4.0, 1.0) == (found.busy_seconds, found.wall_seconds, found.cpu_seconds)
    assert (pytest.approx(4 / 3), pytest.approx(2 / 3)) == (found.offered, found.effective)


def test_without_data_there_is_no_parallelism(sdk: MetricsSDK) -> None:
    found = sdk.concurrency("s").report()
    assert (0, None, None) == (found.entered, found.offered, found.effective)


def test_functions_stay_what_they_are_and_what_they_raise_comes_through(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")

    @section
    def twice(x: int) -> int:
        """Double."""
        if x < 0:
            raise LookupError
        return 2 * x

    assert (4, "twice", "Double.") == (twice(2), twice.__name__, twice.__doc__)
    with pytest.raises(LookupError):
        twice(-1)
    assert (2, 0) == (section.report().entered, section.report().in_flight)


@pytest.mark.slow
def test_coroutines_count_the_processor_time_of_their_own_steps(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")

    @section
    async def fetch(number: int) -> int:
        await asyncio.sleep(SECONDS)
        if number == 3:
            raise LookupError
        return number

    async def other() -> None:
        compute()

    async def main() -> list[Any]:
        return await asyncio.gather(*[fetch(number) for number in range(WORKERS)], other(), return_exceptions=True)

    answers = asyncio.run(main())
    assert ([0, 1, 2, 4], LookupError) == ([answers[i] for i in (0, 1, 2, 4)], type(answers[3]))
    found = section.report()
    assert (WORKERS, WORKERS) == (found.entered, found.in_flight_max)
    assert found.cpu_seconds < SECONDS / 2


def test_a_cancelled_coroutine_leaves_the_section(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")

    @section
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        assert 1 == section.report().in_flight
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (1, 0) == (section.report().entered, section.report().in_flight)


def test_the_same_name_is_the_same_section_and_generators_are_refused(sdk: MetricsSDK) -> None:
    assert sdk.concurrency("s") is sdk.concurrency("s")
    with pytest.raises(DeclarationError, match="functions and coroutine functions"):

        @sdk.concurrency("s")
        def numbers() -> Iterator[int]:
            yield 1


def test_leaving_in_another_context_than_it_was_entered_in_raises_nothing(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")
    contextvars.copy_context().run(section.__enter__)
    assert 1 == section.report().in_flight
    section.__exit__()
    assert 0 == section.report().in_flight


def test_what_happened_before_a_late_configuration_does_not_count_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    before = MetricsSDK(Config(background=False))
    section = before.concurrency("s")
    with section:
        clock.passes(5)
    after = MetricsSDK(Config(background=False), registry=before.registry)
    with section:
        clock.passes(1)
    assert (1, 1.0, 1.0) == (section.report().entered, section.report().busy_seconds, section.report().effective)
    assert 5.0 == before.query("s.busy_time").sum
    after.shutdown()


def test_events_are_worked_out_before_they_are_many(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")
    for _ in range(10_000):
        with section:
            pass
    assert len(section._events) <= 4096
    assert 10_000 == section.report().entered


def test_a_forked_child_begins_with_an_empty_section(sdk: MetricsSDK) -> None:
    section = sdk.concurrency("s")
    with section:
        pid = os.fork()
        if pid == 0:
            with section:
                pass
            first = section.report()
            section.__exit__()
            with section:
                wait()
            busy = section.report().busy_seconds - first.busy_seconds
            os._exit(0 if (first.entered, first.in_flight, busy >= SECONDS) == (1, 0, True) else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert (1, 0) == (section.report().entered, section.report().in_flight)
