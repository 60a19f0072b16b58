"""Stops an operation on the core before every opcode, and lets something else happen there."""

from __future__ import annotations

import dis
import random
import sys
import threading
from _thread import get_ident
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

from schedules_core_copy import SOURCES, codes

PATIENCE_SECONDS = 20.0  # for threads that should be done at once

# CPython runs signal handlers, and raises what they raise, after calls, at the start of a function and in loops.
_CHECKED_AFTER = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME"))
_CHECKED_AT = frozenset(("JUMP_BACKWARD",))

_FOLDER = str(SOURCES)
_names: dict[CodeType, list[str]] = {}

Visit = Callable[[FrameType], bool]  # returns whether that was all


class Broken(AssertionError):
    """What the core promises does not hold after some schedule."""


class Interrupt(BaseException):
    """What a signal handler raises into the operation."""


class LooksLikeOurs(KeyError, AttributeError, RuntimeError, Interrupt):
    """The same, of types that the core catches where it raises them itself."""


def _names_of(code: CodeType) -> list[str]:
    names = _names.get(code)
    if names is None:
        names = _names[code] = [dis.opname[byte] for byte in code.co_code]
    return names


def traced(operation: Callable[[], object], visit: Visit, signals: bool = False) -> None:
    """Run `operation`; call `visit(frame)` before each opcode of the core. What it raises is raised there.

    `signals`: only before those where a signal handler can run.
    """
    last: dict[int, str] = {}  # by frame, the opcode before

    def visit_for_signals(frame: FrameType) -> bool:
        names, at = _names_of(frame.f_code), frame.f_lasti
        name = names[at]
        previous = "RESUME" if at and names[at - 2] == "RESUME" else last.get(id(frame)) if at else None
        last[id(frame)] = name
        return (previous in _CHECKED_AFTER or name in _CHECKED_AT) and visit(frame)

    _trace(operation, visit_for_signals if signals else visit)


if sys.version_info >= (3, 12):
    # `sys.settrace` crashes 3.12.1 where it is switched on and off so often, and passes over opcodes on 3.13.0.
    _visits: dict[int, Visit] = {}  # by thread
    _tool = next(number for number in (4, 3, 5) if sys.monitoring.get_tool(number) is None)
    sys.monitoring.use_tool_id(_tool, "schedule explorer")

    def _instruction(_code: CodeType, _offset: int) -> None:
        if _visits:  # empty most of the time
            visit = _visits.get(get_ident())
            if visit is not None and visit(sys._getframe(1)):
                del _visits[get_ident()]

    sys.monitoring.register_callback(_tool, sys.monitoring.events.INSTRUCTION, _instruction)

    def _untraced(action: Callable[[], object]) -> None:
        visit = _visits.pop(get_ident())
        action()
        _visits[get_ident()] = visit

    def _trace(operation: Callable[[], object], visit: Visit) -> None:
        for code in codes:
            sys.monitoring.set_local_events(_tool, code, sys.monitoring.events.INSTRUCTION)
        codes.clear()
        _visits[get_ident()] = visit
        try:
            operation()
        finally:
            _visits.pop(get_ident(), None)

else:

    def _untraced(action: Callable[[], object]) -> None:
        action()  # what a trace function calls is not traced

    def _trace(operation: Callable[[], object], visit: Visit) -> None:
        def step(frame: FrameType, event: str, _arg: object) -> Any:
            if event == "opcode" and visit(frame):
                sys.settrace(None)
            return step

        def enter(frame: FrameType, _event: str, _arg: object) -> Any:
            if not frame.f_code.co_filename.startswith(_FOLDER):
                return None
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            return step

        before = sys.gettrace()
        sys.settrace(enter)
        try:
            operation()
        finally:
            sys.settrace(before)


def interrupted(
    operation: Callable[[], object], plan: Sequence[tuple[int, Callable[[], object]]], signals: bool, places: list[str]
) -> None:
    """Run `operation`; before its opcode number n do what `plan` has for n, and add to `places` where that was.

    `signals`: count only the opcodes before which a signal handler can run.
    """
    left = sorted(plan, key=lambda item: item[0], reverse=True)
    following = left[-1][0]
    seen = 0

    def visit(frame: FrameType) -> bool:
        nonlocal seen, following
        seen += 1
        while following < seen:
            _at, action = left.pop()
            following = left[-1][0] if left else sys.maxsize
            code = frame.f_code
            places.append(f"{code.co_name}:{frame.f_lineno} {_names_of(code)[frame.f_lasti]}")
            _untraced(action)
        return not left

    traced(operation, visit, signals)


class Interleaving:
    """Several operations, a thread each, of which one runs at a time: before every opcode `choose` tells which.

    `choose(running, steps)` gets the number of the running thread, and how many opcodes each has begun.
    """

    def __init__(self, operations: Sequence[Callable[[], object]], choose: Callable[[int, list[int]], int]) -> None:
        self._operations = operations
        self._choose = choose
        self._turns = [threading.Lock() for _ in operations]
        self._alive = set(range(len(operations)))
        self.steps = [0] * len(operations)
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """Run all to their ends. Raises Broken if a thread raised, or waits for another one."""
        for turn in self._turns:
            turn.acquire()
        threads = [threading.Thread(target=self._live, args=(me,), daemon=True) for me in range(len(self._turns))]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        if any(thread.is_alive() for thread in threads):
            raise Broken(f"blocked after {self.steps} opcodes")
        for error in self.errors:
            raise error if isinstance(error, Broken) else Broken(f"raised {error!r}")

    def _live(self, me: int) -> None:
        self._wait(me)
        try:
            traced(self._operations[me], lambda _frame: self._visit(me))
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._alive.discard(me)
            if self._alive:
                self._turns[min(self._alive)].release()

    def _visit(self, me: int) -> bool:
        self.steps[me] += 1
        chosen = self._choose(me, self.steps)
        if chosen != me and chosen in self._alive:
            self._turns[chosen].release()
            self._wait(me)
        return False

    def _wait(self, me: int) -> None:
        if not self._turns[me].acquire(timeout=PATIENCE_SECONDS):
            raise Broken(f"thread {me} never got its turn")


def elsewhere(work: Callable[[], object]) -> None:
    """Run `work` on another thread, to its end. Raises Broken if it raised, or waits for this one."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    if thread.is_alive():
        raise Broken("blocked: another thread waits")
    for error in errors:
        raise error if isinstance(error, Broken) else Broken(f"raised {error!r} on another thread")


def one_pause_each(first: int, second: int) -> Callable[[int, list[int]], int]:
    """Thread 0 runs up to its opcode `first`, thread 1 up to its opcode `second`, then 0 to its end, then 1."""
    paused = [False, False]

    def choose(running: int, steps: list[int]) -> int:
        if not paused[running] and steps[running] > (first, second)[running]:
            paused[running] = True
            return 1 - running
        return running

    return choose


def at_random(seed: int, threads: int, often: float) -> Callable[[int, list[int]], int]:
    """Before each opcode, give the turn to any thread with a probability of `often`."""
    source = random.Random(seed)

    def choose(running: int, _steps: list[int]) -> int:
        return source.randrange(threads) if source.random() < often else running

    return choose
