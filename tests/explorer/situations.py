"""What is explored: operations in the situations that matter, and what may happen in the middle of them."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

from schedules_explorer import Broken, Interleaving, Interrupt, LooksLikeOurs, elsewhere, interrupted, one_pause_each, traced
from schedules_world import WINDOW_SECONDS, ExpiringWorld, World

Operation = Callable[[], object]
Situation = Callable[[Any], tuple[World, Operation]]
Action = Callable[[World], object]

FOLD_AT = 8  # as in core_copy.SMALL
LARGEST_BATCH = 12
CAP = 32


# ---- records --------------------------------------------------------------------------------------------------------


def first_record(core: Any) -> tuple[World, Operation]:
    world = World(core)
    return world, world.operate


def next_record(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.add()
    return world, world.operate


def record_that_takes(core: Any) -> tuple[World, Operation]:
    world = World(core)
    for _ in range(FOLD_AT - 1):
        world.add()
    return world, world.operate


def record_that_takes_drops_too(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.drop()
    for _ in range(FOLD_AT - 2):
        world.add()
    return world, world.operate


def record_of_another_type(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.number = Decimal
    return world, world.operate


def drop(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.add()
    return world, world.drop


def record_into_a_shard(core: Any) -> tuple[World, Operation]:
    world = World(core, shards=3)
    for _ in range(FOLD_AT - 1):
        world.add()
    elsewhere(world.add)
    return world, world.operate


def record_after_shutdown(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.add()
    world.drain()
    world.scope.close()
    world.refuses = True
    return world, world.operate


# ---- takes ----------------------------------------------------------------------------------------------------------


def take(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.put(3)
    return world, world.cell.take


def take_of_several_batches(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.put(LARGEST_BATCH + 3)
    return world, world.cell.take


def take_after_one_that_was_cut_short(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.put(3)
    pending = world.cell.pending
    pending[:] = [core.append.Batch(pending)]
    world.put(2)
    return world, world.cell.take


def take_after_one_that_had_merged(core: Any) -> tuple[World, Operation]:
    world, operation = take_after_one_that_was_cut_short(core)
    world.series.state = world.cell._merged(world.cell.pending[0])
    return world, operation


def take_with_drops(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.add()
    world.drop()
    world.add()
    return world, world.cell.take


def take_after_shutdown(core: Any) -> tuple[World, Operation]:
    world = World(core)
    world.put(3)
    world.scope.close()
    world.refuses = True
    return world, world.cell.take


# ---- drains ---------------------------------------------------------------------------------------------------------


def drain(core: Any) -> tuple[World, Operation]:
    world = World(core)
    for attributes in (None, {"k": 1}, None):
        world.add(attributes)
    return world, world.drain


def drain_of_shards(core: Any) -> tuple[World, Operation]:
    world = World(core, shards=3)
    world.add()
    elsewhere(world.add)
    return world, world.drain


def drain_that_opens_a_window(core: Any) -> tuple[World, Operation]:
    world = World(core, windows=True)
    world.add()
    return world, world.drain


def drain_that_closes_a_window(core: Any) -> tuple[World, Operation]:
    world = World(core, windows=True)
    world.add()
    world.add({"k": 1})
    world.drain()
    world.add()
    world.clock.advance(WINDOW_SECONDS)
    return world, world.drain


# ---- finding the series ---------------------------------------------------------------------------------------------

A, B, C, AB = {"a": "x"}, {"b": "x"}, {"c": "x"}, {"a": "x", "b": "x"}


def record_with_attributes_never_seen(core: Any) -> tuple[World, Operation]:
    world = World(core)
    return world, partial(world.operate, A)


def record_with_attributes_as_before(core: Any) -> tuple[World, Operation]:
    world = World(core)
    for attributes in (AB, B, A):
        world.add(attributes)
    return world, partial(world.operate, A)


def record_with_other_keys_than_before(core: Any) -> tuple[World, Operation]:
    world = World(core)
    for attributes in (A, AB, B):
        world.add(attributes)
    return world, partial(world.operate, A)


# ---- series that expire ---------------------------------------------------------------------------------------------


def first_cut(core: Any) -> tuple[World, Operation]:
    world = ExpiringWorld(core)
    return world, world.cut


def later_cut(core: Any) -> tuple[World, Operation]:
    world = ExpiringWorld(core)
    world.cut()
    world.add({"k": 1})
    world.drain()
    return world, world.cut


def cut_of_another_reader(core: Any) -> tuple[World, Operation]:
    world, operation = later_cut(core)
    assert isinstance(world, ExpiringWorld)
    world.table.cutters.append("another reader")
    world.leaving.cut(1, {})
    return world, operation


def first_expiry(core: Any) -> tuple[World, Operation]:
    world = ExpiringWorld(core)
    return world, world.expire


def later_expiry(core: Any) -> tuple[World, Operation]:
    """There is something that remains of earlier series, one of which has come back."""
    world = ExpiringWorld(core)
    world.expire()
    world.add({"k": 1})
    world.drain()
    return world, world.expire


def expiry_of_shards(core: Any) -> tuple[World, Operation]:
    world = ExpiringWorld(core, shards=3)
    elsewhere(partial(world.add, {"k": 1}))
    world.drain()
    return world, world.expire


def record_into_what_has_expired(core: Any) -> tuple[World, Operation]:
    world = ExpiringWorld(core)
    world.expire()
    return world, partial(world.add, {"k": 1})


# ---- what happens in the middle -------------------------------------------------------------------------------------


def an_exception(world: World) -> None:
    raise Interrupt


def an_error_like_ours(world: World) -> None:
    raise LooksLikeOurs


def a_record_into_it_and_an_exception(world: World) -> None:
    world.add({"k": 1})
    raise Interrupt


RAISING = (an_exception, an_error_like_ours, a_record_into_it_and_an_exception)


def a_record(world: World) -> None:
    world.add()


def a_record_into_it(world: World) -> None:
    world.add({"k": 1})


def a_record_into_it_and_a_drain(world: World) -> None:
    world.add({"k": 1})
    world.drain()


def records_into_it_elsewhere(world: World) -> None:
    for add in (partial(world.add, {"k": 1}), world.add_anew if isinstance(world, ExpiringWorld) else world.add):
        elsewhere(add)
        elsewhere(world.drain)


def a_record_into_its_successor(world: World) -> None:
    assert isinstance(world, ExpiringWorld)
    elsewhere(world.add_anew)


def a_try_to_expire_it_elsewhere(world: World) -> None:
    """The lock keeps it out."""
    assert isinstance(world, ExpiringWorld)
    world.drain()
    if not world.leaving.lock._is_owned():
        elsewhere(world.expire)


def many_records(world: World) -> None:
    for _ in range(FOLD_AT + 3):
        world.add()


def records_with_other_attributes(world: World) -> None:
    for attributes in (B, AB, C, A, B):
        world.add(attributes)


def records_elsewhere(world: World) -> None:
    elsewhere(partial(many_records, world))


def records_with_other_attributes_elsewhere(world: World) -> None:
    elsewhere(partial(records_with_other_attributes, world))


def a_drain(world: World) -> None:
    world.drain()


def a_drain_elsewhere(world: World) -> None:
    elsewhere(world.drain)


def records_and_a_drain_elsewhere(world: World) -> None:
    world.add()
    elsewhere(world.drain)
    world.add()


def a_reader(world: World) -> None:
    for series in list(world.table.series.values()):
        world.check_windows(series)


def the_end_of_the_window(world: World) -> None:
    world.clock.advance(WINDOW_SECONDS)
    world.add()
    world.drain()


def a_fork(world: World) -> None:
    """By a signal handler, which returns in the child as well."""
    world.fork(goes_on=True)
    world.add()


def a_fork_on_another_thread(world: World) -> None:
    """The operation's thread is not there in the child: what it does from now on, it does to a world that is gone."""
    world.fork(goes_on=False)
    world.revive()
    world.check()
    world.gone = True


# ---- walking --------------------------------------------------------------------------------------------------------


def walk(core: Any, situations: Iterable[Situation], actions: Iterable[Action]) -> int:
    """Let each of `actions` happen before each opcode of each operation; return how many schedules that were.

    Raises Broken, with the place, after the first schedule that ends badly.
    """
    schedules = 0
    for situation in situations:
        _undisturbed(core, situation)
        for action in actions:
            for at in count():
                if not _run(core, situation, [(at, action)]):
                    break
                schedules += 1
    return schedules


def walk_pairs(
    core: Any, situations: Iterable[Situation], first: list[Action], last: list[Action], runs: int, seed: int
) -> int:
    """Let two things happen, at random places of each operation, `runs` times; return how many schedules that were."""
    source = random.Random(seed)
    schedules = 0
    for situation in situations:
        steps = _undisturbed(core, situation)
        for _ in range(runs):
            at, then = sorted(source.sample(range(steps), 2))
            schedules += _run(core, situation, [(at, source.choice(first)), (then, source.choice(last))]) > 0
    return schedules


def _undisturbed(core: Any, situation: Situation) -> int:
    """Run the operation by itself, check the outcome, and return how many opcodes it took."""
    world, operation = situation(core)
    steps = 0

    def visit(_frame: FrameType) -> bool:
        nonlocal steps
        steps += 1
        return False

    traced(operation, visit)
    world.ended(None)
    world.check()
    return steps


def _run(core: Any, situation: Situation, plan: list[tuple[int, Action]]) -> int:
    """Run one schedule and check the outcome; return how much of the plan came to pass."""
    world, operation = situation(core)
    error: BaseException | None = None
    signals = len(plan) == 1 and plan[0][1] in (*RAISING, a_fork)
    raises = signals and plan[0][1] in RAISING
    places: list[str] = []
    before = signal.signal(signal.SIGUSR2, plan[0][1]) if raises else None  # by this the core knows whose exception it is
    try:
        try:
            interrupted(operation, [(at, partial(action, world)) for at, action in plan], signals, places)
        except (Exception, Interrupt) as raised:
            error = raised
        finally:
            if raises:
                signal.signal(signal.SIGUSR2, before)
        if raises and places and error is None:
            raise Broken("swallowed the exception")
        if isinstance(error, Broken) or not world.gone:
            world.ended(error)
            world.revive()
            world.check()
    except Broken as broken:
        named = ", ".join(f"{action.__name__} at {place}" for (_at, action), place in zip(plan, places))
        raise Broken(f"{broken} [{situation.__name__}; {named}]") from error
    return len(places)


# ---- threads --------------------------------------------------------------------------------------------------------

Threads = Callable[[Any], tuple[World, list[Operation]]]


def two_takes(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.put(3)
    return world, [world.cell.take, world.cell.take]


def a_take_and_a_first_record(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.put(3)
    world.scope.dirty.clear()
    return world, [world.cell.take, world.add_on_thread]


def a_take_and_a_record_that_takes(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.put(FOLD_AT - 1)
    return world, [world.cell.take, world.add_on_thread]


def drains_and_a_record_at_the_cap(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.put(CAP - 1)
    world.refuses = True

    def drain_twice() -> None:
        world.drain()
        world.drain()

    return world, [drain_twice, world.add_on_thread]


def two_records_that_take(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.put(FOLD_AT - 2)
    return world, [world.add_on_thread, world.add_on_thread]


def a_drain_and_a_record(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    world.add()
    return world, [world.drain, world.add_on_thread]


def two_first_records(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    return world, [partial(world.add_on_thread, A), partial(world.add_on_thread, A)]


def two_records_with_different_keys(core: Any) -> tuple[World, list[Operation]]:
    world = World(core)
    for attributes in (A, B):
        world.add(attributes)
    return world, [partial(world.add_on_thread, A), partial(world.add_on_thread, B)]


def threads_that_record_and_end(core: Any, shards: int) -> tuple[World, list[Operation]]:
    """A drainer, and recorders of which each is over at another time; their values are drained after they ended."""
    world = World(core, shards=shards)

    def record(times: int) -> None:
        for i in range(times):
            world.add_on_thread(A if i % 5 == 4 else None)

    def drain_twice() -> None:
        world.drain()
        world.drain()

    return world, [partial(record, 12), drain_twice, partial(record, 3), partial(record, 7)]


def interleave(core: Any, threads: Threads, choose: Callable[[int, list[int]], int], named: str) -> list[int]:
    """Run a thread for each operation, as `choose` has it, and check the outcome; return how many opcodes each took."""
    world, operations = threads(core)
    schedule = Interleaving(operations, choose)
    try:
        schedule.run()
        world.check()
    except Broken as broken:
        raise Broken(f"{broken} [{getattr(threads, '__name__', 'threads')}; {named}]") from broken
    return schedule.steps


def walk_two(core: Any, threads: Threads, every: int) -> int:
    """Two threads: 0 pauses before every `every`-th of its opcodes, 1 begins and pauses before every fifth of its own, 0 runs to
    its end, then 1. Return how many schedules that were.
    """
    steps = interleave(core, threads, lambda running, _steps: running, "one after the other")
    schedules = 0
    for first in range(0, steps[0], every):
        for second in count(first % 5, 5):
            taken = interleave(core, threads, one_pause_each(first, second), f"pauses at {first} and {second}")
            schedules += 1
            if taken[1] <= second:
                break
    return schedules
