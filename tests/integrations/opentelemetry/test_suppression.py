"""An exporter's own client is not observed by OpenTelemetry's instrumentation while it exports."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from metrics_sdk import Config, MetricsSDK, Snapshot


class Asking:
    """An exporter that asks whether its client would be observed."""

    def __init__(self, error: BaseException | None) -> None:
        self.observed: list[bool] = []
        self.error = error

    def export(self, snapshot: Snapshot, timeout: float) -> None:
        self.observed.append(is_instrumentation_enabled())
        if self.error is not None:
            raise self.error

    def shutdown(self) -> None:
        pass


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("error", [None, ValueError("no"), SystemExit(1)])
def test_instrumentation_is_off_inside_an_export_and_on_again_after_it(error: Any, background: bool) -> None:
    exporter = Asking(error)
    sdk = MetricsSDK(Config(exporters=[exporter], background=background))
    before = context.get_current()
    sdk.counter("c").add(1)
    sdk.flush(5)
    assert {False} == set(exporter.observed)
    assert is_instrumentation_enabled()
    assert before is context.get_current()
    sdk.shutdown(1)
