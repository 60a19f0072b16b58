"""The interpreted core under every schedule: something happens before each opcode of an operation, and nothing is lost.

After each schedule: what was given is merged, dropped or pending, each value once, in order, in its own series and window; no lock
is left held; and two drains later all is merged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from schedules_explorer import at_random, elsewhere, interrupted
from schedules_situations import (
    CAP,
    a_drain,
    a_drain_and_a_record,
    a_drain_elsewhere,
    a_fork,
    a_fork_on_another_thread,
    a_reader,
    a_record,
    a_record_into_it,
    a_record_into_it_and_a_drain,
    a_record_into_it_and_an_exception,
    a_record_into_its_successor,
    a_take_and_a_first_record,
    a_take_and_a_record_that_takes,
    a_try_to_expire_it_elsewhere,
    an_error_like_ours,
    an_exception,
    cut_of_another_reader,
    drain,
    drain_of_shards,
    drain_that_closes_a_window,
    drain_that_opens_a_window,
    drains_and_a_record_at_the_cap,
    drop,
    expiry_of_shards,
    first_cut,
    first_expiry,
    first_record,
    interleave,
    later_cut,
    later_expiry,
    many_records,
    next_record,
    record_after_shutdown,
    record_into_a_shard,
    record_into_what_has_expired,
    record_of_another_type,
    record_that_takes,
    record_that_takes_drops_too,
    record_with_attributes_as_before,
    record_with_attributes_never_seen,
    record_with_other_keys_than_before,
    records_and_a_drain_elsewhere,
    records_elsewhere,
    records_into_it_elsewhere,
    records_with_other_attributes,
    records_with_other_attributes_elsewhere,
    take,
    take_after_one_that_had_merged,
    take_after_one_that_was_cut_short,
    take_after_shutdown,
    take_of_several_batches,
    take_with_drops,
    the_end_of_the_window,
    threads_that_record_and_end,
    two_first_records,
    two_records_that_take,
    two_records_with_different_keys,
    two_takes,
    walk,
    walk_pairs,
    walk_two,
)
from schedules_world import World

# A bug of the core that the test found: take the mark off with the bug.

FIRST_RECORDS = [first_record, record_of_another_type, record_with_attributes_never_seen]
LATER_RECORDS = [
    next_record,
    record_that_takes,
    drop,
    record_into_a_shard,
    record_with_attributes_as_before,
    record_with_other_keys_than_before,
]
TAKES = [
    take,
    take_of_several_batches,
    take_after_one_that_was_cut_short,
    take_after_one_that_had_merged,
    take_with_drops,
    take_after_shutdown,
]
DRAINS = [drain, drain_of_shards, drain_that_opens_a_window, drain_that_closes_a_window]


# ---- an exception out of a signal handler ---------------------------------------------------------------------------


@pytest.mark.slow
def test_an_exception_in_a_record_costs_at_most_that_record(core: Any) -> None:
    assert walk(core, [*LATER_RECORDS, record_that_takes_drops_too], [an_exception]) > 150


def test_an_exception_in_a_first_record_leaves_no_value_where_no_drain_looks(core: Any) -> None:
    assert walk(core, FIRST_RECORDS, [an_exception]) > 50


@pytest.mark.slow
def test_an_exception_that_looks_like_one_of_ours_reaches_the_host_all_the_same(core: Any) -> None:
    assert walk(core, [*LATER_RECORDS, *FIRST_RECORDS, record_that_takes_drops_too], [an_error_like_ours]) > 200


@pytest.mark.slow
def test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock(core: Any) -> None:
    assert walk(core, TAKES, [an_exception]) > 200


@pytest.mark.slow
def test_an_exception_in_a_drain_leaves_every_cell_taken_or_listed(core: Any) -> None:
    assert walk(core, DRAINS, [an_exception]) > 150


# ---- a signal handler, a finaliser or another thread that records and drains ----------------------------------------


@pytest.mark.slow
def test_a_handler_that_records_loses_nothing_whatever_record_it_interrupts(core: Any) -> None:
    assert walk(core, [*LATER_RECORDS, *FIRST_RECORDS], [many_records]) > 1500


@pytest.mark.slow
def test_a_handler_that_records_loses_nothing_whatever_take_it_interrupts(core: Any) -> None:
    assert walk(core, [*TAKES, drain], [many_records]) > 3000


@pytest.mark.slow
def test_a_handler_that_drains_merges_nothing_twice(core: Any) -> None:
    assert walk(core, [first_record, *LATER_RECORDS, *TAKES], [a_drain]) > 2000


@pytest.mark.slow
def test_another_thread_records_and_drains_in_the_middle_of_a_record(core: Any) -> None:
    assert walk(core, [*LATER_RECORDS, *FIRST_RECORDS], [records_and_a_drain_elsewhere]) > 1200


@pytest.mark.slow
def test_another_thread_records_and_drains_in_the_middle_of_a_take(core: Any) -> None:
    assert walk(core, TAKES, [records_and_a_drain_elsewhere]) > 2000


@pytest.mark.slow
def test_another_thread_records_in_the_middle_of_a_drain(core: Any) -> None:
    assert walk(core, [drain, drain_of_shards], [records_elsewhere]) > 1000


@pytest.mark.slow
def test_two_events_in_one_operation_lose_nothing(core: Any) -> None:
    harmless = [a_record, many_records, a_drain, a_drain_elsewhere, records_elsewhere, records_and_a_drain_elsewhere]
    situations = [first_record, *LATER_RECORDS, *TAKES, drain]
    assert walk_pairs(core, situations, harmless, harmless, runs=60, seed=7) > 700


# ---- fork -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fork_inside_a_record_or_a_take_leaves_the_parents_values_to_the_parent(core: Any) -> None:
    assert walk(core, [first_record, *LATER_RECORDS, record_that_takes_drops_too, *TAKES], [a_fork]) > 400


@pytest.mark.slow
def test_a_child_starts_without_values_that_another_thread_was_recording_or_taking(core: Any) -> None:
    assert walk(core, [*LATER_RECORDS, *TAKES], [a_fork_on_another_thread]) > 2500


@pytest.mark.slow
def test_a_child_starts_without_values_that_another_thread_was_draining(core: Any) -> None:
    assert walk(core, [drain, drain_of_shards, drain_that_opens_a_window], [a_fork, a_fork_on_another_thread]) > 1500


def test_a_child_starts_without_a_value_that_another_thread_was_recording_first(core: Any) -> None:
    assert walk(core, FIRST_RECORDS, [a_fork_on_another_thread]) > 500


def test_a_child_starts_without_values_that_were_dropped_at_the_cap(core: Any) -> None:
    world = World(core)
    world.put(CAP - 1)
    world.series.lock.acquire()
    for _ in range(3):
        elsewhere(world.add)
    assert 0 < world.cell.excess()
    world.fork(goes_on=False)
    assert 0 == world.account(world.series).received
    world.revive()
    world.check()


@pytest.mark.slow
def test_a_fork_while_a_window_closes_leaves_it_to_the_parent(core: Any) -> None:
    assert walk(core, [drain_that_closes_a_window], [a_fork, a_fork_on_another_thread]) > 500


# ---- after shutdown -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_record_after_shutdown_is_dropped_whatever_happens_meanwhile(core: Any) -> None:
    actions = [an_exception, a_record, records_and_a_drain_elsewhere, a_fork_on_another_thread]
    assert walk(core, [record_after_shutdown], actions) > 800


# ---- windows --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_value_recorded_while_a_window_opens_or_closes_is_in_one_window(core: Any) -> None:
    situations = [drain_that_opens_a_window, drain_that_closes_a_window]
    assert walk(core, situations, [many_records, the_end_of_the_window]) > 1500


@pytest.mark.slow
def test_a_reader_finds_every_value_in_one_window_while_it_closes(core: Any) -> None:
    assert walk(core, [drain_that_opens_a_window, drain_that_closes_a_window], [a_reader]) > 800


@pytest.mark.slow
def test_an_exception_while_a_window_closes_loses_no_value_of_it(core: Any) -> None:
    assert walk(core, [drain_that_closes_a_window], [an_exception]) > 80


# ---- series that expire, and what readers of deltas cut --------------------------------------------------------------

CUTS = [first_cut, later_cut, cut_of_another_reader]
EXPIRIES = [first_expiry, later_expiry, expiry_of_shards]


@pytest.mark.slow
def test_an_exception_in_a_cut_loses_nothing_and_tells_nothing_twice(core: Any) -> None:
    assert walk(core, CUTS, [an_exception]) > 20


@pytest.mark.slow
def test_an_exception_in_an_expiry_leaves_the_series_as_it_was_or_gone(core: Any) -> None:
    assert walk(core, EXPIRIES, [an_exception]) > 60


@pytest.mark.slow
def test_a_record_or_a_drain_in_the_middle_of_a_cut_or_an_expiry_loses_nothing(core: Any) -> None:
    actions = [a_record_into_it, a_record_into_it_and_a_drain, records_into_it_elsewhere, a_record_into_its_successor]
    assert walk(core, [*CUTS, *EXPIRIES], actions) > 6000


@pytest.mark.slow
def test_a_handler_that_records_and_raises_in_a_cut_or_an_expiry_loses_nothing(core: Any) -> None:
    assert walk(core, [*CUTS, *EXPIRIES], [a_record_into_it_and_an_exception]) > 80


@pytest.mark.slow
def test_a_fork_in_the_middle_of_a_cut_or_an_expiry_leaves_the_parents_values_to_the_parent(core: Any) -> None:
    assert walk(core, [*CUTS, *EXPIRIES], [a_fork]) > 100


@pytest.mark.slow
def test_a_value_for_what_has_expired_is_there_whoever_records_and_expires_meanwhile(core: Any) -> None:
    actions = [a_record_into_it_and_a_drain, records_into_it_elsewhere, a_try_to_expire_it_elsewhere]
    assert walk(core, [record_into_what_has_expired], actions) > 300


# ---- finding the series ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_values_find_their_series_while_other_attributes_are_recorded(core: Any) -> None:
    situations = [
        record_with_attributes_as_before,
        record_with_other_keys_than_before,
        record_with_attributes_never_seen,
    ]
    walked = walk(core, situations, [records_with_other_attributes])
    walked += walk(core, situations[:1], [records_with_other_attributes_elsewhere])
    assert walked > 800


# ---- the real aggregates --------------------------------------------------------------------------------------------


def _with(core: Any, empty: Any, kind: str, windows: bool) -> Any:
    def record_that_takes_into_a_real_aggregate(_core: Any) -> Any:
        world = World(core, empty=empty, kind=kind, windows=windows)
        world.add()
        world.drain()
        for _ in range(7):
            world.add()
        return world, world.operate

    return record_that_takes_into_a_real_aggregate


@pytest.mark.slow
def test_sums_and_buckets_are_right_after_every_interruption(core: Any) -> None:
    aggregates = core.aggregates
    walked = 0
    for empty, kind in (
        (aggregates.Sum(), "COUNTER"),
        (core.aggregation.new_aggregate("histogram", (2.0, 5.0), 0), "HISTOGRAM"),
        (aggregates.LastValue(), "GAUGE"),
    ):
        walked += walk(core, [_with(core, empty, kind, windows=True)], [an_exception, many_records])
    assert walked > 1200


@pytest.mark.slow
def test_a_gauge_shows_the_value_set_last(core: Any) -> None:
    gauge = _with(core, core.aggregates.LastValue(), "GAUGE", windows=False)
    assert walk(core, [gauge], [records_and_a_drain_elsewhere]) > 300


# ---- threads, opcode by opcode --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_threads_that_pause_anywhere_in_a_take_or_a_record_lose_nothing(core: Any) -> None:
    schedules = 0
    for threads, every in (
        (two_takes, 31),
        (two_records_that_take, 31),
        (a_take_and_a_first_record, 23),
        (a_take_and_a_record_that_takes, 31),
        (a_drain_and_a_record, 53),
    ):
        schedules += walk_two(core, threads, every)
    assert schedules > 500


@pytest.mark.slow
def test_two_threads_at_the_cap_lose_nothing_and_raise_nothing(core: Any) -> None:
    assert walk_two(core, drains_and_a_record_at_the_cap, 67) > 60


@pytest.mark.slow
def test_two_threads_that_record_attributes_find_the_same_series(core: Any) -> None:
    assert walk_two(core, two_first_records, 97) + walk_two(core, two_records_with_different_keys, 37) > 300


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_threads_that_record_and_end_while_another_drains_lose_nothing(core: Any, shards: int) -> None:
    threads = partial(threads_that_record_and_end, shards=shards)
    for seed in range(60):
        opcodes = interleave(core, threads, at_random(seed, 4, 0.1), f"seed {seed}")
        assert min(opcodes) > 50


def test_the_explorer_stops_at_every_opcode_of_the_core_and_at_no_other(core: Any) -> None:
    places: list[str] = []
    _world, record = first_record(core)
    interrupted(record, [(at, lambda: None) for at in range(1000)], False, places)
    functions = {place.partition(":")[0] for place in places}
    assert {"put", "record", "_listed", "is_closed"} == functions
    assert 50 < len(places) < 1000
