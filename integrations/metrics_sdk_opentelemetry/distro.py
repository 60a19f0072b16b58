"""The distro for `opentelemetry-instrument`: metrics by this engine, the rest as it is."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import metrics
from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER, OTEL_PYTHON_METER_PROVIDER
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore

from .environment import EXPORTERS


class Distro(BaseDistro):  # type: ignore[misc, unused-ignore]
    """Chosen by `OTEL_PYTHON_DISTRO=metrics_sdk`. Traces and logs stay opentelemetry-sdk's, where it is installed."""

    def _configure(self, **kwargs: Any) -> None:
        # Empty means unset, for OpenTelemetry's specification, and not for its API.
        os.environ[OTEL_PYTHON_METER_PROVIDER] = os.environ.get(OTEL_PYTHON_METER_PROVIDER) or "metrics_sdk"
        # opentelemetry-sdk's configurator comes next, with a meter provider of its own: it comes too late, says so in one
        # warning, and shall not send anything.
        os.environ[EXPORTERS] = os.environ.get(EXPORTERS) or os.environ.get(OTEL_METRICS_EXPORTER) or "otlp"
        os.environ[OTEL_METRICS_EXPORTER] = "none"
        metrics.get_meter_provider()
