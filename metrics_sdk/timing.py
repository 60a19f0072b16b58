"""timed(): durations of every kind of callable, and of blocks."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, ParamSpec, TypeVar

from metrics_sdk.clock import perf_counter
from metrics_sdk.core.instruments import Attributes, Histogram
from metrics_sdk.errors import DeclarationError

P = ParamSpec("P")
R = TypeVar("R")


class Timed:
    """Measures into a histogram: `@timed` on a function, or `with timed:` around a block.

    Durations are in the histogram's unit if that is one of time, else in seconds. What raises is recorded with the attribute
    `error.type` in addition, the exception's class name. As a context manager it times one block at a time.
    """

    def __init__(self, histogram: Histogram, attributes: Attributes | None = None) -> None:
        self._histogram = histogram
        self._attributes = attributes
        self._started = 0.0

    def __enter__(self) -> Timed:
        self._started = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        elapsed = perf_counter() - self._started
        if kind is not None:
            self._bound().record_failure(elapsed, kind)
        else:
            self._histogram.record_seconds(elapsed, self._attributes)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function`, timed. It stays what it is: a method, a coroutine function, a generator function …"""
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(self(function.__func__))
        if not callable(function) or isinstance(function, type):
            raise DeclarationError(f"timed() measures functions, methods and callable objects, not {function!r}")
        return self.like(function)(function)

    def _bound(self) -> Histogram:
        bound: Histogram = self._histogram if self._attributes is None else self._histogram.bind(self._attributes)
        return bound

    def like(self, function: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return what wraps a callable of the same sort as `function`: plain, coroutine, generator or async generator."""
        return functools.partial(_wrapper(function), self._bound())


def _timed_function(histogram: Histogram, function: Callable[P, R]) -> Callable[P, R]:
    measure = histogram.measure  # one compiled call; the function that is returned is a plain one all the same

    @functools.wraps(function)
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = measure(function, args, kwargs)
        return result

    return timed


def _timed_coroutine(histogram: Histogram, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            histogram.record_failure(perf_counter() - started, type(error))
            raise
        histogram.record_seconds(perf_counter() - started)
        return result

    return timed


def _timed_generator(histogram: Histogram, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        started = perf_counter()  # at the first next(), for a generator's body begins there
        try:
            result = yield from function(*args, **kwargs)
        except GeneratorExit:  # closed before its end, which is no failure
            histogram.record_seconds(perf_counter() - started)
            raise
        except BaseException as error:
            histogram.record_failure(perf_counter() - started, type(error))
            raise
        histogram.record_seconds(perf_counter() - started)
        return result

    return timed


def _timed_async_generator(histogram: Histogram, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def timed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        started = perf_counter()
        inner = function(*args, **kwargs)
        step = inner.__anext__()
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                break
            except BaseException as error:
                histogram.record_failure(perf_counter() - started, type(error))
                raise
            try:
                sent = yield item
            except GeneratorExit:  # closed before its end, which is no failure
                await inner.aclose()
                histogram.record_seconds(perf_counter() - started)
                raise
            except BaseException as error:
                step = inner.athrow(error)
            else:
                step = inner.asend(sent)
        histogram.record_seconds(perf_counter() - started)

    return timed


def _wrapper(function: Callable[..., Any]) -> Callable[[Histogram, Callable[..., Any]], Callable[..., Any]]:
    """Return what wraps a callable of this sort; for an object with a `__call__`, that method tells its sort."""
    import inspect  # 7 ms, and not before something is decorated

    for one in (function, type(function).__call__):
        if inspect.iscoroutinefunction(one):
            return _timed_coroutine
        if inspect.isasyncgenfunction(one):
            return _timed_async_generator
        if inspect.isgeneratorfunction(one):
            return _timed_generator
    return _timed_function


class Instrumented:
    """A callable of somebody else's that is timed until `close()`."""

    def __init__(self, target: str, timed: Timed) -> None:
        self.target = target
        self._timed = timed
        self._closed = False
        self._put_back: Callable[[], None] | None = None

    def install(self, module: Any) -> None:
        """Wrap the callable in `module`; called when the module is there."""
        if self._closed or self._put_back is not None:
            return
        import wrapt  # 66 ms: when it is used first

        path = self.target.partition(":")[2]
        parent, attribute, original = wrapt.resolve_path(module, path)
        if not callable(original):
            raise DeclarationError(f"cannot instrument {self.target!r}: it is not a callable")
        own = attribute in vars(parent)
        timed_call = self._timed.like(original)(_call)

        def around(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
            # Closed, but still there: somebody wrapped it after us, and what is there calls us.
            return wrapped(*args, **kwargs) if self._closed else timed_call(wrapped, args, kwargs)

        wrapper = wrapt.FunctionWrapper(original, around)
        setattr(parent, attribute, wrapper)

        def put_back() -> None:
            if vars(parent).get(attribute) is not wrapper:
                return
            if own:
                setattr(parent, attribute, original)
            else:
                delattr(parent, attribute)

        self._put_back = put_back

    def install_late(self, module: Any) -> None:
        """Wrap the callable in a module that has just been imported; what goes wrong must not fail that import."""
        import logging

        try:
            self.install(module)
        except Exception as error:
            logging.getLogger("metrics_sdk").warning("cannot instrument %r: %s", self.target, error)

    def close(self) -> None:
        """Put the original back, or do not install what has not been imported yet."""
        self._closed = True
        if self._put_back is not None:
            self._put_back()
            self._put_back = None


def _call(function: Callable[..., R], args: Any, kwargs: Any) -> R:
    return function(*args, **kwargs)


def instrument_by_name(target: str, timed: Timed) -> Instrumented:
    """Time the callable `target` names ("module:Class.method"), now if its module is imported, else when it is first."""
    module_name, colon, path = target.partition(":") if isinstance(target, str) else ("", "", "")
    if not (module_name and colon and path):
        raise DeclarationError(f'what to instrument is named "module:function" or "module:Class.method", not {target!r}')
    made = Instrumented(target, timed)
    module = sys.modules.get(module_name)
    if module is not None:
        try:
            made.install(module)
        except (AttributeError, TypeError) as error:
            raise DeclarationError(f"cannot instrument {target!r}: {error}") from error
    else:
        importlib.import_module("wrapt").register_post_import_hook(made.install_late, module_name)
    return made
