"""Stops an operation on the core before every opcode, and lets something else happen there."""

from __future__ import annotations

import dis
import random
import sys
import threading
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

from schedules_core_copy import SOURCES

PATIENCE_SECONDS = 20.0  # for threads that should be done at once

# CPython looks for signals, and so for what their handlers raise, after calls, at the start of a function and in loops.
_CHECKED_AFTER = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME"))
_CHECKED_AT = frozenset(("JUMP_BACKWARD",))

_FOLDER = str(SOURCES)
_names: dict[CodeType, list[str]] = {}

Visit = Callable[[FrameType, bool], None]


class Broken(AssertionError):
    """What the core promises does not hold after some schedule."""


class Interrupt(BaseException):
    """What a signal handler raises into the operation."""


def _names_of(code: CodeType) -> list[str]:
    names = _names.get(code)
    if names is None:
        names = _names[code] = [dis.opname[byte] for byte in code.co_code]
    return names


def traced(operation: Callable[[], object], visit: Visit) -> None:
    """Run `operation`; call `visit(frame, checked)` before each opcode of the core. What it raises is raised there."""
    last: dict[int, str] = {}

    def step(frame: FrameType, event: str, _arg: object) -> Any:
        if event == "opcode":
            name = _names_of(frame.f_code)[frame.f_lasti]
            previous = last.get(id(frame))
            last[id(frame)] = name
            visit(frame, previous in _CHECKED_AFTER or name in _CHECKED_AT)
        return step

    def enter(frame: FrameType, _event: str, _arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(_FOLDER):
            return None
        last[id(frame)] = "RESUME"
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # from 3.12 on, opcodes are traced if some frame asked for it beforehand
    sys.settrace(enter)
    try:
        operation()
    finally:
        sys.settrace(before)


def interrupted(operation: Callable[[], object], plan: Sequence[tuple[int, Callable[[], object]]], raising: bool) -> list[str]:
    """Run `operation`; before its opcode number n do what `plan` has for n; return where that was.

    `raising`: count only the places where an exception can come in.
    """
    left = sorted(plan, key=lambda item: item[0], reverse=True)
    places: list[str] = []
    seen = 0

    def visit(frame: FrameType, checked: bool) -> None:
        nonlocal seen
        if raising and not checked:
            return
        seen += 1
        while left and left[-1][0] < seen:
            _at, action = left.pop()
            code = frame.f_code
            places.append(f"{code.co_name}:{frame.f_lineno} {_names_of(code)[frame.f_lasti]}")
            if not left:
                sys.settrace(None)
            action()

    traced(operation, visit)
    return places


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
            traced(self._operations[me], lambda _frame, _checked: self._visit(me))
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._alive.discard(me)
            if self._alive:
                self._turns[min(self._alive)].release()

    def _visit(self, me: int) -> None:
        self.steps[me] += 1
        chosen = self._choose(me, self.steps)
        if chosen != me and chosen in self._alive:
            self._turns[chosen].release()
            self._wait(me)

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
