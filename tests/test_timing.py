"""timed(): every kind of callable stays what it is and is measured."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from metrics_sdk import Config, DeclarationError, MetricsSDK


@pytest.fixture
def sdk() -> MetricsSDK:
    return MetricsSDK(Config(background=False))


def counts(sdk: MetricsSDK, name: str = "t") -> dict[Any, int]:
    return {pairs: found.count for pairs, found in sdk.query_all().get(name, {}).items()}


def test_a_function_keeps_its_name_signature_and_result(sdk: MetricsSDK) -> None:
    @sdk.timed("t", {"job": "import"})
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert (5, "add", "Add.") == (add(3), add.__name__, add.__doc__)
    assert ["a", "b"] == list(inspect.signature(add).parameters)
    assert {(("job", "import"),): 1} == counts(sdk)


def test_methods_of_every_kind_are_timed(sdk: MetricsSDK) -> None:
    class Job:
        @sdk.timed("t")
        def run(self) -> str:
            return type(self).__name__

        @sdk.timed("t")
        @staticmethod
        def fixed() -> int:
            return 1

        @sdk.timed("t")
        @classmethod
        def made(cls) -> str:
            return cls.__name__

    assert ("Job", 1, "Job", "Job") == (Job().run(), Job.fixed(), Job.made(), Job().made())
    assert {(): 4} == counts(sdk)


def test_what_raises_is_recorded_with_its_type_and_raises_on(sdk: MetricsSDK) -> None:
    @sdk.timed("t", {"k": "v"})
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        fail()
    with pytest.raises(ZeroDivisionError), sdk.timed("t"):
        _ = 1 / 0
    assert {(("error.type", "LookupError"), ("k", "v")): 1, (("error.type", "ZeroDivisionError"),): 1} == counts(sdk)


def test_a_coroutine_function_stays_one_and_is_measured_to_its_end(sdk: MetricsSDK) -> None:
    @sdk.timed("t")
    async def work(fail: bool = False) -> int:
        await asyncio.sleep(0)
        if fail:
            raise ValueError
        return 7

    assert inspect.iscoroutinefunction(work)
    assert 7 == asyncio.run(work())
    with pytest.raises(ValueError):
        asyncio.run(work(fail=True))
    assert {(): 1, (("error.type", "ValueError"),): 1} == counts(sdk)


def test_cancelling_a_task_reaches_it_and_is_recorded(sdk: MetricsSDK) -> None:
    @sdk.timed("t")
    async def wait() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert {(("error.type", "CancelledError"),): 1} == counts(sdk)


def test_a_generator_passes_values_both_ways_and_is_measured_from_the_first_next(sdk: MetricsSDK) -> None:
    @sdk.timed("t")
    def echo(n: int) -> Generator[Any, Any, str]:
        got = []
        for i in range(n):
            got.append((yield i))
        return repr(got)

    assert inspect.isgeneratorfunction(echo)
    idle = echo(3)
    running = echo(2)
    assert 0 == next(running)
    assert 1 == running.send("a")
    with pytest.raises(StopIteration, match=r"\['a', None\]"):
        next(running)
    del idle
    assert {(): 1} == counts(sdk)


def test_a_generator_that_is_closed_is_no_failure_and_one_that_raises_is(sdk: MetricsSDK) -> None:
    @sdk.timed("t")
    def numbers() -> Generator[int, None, None]:
        yield 1
        yield 2

    closed, thrown = numbers(), numbers()
    next(closed)
    closed.close()
    next(thrown)
    with pytest.raises(KeyError):
        thrown.throw(KeyError())
    assert {(): 1, (("error.type", "KeyError"),): 1} == counts(sdk)


def test_an_async_generator_passes_values_both_ways_and_is_measured(sdk: MetricsSDK) -> None:
    seen = []

    @sdk.timed("t")
    async def echo() -> AsyncGenerator[Any, Any]:
        try:
            seen.append((yield 1))
            seen.append((yield 2))
        except KeyError:
            seen.append("caught")
            yield 3

    async def main() -> None:
        assert [1, 2] == [item async for item in echo()]
        sent = echo()
        assert (1, 2) == (await sent.__anext__(), await sent.asend("a"))
        assert 3 == await sent.athrow(KeyError())
        await sent.aclose()
        failing = echo()
        await failing.__anext__()
        with pytest.raises(OSError):
            await failing.athrow(OSError())

    assert inspect.isasyncgenfunction(echo)
    asyncio.run(main())
    assert ["a", "caught"] == [one for one in seen if one]
    assert {(): 2, (("error.type", "OSError"),): 1} == counts(sdk)


def test_partials_and_callable_objects_are_timed(sdk: MetricsSDK) -> None:
    class Callable_:
        def __call__(self, x: int) -> int:
            return x

    assert 3 == sdk.timed("t")(functools.partial(max, 3))(1)
    assert 4 == sdk.timed("t")(Callable_())(4)
    assert {(): 2} == counts(sdk)


@pytest.mark.parametrize("not_callable", [5, "f", int])
def test_what_is_no_function_raises_at_decoration(sdk: MetricsSDK, not_callable: Any) -> None:
    with pytest.raises(DeclarationError, match="functions, methods and callable objects"):
        sdk.timed("t")(not_callable)


def test_a_unit_that_is_none_of_time_and_a_missing_name_are_refused(sdk: MetricsSDK) -> None:
    sdk.histogram("size", unit="By")
    with pytest.raises(DeclarationError, match="durations cannot be recorded in it"):
        sdk.timed("size")
    with pytest.raises(DeclarationError, match=r'write @timed\("name"\), not @timed'):

        @sdk.timed  # type: ignore[arg-type]
        def run() -> None: ...


def test_durations_are_in_the_unit_of_the_instrument(sdk: MetricsSDK) -> None:
    sdk.histogram("in.ms", unit="ms")
    gate = iter(range(2000))

    def busy() -> None:
        for _ in gate:
            pass

    sdk.timed("t")(busy)()
    gate = iter(range(2000))
    sdk.timed("in.ms")(busy)()
    assert sdk.query("in.ms").sum > 20 * sdk.query("t").sum
    assert ("s", "ms") == (sdk.query("t").unit, sdk.query("in.ms").unit)


def test_an_instrument_times_as_well(sdk: MetricsSDK) -> None:
    latency = sdk.histogram("t", unit="s")
    with latency.time({"k": "v"}):
        pass

    @latency.time()
    def run() -> int:
        return 1

    assert 1 == run()
    assert {(("k", "v"),): 1, (): 1} == counts(sdk)


@pytest.fixture
def library() -> Any:
    module = types.ModuleType("a_library")
    exec(
        "class Session:\n    def send(self, x): return x * 2\n    @staticmethod\n    def fixed(x): return x\n"
        "class Child(Session): pass\ndef plain(x): return x\nasync def later(x): return x\n",
        module.__dict__,
    )
    sys.modules["a_library"] = module
    yield module
    sys.modules.pop("a_library", None)


def test_a_callable_of_a_library_is_timed_by_name_until_closed(sdk: MetricsSDK, library: Any) -> None:
    handles = [
        sdk.instrument(f"a_library:{path}", "t", {"path": path}) for path in ("Session.send", "Session.fixed", "plain", "later")
    ]
    assert (4, 3, 3, 3) == (
        library.Session().send(2),
        library.Session.fixed(3),
        library.plain(3),
        asyncio.run(library.later(3)),
    )
    for handle in handles:
        handle.close()
        handle.close()
    assert 4 == library.Session().send(2)
    assert [1, 1, 1, 1] == list(counts(sdk).values())


def test_an_inherited_method_is_timed_in_the_child_alone(sdk: MetricsSDK, library: Any) -> None:
    handle = sdk.instrument("a_library:Child.send", "t")
    library.Session().send(1)
    library.Child().send(1)
    assert {(): 1} == counts(sdk)
    handle.close()
    assert "send" not in vars(library.Child)


def test_a_module_that_is_imported_later_is_instrumented_then(sdk: MetricsSDK, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "a_later_library.py").write_text("def run(): return 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    handle = sdk.instrument("a_later_library:run", "t")
    import a_later_library  # type: ignore[import-not-found]

    assert 5 == a_later_library.run()
    assert {(): 1} == counts(sdk)
    handle.close()
    assert 5 == a_later_library.run()
    assert {(): 1} == counts(sdk)
    del sys.modules["a_later_library"]


@pytest.mark.parametrize("target", ["json", "json:", ":dumps", "json:no_such", 5])
def test_a_target_that_cannot_be_found_raises(sdk: MetricsSDK, target: Any) -> None:
    import json  # noqa: F401 - must be there already

    with pytest.raises(DeclarationError):
        sdk.instrument(target, "t")


def test_a_name_that_turns_out_not_to_be_there_does_not_break_the_import(
    sdk: MetricsSDK, tmp_path: Any, monkeypatch: Any
) -> None:
    (tmp_path / "a_changed_library.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sdk.instrument("a_changed_library:gone", "t")
    import a_changed_library  # type: ignore[import-not-found]

    assert 1 == a_changed_library.x
    del sys.modules["a_changed_library"]


def test_only_callables_are_instrumented(sdk: MetricsSDK) -> None:
    with pytest.raises(DeclarationError, match="not a callable"):
        sdk.instrument("json:__name__", "t")
    with pytest.raises(DeclarationError, match="cannot instrument"):
        sdk.instrument("builtins:dict.get", "t")
