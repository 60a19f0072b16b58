"""Where exemplars get their trace from: the OpenTelemetry API, if it is there."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

from metrics_sdk.core.exemplars import Sampler

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
