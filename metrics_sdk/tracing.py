"""What is known of OpenTelemetry's context, if it is there: the trace of exemplars, and that an exporter is not observed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

from metrics_sdk.core.exemplars import Sampler

R = TypeVar("R")

ExemplarFilter = Literal["always_on", "always_off", "trace_based"]


def sampler(chosen: ExemplarFilter, now: Callable[[], float]) -> Sampler | None:
    """Return what decides which values become exemplars; None if none does, or none can."""
    if chosen == "always_off":
        return None
    try:
        from opentelemetry import context, trace  # 20 ms, and not before there are exemplars
    except ImportError:
        return Sampler(True, lambda: None, lambda _: (0, 0, False), now) if chosen == "always_on" else None

    def span(given: Any) -> tuple[int, int, bool]:
        found = trace.get_current_span(given).get_span_context()
        return (found.trace_id, found.span_id, bool(found.trace_flags & 1)) if found.is_valid else (0, 0, False)

    # The variable itself, where it is one as usual: a call of C instead of two of Python. An empty context has no span.
    variable = getattr(getattr(context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    current: Callable[[], object] = variable.get if isinstance(variable, ContextVar) else context.get_current
    return Sampler(chosen == "always_on", current, span, now)


def unobserved(work: Callable[[], R]) -> R:
    """Return what `work` returns; OpenTelemetry's instrumentation of what it uses, of an HTTP client say, is off meanwhile.

    Else each export would be a trace, and values to export.
    """
    context: Any = sys.modules.get("opentelemetry.context")
    if context is None:
        return work()
    token: Any = None
    try:
        inner = context.get_current()
        for name in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
            if hasattr(context, name):
                inner = context.set_value(getattr(context, name), True, inner)
        token = context.attach(inner)
    except Exception:
        return work()  # another version of it, which is no reason not to export
    try:
        return work()
    finally:
        context.detach(token)
