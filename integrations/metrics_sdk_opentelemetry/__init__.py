"""OpenTelemetry on this engine: the meter provider, and ways in and out.

`MeterProvider` is a drop-in for opentelemetry-sdk's, which is needed for its own readers and exporters alone. What users get
wrong is logged, by `metrics_sdk_opentelemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .meter import Meter
from .provider import MeterProvider

if TYPE_CHECKING:
    from .export import OpenTelemetryExporter

__all__ = ["Meter", "MeterProvider", "OpenTelemetryExporter"]


def __getattr__(name: str) -> Any:
    if name == "OpenTelemetryExporter":
        from .export import OpenTelemetryExporter

        return OpenTelemetryExporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
