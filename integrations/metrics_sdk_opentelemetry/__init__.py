"""OpenTelemetry on this engine: the meter provider, and ways in and out.

`MeterProvider` is a drop-in for opentelemetry-sdk's, which is needed for its own readers and exporters alone. `OTLPExporter`
needs no other package at all. What users get wrong is logged, by `metrics_sdk_opentelemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export import OpenTelemetryExporter
    from .meter import Meter
    from .otlp import OTLPExporter
    from .provider import MeterProvider

__all__ = ["Meter", "MeterProvider", "OTLPExporter", "OpenTelemetryExporter"]

# Each is imported when it is asked for: what it takes may not be installed, where another one is what is wanted.
_MODULES = {"Meter": "meter", "MeterProvider": "provider", "OTLPExporter": "otlp", "OpenTelemetryExporter": "export"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        message = f"{name} needs opentelemetry-api: install metrics-sdk with the extra [opentelemetry]"
        raise ModuleNotFoundError(message, name=error.name) from error
